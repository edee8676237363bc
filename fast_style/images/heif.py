"""AVIF and HEIC of 10 or 12 bits per channel; Pillow's readers reduce these to 8."""

import contextlib
import io
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fast_style.images.boxes import box, boxes, find
from fast_style.images.levels import shrunk, stretched
from fast_style.images.metadata import ImageMetadata

# 12 bits need AV1 and HEVC profiles that hardly any viewer decodes.
_BITS = 10


def avif_bits(file: Any) -> int:
    """Number of bits per channel of an AVIF.

    Args:
        file: binary and seekable; its position changes.

    Raises:
        ValueError: if the file does not say, as an animation may not.
    """
    start, end = find(file, b"meta", b"iprp", b"ipco", b"av1C")
    file.seek(start)
    flags = file.read(min(4, end - start))
    if len(flags) < 4:
        raise ValueError("no description of AV1")
    # The flags high_bitdepth and twelve_bit of AV1CodecConfigurationRecord.
    return 8 if not flags[2] & 0x40 else 12 if flags[2] & 0x20 else 10


def decode_avif(content: bytes, size: tuple[int, int], bits: int) -> NDArray[np.uint16]:
    """Decode an AVIF that Pillow has opened, to shape (height, width) or (height, width, channels).

    Raises:
        Exception: any, if the file is damaged, or Pillow read another size.
    """
    import imagecodecs

    # Pillow uses the same library, so decoding takes the memory that was allowed.
    levels = imagecodecs.avif_decode(content, index=0)
    if levels.shape[1::-1] != size or levels.dtype != np.uint16:
        raise ValueError(f"no {size[0]}x{size[1]} pixels of {bits} bits")
    return stretched(levels, 2**bits - 1)


def encode_avif(pixels: NDArray[np.uint16], metadata: ImageMetadata) -> bytes:
    """Encode pixels as an AVIF of 10 bits per channel.

    Args:
        pixels: shape (height, width, 3), or (height, width, 4) with opacity.
        metadata: EXIF and XMP to write.
    """
    import imagecodecs

    # sRGB, in the numbers of ITU-T H.273.
    space: dict[str, Any] = {"primaries": 1, "transfer": 13, "matrix": 6}
    levels = shrunk(pixels, 2**_BITS - 1)
    file = bytes(imagecodecs.avif_encode(levels, 95, speed=6, bitspersample=_BITS, pixelformat="444", **space))
    # If libavif changes its layout, the file is written without metadata.
    with contextlib.suppress(ValueError):
        if metadata.exif:
            file = with_item(file, b"Exif\0", bytes(4) + metadata.exif.removeprefix(b"Exif\x00\x00"))
        if metadata.xmp:
            file = with_item(file, b"mime\0application/rdf+xml\0", metadata.xmp.encode())
    return file


def with_item(file: bytes, kind: bytes, content: bytes) -> bytes:
    """Add an item (ISO 23008-12, annex A) to an AVIF; imagecodecs cannot write any.

    Args:
        file: an AVIF written by libavif.
        kind: type, name and content type of the item.
        content: the item.

    Raises:
        ValueError: if the layout is not libavif's.
    """
    start, end = find(io.BytesIO(file), b"meta")
    parts = {kind: file[first:last] for kind, first, last in boxes(io.BytesIO(file), start, end)}
    places, items = parts.get(b"iloc", b""), parts.get(b"iinf", b"")
    # One extent per item, with 4 bytes each for offset and length.
    if not places.startswith(b"\0\0\0\0D\0") or len(places) % 14 != 8 or not items.startswith(bytes(4)):
        raise ValueError("no AVIF of libavif")
    entries = list(struct.iter_unpack(">HHHII", places[8:]))
    number = 1 + max(item for item, *_ in entries)
    entry = box(b"infe", b"\x02\0\0\0", struct.pack(">HH", number, 0), kind)
    reference = box(b"cdsc", struct.pack(">HH", number, 1), parts[b"pitm"][4:6])
    # The meta box grows by the new entries of three boxes, or by the whole third box if it is new.
    growth = 14 + len(entry) + len(reference) + (0 if b"iref" in parts else 12)
    entries = [(item, source, pieces, place + growth, length) for item, source, pieces, place, length in entries]
    entries.append((number, 0, 1, len(file) + growth + 8, len(content)))
    count = struct.pack(">H", len(entries))
    parts |= {
        b"iloc": b"".join([places[:6], count, *(struct.pack(">HHHII", *each) for each in entries)]),
        b"iinf": items[:4] + count + items[6:] + entry,
        b"iref": parts.get(b"iref", bytes(4)) + reference,
    }
    meta = box(b"meta", bytes(4), *(box(kind, part) for kind, part in parts.items()))
    return file[: start - 12] + meta + file[end:] + box(b"mdat", content)


def decode_heif(content: bytes, size: tuple[int, int], page: int) -> NDArray[np.uint16]:
    """Decode one image of a HEIC as `decode_avif` does, upright."""
    import pillow_heif

    heif = pillow_heif.open_heif(content, convert_hdr_to_8bit=False, hdr_to_16bit=False)[page]
    kind, _, bits = heif.mode.partition(";")
    if heif.size != size or kind not in ("I", "L", "RGB", "RGBA") or not bits:
        raise ValueError(f"{heif.size[0]}x{heif.size[1]} pixels of {heif.mode}, and {size[0]}x{size[1]} to Pillow")
    levels = np.asarray(heif)
    if levels.shape[1::-1] != size:
        raise ValueError(f"no {size[0]}x{size[1]} pixels")
    return stretched(levels, 2 ** int(bits) - 1)


def heif_levels(pixels: NDArray[Any]) -> tuple[NDArray[Any], str]:
    """Convert pixels to the depth of a HEIC, and return them with pillow_heif's name for their mode.

    Args:
        pixels: shape (height, width, 3) or (height, width, 4); uint8 is kept, uint16 is reduced to 10 bits.
    """
    mode = "RGB" if pixels.shape[2] == 3 else "RGBA"
    return (pixels, mode) if pixels.dtype == np.uint8 else (shrunk(pixels, 2**_BITS - 1), f"{mode};{_BITS}")


def encode_heif(pixels: NDArray[np.uint16], metadata: ImageMetadata) -> bytes:
    """Encode pixels as a HEIC of 10 bits per channel.

    Args:
        pixels: as for `encode_avif`.
        metadata: what to write.
    """
    import pillow_heif

    file = io.BytesIO()
    levels, mode = heif_levels(pixels)
    options = {"quality": 95, "chroma": 444, **metadata.options("HEIF")}
    pillow_heif.encode(mode, pixels.shape[1::-1], levels.tobytes(), file, **options)
    return file.getvalue()
