"""Draws controls.jpg, which shows what each control of scripts/stylize.py does, with a network of several styles.

python docs/controls.py twelve
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageDraw, ImageFilter, ImageFont, ImageOps

import fast_style
from fast_style.errors import FastStyleError
from fast_style.images.photographs import packaged_photographs
from fast_style.images.picture import contact_sheet, open_picture, resize_short_side
from fast_style.stylizing.stylizer import Stylizer

#: Short side in pixels of the photographs, and of what is shown of them.
SIDE, SHOWN = 480, 240
WAVE, NIGHT, WHEAT, SCREAM = "great_wave", "starry_night", "wheat_field", "the_scream"


def photograph(name: str) -> Image.Image:
    """One that scikit-image ships, cut to 4:3."""
    (path,) = (path for path in packaged_photographs() if path.stem == name)
    image = resize_short_side(open_picture(path).rgb, SIDE)
    width, height = min(image.width, image.height * 4 // 3), min(image.height, image.width * 3 // 4)
    left, top = (image.width - width) // 2, 0
    return image.crop((left, top, left + width, top + height)).resize((SIDE * 4 // 3, SIDE), Image.Resampling.LANCZOS)


def soft(shape: str, *box: float) -> Image.Image:
    """A mask, white in a shape between corners given in parts of its sides, with a soft edge."""
    mask = Image.new("L", (160, 120))
    corners = [part * length for part, length in zip(box, (160, 120, 160, 120), strict=True)]
    getattr(ImageDraw.Draw(mask), shape)(corners, fill=255)
    return mask.filter(ImageFilter.GaussianBlur(5))


def labeled(image: Image.Image, label: str) -> Image.Image:
    """A picture with a line of text below it."""
    image = resize_short_side(image, SHOWN)
    shown = Image.new("RGB", (image.width, image.height + 24), "white")
    shown.paste(image)
    ImageDraw.Draw(shown).text((2, image.height + 3), label, "black", ImageFont.load_default(14))
    return shown


def rows(stylizer: Stylizer) -> Iterator[list[Image.Image]]:
    """Yield pictures beside one another, each with the settings that made it."""
    person, cup, cat = (photograph(name) for name in ("astronaut", "coffee", "chelsea"))

    def tile(
        image: Image.Image, label: str, box: tuple[int, int, int, int] | None = None, **settings: Any
    ) -> Image.Image:
        result = stylizer(image, **settings)
        return labeled(result.crop(box) if box else result, label)

    yield [
        labeled(person, "the photograph"),
        tile(person, "styles=starry_night", style=NIGHT),
        tile(person, "strength=0.5", style=NIGHT, strength=0.5),
        tile(person, "styles={starry_night: 0.5, great_wave: 0.5}", style={NIGHT: 0.5, WAVE: 0.5}),
    ]
    yield [
        labeled(cup, "the photograph"),
        tile(cup, "preserve_color=none", style=NIGHT),
        tile(cup, "preserve_color=histogram", style=NIGHT, preserve_color="histogram"),
        tile(cup, "preserve_color=luminance", style=NIGHT, preserve_color="luminance"),
    ]
    yield [
        tile(cat, f"brush={brush:g}{', sharpen=1' if sharpen else ''}", style=WHEAT, brush=brush, sharpen=sharpen)
        for brush, sharpen in ((0.5, 0), (1, 0), (2, 0), (2, 1))
    ]
    around = ImageOps.invert(soft("ellipse", 0.3, 0, 0.62, 0.42))
    saucer = soft("ellipse", 0.07, -0.02, 0.83, 0.97)
    yield [
        labeled(around.convert("RGB").resize(person.size), "mask.png"),
        tile(person, "mask=mask.png", style=NIGHT, mask=around),
        labeled(saucer.convert("RGB"), "cup.png"),
        tile(
            cup, "masks: great_wave there, the_scream elsewhere", masks={WAVE: saucer, SCREAM: ImageOps.invert(saucer)}
        ),
    ]
    eye = (150, 60, 470, 300)
    yield [
        tile(cat, label, eye, style=WHEAT, **settings)
        for label, settings in (
            ("a part", {}),
            ("sharpen=0.5", {"sharpen": 0.5}),
            ("grain=0.8", {"grain": 0.8}),
            (
                "sharpen, grain, preserve_color=luminance",
                {"sharpen": 0.5, "grain": 0.5, "preserve_color": "luminance"},
            ),
        )
    ]


def main(network: str) -> None:
    """Draw the sheet beside this file."""
    # With more of them sums come out in another order, and the sheet in other levels.
    torch.set_num_threads(1)
    stylizer = fast_style.load(network, device="cpu", precision="fp32")
    sheet = contact_sheet(list(rows(stylizer)), SHOWN + 24)
    sheet.save(Path(__file__).with_suffix(".jpg"), quality=75, optimize=True)


if __name__ == "__main__":
    try:
        main(sys.argv[1] if len(sys.argv) > 1 else "twelve")
    except FastStyleError as error:
        sys.exit(f"controls.py: {error}")
