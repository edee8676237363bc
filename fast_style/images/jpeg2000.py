"""JPEG 2000 (ISO 15444-1) beyond Pillow: 16 bits per channel, color profiles and EXIF."""

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from fast_style.images.boxes import box, boxes
from fast_style.images.formats import HAS_CODECS
from fast_style.images.levels import stretched, to_8_bits
from fast_style.images.metadata import ImageMetadata
from fast_style.system.optional_packages import how_to_install

# Of EXIF (the identifier that ExifTool and others use), XMP and IPTC.
_UUIDS = (
    b"JpgTiffExif->JP2",
    bytes.fromhex("be7acfcb97a942e89c71999491e3afac"),
    bytes.fromhex("33c7a4d2b81d4723a0baf1a3e097ad38"),
)
_CODESTREAM = b"\xff\x4f\xff\x51"
_SRGB, _GRAY = 16, 17
# Larger metadata is not genuine.
_MAX_METADATA = 2**22
_NAME = "jpeg2k of fast_style"


@dataclass(frozen=True)
class Header:
    """The header of a file."""

    size: tuple[int, int]  #: width and height in pixels
    channels: int  #: number of channels, including opacity
    bits: int  #: bits per channel if all have the same and are plain gray or RGB; otherwise 8
    start: int  #: position of the codestream
    signed: bool = False  #: whether levels are signed and the lowest is black; read above 8 bits only
    #: metadata, EXIF as in a TIFF; empty if none
    profile: bytes = b""
    exif: bytes = b""
    xmp: bytes = b""
    iptc: bytes = b""


def read_header(file: Any) -> Header:
    """Read the header of a JP2 file or a bare codestream.

    Args:
        file: binary and seekable; its position changes.

    Raises:
        Exception: any, if the file is damaged.
    """
    file.seek(0)
    place, spaces, unusual, profile = 0, [], False, b""
    metadata = dict.fromkeys(_UUIDS, b"")
    if file.read(4) != _CODESTREAM:
        for kind, start, end in boxes(file):
            if kind == b"jp2h":
                for part, first, last in boxes(file, start, end):
                    file.seek(first)
                    content = file.read(min(last - first, _MAX_METADATA))
                    # A palette, or channels in another order.
                    unusual |= part == b"pclr" or (part == b"cdef" and not _has_usual_order(content))
                    if part == b"colr":
                        spaces.append(int.from_bytes(content[3:7]) if content[0] == 1 else None)
                        profile = profile or (content[3:] if content[0] in (2, 3) else b"")
            elif kind == b"uuid":
                file.seek(start)
                if (uuid := file.read(16)) in metadata:
                    metadata[uuid] = file.read(min(end - start - 16, _MAX_METADATA))
            elif kind == b"jp2c":
                place = place or start
    file.seek(place)
    marker, _, _, right, bottom, left, top, *_, channels = struct.unpack(">4sHH8IH", file.read(42))
    if marker != _CODESTREAM:
        raise ValueError("no codestream")
    # Per channel: bits - 1, with the highest bit set if signed; then horizontal and vertical subsampling.
    components = {file.read(3) for _ in range(min(channels, 5))}
    (depth, *subsampling), signed = components.pop(), False
    if depth & 0x80 and depth & 0x7F > 7:
        depth, signed = depth & 0x7F, True
    plain = not components and subsampling == [1, 1] and depth < 16 and channels < 5 and not unusual
    plain = plain and all(space in (None, _SRGB, _GRAY) for space in spaces)
    return Header(
        (right - left, bottom - top), channels, depth + 1 if plain else 8, place, signed, profile, *metadata.values()
    )


def decode(codestream: bytes, header: Header) -> NDArray[np.uint16]:
    """Decode a codestream of 9 to 16 bits, to shape (height, width) or (height, width, channels).

    Takes a codestream because, for a file, imagecodecs would convert the colors by the profile.

    Raises:
        Exception: any, if it is damaged or does not match its header.
    """
    import imagecodecs

    shape = header.size[::-1] if header.channels == 1 else (*header.size[::-1], header.channels)
    # Decoded into this array, so that it takes no more memory than was allowed.
    room = np.empty(shape, np.int16 if header.signed else np.uint16)
    found: NDArray[Any] = imagecodecs.jpeg2k_decode(codestream, out=room)
    if header.signed:
        # In place: flips the sign bit.
        found = found.view(np.uint16)
        found += np.uint16(2 ** (header.bits - 1))
    return stretched(found, 2**header.bits - 1)


def correct(image: Image.Image, header: Header) -> None:
    """Replace Pillow's decoder of an opened image: above 8 bits, that turns white black."""
    if isinstance(image, ImageFile.ImageFile) and header.bits > 8 and header.channels > 1:
        Image.register_decoder(_NAME, _Decoder)
        image.tile = [tile._replace(codec_name=_NAME, args=()) for tile in image.tile]


class _Decoder(ImageFile.PyDecoder):
    _pulls_fd = True

    def decode(self, buffer: Any) -> tuple[int, int]:
        if not HAS_CODECS:
            raise ValueError(f"JPEG 2000 of 16 bits, which needs the package imagecodecs; {how_to_install('formats')}")
        assert self.fd is not None
        header, size = read_header(self.fd), (self.state.xsize, self.state.ysize)
        if header.size != size or header.channels != len(self.mode):
            raise ValueError(f"{size[0]}x{size[1]} pixels of {self.mode} in one place, and others in another")
        self.fd.seek(header.start)
        deep = decode(self.fd.read(), header)
        self.set_as_raw(to_8_bits(deep).data.cast("B"), self.mode)  # type: ignore[arg-type]
        return -1, 0


def encode(pixels: NDArray[np.uint16], metadata: ImageMetadata) -> bytes:
    """Encode pixels losslessly as a file; shape (height, width, 3), or (height, width, 4) with opacity."""
    import imagecodecs

    codestream = bytes(imagecodecs.jpeg2k_encode(pixels, codecformat="j2k", reversible=True))
    return contained(codestream, (pixels.shape[1], pixels.shape[0]), pixels.shape[2], 16, metadata)


def contained(codestream: bytes, size: tuple[int, int], channels: int, bits: int, metadata: ImageMetadata) -> bytes:
    """Wrap a codestream in a JP2 file.

    Args:
        codestream: sRGB, with opacity as the fourth channel if there is one.
        size: width and height in pixels.
        channels: 3 or 4.
        bits: bits per channel.
        metadata: what to write.
    """
    parts = [
        box(b"ihdr", struct.pack(">IIHBBBB", size[1], size[0], channels, bits - 1, 7, 0, 0)),
        box(b"colr", struct.pack(">BBBI", 1, 0, 0, _SRGB)),
    ]
    if channels == 4:
        parts.append(box(b"cdef", struct.pack(">13H", 4, 0, 0, 1, 1, 0, 2, 2, 0, 3, 3, 1, 0)))
    if metadata.dpi:
        across, down = (_dots_per_meter(each) for each in metadata.dpi)
        parts.append(box(b"res ", box(b"resc", struct.pack(">HHHHBB", *down[:2], *across[:2], down[2], across[2]))))
    whole = [box(b"jP  ", b"\r\n\x87\n"), box(b"ftyp", b"jp2 ", bytes(4), b"jp2 "), box(b"jp2h", *parts)]
    blocks = (metadata.exif.removeprefix(b"Exif\x00\x00"), metadata.xmp.encode(), metadata.iptc)
    whole += [box(b"uuid", uuid, content) for uuid, content in zip(_UUIDS, blocks, strict=True) if content]
    return b"".join([*whole, box(b"jp2c", codestream)])


def _has_usual_order(channels: bytes) -> bool:
    """Whether a "cdef" box keeps the color channels in their usual order."""
    entries = struct.iter_unpack(">HHH", channels[2:])
    return all(kind != 0 or place == number + 1 for number, kind, place in entries)


def _dots_per_meter(dpi: float) -> tuple[int, int, int]:
    """Dots per meter as numerator, denominator and exponent of ten; one inch is 127 / 50 * 10**-2 m."""
    exponent = 0
    while round(dpi * 50 / 10**exponent) > 65535:
        exponent += 1
    return round(dpi * 50 / 10**exponent), 127, exponent + 2
