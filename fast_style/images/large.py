"""Pictures that are too large to be worked on in memory: how large they are, and read to disk."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fast_style.errors import ImageError
from fast_style.images import formats
from fast_style.images.colors import find_exif_colors
from fast_style.images.copies import size_in_header
from fast_style.images.deep import has_16_bits, loses_bits, read_deep, tell_of_lost_bits
from fast_style.images.kept import NOTHING, Kept
from fast_style.images.notes import notes_of, tell
from fast_style.images.opening import format_of_copy, open_image, reason_of
from fast_style.images.profiles import deep_to_srgb
from fast_style.images.rasters import Raster
from fast_style.images.raw import develop, raw_size
from fast_style.images.spaces import declared
from fast_style.images.upright import orientation_of, to_srgb, upright_part, upright_size
from fast_style.system.files import BinaryFile
from fast_style.system.input_limits import open_regular_file, pillow_limits

#: Of each pixel while a file is decoded, as Pillow has it.
DECODED_BYTES = 4
#: With 16 bits of each color, the file, its levels and their conversion besides.
DEEP_BYTES = 20
# Where decoders have planes of their own.
_BYTES_OF_PLANES, _IN_PLANES = 40, ("JPEG2000", "AVIF", "HEIF")


@dataclass(frozen=True)
class LargePicture:
    """A decoded picture on disk, and what a stylized copy of it must keep: see Picture.

    Attributes:
        rgb: the colors: upright, sRGB, as if opaque.
        alpha: the opacity, of one channel, or None.
        format: the format to write a copy in, as Pillow names it, such as "JPEG".
        kept: what a copy keeps besides.
        reduced: whether it had 16 bits of each color, for which there was no room.
    """

    rgb: Raster
    alpha: Raster | None
    format: str
    kept: Kept = NOTHING
    reduced: bool = False


def picture_size(path: Path) -> tuple[int, int] | None:
    """Return the width and the height of a picture as it is stored, from its header; None: it cannot be read."""
    if path.suffix.lower() not in formats.RAW_SUFFIXES:
        return size_in_header(path)
    try:
        with open_regular_file(path) as file:
            return raw_size(file)
    except Exception:  # Any: on damaged files, decoders raise whatever comes up.
        return None


def open_large(path: Path, deep: bool, room: float) -> LargePicture:
    """Read a picture to disk. While it is decoded it is in memory, with 4 bytes a pixel.

    Args:
        path: its file.
        deep: whether 16 bits of each color are wanted, if it has them.
        room: how many bytes of memory there are. Less than 20 for each pixel are no room for 16 bits, nor are less than
            40 of JPEG 2000, AVIF and HEIC.

    Raises:
        ImageError: if it cannot be read, or there is no room for it on disk; the message does not name the file.
    """
    try:
        with open_regular_file(path) as file, pillow_limits():
            if path.suffix.lower() in formats.RAW_SUFFIXES:
                return _developed(file)
            image = open_image(file)
            lost = deep and loses_bits(file, image)
            if lost:
                tell_of_lost_bits(str(path))
            found = deep and not lost and has_16_bits(file, image)
            taken = image.width * image.height * (_BYTES_OF_PLANES if image.format in _IN_PLANES else DEEP_BYTES)
            picture = _on_disk(file, image, found and taken <= room, reduced=found)
            tell(str(path), notes_of(image))
            return picture
    except ImageError:  # On disk.
        raise
    except Exception as error:  # Any: see above.
        raise ImageError(f"not a readable picture ({reason_of(error)})") from error


def _on_disk(file: BinaryFile, image: Image.Image, deep: bool, reduced: bool) -> LargePicture:
    image.load()
    orientation = orientation_of(image)
    find_exif_colors(image)
    size = upright_size(image, orientation)
    levels = read_deep(file, image, orientation) if deep else None
    profile = image.info.get("icc_profile", b"")
    rgb, alpha = Raster(size, dtype=np.uint8 if levels is None else np.uint16), None
    for top, bottom in rgb.strips():
        colors, opacity, converted = to_srgb(upright_part(image, orientation, (0, top, size[0], bottom)))
        rows: Any = np.asarray(colors)
        if levels is not None:
            rows = deep_to_srgb(levels[top:bottom], profile if converted else b"", declared(image))
        rgb.write(0, top, rows)
        if opacity is not None:
            alpha = alpha or Raster(size, channels=1)
            alpha.write(0, top, np.asarray(opacity))
    return LargePicture(rgb, alpha, format_of_copy(image), Kept.of(image), reduced and levels is None)


def _developed(file: BinaryFile) -> LargePicture:
    levels = develop(file)
    rgb = Raster((levels.shape[1], levels.shape[0]), dtype=np.uint16)
    rgb.write(0, 0, levels)
    file.seek(0)
    return LargePicture(rgb, None, "TIFF", Kept.of_tiff(file.read()))
