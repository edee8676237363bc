"""Pictures that may be too large for the memory there is: whole if they fit, else in tiles."""

import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fast_style.backends.backend import SMALLEST, Array, Backend
from fast_style.errors import ConfigError, ImageError, require_choice
from fast_style.images.deep import Deep
from fast_style.images.formats import DEEP, FORMATS
from fast_style.images.large import DECODED_BYTES, DEEP_BYTES, open_large, picture_size
from fast_style.images.picture import require_folder, write_image
from fast_style.images.rasters import Raster
from fast_style.images.upright import resized_to
from fast_style.stylizing.contrast import calmed, calmed_parts
from fast_style.stylizing.controls import Controls
from fast_style.stylizing.strips import (
    BYTES_OF_NUMBERS,
    bytes_beside,
    finished_in_strips,
    is_plain,
    resized_part,
    to_levels,
)
from fast_style.stylizing.tile_progress import shown
from fast_style.system.memory import free_memory, is_out_of_memory, parse_memory

if TYPE_CHECKING:
    from fast_style.backends.tiles import Read, Write
    from fast_style.images.rasters import Box

#: How the statistics of a picture in tiles are found: as they are, in three to five passes, or about so, in two.
TILES = ("exact", "fast")

#: The sides of tiles, in pixels. Above the largest, memory takes longer to get than margins to compute.
SMALLEST_SIDE, LARGEST_SIDE = 256, 1152
_LARGEST_SIDE_ON_GPU = 4096
#: The pixels of the squares that the statistics are guessed from. Above the largest, they take too long.
LARGEST_SAMPLE = 2**22
# Smaller pictures are not weighed if nobody has set a limit.
_SMALL = 2**20
# Of a forward pass, what comes to the memory of its tensors: libraries, their buffers, and what malloc keeps.
_BESIDES = 250e6
_PART_OF_FREE = 0.8
_log = logging.getLogger(__name__)


class Giants:
    """A backend, for pictures of any size.

    Args:
        backend: what computes the network.
        memory: the most that this process is to have in memory, or on a GPU there, in bytes or such as "2GB"; nothing:
            most of what is free.
        tiles: one of TILES.

    Raises:
        ConfigError: if `memory` is no size, or the backend cannot keep to it.
    """

    def __init__(self, backend: Backend, memory: str | int | None = None, tiles: str = "exact") -> None:
        require_choice("tiles", tiles, TILES)
        self.memory = None if memory is None else parse_memory(memory)
        if memory is not None and not backend.bytes_per_pixel():
            raise ConfigError(
                "memory needs backend=torch or compile, because no other makes a picture in tiles; leave it out"
            )
        self.backend = backend
        self.tiles = tiles

    def fits(self, pixels: int, beside: float = 0) -> bool:
        """Return whether pictures of so many pixels together can be made whole, with `beside` bytes for each pixel."""
        if self.memory is None and pixels <= _SMALL:
            return True
        per_pixel = self.backend.bytes_per_pixel()
        return not per_pixel or pixels * (per_pixel + beside) <= self._room()

    def fits_with(self, pixels: int, controls: Controls) -> bool:
        """Return whether pictures of so many pixels together can be made whole with what `controls` add to it."""
        return self.fits(pixels, bytes_beside(controls, self.backend.bytes_per_pixel()))

    def __call__(self, images: Array, style: NDArray[np.float32]) -> Array:
        """Stylize each picture by its row of style weights, into a new array. See Backend.

        Raises:
            ImageError: if there is not enough memory even for tiles, or the backend makes none.
        """
        batch, _, height, width = images.shape
        if self.fits(batch * height * width):
            try:
                return calmed(images, self.backend(images, style))
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
            # Not in the handler, which holds what the attempt had made.
            self._say(width, height, "does not fit into memory; going on in tiles")
        made = images * 0
        for index, row in enumerate(style):

            def read(box: "Box", index: int = index) -> Array:
                left, top, right, bottom = box
                return images[index : index + 1, :, top:bottom, left:right]

            def write(box: "Box", tile: Array, index: int = index) -> None:
                left, top, right, bottom = box
                made[index : index + 1, :, top:bottom, left:right] = tile

            self._in_tiles(read, write, (width, height), row)
        return made

    def picture(self, rgb: Image.Image, rows: Sequence[NDArray[np.float32]], controls: Controls) -> Image.Image:
        """Stylize one picture of mode RGB, in tiles and strips: no more of it becomes numbers at a time.

        Args:
            rgb: the picture.
            rows: the style weights that `controls` stand for.
            controls: what is asked for.

        Raises:
            ImageError: if there is not enough memory even for tiles, no room on disk, or the backend makes no tiles.
        """
        return self._stylized(Raster.of(rgb), rows, controls).image()

    def deep(self, deep: Deep, size: tuple[int, int], rows: Sequence[NDArray[np.float32]], controls: Controls) -> Deep:
        """Stylize one picture with 16 bits of each color, brought to a width and a height, as `picture` does."""
        raster = Raster((deep.shape[1], deep.shape[0]), dtype=np.uint16)
        raster.write(0, 0, deep)
        made = self._stylized(raster if size == raster.size else raster.resized(size), rows, controls)
        return made.read((0, 0, *size))

    def takes(self, path: Path, long_side: int | None, controls: Controls) -> bool:
        """Return whether the picture of a file, brought to a long side of so many pixels, is one for `file`."""
        found = picture_size(path)
        if found is None:
            return False
        width, height = found if long_side is None else resized_to(found, long_side)
        fits = self.fits(math.prod(found), DEEP_BYTES - self.backend.bytes_per_pixel())
        fits = fits and self.fits_with(width * height, controls)
        return not fits and min(width, height) >= SMALLEST * max(1, controls.brush)

    def file(
        self,
        source: Path,
        target: Path,
        rows: Sequence[NDArray[np.float32]],
        controls: Controls,
        long_side: int | None = None,
    ) -> None:
        """Stylize one file into another, from disk to disk: in memory are a tile or a strip, and what decodes a file.

        Args:
            source: the picture to read.
            target: the file to write; a suffix other than that of `source` changes the format.
            rows: as for `picture`.
            controls: likewise.
            long_side: of the output in pixels; nothing: that of the input.

        Raises:
            ImageError: as of `picture`, or if the files cannot be read or written.
        """
        require_folder(target)
        same = source.suffix.lower() == target.suffix.lower()
        format = FORMATS.get(target.suffix.lower())
        size = picture_size(source)
        try:
            if size and self.backend.on_processor:
                # The others are encoded as they are decoded, whole.
                copy = size if long_side is None or format in ("PNG", "TIFF") else resized_to(size, long_side)
                largest = max(size, copy, key=math.prod)
                self._require(math.prod(largest) * DECODED_BYTES, largest)
            found = open_large(source, same or format in DEEP, self._room() if self.memory else free_memory())
            if found.reduced:
                _log.warning("%s: no memory for 16 bits of each color; going on with 8", source)
            rgb, alpha = found.rgb, found.alpha
            if long_side is not None:
                size = resized_to(rgb.size, long_side)
                rgb, alpha = rgb.resized(size), alpha and alpha.resized(size)
            made = self._stylized(rgb, rows, controls)
        except ImageError as error:
            raise ImageError(f"{source}: {error}") from None
        write_image(made, target, alpha, found.format if same else None, found.kept)

    def _stylized(self, photograph: Raster, rows: Sequence[NDArray[np.float32]], controls: Controls) -> Raster:
        masks = [controls.mask, *(controls.masks or {}).values()]
        dark = [isinstance(mask, Image.Image) and mask.getbbox() is None for mask in masks]
        if not controls.strength or dark[0] or (controls.masks and all(dark[1:])):
            return photograph
        # What shows nowhere is not made.
        each = zip(rows, dark[1:] or [False], strict=True)
        made = [photograph if black else self._painted(photograph, row, controls) for row, black in each]
        if is_plain(controls) and made[0].size == photograph.size:
            return made[0]
        return finished_in_strips(photograph, made, controls, self.backend)

    def _painted(self, photograph: Raster, row: NDArray[np.float32], controls: Controls) -> Raster:
        width, height = (max(1, round(side / controls.brush)) for side in photograph.size)
        # Not rounded to 256 levels where that would be amplified.
        fine = controls.sharpen or controls.preserve_color == "histogram"
        made = Raster((width, height), dtype=np.uint16 if fine else photograph.dtype)

        def write(box: "Box", tile: Array) -> None:
            made.write(*box[:2], to_levels(tile.clip(0, 1), made, self.backend))

        self._in_tiles(lambda box: resized_part(photograph, made.size, box, self.backend), write, made.size, row)
        return made

    def _in_tiles(self, read: "Read", write: "Write", size: tuple[int, int], row: NDArray[np.float32]) -> None:
        tiled = self.backend.tiled()
        if tiled is None:
            raise ImageError(
                f"{size[0]}x{size[1]} pixels do not fit into memory; backend=torch makes such a picture in tiles"
            )
        largest = LARGEST_SIDE if self.backend.on_processor else _LARGEST_SIDE_ON_GPU
        per_pixel = self.backend.bytes_per_pixel() + BYTES_OF_NUMBERS
        room = max(0.0, self._room()) / per_pixel
        side = max(SMALLEST_SIDE, int(min(largest, math.sqrt(room))))
        pixels = max(side * side, int(min(LARGEST_SAMPLE, room)))
        self._require(SMALLEST_SIDE**2 * per_pixel, size)
        write = calmed_parts(read, write, size)
        while True:
            try:
                with shown() as progress:
                    exact = self.tiles == "exact"
                    tiled(read, write, size, row, side=side, pixels=pixels, exact=exact, progress=progress)
                return
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
            if side == SMALLEST_SIDE:
                raise ImageError(f"{size[0]}x{size[1]} pixels do not fit into memory, not even in tiles")
            side = max(side // 2, SMALLEST_SIDE)
            pixels = side * side
            self._say(*size, f"does not fit into memory; again in tiles of {side}x{side}")

    def _require(self, room: float, size: tuple[int, int]) -> None:
        least = self.backend.used_and_free()[0] + _BESIDES + room
        if self.memory is not None and self.memory < least:
            given = f"{self.memory / 1e9:g} GB" if self.memory >= 1e6 else f"{self.memory:,} bytes"
            raise ImageError(
                f"memory must be at least {math.ceil(least / 1e8) / 10} GB for {size[0]}x{size[1]} pixels, not {given}"
            )

    def _room(self) -> float:
        """Return how many bytes are left for what is computed."""
        used, free = self.backend.used_and_free()
        return (_PART_OF_FREE * free if self.memory is None else min(self.memory - used, free)) - _BESIDES

    @staticmethod
    def _say(width: int, height: int, what: str) -> None:
        _log.info("%sx%s pixels: %s", width, height, what)
