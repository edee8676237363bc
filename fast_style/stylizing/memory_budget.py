"""What fits into memory whole: pictures that do not are made in tiles."""

import math
from pathlib import Path

from fast_style.backends.backend import SMALLEST, Backend
from fast_style.errors import ConfigError, ImageError
from fast_style.images.opening import DEEP_BYTES, picture_size
from fast_style.images.upright import resized_to
from fast_style.stylizing.controls import Controls
from fast_style.system.memory import parse_memory

#: How the statistics of a picture in tiles are found: as they are, in three to five passes, or about so, in two.
TILES = ("exact", "fast")

#: Of each pixel of a picture as numbers: in float32, and as bytes.
BYTES_OF_NUMBERS = 15
# Of each pixel of a picture to which all effects are applied whole.
_BYTES_OF_EFFECTS = 130
# Smaller pictures are not weighed if nobody has set a limit.
_SMALL = 2**20
# Of a forward pass, what comes to the memory of its tensors: libraries, their buffers, and what malloc keeps.
_BESIDES = 250e6
_PART_OF_FREE = 0.8


class MemoryBudget:
    """The memory that a backend may take for pictures.

    Args:
        backend: what computes the network.
        memory: the most that this process is to have in memory, or on a GPU there, in bytes or such as "2GB"; nothing:
            most of what is free.

    Attributes:
        limit: `memory` in bytes, or None.

    Raises:
        ConfigError: if `memory` is no size, or the backend cannot keep to it.
    """

    def __init__(self, backend: Backend, memory: str | int | None = None) -> None:
        self.limit = None if memory is None else parse_memory(memory)
        if memory is not None and not backend.bytes_per_pixel():
            raise ConfigError(
                "memory needs backend=torch or compile, because no other makes a picture in tiles; leave it out"
            )
        self._backend = backend

    def fits(self, pixels: int, beside: float = 0) -> bool:
        """Return whether pictures of so many pixels together can be made whole, with `beside` bytes for each pixel."""
        if self.limit is None and pixels <= _SMALL:
            return True
        per_pixel = self._backend.bytes_per_pixel()
        return not per_pixel or pixels * (per_pixel + beside) <= self.left()

    def fits_with(self, pixels: int, controls: Controls) -> bool:
        """Return whether pictures of so many pixels together can be made whole with what `controls` add to it."""
        return self.fits(pixels, _bytes_beside(controls, self._backend.bytes_per_pixel()))

    def fits_file(self, path: Path, long_side: int | None, controls: Controls) -> bool:
        """Return whether the picture of a file, brought to a long side of so many pixels, can be read and made whole.

        So is one that is too narrow for tiles, or that cannot be read.
        """
        found = picture_size(path)
        if found is None:
            return True
        width, height = found if long_side is None else resized_to(found, long_side)
        fits = self.fits(math.prod(found), DEEP_BYTES - self._backend.bytes_per_pixel())
        return (fits and self.fits_with(width * height, controls)) or not can_be_tiled((width, height), controls)

    def left(self) -> float:
        """Return how many bytes are left for what is computed."""
        used, free = self._backend.used_and_free()
        return (_PART_OF_FREE * free if self.limit is None else min(self.limit - used, free)) - _BESIDES

    def require(self, room: float, size: tuple[int, int]) -> None:
        """Make sure that the limit leaves room for so many bytes, which a picture of this size takes at the least.

        Raises:
            ImageError: if it does not.
        """
        least = self._backend.used_and_free()[0] + _BESIDES + room
        if self.limit is not None and self.limit < least:
            given = f"{self.limit / 1e9:g} GB" if self.limit >= 1e6 else f"{self.limit:,} bytes"
            raise ImageError(
                f"memory must be at least {math.ceil(least / 1e8) / 10} GB for {size[0]}x{size[1]} pixels, not {given}"
            )


def can_be_tiled(size: tuple[int, int], controls: Controls) -> bool:
    """Return whether a picture is wide and high enough for tiles, as the network sees it."""
    return min(size) >= SMALLEST * max(1, controls.brush)


def _bytes_beside(controls: Controls, per_pixel: float) -> float:
    """Return how many bytes each pixel of a picture takes that is made whole, beside `per_pixel` for the network."""
    # Two styles at a time, and of each mask a float as it is and one as its share.
    masks = 12 + 8 * len(controls.masks) if controls.masks else 0
    seen = (per_pixel + BYTES_OF_NUMBERS + masks) / min(1, controls.brush) ** 2
    return max(seen, 0 if controls.without_effects else _BYTES_OF_EFFECTS) - per_pixel
