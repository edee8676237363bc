"""Images on disk that are read and written in parts."""

import errno
import os
import tempfile
import weakref
from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fast_style.errors import ImageError
from fast_style.images.levels import to_8_bits

#: Left, top, right and bottom in pixels, as in Pillow.
Box: TypeAlias = tuple[int, int, int, int]

# Pixels in memory at a time, for strips of rows; and for strips of columns, which need many more reads.
_STRIP = 2**20
_COLUMNS = 2**22


def scratch_folder() -> str:
    """Folder for large temporary files: TMPDIR if set, or else /var/tmp."""
    # /var/tmp rather than /tmp, which may be in memory.
    usual = "/var/tmp" if os.access("/var/tmp", os.W_OK) else tempfile.gettempdir()
    return os.environ.get("TMPDIR") or usual


class DiskImage:
    """An image in an anonymous temporary file in `scratch_folder`, read and written in parts.

    The file is removed when the object or the program ends.

    Args:
        size: width and height in pixels.
        channels: 3 for colors, 1 for opacity.
        dtype: np.uint8 or np.uint16, white being the largest value; np.float32 for intermediate results.

    Raises:
        ImageError: if there is not enough disk space.
    """

    def __init__(self, size: tuple[int, int], channels: int = 3, dtype: Any = np.uint8) -> None:
        self.size, self.channels, self.dtype = size, channels, np.dtype(dtype)
        self.white = int(np.iinfo(self.dtype).max) if self.dtype.kind == "u" else 1
        self._pixel_bytes = channels * self.dtype.itemsize
        total = self._pixel_bytes * size[0] * size[1]
        try:
            self._file: Any = tempfile.TemporaryFile(buffering=0, dir=scratch_folder())  # noqa: SIM115  # as long as this
            weakref.finalize(self, self._file.close)
            # Allocated now, to fail at once rather than after minutes.
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(self._file.fileno(), 0, total)
        except OSError as error:
            closed = isinstance(error, FileNotFoundError | PermissionError)
            wrong = "nothing can be written there" if closed else f"no room for {total / 1e9:.1f} GB"
            remedy = "set TMPDIR to a folder that has room"
            raise ImageError(f"{scratch_folder()}: {wrong} ({error.strerror}); {remedy}") from None

    @classmethod
    def of(cls, image: Image.Image) -> "DiskImage":
        """Write an image of mode RGB or L to disk."""
        raster = cls(image.size, len(image.getbands()))
        for top, bottom in raster.strips():
            raster.write(0, top, np.asarray(image.crop((0, top, image.width, bottom))))
        return raster

    def image(self) -> Image.Image:
        """Load the image into memory, in mode RGB or L; 16 bits are rounded to 8."""
        image = Image.new("L" if self.channels == 1 else "RGB", self.size)
        for top, bottom in self.strips():
            image.paste(Image.fromarray(self.bytes(top, bottom)), (0, top))
        return image

    def strips(self, pixels: int = _STRIP) -> Iterator[tuple[int, int]]:
        """Yield the first row and the end of strips that cover the image."""
        width, height = self.size
        step = max(1, pixels // width)
        for top in range(0, height, step):
            yield top, min(top + step, height)

    def bytes(self, top: int, bottom: int) -> NDArray[np.uint8]:
        """Read rows as 8 bits, rounded, of shape (rows, width, 3) or, for one channel, (rows, width)."""
        part = self.read((0, top, self.size[0], bottom))
        part = part if self.channels > 1 else part[:, :, 0]
        return part if self.white == 255 else to_8_bits(part)

    def read(self, box: Box) -> NDArray[Any]:
        """Read a part, of shape (height, width, channels)."""
        left, top, right, bottom = box
        part = np.empty((bottom - top, right - left, self.channels), self.dtype)
        for place, rows in self._pieces(left, top, part):
            self._file.seek(place)
            if self._file.readinto(rows) != rows.nbytes:
                raise ImageError(f"{scratch_folder()}: cannot be read (a file is shorter than it was); start again")
        return part

    def write(self, left: int, top: int, part: NDArray[Any]) -> None:
        """Write a part, of shape (height, width, channels) or, for one channel, (height, width).

        Raises:
            ImageError: if the disk is full or cannot be written.
        """
        part = np.ascontiguousarray(part, self.dtype).reshape(*part.shape[:2], self.channels)
        try:
            for place, rows in self._pieces(left, top, part):
                self._file.seek(place)
                if self._file.write(rows) != rows.nbytes:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            raise ImageError(f"{scratch_folder()}: cannot be written ({error.strerror}); make room there") from None

    def resized(self, size: tuple[int, int]) -> "DiskImage":
        """Resize with a Lanczos filter; the result is bit-identical to Pillow's."""
        width, height = size
        # Horizontally, then vertically, as Pillow does, in strips that are complete along the filtered axis. Otherwise
        # single pixels round to a neighboring level, which the network amplifies to about twenty levels.
        horizontal = DiskImage((width, self.size[1]), self.channels, np.uint8 if self.white == 255 else np.float32)
        for top, bottom in self.strips(_STRIP * self.size[0] // max(width, self.size[0])):
            horizontal.write(0, top, _lanczos(self.read((0, top, self.size[0], bottom)), (width, bottom - top)))
        result = DiskImage(size, self.channels, self.dtype)
        step = max(1, _COLUMNS // max(height, self.size[1]))
        for left in range(0, width, step):
            right = min(left + step, width)
            levels = _lanczos(horizontal.read((left, 0, right, self.size[1])), (right - left, height))
            result.write(left, 0, levels if self.white == 255 else levels.round().clip(0, self.white))
        return result

    def _pieces(self, left: int, top: int, part: NDArray[Any]) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield the contiguous pieces of a part with their file offsets."""
        width = self.size[0]
        if part.shape[1] == width:
            yield self._pixel_bytes * top * width, part
            return
        for row, pixels in enumerate(part, top):
            yield self._pixel_bytes * (row * width + left), pixels


def _lanczos(part: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """Resize a part, of shape (height, width, channels); uint8 stays uint8, others become float32."""
    # Pillow filters 8 bits and floats only.
    planes = np.moveaxis(part if part.dtype == np.uint8 else part.astype(np.float32), 2, 0)
    return np.stack([np.asarray(Image.fromarray(p).resize(size, Image.Resampling.LANCZOS)) for p in planes], axis=2)
