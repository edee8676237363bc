"""Stylizes images that do not fit into memory: the network in tiles, effects in strips."""

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fast_style.backends.backend import Array, Backend
from fast_style.errors import ImageError
from fast_style.images.deep import Deep
from fast_style.images.disk_image import Box, DiskImage
from fast_style.images.formats import DEEP, FORMATS
from fast_style.images.opening import DECODED_BYTES, picture_size
from fast_style.images.picture import open_on_disk, require_folder, write_image
from fast_style.images.upright import resized_to
from fast_style.stylizing.colors import Transfer, transfer_of_parts
from fast_style.stylizing.contrast import blend_parts_by_contrast
from fast_style.stylizing.controls import Controls
from fast_style.stylizing.effects import REACH, apply_effects
from fast_style.stylizing.memory_budget import BYTES_OF_NUMBERS, MemoryBudget
from fast_style.system.memory import free_memory, is_out_of_memory

if TYPE_CHECKING:
    from fast_style.backends.tiles import Progress, Read, Write

#: Sides of tiles in pixels. Above the maximum, allocating memory costs more time than smaller margins save.
SMALLEST_SIDE, LARGEST_SIDE = 256, 1152
_LARGEST_SIDE_ON_GPU = 4096
#: Maximum number of pixels in the sample from which statistics are estimated. More take too long.
LARGEST_SAMPLE = 2**22
# Pixels in a strip.
_STRIP = 2**20

_log = logging.getLogger(__name__)


class Tiling:
    """Applies a network to images of any size, in tiles.

    Args:
        backend: runs the network.
        budget: the memory limit.
        tiles: `exact`, in three to five passes, or `fast`, in two.
        progress: called after each tile with the number of the pass, the tiles done and the tiles in total.
    """

    def __init__(
        self, backend: Backend, budget: MemoryBudget, tiles: str = "exact", progress: "Progress | None" = None
    ) -> None:
        self.backend, self.budget, self.tiles = backend, budget, tiles
        self.progress: Callable[[int, int, int], None] = progress or (lambda number, done, total: None)

    def stylize_array(self, images: Array, style: NDArray[np.float32]) -> Array:
        """Stylize each image by its row of style weights, into a new array. See Backend.

        Raises:
            ImageError: if there is not enough memory even for tiles, or the backend does not support them.
        """
        height, width = images.shape[2:]
        result = images * 0
        for index, row in enumerate(style):

            def read(box: "Box", index: int = index) -> Array:
                left, top, right, bottom = box
                return images[index : index + 1, :, top:bottom, left:right]

            def write(box: "Box", tile: Array, index: int = index) -> None:
                left, top, right, bottom = box
                result[index : index + 1, :, top:bottom, left:right] = tile

            self._in_tiles(read, write, (width, height), row)
        return result

    def stylize_image(self, rgb: Image.Image, rows: Sequence[NDArray[np.float32]], controls: Controls) -> Image.Image:
        """Stylize a PIL image in mode RGB; only a tile or a strip is in floating point at a time.

        Args:
            rgb: the image.
            rows: the style weights, from `controls.rows`.
            controls: the settings.

        Raises:
            ImageError: if there is not enough memory even for tiles, the disk is full, or the backend does not support
                tiles.
        """
        return self._stylized(DiskImage.of(rgb), rows, controls).image()

    def stylize_deep(
        self, deep: Deep, size: tuple[int, int], rows: Sequence[NDArray[np.float32]], controls: Controls
    ) -> Deep:
        """Stylize an image of 16 bits per channel, resized to `size` (width, height), as `stylize_image` does."""
        raster = DiskImage((deep.shape[1], deep.shape[0]), dtype=np.uint16)
        raster.write(0, 0, deep)
        result = self._stylized(raster if size == raster.size else raster.resized(size), rows, controls)
        return result.read((0, 0, *size))

    def stylize_file(
        self,
        source: Path,
        target: Path,
        rows: Sequence[NDArray[np.float32]],
        controls: Controls,
        long_side: int | None = None,
    ) -> None:
        """Stylize a file from disk to disk; memory holds a tile or a strip, and the file while it is decoded.

        Args:
            source: the image to read.
            target: the file to write; another suffix than that of `source` changes the format.
            rows: as for `stylize_image`.
            controls: as for `stylize_image`.
            long_side: of the output in pixels; by default that of the input.

        Raises:
            ImageError: as for `stylize_image`, or if a file cannot be read or written.
        """
        require_folder(target)
        same = source.suffix.lower() == target.suffix.lower()
        format = FORMATS.get(target.suffix.lower())
        size = picture_size(source)
        try:
            if size and self.backend.on_processor:
                # Other formats than PNG and TIFF are encoded from a whole image in memory.
                copy = size if long_side is None or format in ("PNG", "TIFF") else resized_to(size, long_side)
                largest = max(size, copy, key=math.prod)
                self.budget.require(math.prod(largest) * DECODED_BYTES, largest)
            original = open_on_disk(
                source, same or format in DEEP, self.budget.left() if self.budget.limit else free_memory()
            )
            if original.reduced:
                _log.warning("%s: no memory for 16 bits of each color; going on with 8", source)
            rgb, alpha = original.rgb, original.alpha
            if long_side is not None:
                size = resized_to(rgb.size, long_side)
                rgb, alpha = rgb.resized(size), alpha and alpha.resized(size)
            result = self._stylized(rgb, rows, controls)
        except ImageError as error:
            raise ImageError(f"{source}: {error}") from None
        write_image(result, target, alpha, original.format if same else None, original.metadata)

    def _stylized(self, photograph: DiskImage, rows: Sequence[NDArray[np.float32]], controls: Controls) -> DiskImage:
        masks = [controls.mask, *(controls.masks or {}).values()]
        dark = [isinstance(mask, Image.Image) and mask.getbbox() is None for mask in masks]
        if not controls.strength or dark[0] or (controls.masks and all(dark[1:])):
            return photograph
        # Styles whose mask is black are not computed.
        pairs = zip(rows, dark[1:] or [False], strict=True)
        painted = [photograph if black else self._run_network(photograph, row, controls) for row, black in pairs]
        if controls.without_effects and painted[0].size == photograph.size:
            return painted[0]
        return _effects_in_strips(photograph, painted, controls, self.backend)

    def _run_network(self, photograph: DiskImage, row: NDArray[np.float32], controls: Controls) -> DiskImage:
        width, height = (max(1, round(side / controls.brush)) for side in photograph.size)
        # At 16 bits where 8-bit rounding would be amplified.
        needs_16_bits = controls.sharpen or controls.preserve_color == "histogram"
        result = DiskImage((width, height), dtype=np.uint16 if needs_16_bits else photograph.dtype)

        def write(box: "Box", tile: Array) -> None:
            result.write(*box[:2], _to_levels(tile.clip(0, 1), result, self.backend))

        self._in_tiles(lambda box: _resized_part(photograph, result.size, box, self.backend), write, result.size, row)
        return result

    def _in_tiles(self, read: "Read", write: "Write", size: tuple[int, int], row: NDArray[np.float32]) -> None:
        tiled = self.backend.tiled()
        if tiled is None:
            raise ImageError(
                f"{size[0]}x{size[1]} pixels do not fit into memory; backend=torch makes such a picture in tiles"
            )
        largest = LARGEST_SIDE if self.backend.on_processor else _LARGEST_SIDE_ON_GPU
        per_pixel = self.backend.bytes_per_pixel() + BYTES_OF_NUMBERS
        room = max(0.0, self.budget.left()) / per_pixel
        side = max(SMALLEST_SIDE, int(min(largest, math.sqrt(room))))
        pixels = max(side * side, int(min(LARGEST_SAMPLE, room)))
        self.budget.require(SMALLEST_SIDE**2 * per_pixel, size)
        write = blend_parts_by_contrast(read, write, size)
        while True:
            try:
                exact = self.tiles == "exact"
                tiled(read, write, size, row, side=side, pixels=pixels, exact=exact, progress=self.progress)
                return
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
            if side == SMALLEST_SIDE:
                raise ImageError(f"{size[0]}x{size[1]} pixels do not fit into memory, not even in tiles")
            side = max(side // 2, SMALLEST_SIDE)
            pixels = side * side
            _log.info("%sx%s pixels: does not fit into memory; again in tiles of %sx%s", *size, side, side)


def _to_levels(images: Array, image: DiskImage, backend: Backend) -> NDArray[Any]:
    """Convert one image, (1, 3, height, width) in [0, 1], to the levels that `image` holds: (height, width, 3)."""
    (levels,) = backend.fetch((images * image.white).round(), image.dtype.type)
    return np.ascontiguousarray(levels.transpose(1, 2, 0))


def _resized_part(image: DiskImage, size: tuple[int, int], box: Box, backend: Backend) -> Array:
    """Read a box of the image resized to `size`, as `Backend.resize` would, (1, 3, height, width) near [0, 1]."""
    if size == image.size:
        return backend.place(image.read(box).transpose(2, 0, 1)[None]) / image.white
    scales = [length / other for length, other in zip(image.size, size, strict=True)] * 2
    exact = [place * scale for place, scale in zip(box, scales, strict=True)]
    # The support of the filter, and one pixel more.
    reach = math.ceil(2 * max(1, *scales)) + 1
    left, top = (max(0, math.floor(place) - reach) for place in exact[:2])
    right, bottom = (min(end, math.ceil(place) + reach) for end, place in zip(image.size, exact[2:], strict=True))
    inner = (exact[0] - left, exact[1] - top, exact[2] - left, exact[3] - top)
    planes = [
        # In floating point: the network would amplify rounding to levels.
        np.asarray(Image.fromarray(plane).resize((box[2] - box[0], box[3] - box[1]), Image.Resampling.BICUBIC, inner))
        for plane in image.read((left, top, right, bottom)).transpose(2, 0, 1).astype(np.float32)
    ]
    return backend.place(np.stack(planes)[None]) / image.white


def _effects_in_strips(
    photograph: DiskImage, painted: Sequence[DiskImage], controls: Controls, backend: Backend
) -> DiskImage:
    """Apply `apply_effects` to a photograph and to the result in each style, of any size, strip by strip."""
    result = DiskImage(photograph.size, dtype=photograph.dtype)
    transfer: Transfer | None = None
    if controls.preserve_color == "histogram":
        transfer = transfer_of_parts(
            (stylized, images, cover if cover.shape[2:] == images.shape[2:] else None)
            for _, _, _, images, stylized, cover in _strips(photograph, painted, controls, backend, 0)
        )
    for top, end, above, images, stylized, cover in _strips(photograph, painted, controls, backend, REACH):
        strip = apply_effects(images, stylized, cover, controls, backend.place, above, transfer)
        result.write(0, top, _to_levels(strip[:, :, top - above : end - above].clip(0, 1), result, backend))
    return result


def _strips(
    photograph: DiskImage, painted: Sequence[DiskImage], controls: Controls, backend: Backend, reach: int
) -> Iterator[tuple[int, int, int, Array, Array, Array]]:
    """Yield (top, end, above, photograph, mixed styles, opacity); arrays begin at row `above`, `reach` rows early."""
    width, height = photograph.size
    for top, end in photograph.strips(_STRIP):
        above, below = max(0, top - reach), min(end + reach, height)
        box = (0, above, width, below)
        images, *styles = (
            _resized_part(each, photograph.size, box, backend).clip(0, 1) for each in (photograph, *painted)
        )
        mixture = styles[0]
        if controls.masks:
            shares = controls.shares(height, width, above, below)
            mixture = images * backend.place(1 - shares.sum(0))
            for style, share in zip(styles, shares, strict=True):
                mixture += style * backend.place(share)
        yield top, end, above, images, mixture, backend.place(controls.cover(height, width, above, below))
