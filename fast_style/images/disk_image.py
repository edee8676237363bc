"""Pictures on disk, of which only parts are in memory."""

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

#: Left, top, right and bottom in pixels, as Pillow has it.
Box: TypeAlias = tuple[int, int, int, int]

# The pixels that are in memory at a time where rows are all that matters, and where columns are, which are many reads.
_STRIP = 2**20
_COLUMNS = 2**22


def scratch_folder() -> str:
    """Return where large files lie as long as the program runs: in the environment's TMPDIR, or in /var/tmp."""
    # Not in /tmp, if there is another: it may itself be in memory.
    usual = "/var/tmp" if os.access("/var/tmp", os.W_OK) else tempfile.gettempdir()
    return os.environ.get("TMPDIR") or usual


class DiskImage:
    """A picture on disk, written and read in parts, in a file that nobody else sees and that ends with the program.

    The file lies in the `scratch_folder`.

    Args:
        size: width and height in pixels.
        channels: 3 for colors, 1 for opacity.
        dtype: np.uint8 or np.uint16, whose largest value is white; np.float32 for what is neither yet.

    Raises:
        ImageError: if the disk has no room for it.
    """

    def __init__(self, size: tuple[int, int], channels: int = 3, dtype: Any = np.uint8) -> None:
        self.size, self.channels, self.dtype = size, channels, np.dtype(dtype)
        self.white = int(np.iinfo(self.dtype).max) if self.dtype.kind == "u" else 1
        self._pixel = channels * self.dtype.itemsize
        total = self._pixel * size[0] * size[1]
        try:
            self._file: Any = tempfile.TemporaryFile(buffering=0, dir=scratch_folder())  # noqa: SIM115  # as long as this
            weakref.finalize(self, self._file.close)
            # At once, not after minutes.
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(self._file.fileno(), 0, total)
        except OSError as error:
            closed = isinstance(error, FileNotFoundError | PermissionError)
            wrong = "nothing can be written there" if closed else f"no room for {total / 1e9:.1f} GB"
            raise ImageError(
                f"{scratch_folder()}: {wrong} ({error.strerror}); set TMPDIR to a folder that has room"
            ) from None

    @classmethod
    def of(cls, image: Image.Image) -> "DiskImage":
        """Put an image of mode RGB or L on disk."""
        raster = cls(image.size, len(image.getbands()))
        for top, bottom in raster.strips():
            raster.write(0, top, np.asarray(image.crop((0, top, image.width, bottom))))
        return raster

    def image(self) -> Image.Image:
        """Return the picture in memory, in mode RGB or L, with the upper 8 bits of 16."""
        image = Image.new("L" if self.channels == 1 else "RGB", self.size)
        for top, bottom in self.strips():
            image.paste(Image.fromarray(self.bytes(top, bottom)), (0, top))
        return image

    def strips(self, pixels: int = _STRIP) -> Iterator[tuple[int, int]]:
        """Yield the first row of each of the strips that make the picture, and the one behind its last."""
        width, height = self.size
        step = max(1, pixels // width)
        for top in range(0, height, step):
            yield top, min(top + step, height)

    def bytes(self, top: int, bottom: int) -> NDArray[np.uint8]:
        """Return rows with 8 bits a level, rounded, of shape (rows, width, 3) or, with one channel, (rows, width)."""
        part = self.read((0, top, self.size[0], bottom))
        part = part if self.channels > 1 else part[:, :, 0]
        # 65535 / 257 = 255.
        return part if self.white == 255 else ((part.astype(np.uint32) + 128) // 257).astype(np.uint8)

    def read(self, box: Box) -> NDArray[Any]:
        """Return a part, of shape (height, width, channels)."""
        left, top, right, bottom = box
        part = np.empty((bottom - top, right - left, self.channels), self.dtype)
        for place, rows in self._pieces(left, top, part):
            self._file.seek(place)
            if self._file.readinto(rows) != rows.nbytes:
                raise ImageError(f"{scratch_folder()}: cannot be read (a file is shorter than it was)")
        return part

    def write(self, left: int, top: int, part: NDArray[Any]) -> None:
        """Put a part, of shape (height, width, channels) or, of one channel, (height, width), in its place.

        Raises:
            ImageError: if the disk is full, or the like.
        """
        part = np.ascontiguousarray(part, self.dtype).reshape(*part.shape[:2], self.channels)
        try:
            for place, rows in self._pieces(left, top, part):
                self._file.seek(place)
                if self._file.write(rows) != rows.nbytes:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            raise ImageError(f"{scratch_folder()}: cannot be written ({error.strerror})") from None

    def resized(self, size: tuple[int, int]) -> "DiskImage":
        """Return the picture at another size, to the last bit as Pillow's Lanczos filter makes it."""
        width, height = size
        # Across and then down, as Pillow does it, and in parts that are whole along the way: in others, a pixel here
        # and there would be rounded to the next level, of which the network makes twenty.
        wide = DiskImage((width, self.size[1]), self.channels, np.uint8 if self.white == 255 else np.float32)
        for top, bottom in self.strips(_STRIP * self.size[0] // max(width, self.size[0])):
            wide.write(0, top, _resized(self.read((0, top, self.size[0], bottom)), (width, bottom - top)))
        made = DiskImage(size, self.channels, self.dtype)
        step = max(1, _COLUMNS // max(height, self.size[1]))
        for left in range(0, width, step):
            right = min(left + step, width)
            levels = _resized(wide.read((left, 0, right, self.size[1])), (right - left, height))
            made.write(left, 0, levels if self.white == 255 else levels.round().clip(0, self.white))
        return made

    def _pieces(self, left: int, top: int, part: NDArray[Any]) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield what lies in one piece on disk, with its place there."""
        width = self.size[0]
        if part.shape[1] == width:
            yield self._pixel * top * width, part
            return
        for row, pixels in enumerate(part, top):
            yield self._pixel * (row * width + left), pixels


def _resized(part: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """Return a part, of shape (height, width, channels), at another width and height: bytes, or else floats."""
    # Pillow has filters for 8 bits and for floats.
    planes = np.moveaxis(part if part.dtype == np.uint8 else part.astype(np.float32), 2, 0)
    return np.stack([np.asarray(Image.fromarray(p).resize(size, Image.Resampling.LANCZOS)) for p in planes], axis=2)
