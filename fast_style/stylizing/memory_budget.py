"""Memory budget: decides which images are stylized whole; the others are stylized in tiles."""

import math
from pathlib import Path

from fast_style.backends.backend import SMALLEST, Backend
from fast_style.errors import ConfigError, ImageError
from fast_style.images.opening import DEEP_BYTES, picture_size
from fast_style.images.upright import resized_to
from fast_style.stylizing.controls import Controls
from fast_style.system.memory import parse_memory

#: How the statistics of a tiled image are found: exactly, in three to five passes, or approximately, in two.
TILES = ("exact", "fast")

#: Bytes per pixel: 12 for float32 RGB, 3 for uint8 RGB.
BYTES_OF_NUMBERS = 15
# Bytes per pixel if all effects are applied to a whole image.
_BYTES_OF_EFFECTS = 130
# Up to this many pixels, no check is made unless the user sets a limit.
_SMALL = 2**20
# Bytes of a forward pass besides tensors: libraries, their buffers, and memory kept by malloc.
_OVERHEAD = 250e6
_FREE_FRACTION = 0.8


class MemoryBudget:
    """The memory that a backend may use for images.

    `memory` limits this process, or on a GPU its memory there, in bytes (`limit`) or as text such as "2GB"; None: most
    of the free memory. ConfigError if it is not a size, or the backend cannot obey it.
    """

    def __init__(self, backend: Backend, memory: str | int | None = None) -> None:
        self.limit = None if memory is None else parse_memory(memory)
        if memory is not None and not backend.bytes_per_pixel():
            raise ConfigError(
                "memory needs backend=torch or compile, because no other makes a picture in tiles; leave it out"
            )
        self._backend = backend

    def fits(self, pixels: int, beside: float = 0) -> bool:
        """Whether images of this many pixels in total can be stylized whole, with `beside` more bytes per pixel."""
        if self.limit is None and pixels <= _SMALL:
            return True
        per_pixel = self._backend.bytes_per_pixel()
        return not per_pixel or pixels * (per_pixel + beside) <= self.left()

    def fits_with(self, pixels: int, controls: Controls) -> bool:
        """Whether images of this many pixels in total can be stylized whole with these controls."""
        per_pixel = self._backend.bytes_per_pixel()
        # Two styles at a time, and two floats for each mask: its value and its share.
        masks = 12 + 8 * len(controls.masks) if controls.masks else 0
        network_bytes = (per_pixel + BYTES_OF_NUMBERS + masks) / min(1, controls.brush) ** 2
        return self.fits(pixels, max(network_bytes, 0 if controls.without_effects else _BYTES_OF_EFFECTS) - per_pixel)

    def fits_file(self, path: Path, long_side: int | None, controls: Controls) -> bool:
        """Whether the image in a file, resized to a long side in pixels, can be read and stylized whole.

        Also true if the image is too narrow for tiles, or cannot be read.
        """
        stored = picture_size(path)
        if stored is None:
            return True
        width, height = stored if long_side is None else resized_to(stored, long_side)
        fits = self.fits(math.prod(stored), DEEP_BYTES - self._backend.bytes_per_pixel())
        return (fits and self.fits_with(width * height, controls)) or not can_be_tiled((width, height), controls)

    def left(self) -> float:
        """Bytes left for computing."""
        used, free = self._backend.used_and_free()
        return (_FREE_FRACTION * free if self.limit is None else min(self.limit - used, free)) - _OVERHEAD

    def require(self, room: float, size: tuple[int, int]) -> None:
        """Check that the limit leaves `room` bytes, the minimum for an image of this size.

        Raises:
            ImageError: if it does not.
        """
        needed = self._backend.used_and_free()[0] + _OVERHEAD + room
        if self.limit is not None and self.limit < needed:
            limit = f"{self.limit / 1e9:g} GB" if self.limit >= 1e6 else f"{self.limit:,} bytes"
            raise ImageError(
                f"memory must be at least {math.ceil(needed / 1e8) / 10} GB for {size[0]}x{size[1]} pixels, not {limit}"
            )


def can_be_tiled(size: tuple[int, int], controls: Controls) -> bool:
    """Whether an image is large enough for tiles at the size that the network sees."""
    return min(size) >= SMALLEST * max(1, controls.brush)
