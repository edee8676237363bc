"""Publishes trained networks in the zoo: their files in half precision, sheets, model cards and the page of them all.

python docs/zoo.py runs/great_wave/2026-01-31_20-15-00/great_wave.safetensors evaluation.json

What stands below "Limits" on a card is written by hand, and stays. Reports of scripts/evaluate.py count for the
networks that have a column of their name there.
"""

import io
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from zoo_card import card, index
from zoo_command import command, folders, portable

import fast_style
from fast_style.data.films import measure_stillness
from fast_style.errors import CheckpointError, ConfigError, FastStyleError
from fast_style.images.photographs import packaged_photographs
from fast_style.images.picture import contact_sheet
from fast_style.images.tensors import read_image, to_pil
from fast_style.stylizing.stylizer import Stylizer
from fast_style.system.files import atomic_write
from fast_style.types import Images
from fast_style.zoo.network_file import Metadata, read_network_file
from fast_style.zoo.saving import load_network, save_network

ROOT = Path(__file__).resolve().parent.parent
#: Short side in pixels of the photographs that are compared and shown.
SIDE = 256
#: Bytes of a network's file and of a sheet.
LARGEST, LARGEST_SHEET = 1_000_000, 400_000
#: Tensors of fewer numbers stay in float32 where pictures would be more than a level off: they weigh little, and what
#: is in no residual block counts more.
SMALL = 32_768
#: Works up to this year are in the public domain in the United States, and their painters have long been dead.
LAST_FREE_YEAR = 1930


def publish(path: Path, root: Path, reports: Sequence[Mapping[str, Any]] = ()) -> Path:
    """Put a trained network into the zoo, with its sheet and its card; nothing is written unless all can be.

    Args:
        path: the file, named as the network is to be named.
        root: of the repository.
        reports: of scripts/evaluate.py.

    Returns:
        The file in the zoo.

    Raises:
        CheckpointError: if the network cannot be read, is too large, or is another in half precision.
        ConfigError: if it cannot be said how it was trained, or may not be shown.
    """
    name = path.stem
    network, metadata = load_network(path)
    metadata = shareable(path, metadata)
    trained = command({**metadata.config, "name": name})
    photographs = [read_image(file, SIDE) for file in packaged_photographs()]
    with tempfile.TemporaryDirectory() as folder:
        small = Path(folder, path.name)
        whole = stylized(fast_style.load(path, device="cpu", precision="fp32"), photographs)
        for from_size in (0, SMALL):
            try:
                save_network(small, network, metadata, torch.float16, from_size=from_size)
            except CheckpointError as error:
                raise CheckpointError(str(error).replace(str(small), str(path))) from None
            data = small.read_bytes()
            if len(data) > LARGEST:
                raise CheckpointError(f"{path}: {len(data):,} bytes in half precision, and the zoo takes {LARGEST:,}")
            stylizer = fast_style.load(small, device="cpu", precision="fp32")
            shown = stylized(stylizer, photographs)
            apart = distance(shown, whole)
            if apart <= 1:
                break
        else:
            raise CheckpointError(
                f"{path}: its pictures are up to {apart:g} levels of 255 off in half precision, not 1"
            )
        # What the card says comes from the file that ships.
        published = replace(read_network_file(small), path=Path(f"fast_style/zoo/{name}.safetensors"))
    files = {
        published.path: data,
        Path(f"docs/zoo/{name}.jpg"): sheet([[to_pil(image)[0] for image in row] for row in (photographs, *shown)]),
    }
    page = Path(f"docs/zoo/{name}.md")
    before = (root / page).read_text() if (root / page).exists() else ""
    still = {style: measure_stillness(partial(painted, stylizer, style)) for style in stylizer.styles}
    parameters = sum(weight.numel() for weight in network.parameters())
    files[page] = card(published, parameters, trained, still, reports, before).encode()
    for target, content in files.items():
        write(root / target, content)
    return root / published.path


def shareable(path: Path, metadata: Metadata) -> Metadata:
    """Return what a network's file says of it without what its machine was like.

    Raises:
        CheckpointError: if it does not say how it was trained.
        ConfigError: if the name does not fit, or a painting may not be free.
    """
    if not metadata.config:
        raise CheckpointError(f"{path}: does not say how it was trained; publish one that train.py wrote")
    names = list(metadata.styles)
    if len(names) == 1 and names != [path.stem]:
        raise ConfigError(f"{path}: a network of {names[0]} must be called so: name the file {names[0]}.safetensors")
    for name, credit in metadata.styles.items():
        year = credit.get("year")
        if not isinstance(year, int) or year > LAST_FREE_YEAR:
            raise ConfigError(
                f"{path}: {name} is of {year or 'an unknown year'}; the zoo shows works up to {LAST_FREE_YEAR}, "
                "which are in the public domain"
            )
    config = portable(metadata.config)
    if left := folders([config, metadata.styles]):
        raise ConfigError(f"{path}: names a folder of the machine it was trained on: {left[0]}")
    return replace(metadata, config=config)


def painted(stylizer: Stylizer, style: str, frames: Images) -> Images:
    """Return frames in one style, in [0, 1]."""
    return stylizer(frames, style=style).clamp(0, 1)


def stylized(stylizer: Stylizer, photographs: Sequence[Images]) -> list[list[Images]]:
    """Return the photographs in each style of a network."""
    return [[stylizer(image, style=style) for image in photographs] for style in stylizer.styles]


def distance(some: Sequence[Sequence[Images]], others: Sequence[Sequence[Images]]) -> float:
    """Return how many levels of 255 pictures are apart, once rounded as in a file, at most."""
    pairs = [pair for row in zip(some, others, strict=True) for pair in zip(*row, strict=True)]
    # One that is no number is further off than any.
    differences = [float(((a * 255).round() - (b * 255).round()).abs().max()) for a, b in pairs]
    return max(differences, key=lambda difference: (difference != difference, difference))


def sheet(rows: list[list[Image.Image]]) -> bytes:
    """Return rows of pictures as one JPEG, as good as its size in bytes allows."""
    whole = contact_sheet(rows, SIDE)
    for scale in (1.0, 0.75, 0.5, 0.375, 0.25):
        picture = whole if scale == 1 else whole.resize([round(side * scale) for side in whole.size])
        for quality in range(88, 60, -5):
            encoded = io.BytesIO()
            picture.save(encoded, "JPEG", quality=quality, optimize=True, progressive=True)
            if encoded.tell() <= LARGEST_SHEET:
                return encoded.getvalue()
    return encoded.getvalue()


def write_index(root: Path) -> Path:
    """Write the page that shows every network in the zoo."""
    page = root / "docs/zoo.md"
    found = sorted((root / "fast_style/zoo").glob("*.safetensors"))
    write(page, index([read_network_file(path) for path in found]).encode())
    return page


def write_gallery(root: Path) -> Path:
    """Write the picture of the whole zoo: four photographs, and below each what some of the networks make of it."""
    # The middle of each, so that the networks of a column can be told from the photograph alone.
    photographs = [squared(read_image(file, 2 * SIDE)) for file in packaged_photographs()]
    rows, found = [[to_pil(image)[0] for image in photographs]], 0
    for path in sorted((root / "fast_style/zoo").glob("*.safetensors")):
        stylizer = fast_style.load(path, device="cpu", precision="fp32")
        if len(stylizer.styles) > 1:
            continue
        place = found % len(photographs)
        rows += [[]] if place == 0 else []
        rows[-1].append(to_pil(stylizer(photographs[place]))[0])
        found += 1
    path = root / "docs/zoo.jpg"
    write(path, sheet(rows))
    return path


def squared(image: Images) -> Images:
    """Return the square in the middle of a picture."""
    height, width = image.shape[2:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return image[:, :, top : top + side, left : left + side]


def write(path: Path, data: bytes) -> None:
    """Write a file whole, if it is not there already."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_bytes() != data:
        with atomic_write(path) as file:
            file.write(data)


def main(arguments: Sequence[str], root: Path = ROOT) -> None:
    """Publish the networks named, with what the reports named say of them, and write the index."""
    # With more of them sums come out in another order, and the sheet's pictures in other levels.
    torch.set_num_threads(1)
    try:
        networks = [Path(name) for name in arguments if name.endswith(".safetensors")]
        others = [name for name in arguments if not name.endswith((".safetensors", ".json"))]
        if others or not networks:
            raise ConfigError("name networks that train.py has written, and JSON files of evaluate.py")
        reports = [read_report(Path(name)) for name in arguments if name.endswith(".json")]
        for path in networks:
            print(publish(path, root, reports), flush=True)
        print(write_index(root), write_gallery(root), sep="\n")
    except (FastStyleError, OSError) as error:
        sys.exit(f"zoo.py: {error}")


def read_report(path: Path) -> dict[str, Any]:
    """Read a report of scripts/evaluate.py.

    Raises:
        ConfigError: if it is none.
    """
    try:
        report: dict[str, Any] = json.loads(path.read_text())
        if report["format"] == 1 and {"columns", "sizes", "visible_above"} <= report.keys():
            return report
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass
    raise ConfigError(f"{path}: not a report of scripts/evaluate.py that this program can read")


if __name__ == "__main__":
    main(sys.argv[1:])
