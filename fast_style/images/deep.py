"""Images of more than 8 bits per channel; Pillow itself reads only gray ones."""

import io
import logging
import struct
import threading
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fast_style.images import heif, jpeg2000, netpbm, tiff
from fast_style.images.formats import HAS_CODECS, WITH_ALPHA
from fast_style.images.levels import with_opacity
from fast_style.images.metadata import ImageMetadata
from fast_style.images.streams import write_png, write_ppm, write_tiff
from fast_style.images.upright import turn_of
from fast_style.system.optional_packages import how_to_install

#: RGB (height, width, 3) or gray (height, width); white is 65535.
Deep: TypeAlias = NDArray[np.uint16]

#: Writers that work strip by strip, by format; and those that take a whole image of 16 bits.
STREAMED = {"PNG": write_png, "TIFF": write_tiff, "PPM": write_ppm}
_WHOLE = {"JPEG2000": jpeg2000.encode, "AVIF": heif.encode_avif, "HEIF": heif.encode_heif}

_warned = threading.Lock()
_log = logging.getLogger(__name__)


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
    pixels: NDArray[Any]
    if image.format == "PPM":
        header = netpbm.read_header(file)
        _require_size(image, *header.size)
        pixels = netpbm.read(file, header)
    elif image.format == "HEIF":
        pixels, orientation = heif.decode_heif(file.read(), image.size, image.tell()), 1
    elif isinstance(image, tiff.TiffFile) and (image.ours or HAS_CODECS):
        # Pillow's `load` turns a TIFF upright and drops the orientation, so `orientation` is 1 here.
        pixels, orientation = tiff.read(file, image.tell(), image.kind), image.kind.orientation
    elif image.mode.startswith("I;16") and (image.format != "JPEG2000" or not HAS_CODECS):
        pixels = np.asarray(image).astype(np.uint16)
    elif not HAS_CODECS:
        return None
    elif image.format == "AVIF":
        bits = heif.avif_bits(file)
        file.seek(0)
        pixels = heif.decode_avif(file.read(), image.size, bits)
    elif image.format == "JPEG2000":
        jp2_header = jpeg2000.read_header(file)
        _require_size(image, *jp2_header.size)
        file.seek(jp2_header.start)
        pixels = jpeg2000.decode(file.read(), jp2_header)
    else:
        content = file.read()
        # PNG color types: gray or RGB, with or without opacity.
        if content[25] not in (0, 2, 4, 6):
            return None
        _require_size(image, *struct.unpack(">II", content[16:24]))
        import imagecodecs

        pixels = imagecodecs.png_decode(content)
    if pixels.ndim == 3:
        pixels = pixels[:, :, 0] if pixels.shape[2] < 3 else pixels[:, :, :3]
    swapped, mirrored, upside_down = turn_of(orientation)
    pixels = pixels.swapaxes(0, 1) if swapped else pixels
    return pixels[:: -1 if upside_down else 1, :: -1 if mirrored else 1]


def _require_size(image: Image.Image, width: int, height: int) -> None:
    # On a damaged file readers may disagree, and memory was only allowed for the checked size.
    if image.size != (width, height):
        raise ValueError(f"{width}x{height} pixels in one place, and {image.width}x{image.height} in another")


def has_16_bits(file: Any, image: Image.Image) -> bool:
    """Whether `read_deep` would find more than 8 bits per channel; the image need not be decoded."""
    place = file.tell()
    try:
        return _bits(file, image) > 8
    except Exception:  # Any: whoever decodes the file reports the damage.
        return False
    finally:
        file.seek(place)


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
    is_deep = image.kind.is_deep if isinstance(image, tiff.TiffFile) else image.mode.startswith("I;16")
    return 16 if is_deep else 8


def loses_bits(file: Any, image: Image.Image) -> bool:
    """Whether an image has more than 8 bits per channel that cannot be read without the extra `formats`."""
    plain = image.format in ("PPM", "HEIF") or image.mode.startswith("I;16") or getattr(image, "ours", False)
    # Converting an ICC profile at 16 bits needs `formats` as well.
    return not HAS_CODECS and not (plain and not image.info.get("icc_profile")) and has_16_bits(file, image)


def tell_of_lost_bits(name: str) -> None:
    """Warn, once per process, that a copy has only 8 bits because readers are not installed."""
    if _warned.acquire(blocking=False):
        lost = f"{name}: has more than 8 bits of each color, and its copy has 8"
        _log.warning("%s; to keep them: %s", lost, how_to_install("formats"))


def encode_pixels(pixels: NDArray[Any], alpha: Image.Image | None, format: str, metadata: ImageMetadata) -> bytes:
    """Encode an image in one of formats.DEEP.

    Args:
        pixels: shape (height, width, 3), of 16 bits; or of 8 for PNG, TIFF and PPM.
        alpha: the opacity, in mode L; if the format has none, the image is put on white.
        format: Pillow's name of the format.
        metadata: written where the format has a place for it.
    """
    if alpha is not None:
        pixels = with_opacity(pixels, alpha, keep=format in WITH_ALPHA)
    if format in _WHOLE:
        return _WHOLE[format](pixels, metadata)
    file = io.BytesIO()
    STREAMED[format](file, [pixels], (pixels.shape[1], pixels.shape[0]), metadata)
    return file.getvalue()
