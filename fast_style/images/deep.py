"""Images of more than 8 bits per channel; Pillow itself reads only gray ones."""

import io
import logging
import struct
import threading
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fast_style.images import heif, jpeg2000, netpbm, tiff
from fast_style.images.formats import HAS_CODECS, WITH_ALPHA
from fast_style.images.levels import on_white
from fast_style.images.metadata import ImageMetadata
from fast_style.images.streams import write_png, write_ppm, write_tiff
from fast_style.system.optional_packages import how_to_install

#: RGB (height, width, 3) or gray (height, width); white is 65535.
Deep: TypeAlias = NDArray[np.uint16]

#: Writers that work strip by strip, by format.
STREAMED = {"PNG": write_png, "TIFF": write_tiff, "PPM": write_ppm}

_told = threading.Lock()
_log = logging.getLogger(__name__)

# Turns pixels upright, by EXIF orientation.
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
    """Read an image of more than 8 bits per channel: upright, without opacity, in the file's own color space.

    Args:
        file: binary and seekable, at any position.
        image: the same file opened by Pillow, which has checked its size.
        orientation: EXIF orientation of the stored pixels.

    Returns:
        None if the file has 8 bits, or the reader for more is not installed.

    Raises:
        Exception: any, if the file is damaged.
    """
    if not has_16_bits(file, image):
        return None
    file.seek(0)
    if image.format == "PPM":
        header = netpbm.read_header(file)
        _require_size(image, *header.size)
        return netpbm.read(file, header)
    if image.format == "HEIF":
        return _without_opacity(heif.decode_heif(file.read(), image.size, image.tell()))
    if isinstance(image, tiff.TiffFile) and (image.ours or HAS_CODECS):
        # Pillow's `load` turns a TIFF upright and drops the orientation, so `orientation` is 1 here.
        return upright(_without_opacity(tiff.read(file, image.tell(), image.kind)), image.kind.orientation)
    if image.mode.startswith("I;16") and (image.format != "JPEG2000" or not HAS_CODECS):
        return upright(np.asarray(image).astype(np.uint16), orientation)
    if not HAS_CODECS:
        return None
    if image.format == "AVIF":
        bits = heif.avif_bits(file)
        file.seek(0)
        return upright(_without_opacity(heif.decode_avif(file.read(), image.size, bits)), orientation)
    if image.format == "JPEG2000":
        jp2_header = jpeg2000.read_header(file)
        _require_size(image, *jp2_header.size)
        file.seek(jp2_header.start)
        return upright(_without_opacity(jpeg2000.decode(file.read(), jp2_header)), orientation)
    content = file.read()
    # PNG color types: gray or RGB, with or without opacity.
    if content[25] not in (0, 2, 4, 6):
        return None
    _require_size(image, *struct.unpack(">II", content[16:24]))
    import imagecodecs

    return upright(_without_opacity(imagecodecs.png_decode(content)), orientation)


def has_16_bits(file: Any, image: Image.Image) -> bool:
    """Whether `read_deep` would find more than 8 bits per channel; the image need not be decoded."""
    place = file.tell()
    try:
        return _bits(file, image) > 8
    except Exception:  # Any: whoever decodes the file reports the damage.
        return False
    finally:
        file.seek(place)


def loses_bits(file: Any, image: Image.Image) -> bool:
    """Whether an image has more than 8 bits per channel that cannot be read without the extra `formats`."""
    plain = image.format in ("PPM", "HEIF") or image.mode.startswith("I;16") or getattr(image, "ours", False)
    # Converting an ICC profile at 16 bits needs `formats` as well.
    return not HAS_CODECS and not (plain and not image.info.get("icc_profile")) and has_16_bits(file, image)


def tell_of_lost_bits(name: str) -> None:
    """Warn, once per process, that a copy has only 8 bits because readers are not installed."""
    if _told.acquire(blocking=False):
        lost = f"{name}: has more than 8 bits of each color, and its copy has 8"
        _log.warning("%s; to keep them: %s", lost, how_to_install("formats"))


def upright(pixels: Deep, orientation: int) -> Deep:
    """Turn pixels upright by their EXIF orientation."""
    turned: Deep = _TURNED[orientation](pixels) if orientation in _TURNED else pixels
    return turned


def reduced(pixels: Deep) -> NDArray[np.uint8]:
    """Round 16 bits to 8: 65535 / 257 = 255."""
    return ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _require_size(image: Image.Image, width: int, height: int) -> None:
    # On a damaged file readers may disagree, and memory was only allowed for the checked size.
    if image.size != (width, height):
        raise ValueError(f"{width}x{height} pixels in one place, and {image.width}x{image.height} in another")


def _without_opacity(pixels: NDArray[Any]) -> Deep:
    if pixels.ndim == 3 and pixels.shape[2] < 3:
        return pixels[:, :, 0]
    return pixels[:, :, :3] if pixels.ndim == 3 else pixels


def _bits(file: Any, image: Image.Image) -> int:
    match image.format:
        case "PNG":
            file.seek(24)
            return int(file.read(1)[0])
        case "PPM":
            return 16 if netpbm.read_header(file).white > 255 else 8
        case "JPEG2000":
            return jpeg2000.read_header(file).bits
        case "AVIF":
            return heif.avif_bits(file)
        case "HEIF":
            return int(image.info.get("bit_depth", 8))
    if isinstance(image, tiff.TiffFile):
        return 16 if image.kind.is_deep else 8
    return 16 if image.mode.startswith("I;16") else 8


def encode_deep(pixels: Deep, alpha: Image.Image | None, format: str, metadata: ImageMetadata) -> bytes:
    """Encode an image in one of formats.DEEP.

    Args:
        pixels: shape (height, width, 3).
        alpha: the opacity, in mode L; if the format has none, the image is put on white.
        format: Pillow's name of the format.
        metadata: written where the format has a place for it.
    """
    if alpha is not None:
        opacity = np.asarray(alpha, np.uint16)[:, :, None] * np.uint16(257)
        whole = format in WITH_ALPHA
        pixels = np.concatenate([pixels, opacity], axis=2) if whole else on_white(pixels, opacity)
    size = (pixels.shape[1], pixels.shape[0])
    match format:
        case "JPEG2000":
            return jpeg2000.contained(jpeg2000.encode(pixels), size, pixels.shape[2], 16, metadata)
        case "AVIF":
            return heif.encode_avif(pixels, metadata)
        case "HEIF":
            return heif.encode_heif(pixels, metadata)
    file = io.BytesIO()
    STREAMED[format](file, [pixels], size, metadata)
    return file.getvalue()


def encode_tiff(pixels: NDArray[Any], metadata: ImageMetadata) -> bytes:
    """Encode pixels of shape (height, width, 3), or (height, width, 4) with opacity, of 8 or 16 bits."""
    file = io.BytesIO()
    write_tiff(file, [pixels], (pixels.shape[1], pixels.shape[0]), metadata)
    return file.getvalue()
