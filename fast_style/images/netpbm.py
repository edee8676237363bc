"""PPM and PGM with any maximum value up to 65535; Pillow takes 2 s per megapixel and reads colors at 8 bits."""

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from fast_style.images.levels import stretched

# Kind, width, height and white, separated by whitespace and comments that run to the end of a line.
_HEADER = re.compile(rb"P([2356])" + 3 * rb"(?:\s|#[^\r\n]*[\r\n])+(\d+)" + rb"\s")
_MAX_HEADER = 2**16
_COMMENT = re.compile(rb"#[^\r\n]*")
_BLOCK = 2**20
_NAME = "ppm of fast_style"


@dataclass(frozen=True)
class Header:
    """The header of a file."""

    size: tuple[int, int]  #: width and height in pixels
    channels: int  #: 3 for colors, 1 for gray
    white: int  #: the maximum value
    plain: bool  #: whether levels are written as decimal text
    length: int  #: length of the header in bytes


def read_header(file: Any) -> Header:
    """Read the header; the position of the file changes.

    Raises:
        ValueError: if it is none of PGM and PPM.
    """
    file.seek(0)
    match = _HEADER.match(file.read(_MAX_HEADER))
    if match is None:
        raise ValueError("no header of PGM or PPM")
    kind, width, height, white = (int(part) for part in match.groups())
    if not 0 < white < 65536:
        raise ValueError(f"white is {white}, not from 1 to 65535")
    return Header((width, height), 3 if kind in (3, 6) else 1, white, kind < 4, match.end())


def read(file: Any, header: Header) -> NDArray[np.uint16]:
    """Read the levels, of shape (height, width) or (height, width, 3).

    Raises:
        ValueError: if the file is cut short.
    """
    width, height = header.size
    count = width * height * header.channels
    file.seek(header.length)
    if header.plain:
        levels: NDArray[Any] = np.fromstring(_COMMENT.sub(b"", file.read()), np.uint16, count, sep=" ")
    else:
        levels = _read_levels(file, count, header.white)
    return stretched(levels.reshape((height, width) if header.channels == 1 else (height, width, 3)), header.white)


def quicken(image: Image.Image) -> None:
    """Replace Pillow's PPM decoder of an opened image with one that reads blocks rather than single levels."""
    if isinstance(image, ImageFile.ImageFile) and image.mode in ("L", "I", "RGB"):
        Image.register_decoder(_NAME, _Decoder)
        image.tile = [tile._replace(codec_name=_NAME) if tile.codec_name == "ppm" else tile for tile in image.tile]


class _Decoder(ImageFile.PyDecoder):
    """The same result as Pillow's `ppm`."""

    _pulls_fd = True

    def decode(self, buffer: Any) -> tuple[int, int]:
        assert self.fd is not None
        white, deep = self.args[-1], self.mode == "I"
        levels = np.empty(self.state.xsize * self.state.ysize * len(self.mode), "<i4" if deep else "u1")
        for first in range(0, len(levels), _BLOCK):
            block = levels[first : first + _BLOCK]
            values = np.minimum(_read_levels(self.fd, len(block), white), white)
            block[:] = np.rint(values / white * (65535 if deep else 255))
        self.set_as_raw(levels.data.cast("B"), "I;32" if deep else self.mode)  # type: ignore[arg-type]
        return -1, 0


def _read_levels(file: Any, count: int, white: int) -> NDArray[Any]:
    dtype = np.dtype("u1" if white < 256 else ">u2")
    content = file.read(count * dtype.itemsize)
    if len(content) < count * dtype.itemsize:
        raise ValueError("image file is truncated")
    return np.frombuffer(content, dtype)
