"""Draws large pictures by networks that ship: painted.jpg, the first one, and evaluation.jpg.

python docs/large_pictures.py
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from PIL import Image

import fast_style
from fast_style.images.photographs import packaged_photographs
from fast_style.images.picture import contact_sheet, open_picture, resize_short_side

#: Side in pixels of the photographs, and of what the first picture shows of them.
SIDE, SMALLER = 512, 384
#: The first picture: a row for each photograph, with what these networks make of it.
PAINTED: Mapping[str, tuple[str, ...]] = {
    "coffee": ("starry_night", "great_wave", "wheat_field"),
    "chelsea": ("the_scream", "udnie", "composition_vii"),
}
EVALUATED: Mapping[str, tuple[str, ...]] = {"coffee": ("starry_night",), "astronaut": ("starry_night",)}


def sheet(rows: Mapping[str, tuple[str, ...]], side: int) -> Image.Image:
    """Return photographs that scikit-image ships, each before what networks make of it."""
    photographs = {path.stem: resize_short_side(open_picture(path).rgb, SIDE) for path in packaged_photographs()}
    shown = []
    for name, networks in rows.items():
        square = _square(photographs[name])
        stylizers = [fast_style.load(f"zoo/{network}", device="cpu", precision="fp32") for network in networks]
        row = [square, *(stylizer(square) for stylizer in stylizers)]
        shown.append([image.resize((side, side), Image.Resampling.LANCZOS) for image in row])
    return contact_sheet(shown, side)


def _square(image: Image.Image) -> Image.Image:
    left, top = (image.width - SIDE) // 2, (image.height - SIDE) // 2
    return image.crop((left, top, left + SIDE, top + SIDE))


def main() -> None:
    """Draw the sheets beside this file."""
    # With more of them sums come out in another order, and the sheets in other levels.
    torch.set_num_threads(1)
    for name, rows, side in (("painted", PAINTED, SMALLER), ("evaluation", EVALUATED, SIDE)):
        sheet(rows, side).save(Path(__file__).with_name(f"{name}.jpg"), quality=82, optimize=True, progressive=True)


if __name__ == "__main__":
    main()
