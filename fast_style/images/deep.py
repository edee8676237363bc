"""Pictures with more than 8 bits of each color, of which Pillow knows gray ones only."""

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

#: RGB of shape (height, width, 3), or gray of (height, width), with 65535 as white.
Deep: TypeAlias = NDArray[np.uint16]

#: By format, what writes it strip by strip.
STREAMED = {"PNG": write_png, "TIFF": write_tiff, "PPM": write_ppm}

_told = threading.Lock()
_log = logging.getLogger(__name__)

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
    """Return the colors of a picture that has more than 8 bits of each, upright, without opacity, of its own profile.

    Args:
        file: at any position.
        image: the same as Pillow has read it, which has checked its size.
        orientation: how EXIF says that it is stored.

    Returns:
        None if there are no more bits, or no reader for so many is installed.

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
        return _colors(heif.decode_heif(file.read(), image.size, image.tell()))
    if isinstance(image, tiff.TiffFile) and (image.ours or HAS_CODECS):
        # Pillow turns such a picture when it is loaded, and says no more of it.
        return upright(_colors(tiff.read(file, image.tell(), image.kind)), image.kind.orientation)
    if image.mode.startswith("I;16") and (image.format != "JPEG2000" or not HAS_CODECS):
        return upright(np.asarray(image).astype(np.uint16), orientation)
    if not HAS_CODECS:
        return None
    if image.format == "AVIF":
        bits = heif.avif_bits(file)
        file.seek(0)
        return upright(_colors(heif.decode_avif(file.read(), image.size, bits)), orientation)
    if image.format == "JPEG2000":
        known = jpeg2000.read_header(file)
        _require_size(image, *known.size)
        file.seek(known.start)
        return upright(_colors(jpeg2000.decode(file.read(), known)), orientation)
    content = file.read()
    # Its kind: gray or RGB, with opacity or without.
    if content[25] not in (0, 2, 4, 6):
        return None
    _require_size(image, *struct.unpack(">II", content[16:24]))
    import imagecodecs

    return upright(_colors(imagecodecs.png_decode(content)), orientation)


def has_16_bits(file: Any, image: Image.Image) -> bool:
    """Return whether a picture, opened but perhaps not decoded, has more than 8 bits of each color for `read_deep`."""
    place = file.tell()
    try:
        return _bits(file, image) > 8
    except Exception:  # Any: what is damaged is told by who reads the whole of it.
        return False
    finally:
        file.seek(place)


def loses_bits(file: Any, image: Image.Image) -> bool:
    """Return whether a picture has more than 8 bits of each color that `read_deep` finds only with `formats`."""
    plain = image.format in ("PPM", "HEIF") or image.mode.startswith("I;16") or getattr(image, "ours", False)
    # What converts a profile is of `formats`, too.
    return not HAS_CODECS and not (plain and not image.info.get("icc_profile")) and has_16_bits(file, image)


def tell_of_lost_bits(name: str) -> None:
    """Log, of the first picture of the program's only, that its copy has 8 bits for want of readers."""
    if _told.acquire(blocking=False):
        lost = f"{name}: has more than 8 bits of each color, and its copy has 8"
        _log.warning("%s; to keep them: %s", lost, how_to_install("formats"))


def upright(pixels: Deep, orientation: int) -> Deep:
    """Return pixels as one sees them, given how EXIF says that they are stored."""
    found: Deep = _TURNED[orientation](pixels) if orientation in _TURNED else pixels
    return found


def reduced(pixels: Deep) -> NDArray[np.uint8]:
    """Return 8 of the 16 bits, rounded."""
    # 65535 / 257 = 255.
    return ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _require_size(image: Image.Image, width: int, height: int) -> None:
    # What one reader takes from a damaged file another need not: the memory for it must be what was allowed.
    if image.size != (width, height):
        raise ValueError(f"{width}x{height} pixels in one place, and {image.width}x{image.height} in another")


def _colors(pixels: NDArray[Any]) -> Deep:
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
    """Return the file of a picture in one of formats.DEEP.

    Args:
        pixels: of shape (height, width, 3).
        alpha: its opacity, in mode L; a format without opacity gets the picture on white.
        format: as Pillow names it.
        metadata: what to write besides, where the format has a place for it.
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
    """Return the file of a picture (height, width, 3) or with opacity (height, width, 4), of 16 or of 8 bits."""
    file = io.BytesIO()
    write_tiff(file, [pixels], (pixels.shape[1], pixels.shape[0]), metadata)
    return file.getvalue()
