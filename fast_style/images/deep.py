"""Pictures with 16 bits of each colour, of which Pillow knows grey ones only."""

import io
import logging
import struct
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fast_style.images.formats import HAS_RAW
from fast_style.images.kept import Kept
from fast_style.images.streams import write_png, write_tiff
from fast_style.untrusted import MAX_PIXELS

#: RGB of shape (height, width, 3), or grey of (height, width), with 65535 as white.
Deep: TypeAlias = NDArray[np.uint16]

_HAS_CODECS = find_spec("imagecodecs") is not None and find_spec("tifffile") is not None
# Damage is told by exceptions; their readers would say it on standard error as well.
for _name in ("PIL", "imagecodecs", "tifffile"):
    logging.getLogger(_name).addHandler(logging.NullHandler())
for _name in ("imagecodecs", "tifffile"):
    # Not to the program's own handlers either.
    logging.getLogger(_name).propagate = False

_BITS_PER_SAMPLE, _ORIENTATION = 258, 274
# What undoes each EXIF orientation.
_TURNED: Mapping[int, Any] = {
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: np.rot90(pixels, 3),
    7: lambda pixels: pixels[::-1, ::-1].swapaxes(0, 1),
    8: lambda pixels: np.rot90(pixels, 1),
}


def read_deep(file: Any, image: Image.Image, orientation: int) -> Deep | None:
    """Return the colours of a PNG or TIFF that has 16 bits of each, upright, without opacity, of its own profile.

    Args:
        file: at any position.
        image: the same as Pillow has read it, which has checked its size.
        orientation: how EXIF says that a PNG is stored.

    Returns:
        None if there are fewer bits, or no reader for so many is installed.

    Raises:
        Exception: any, if the file is damaged.
    """
    if image.mode.startswith("I;16") and (_HAS_CODECS or not image.info.get("icc_profile")):
        return upright(np.asarray(image).astype(np.uint16), orientation)
    if not _HAS_CODECS:
        return None
    file.seek(0)
    if image.format == "PNG":
        content = file.read()
        # The depth and the kind of the header: grey or RGB, with opacity or without.
        if content[24] != 16 or content[25] not in (0, 2, 4, 6):
            return None
        _require_size(image, orientation, *struct.unpack(">II", content[16:24]))
        import imagecodecs

        return upright(_colours(imagecodecs.png_decode(content)), orientation)
    if image.format == "TIFF":
        import tifffile

        # With a name, because it asks for that of the file, which one opened by its number has not.
        with tifffile.TiffFile(file, name="picture") as tiff:
            page: Any = tiff.pages[0]
            if page.dtype != np.uint16 or page.photometric not in (1, 2) or page.axes not in ("YXS", "SYX", "YX"):
                return None
            tag = page.tags.get(_ORIENTATION)
            _require_size(image, tag.value if tag else 1, page.imagewidth, page.imagelength)
            pixels = page.asarray()
        colours = _colours(pixels.transpose(1, 2, 0) if page.axes == "SYX" else pixels)
        # Pillow turns such a picture when it is loaded, and says no more of it.
        return upright(colours, tag.value if tag else 1)
    return None


def has_16_bits(file: Any, image: Image.Image) -> bool:
    """Return whether a picture, opened but perhaps not decoded, has 16 bits of each colour that `read_deep` finds."""
    if image.format == "PNG" and _HAS_CODECS:
        place = file.tell()
        file.seek(24)
        depth = file.read(1)
        file.seek(place)
        return bool(depth == b"\x10")
    tags = getattr(image, "tag_v2", {}) if _HAS_CODECS else {}
    return image.mode.startswith("I;16") or set(np.atleast_1d(tags.get(_BITS_PER_SAMPLE, 8))) == {16}


def upright(pixels: Deep, orientation: int) -> Deep:
    """Return pixels as one sees them, given how EXIF says that they are stored."""
    found: Deep = _TURNED[orientation](pixels) if orientation in _TURNED else pixels
    return found


def raw_size(file: Any) -> tuple[int, int]:
    """Return the width and the height of a camera's raw file.

    Raises:
        Exception: any, if no reader is installed, or it is damaged.
    """
    import rawpy

    with rawpy.imread(file) as raw:
        return raw.sizes.width, raw.sizes.height


def develop(file: Any) -> Deep:
    """Return the colours of a camera's raw file, upright and in sRGB, in the white balance that the camera chose.

    Raises:
        ValueError: if no reader is installed, or there are too many pixels.
        Exception: any, if the file is damaged.
    """
    if not HAS_RAW:
        raise ValueError("a camera's raw file, which needs the package rawpy; install fast_style[formats]")
    import rawpy

    with rawpy.imread(file) as raw:
        if raw.sizes.raw_width * raw.sizes.raw_height > MAX_PIXELS:
            raise ValueError(f"over {MAX_PIXELS:,} pixels")
        # sRGB's curve; rawpy's own is that of television.
        return np.asarray(raw.postprocess(output_bps=16, use_camera_wb=True, gamma=(2.4, 12.92)), np.uint16)


def reduced(pixels: Deep) -> NDArray[np.uint8]:
    """Return 8 of the 16 bits, rounded."""
    # 65535 / 257 = 255.
    return ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _require_size(image: Image.Image, orientation: int, width: int, height: int) -> None:
    # What one reader takes from a damaged file another need not: the memory for it must be what was allowed.
    turned = image.format == "TIFF" and orientation in (5, 6, 7, 8)
    if image.size != ((height, width) if turned else (width, height)):
        raise ValueError(f"{width}x{height} pixels in one place, and {image.width}x{image.height} in another")


def _colours(pixels: NDArray[Any]) -> Deep:
    if pixels.ndim == 3 and pixels.shape[2] < 3:
        return pixels[:, :, 0]
    return pixels[:, :, :3] if pixels.ndim == 3 else pixels


def encode_png(pixels: Deep, kept: Kept) -> bytes:
    """Return the file of a picture (height, width, 3) or with opacity (height, width, 4)."""
    file = io.BytesIO()
    write_png(file, [pixels], (pixels.shape[1], pixels.shape[0]), kept)
    return file.getvalue()


def encode_tiff(pixels: NDArray[Any], kept: Kept) -> bytes:
    """Return the file of a picture as of `encode_png`, of 16 or of 8 bits."""
    file = io.BytesIO()
    write_tiff(file, [pixels], (pixels.shape[1], pixels.shape[0]), kept)
    return file.getvalue()
