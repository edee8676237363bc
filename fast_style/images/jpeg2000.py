"""JPEG 2000 (ISO 15444-1): what Pillow passes over, which is 16 bits of each color, a profile and EXIF."""

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from fast_style.images.boxes import box, boxes
from fast_style.images.formats import HAS_CODECS
from fast_style.images.levels import shrunk, stretched
from fast_style.images.metadata import ImageMetadata
from fast_style.system.optional_packages import how_to_install

# Where ExifTool and others look for it.
_EXIF = b"JpgTiffExif->JP2"
_XMP = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
_IPTC = bytes.fromhex("33c7a4d2b81d4723a0baf1a3e097ad38")
_UUIDS = (_EXIF, _XMP, _IPTC)
_CODESTREAM = b"\xff\x4f\xff\x51"
_SRGB, _GRAY = 16, 17
# Larger ones are none.
_MOST_METADATA = 2**22
_NAME = "jpeg2k of fast_style"


@dataclass(frozen=True)
class Header:
    """What the header of a file says.

    Attributes:
        size: width and height in pixels.
        channels: how many there are, with opacity.
        bits: how many each of them has, if all have as many and are plain gray or RGB; else 8.
        start: where its codestream begins.
        signed: whether black is the lowest of numbers with a sign, as many above 8.
        profile: an ICC profile, or nothing.
        exif: EXIF as it is in a TIFF, or nothing.
        xmp: XMP, or nothing.
        iptc: IPTC, or nothing.
    """

    size: tuple[int, int]
    channels: int
    bits: int
    start: int
    signed: bool = False
    profile: bytes = b""
    exif: bytes = b""
    xmp: bytes = b""
    iptc: bytes = b""


def read_header(file: Any) -> Header:
    """Read the header of a file, or of a codestream without one.

    Args:
        file: at any position, and then at another.

    Raises:
        Exception: any, if it is damaged.
    """
    file.seek(0)
    place, spaces, odd, profile = 0, [], False, b""
    said = dict.fromkeys(_UUIDS, b"")
    if file.read(4) != _CODESTREAM:
        for kind, start, end in boxes(file):
            if kind == b"jp2h":
                for part, first, last in boxes(file, start, end):
                    file.seek(first)
                    content = file.read(min(last - first, _MOST_METADATA))
                    # A palette, or channels in another order.
                    odd |= part == b"pclr" or (part == b"cdef" and not _in_order(content))
                    if part == b"colr":
                        spaces.append(int.from_bytes(content[3:7]) if content[0] == 1 else None)
                        profile = profile or (content[3:] if content[0] in (2, 3) else b"")
            elif kind == b"uuid":
                file.seek(start)
                if (uuid := file.read(16)) in said:
                    said[uuid] = file.read(min(end - start - 16, _MOST_METADATA))
            elif kind == b"jp2c":
                place = place or start
    file.seek(place)
    marker, _, _, right, bottom, left, top, *_, channels = struct.unpack(">4sHH8IH", file.read(42))
    if marker != _CODESTREAM:
        raise ValueError("no codestream")
    # Of each channel: less 1 how many bits, with the highest one set if it has a sign, and of how many pixels it is.
    kinds = {file.read(3) for _ in range(min(channels, 5))}
    (depth, *every), signed = kinds.pop(), False
    if depth & 0x80 and depth & 0x7F > 7:
        depth, signed = depth & 0x7F, True
    plain = not kinds and every == [1, 1] and depth < 16 and channels < 5 and not odd
    plain = plain and all(space in (None, _SRGB, _GRAY) for space in spaces)
    return Header(
        (right - left, bottom - top), channels, depth + 1 if plain else 8, place, signed, profile, *said.values()
    )


def decode(codestream: bytes, header: Header) -> NDArray[np.uint16]:
    """Return what is in a codestream of 9 to 16 bits, of shape (height, width) or (height, width, channels).

    Not in a file, of which imagecodecs would convert the colors by its profile.

    Raises:
        Exception: any, if it is damaged, or not what its header says.
    """
    import imagecodecs

    width, height = header.size
    shape = (height, width) if header.channels == 1 else (height, width, header.channels)
    # Into what is there: no more is taken.
    found: NDArray[Any] = imagecodecs.jpeg2k_decode(
        codestream, out=np.empty(shape, np.int16 if header.signed else np.uint16)
    )
    if header.signed:
        # In place: the highest bit is the sign.
        found = found.view(np.uint16)
        found += np.uint16(2 ** (header.bits - 1))
    return stretched(found, 2**header.bits - 1)


def correct(image: Image.Image, header: Header) -> None:
    """Have a picture, opened and not decoded, be so as it is: of more than 8 bits, Pillow makes white black."""
    if isinstance(image, ImageFile.ImageFile) and header.bits > 8 and header.channels > 1:
        Image.register_decoder(_NAME, _Decoder)
        image.tile = [tile._replace(codec_name=_NAME, args=()) for tile in image.tile]


class _Decoder(ImageFile.PyDecoder):
    """Of pictures with several channels of more than 8 bits."""

    _pulls_fd = True

    def decode(self, buffer: Any) -> tuple[int, int]:
        if not HAS_CODECS:
            raise ValueError(f"JPEG 2000 of 16 bits, which needs the package imagecodecs; {how_to_install('formats')}")
        assert self.fd is not None
        header, size = read_header(self.fd), (self.state.xsize, self.state.ysize)
        if header.size != size or header.channels != len(self.mode):
            raise ValueError(f"{size[0]}x{size[1]} pixels of {self.mode} in one place, and others in another")
        self.fd.seek(header.start)
        found = decode(self.fd.read(), header)
        levels = np.empty(found.shape, np.uint8)
        for row, few in zip(found, levels, strict=True):
            few[:] = shrunk(row[None], 255)[0]
        self.set_as_raw(levels.data.cast("B"), self.mode)  # type: ignore[arg-type]
        return -1, 0


def encode(pixels: NDArray[np.uint16]) -> bytes:
    """Return the codestream of a picture (height, width, 3), or with opacity (height, width, 4), without loss."""
    import imagecodecs

    return bytes(imagecodecs.jpeg2k_encode(pixels, codecformat="j2k", reversible=True))


def contained(codestream: bytes, size: tuple[int, int], channels: int, bits: int, metadata: ImageMetadata) -> bytes:
    """Return the file of a codestream.

    Args:
        codestream: of sRGB, or with opacity as the fourth channel.
        size: width and height in pixels.
        channels: 3 or 4.
        bits: of each channel.
        metadata: what to write besides.
    """
    parts = [
        box(b"ihdr", struct.pack(">IIHBBBB", size[1], size[0], channels, bits - 1, 7, 0, 0)),
        box(b"colr", struct.pack(">BBBI", 1, 0, 0, _SRGB)),
    ]
    if channels == 4:
        parts.append(box(b"cdef", struct.pack(">13H", 4, 0, 0, 1, 1, 0, 2, 2, 0, 3, 3, 1, 0)))
    if metadata.dpi:
        across, down = (_to_the_metre(each) for each in metadata.dpi)
        parts.append(box(b"res ", box(b"resc", struct.pack(">HHHHBB", *down[:2], *across[:2], down[2], across[2]))))
    whole = [box(b"jP  ", b"\r\n\x87\n"), box(b"ftyp", b"jp2 ", bytes(4), b"jp2 "), box(b"jp2h", *parts)]
    if metadata.exif:
        whole.append(box(b"uuid", _EXIF, metadata.exif.removeprefix(b"Exif\x00\x00")))
    whole += [
        box(b"uuid", uuid, said) for uuid, said in ((_XMP, metadata.xmp.encode()), (_IPTC, metadata.iptc)) if said
    ]
    return b"".join([*whole, box(b"jp2c", codestream)])


def _in_order(channels: bytes) -> bool:
    """Return whether the box of that name says of each color that it is where it belongs."""
    entries = struct.iter_unpack(">HHH", channels[2:])
    return all(kind != 0 or place == number + 1 for number, kind, place in entries)


def _to_the_metre(dpi: float) -> tuple[int, int, int]:
    """Return dots to a metre as a numerator, a denominator and an exponent of ten: 50 / 127 * 100 to an inch."""
    exponent = 2
    while round(dpi * 50 / 10 ** (exponent - 2)) > 65535:
        exponent += 1
    return round(dpi * 50 / 10 ** (exponent - 2)), 127, exponent
