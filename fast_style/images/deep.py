"""Pictures with 16 bits of each colour, of which Pillow knows grey ones only."""

import io
import logging
import struct
import zlib
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin, TiffTags

from fast_style.images.formats import HAS_RAW
from fast_style.images.kept import Kept
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

_ORIENTATION = 274
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
    if image.mode.startswith("I;16"):
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


def upright(pixels: Deep, orientation: int) -> Deep:
    """Return pixels as one sees them, given how EXIF says that they are stored."""
    found: Deep = _TURNED[orientation](pixels) if orientation in _TURNED else pixels
    return found


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
    height, width, channels = pixels.shape
    rows = np.ascontiguousarray(pixels, ">u2").view(np.uint8).reshape(height, -1)
    # Each row as its difference from the one above, which is filter 2.
    filtered = np.full((height, 1 + rows.shape[1]), 2, np.uint8)
    filtered[0, 1:], filtered[1:, 1:] = rows[0], rows[1:] - rows[:-1]
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 2 if channels == 3 else 6, 0, 0, 0))]
    if kept.dpi:
        chunks.append((b"pHYs", struct.pack(">IIB", *(round(each / 0.0254) for each in kept.dpi), 1)))
    if kept.exif:
        chunks.append((b"eXIf", kept.exif.removeprefix(b"Exif\x00\x00")))
    chunks += [(b"IDAT", zlib.compress(filtered.data)), (b"IEND", b"")]
    body = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


def encode_tiff(pixels: NDArray[Any], kept: Kept) -> bytes:
    """Return the file of a picture as of `encode_png`, of 16 or of 8 bits: libtiff cannot write EXIF."""
    height, width, channels = pixels.shape
    bits = 8 * pixels.itemsize
    data = zlib.compress(np.ascontiguousarray(pixels, f"<u{pixels.itemsize}").data)
    exif = Image.Exif()
    exif.load(kept.exif)
    directory = TiffImagePlugin.ImageFileDirectory_v2(b"II\x2a\x00\x00\x00\x00\x00")
    for tag, value in exif.items():
        directory[tag] = exif.get_ifd(tag) if tag in (0x8769, 0x8825) else value
    known = TiffImagePlugin
    directory[known.IMAGEWIDTH], directory[known.IMAGELENGTH] = width, height
    directory[known.BITSPERSAMPLE], directory[known.SAMPLESPERPIXEL] = (bits,) * channels, channels
    directory[known.COMPRESSION], directory[known.PHOTOMETRIC_INTERPRETATION] = 8, 2
    directory[known.ROWSPERSTRIP], directory[known.STRIPBYTECOUNTS] = height, len(data)
    directory[known.STRIPOFFSETS] = 0  # Pillow adds where its own writing ends.
    directory.tagtype[known.STRIPOFFSETS] = TiffTags.LONG
    if channels == 4:
        directory[known.EXTRASAMPLES] = 2
    if kept.dpi:
        directory[known.X_RESOLUTION], directory[known.Y_RESOLUTION] = kept.dpi
        directory[known.RESOLUTION_UNIT] = 2
    file = io.BytesIO()
    directory.save(file)
    file.write(data)
    return file.getvalue()
