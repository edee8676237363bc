"""Images as uncompressed pixels in one .npz: training crops are read in place, without decoding.

An .npz is a zip of NumPy arrays: `numpy.load` and any unzip program read it, and it cannot carry code. Here each array
is an image of shape (height, width, 3), uint8, stored uncompressed with a checksum.

The file is not memory-mapped: a process that maps a file is killed when the file is truncated.
"""

import io
import math
import os
import re
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fast_style.archives import Archive, ZipArchive, open_archive
from fast_style.errors import DataError, ImageError
from fast_style.system.files import BinaryFile
from fast_style.system.input_limits import MAX_PIXELS, open_regular_file
from fast_style.system.text import printable, reason_of

Pixels: TypeAlias = NDArray[np.uint8]

SUFFIX = ".npz"
_HEADER = re.compile(
    rb"\{'descr': '\|u1', 'fortran_order': False, 'shape': \(([1-9]\d{0,8}), ([1-9]\d{0,8}), 3\),? ?\}\s*"
)
_MAX_HEADER = 1024  # bytes; NumPy writes 118
_NOTE = "Pictures for random crops of {} pixels, by fast_style"


class PixelArchive:
    """The pictures of an .npz.

    Attributes:
        crop_size: side in pixels of the crops that the pictures were packed for; None: not stated.
    """

    def __init__(self, path: str | Path) -> None:
        """List the pictures.

        Raises:
            DataError: if the file is missing, damaged or not a zip.
        """
        self.path = Path(path)
        self._opened: tuple[int, io.BufferedReader] | None = None
        files = open_archive(path)
        if not isinstance(files, ZipArchive):
            raise DataError(f"{printable(str(path))}: no .npz, whatever its name says; give one that pack has written")
        self._zip, self._places = files, files.places()
        comment = re.fullmatch(re.escape(_NOTE).replace(r"\{\}", r"(\d{1,9})"), files.comment.decode("latin-1"))
        self.crop_size = int(comment[1]) if comment else None

    @property
    def refused(self) -> Mapping[str, str]:
        """Files that are never read: name to reason."""
        return self._zip.refused

    def names(self) -> Iterable[str]:
        """Return the name of each file."""
        return self._zip.names()

    def open(self, name: str) -> BinaryFile:
        """Open a file for sequential reading; its checksum is compared at the end.

        Raises:
            ImageError: if the file is refused, missing or unreadable.
        """
        return self._zip.open(name)

    def cut(self, name: str, size: int, left: float, top: float) -> Pixels:
        """Return a square crop of a picture, without checking the checksum.

        Args:
            name: the picture.
            size: side of the crop in pixels.
            left: horizontal position in [0, 1), from the left edge to the right.
            top: vertical position in [0, 1), from the top edge to the bottom.

        Returns:
            Shape (size, size, 3).

        Raises:
            ImageError: if the crop cannot be read, or the picture is smaller.
        """
        try:
            begin, length = self._places[name]
            file = self._file()
            begin, height, width = _find_pixels(file, begin, length)
            if min(height, width) < size:
                raise ValueError(f"{width}x{height} pixels, too few for crops of {size}")
            x, y = int(left * (width - size + 1)), int(top * (height - size + 1))
            # Whole rows at once: one read is faster than one per row.
            rows = np.empty((size, width, 3), np.uint8)
            file.seek(begin + 3 * y * width)
            if file.readinto(rows.data) != rows.size:
                raise ValueError("the archive ends within it")
            return rows[:, x : x + size]
        except KeyError:
            reason = "compressed, and pixels are read in place; numpy.savez stores them as they are"
        except (OSError, ValueError) as error:
            reason = reason_of(error)
        raise ImageError(f"{printable(name)}: {reason}")

    def _file(self) -> io.BufferedReader:
        # Each process opens its own file: forked processes would share the position.
        if self._opened is None or self._opened[0] != os.getpid():
            self._close()
            self._opened = os.getpid(), open_regular_file(self.path, math.inf)
        return self._opened[1]

    def _close(self) -> None:
        if self._opened is not None:
            self._opened[1].close()

    __del__ = _close

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": None}


def open_images(path: str | Path) -> Archive:
    """List the files of a folder or an archive; the suffix .npz selects `PixelArchive`.

    Raises:
        DataError: if the path is missing, damaged, or compressed as a whole.
    """
    return PixelArchive(path) if Path(path).suffix.lower() == SUFFIX else open_archive(path)


def to_npy(image: Image.Image) -> bytes:
    """Return a picture of mode RGB as the content of an .npy file."""
    file = io.BytesIO()
    np.save(file, np.asarray(image))
    return file.getvalue()


def size_of_npy(content: bytes, name: str) -> tuple[int, int]:
    """Return the width and the height of the picture in an .npy file.

    Args:
        content: the content of the file.
        name: name for messages.

    Raises:
        ImageError: if it holds no picture.
    """
    try:
        _, height, width = _read_header(io.BytesIO(content), len(content))
    except ValueError as error:
        raise ImageError(f"{name}: {error}") from error
    return width, height


def crop_size_note(size: int) -> bytes:
    """Return the zip comment for an archive of pictures packed for crops of this size."""
    return _NOTE.format(size).encode()


def _find_pixels(file: io.BufferedReader, begin: int, length: int) -> tuple[int, int, int]:
    """Return the offset of a zip member's pixels in the file, and its height and width."""
    file.seek(begin)
    head = file.read(30)
    if len(head) < 30 or not head.startswith(b"PK\x03\x04"):
        raise ValueError("the archive's index leads astray")
    begin += 30 + sum(struct.unpack("<HH", head[26:]))
    file.seek(begin)
    offset, height, width = _read_header(file, length)
    return begin + offset, height, width


def _read_header(file: BinaryFile, length: int) -> tuple[int, int, int]:
    """Return the offset of the pixels in an .npy file of `length` bytes, and its height and width."""
    start = file.read(10)
    if len(start) < 10 or not start.startswith(b"\x93NUMPY\x01\x00"):
        raise ValueError("not the start of a NumPy array")
    count = int.from_bytes(start[8:], "little")
    shape = _HEADER.fullmatch(file.read(count)) if count <= _MAX_HEADER else None
    if shape is None:
        raise ValueError("no picture: not an array of shape (height, width, 3) of bytes")
    height, width = int(shape[1]), int(shape[2])
    if height * width > MAX_PIXELS:
        raise ValueError(f"over {MAX_PIXELS:,} pixels")
    if 10 + count + 3 * height * width != length:
        raise ValueError(f"{length:,} bytes, which cannot be {width}x{height} pixels")
    return 10 + count, height, width
