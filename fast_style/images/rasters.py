"""Pictures on disk, of which only parts are in memory."""

import errno
import math
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

# The pixels that are in memory at a time where rows are all that matters.
_STRIP = 2**20


def scratch_folder() -> str:
    """Return where large files lie as long as the program runs: in the environment's TMPDIR, or in /var/tmp."""
    # Not in /tmp, if there is another: it may itself be in memory.
    usual = "/var/tmp" if os.access("/var/tmp", os.W_OK) else tempfile.gettempdir()
    return os.environ.get("TMPDIR") or usual


class Raster:
    """A picture on disk, written and read in parts, in a file that nobody else sees and that ends with the program.

    The file lies in the `scratch_folder`.

    Args:
        size: width and height in pixels.
        channels: 3 for colours, 1 for opacity.
        dtype: np.uint8 or np.uint16, whose largest value is white.

    Raises:
        ImageError: if the disk has no room for it.
    """

    def __init__(self, size: tuple[int, int], channels: int = 3, dtype: Any = np.uint8) -> None:
        self.size, self.channels, self.dtype = size, channels, np.dtype(dtype)
        self.white = int(np.iinfo(self.dtype).max)
        self._pixel = channels * self.dtype.itemsize
        total = self._pixel * size[0] * size[1]
        try:
            self._file: Any = tempfile.TemporaryFile(buffering=0, dir=scratch_folder())  # noqa: SIM115  # as long as this
            weakref.finalize(self, self._file.close)
            # At once, not after minutes.
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(self._file.fileno(), 0, total)
        except OSError as error:
            raise ImageError(
                f"{scratch_folder()}: no room for {total / 1e9:.1f} GB ({error.strerror}); "
                "set TMPDIR to a folder that has it"
            ) from None

    @classmethod
    def of(cls, image: Image.Image) -> "Raster":
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

    def sampled(self, size: tuple[int, int]) -> NDArray[Any]:
        """Return the pixels nearest to those of a smaller size, of shape (height, width, channels)."""
        columns, rows = (
            ((np.arange(few) + 0.5) * length / few).astype(int) for few, length in zip(size, self.size, strict=True)
        )
        return np.stack([self.read((0, row, self.size[0], row + 1))[0, columns] for row in rows.tolist()])

    def resized(self, size: tuple[int, int]) -> "Raster":
        """Return the picture at another size, as Pillow's Lanczos filter makes it."""
        made = Raster(size, self.channels, self.dtype)
        scale = self.size[1] / size[1]
        # As far as the filter reaches, and a row more.
        reach = math.ceil(3 * max(1, scale)) + 1
        for top, bottom in made.strips():
            first = max(0, math.floor(top * scale) - reach)
            last = min(self.size[1], math.ceil(bottom * scale) + reach)
            box = (0, top * scale - first, self.size[0], min(bottom * scale, self.size[1]) - first)
            planes = [
                # Pillow has filters for 8 bits and for floats.
                Image.fromarray(plane if self.white == 255 else plane.astype(np.float32)).resize(
                    (size[0], bottom - top), Image.Resampling.LANCZOS, box
                )
                for plane in np.moveaxis(self.read((0, first, self.size[0], last)), 2, 0)
            ]
            levels = np.stack([np.asarray(plane) for plane in planes], axis=2)
            made.write(0, top, levels if self.white == 255 else levels.round().clip(0, self.white))
        return made

    def _pieces(self, left: int, top: int, part: NDArray[Any]) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield what lies in one piece on disk, with its place there."""
        width = self.size[0]
        if part.shape[1] == width:
            yield self._pixel * top * width, part
            return
        for row, pixels in enumerate(part, top):
            yield self._pixel * (row * width + left), pixels
