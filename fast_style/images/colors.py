"""Color spaces that files declare without an ICC profile: AVIF, HEIC, PNG, BMP, EXIF and TIFF."""

import contextlib
import io
import struct
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from PIL import ExifTags, Image

from fast_style.images.bitstreams import av1_colors, hevc_colors
from fast_style.images.boxes import boxes, find
from fast_style.images.notes import notes_of
from fast_style.images.spaces import (
    ADOBE_RGB,
    PRIMARIES,
    Space,
    UnknownColorsError,
    declare,
    declared,
    numbered,
    to_linear_srgb,
)
from fast_style.system.input_limits import pillow_limits

#: The signature of a PNG.
PNG = b"\x89PNG\r\n\x1a\n"
# Minimum lengths of chunks before the pixels: the fixed parts in the PNG specification.
_MIN_LENGTHS = {b"gAMA": 4, b"cHRM": 32, b"sRGB": 1, b"cICP": 4, b"pHYs": 9, b"sBIT": 1, b"bKGD": 1, b"tIME": 7}
_MIN_LENGTHS |= {b"hIST": 2, b"mDCV": 24, b"cLLI": 8}
_EXIF_SRGB, _EXIF_ADOBE, _EXIF_OTHER = 1, 2, 65535
_WHITE, _PRIMARIES = 318, 319
# Bytes to read of a bit stream: enough for its header.
_HEADER_BYTES = 1024


def png_chunks(file: Any) -> Iterator[tuple[bytes, int, int]]:
    """Yield kind, position and total length of each chunk before the pixels of a PNG."""
    size = file.seek(0, 2)
    place = len(PNG)
    while place + 12 <= size:
        file.seek(place)
        length, kind = struct.unpack(">I4s", file.read(8))
        if kind == b"IDAT" or place + 12 + length > size:
            return
        yield kind, place, length + 12
        place += length + 12


def without_short_chunks(file: Any) -> Any:
    """Return a PNG without chunks shorter than their fixed part, on which Pillow fails; if it has none, itself."""
    short = [each for each in png_chunks(file) if each[2] - 12 < _MIN_LENGTHS.get(each[0], 0)]
    if not short:
        return file
    file.seek(0)
    content, parts, kept_to = file.read(), [], 0
    for _, place, length in short:
        parts.append(content[kept_to:place])
        kept_to = place + length
    return io.BytesIO(b"".join([*parts, content[kept_to:]]))


def find_colors(image: Image.Image, file: Any) -> None:
    """Record the color space that a file declares, except in EXIF; see `spaces.declare`.

    An ICC profile takes precedence, except over cICP in PNG.

    Args:
        image: the image as opened by Pillow.
        file: its file; the position changes.
    """
    read, space = _READERS.get(image.format or ""), None
    if read is None or (image.info.get("icc_profile") and image.format != "PNG"):
        return
    try:
        # Damaged color information is ignored.
        with contextlib.suppress(LookupError, struct.error, OSError, TypeError, ValueError, ArithmeticError):
            space = read(file, image)
    except UnknownColorsError as error:
        notes_of(image).append(str(error))
    if space is not None and not space.is_srgb:
        declare(image, space)
        if space.is_hdr:
            notes_of(image).append("a high dynamic range: brought to the usual one")


def find_exif_colors(image: Image.Image) -> None:
    """Record the color space in the EXIF of a loaded image, if nothing else declares one."""
    if image.info.get("icc_profile") or declared(image) is not None or "srgb" in image.info:
        return
    with contextlib.suppress(Exception), pillow_limits():  # Any: damaged metadata does not make an image unreadable.
        exif = image.getexif()
        space = exif.get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.ColorSpace)
        index = str(exif.get_ifd(ExifTags.IFD.Interop).get(1, "")).rstrip("\0 ")
        if space == _EXIF_ADOBE or (space != _EXIF_SRGB and index == "R03"):
            declare(image, ADOBE_RGB)
        elif space == _EXIF_OTHER:
            notes_of(image).append("colors that are not sRGB, by EXIF, which does not say what they are: taken as sRGB")


def _png_space(file: Any, image: Image.Image) -> Space | None:
    chunks = {}
    for kind, place, length in png_chunks(file):
        if kind in (b"cICP", b"gAMA", b"cHRM", b"sRGB", b"iCCP"):
            file.seek(place + 8)
            chunks[kind] = file.read(min(length - 12, 32))
    # Precedence: PNG, third edition, 4.3.
    if len(chunks.get(b"cICP", b"")) == 4:
        primaries, transfer, matrix, full = chunks[b"cICP"]
        if matrix == 0:
            space = numbered(primaries, transfer, not full)
            if space is not None:
                image.info.pop("icc_profile", None)
                # Marked as declared, so that EXIF is ignored.
                image.info.setdefault("srgb", 0)
                return space
    if image.info.get("icc_profile") or len(chunks.get(b"sRGB", b"")) == 1:
        return None
    gamma = int.from_bytes(chunks.get(b"gAMA", b"")[:4])
    # Outside this range no usable curve is left.
    gamma = gamma if 10_000 <= gamma <= 1_000_000 else 0
    white_first = [value / 100_000 for value in struct.unpack(">8I", chunks[b"cHRM"])] if b"cHRM" in chunks else []
    if not gamma and not white_first:
        return None
    # 45455 means sRGB: many programs write it without an sRGB chunk.
    curve = None if not gamma or abs(gamma - 45455) < 500 else 100_000 / gamma
    return _plausible_space(white_first[2:] + white_first[:2], curve) or Space(PRIMARIES[1], gamma=curve)


def _plausible_space(chromaticities: list[float], gamma: float | None = None) -> Space | None:
    """A space from chromaticities, red first and white last; None if they are not plausible."""
    if len(chromaticities) != 8 or not all(0 <= each <= 1 for each in chromaticities):
        return None
    with contextlib.suppress(ValueError, ArithmeticError):
        red_x, red_y, green_x, green_y, blue_x, blue_y, white_x, white_y = chromaticities
        space = Space((red_x, red_y, green_x, green_y, blue_x, blue_y, white_x, white_y), gamma=gamma)
        return space if np.isfinite(to_linear_srgb(space.primaries)).all() else None
    return None


def _tiff_space(file: Any, image: Image.Image) -> Space | None:
    tags: Any = getattr(image, "tag_v2", {})
    if image.mode not in ("RGB", "RGBA") or _PRIMARIES not in tags or tags.get(262) not in (2, 3):
        return None
    return _plausible_space([float(each) for each in (*tags[_PRIMARIES], *tags.get(_WHITE, (0.3127, 0.3290)))])


def _bmp_space(file: Any, image: Image.Image) -> Space | None:
    """Read a BITMAPV4HEADER or BITMAPV5HEADER (Microsoft), and record an embedded profile."""
    file.seek(14)
    header = file.read(124)
    size = int.from_bytes(header[:4], "little")
    declared_kind = header[56:60][::-1] if size in (108, 124) else b""
    if declared_kind == b"MBED":
        place, length = struct.unpack("<2I", header[112:120])
        file.seek(14 + place)
        image.info["icc_profile"] = file.read(length)
    elif declared_kind == b"LINK":
        raise UnknownColorsError("its color profile is another file, which is not read: taken as sRGB")
    elif declared_kind == bytes(4):
        endpoints = np.array(struct.unpack("<9i", header[60:96])).reshape(3, 3)
        # Some programs write the inverse exponent. The header has no white point; browsers use that of sRGB.
        gammas = [max(value, 65536**2 / value) / 65536 for value in struct.unpack("<3I", header[96:108])]
        if np.ptp(gammas) > 0.01:
            raise UnknownColorsError("a gamma of its own for each color, which is not used: taken as sRGB")
        if (endpoints.sum(axis=1) > 0).all():
            chromaticities = (endpoints[:, :2] / endpoints.sum(axis=1, keepdims=True)).ravel()
            return _plausible_space([*chromaticities.tolist(), 0.3127, 0.3290], gammas[0])
    return None


def _avif_space(file: Any, image: Image.Image) -> Space | None:
    """Read the "colr" box of the primary item (ISO 23008-12, 6.5.5), or else the AV1 header."""
    start, end = find(file, b"meta")
    parts = {kind: (first, last) for kind, first, last in boxes(file, start, end)}
    read_int = _integers(file, *parts[b"pitm"])
    version, _ = read_int(1), read_int(3)
    primary = read_int(4 if version else 2)
    inner = {kind: (first, last) for kind, first, last in boxes(file, *parts[b"iprp"])}
    spaces: dict[int, tuple[int, int]] = {}
    for index, (kind, first, last) in enumerate(boxes(file, *inner[b"ipco"]), 1):
        file.seek(first)
        if kind == b"colr" and file.read(4) == b"nclx" and last - first >= 10:
            primaries, transfer = struct.unpack(">HH", file.read(4))
            spaces[index] = primaries, transfer
    for index in _item_properties(file, *inner[b"ipma"], primary):
        if index in spaces:
            return numbered(*spaces[index])
    file.seek(_item_offset(file, *parts[b"iloc"], primary))
    return numbered(*(av1_colors(file.read(_HEADER_BYTES)) or ()))


def _heif_space(file: Any, image: Image.Image) -> Space | None:
    if found := image.info.get("nclx_profile"):
        return numbered(int(found["color_primaries"]), int(found["transfer_characteristics"]))
    start, end = find(file, b"meta", b"iprp", b"ipco", b"hvcC")
    file.seek(start)
    return numbered(*(hevc_colors(file.read(min(end - start, _HEADER_BYTES))) or ()))


_READERS = {"PNG": _png_space, "AVIF": _avif_space, "HEIF": _heif_space, "TIFF": _tiff_space, "BMP": _bmp_space}


def _integers(file: Any, start: int, end: int) -> Callable[[int], int]:
    """Return a function that reads the next integer of a box, given its size in bytes."""
    file.seek(start)
    content = io.BytesIO(file.read(min(end - start, 2**20)))

    def read_int(size: int) -> int:
        if len(found := content.read(size)) < size:
            raise ValueError("a box that is cut short")
        return int.from_bytes(found)

    return read_int


def _item_offset(file: Any, start: int, end: int, primary: int) -> int:
    """Position of the first extent of an item, from the "iloc" box."""
    read_int = _integers(file, start, end)
    version, _, sizes = read_int(1), read_int(3), read_int(2)
    offset_size, length_size, base_size, index_size = (sizes >> shift & 15 for shift in (12, 8, 4, 0))
    index_size, id_size = index_size if version else 0, 4 if version == 2 else 2
    for _ in range(read_int(id_size)):
        item, method, _ = read_int(id_size), read_int(2 if version else 0), read_int(2)
        base, extents = read_int(base_size), read_int(2)
        if item == primary and extents and not method:
            read_int(index_size)
            return base + read_int(offset_size)
        read_int(extents * (index_size + offset_size + length_size))
    raise ValueError("an item without a place in the file")


def _item_properties(file: Any, start: int, end: int, primary: int) -> list[int]:
    """Property indices of an item, from the "ipma" box."""
    read_int = _integers(file, start, end)
    version, flags, count = read_int(1), read_int(3), read_int(4)
    size = 2 if flags & 1 else 1
    for _ in range(count):
        item = read_int(4 if version else 2)
        # The highest bit says whether the property is essential.
        indices = [read_int(size) & (0x7FFF if size == 2 else 0x7F) for _ in range(read_int(1))]
        if item == primary:
            return indices
    return []
