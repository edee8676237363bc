"""Stylizer: read an image, run the network, apply effects, write the result."""

import contextlib
import logging
import sys
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack, overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fast_style.backends import Array, Backend, make_backend
from fast_style.backends.backend import enlarged
from fast_style.errors import ConfigError, ImageError, require_choice
from fast_style.images.arrays import InMemory, Pixels, is_tensor
from fast_style.images.deep import Deep
from fast_style.images.notes import gathered
from fast_style.images.opening import Contents, contents_of, is_paged, size_in_header
from fast_style.images.picture import Picture, open_picture, read_original, require_free, require_size
from fast_style.images.upright import resized_to
from fast_style.stylizing.contrast import blend_by_contrast
from fast_style.stylizing.controls import Controls, Settings, StyleChoice, chosen_controls
from fast_style.stylizing.effects import apply_effects
from fast_style.stylizing.jobs import Job, Report
from fast_style.stylizing.memory_budget import TILES, MemoryBudget, can_be_tiled
from fast_style.system.files import BinaryFile
from fast_style.system.memory import is_out_of_memory
from fast_style.zoo import find
from fast_style.zoo.network_file import Metadata, read_network_file

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from fast_style.backends.tiles import Progress
    from fast_style.networks import TransformNet
    from fast_style.stylizing.tiling import Tiling

_log = logging.getLogger(__name__)


class Stylizer:
    """A trained network that stylizes images.

    Args:
        backend: the network, ready to run.
        metadata: metadata of its file.
        memory: as for `load`.
        tiles: as for `load`.
        progress: as for `load`.

    Raises:
        ConfigError: if `memory` or `tiles` is invalid.

    Example:
        >>> stylizer = load("starry_night", device="cpu")
        >>> stylizer("photo.jpg", size=32).size
        (32, 24)
    """

    def __init__(
        self,
        backend: Backend,
        metadata: Metadata,
        memory: str | int | None = None,
        tiles: str = "exact",
        progress: "Progress | None" = None,
    ) -> None:
        require_choice("tiles", tiles, TILES)
        self.backend = backend
        self.metadata = metadata
        self.budget = MemoryBudget(backend, memory)
        self._tiles, self._progress = tiles, progress

    @property
    def styles(self) -> list[str]:
        """Names of the network's styles."""
        return list(self.metadata.styles)

    @overload
    def __call__(
        self,
        image: Image.Image | str | Path,
        style: StyleChoice | None = None,
        *,
        size: int | None = None,
        controls: Controls | None = None,
        **settings: Unpack[Settings],
    ) -> Image.Image: ...
    @overload
    def __call__(
        self,
        image: Pixels,
        style: StyleChoice | None = None,
        *,
        size: int | None = None,
        controls: Controls | None = None,
        **settings: Unpack[Settings],
    ) -> Pixels: ...
    def __call__(
        self,
        image: "Image.Image | str | Path | Tensor | NDArray[Any]",
        style: StyleChoice | None = None,
        *,
        size: int | None = None,
        controls: Controls | None = None,
        **settings: Unpack[Settings],
    ) -> "Image.Image | Tensor | NDArray[Any]":
        """Stylize a picture, or a batch of arrays or tensors.

        Args:
            image: a path or PIL image returns an upright PIL image in RGB, or RGBA if it has an alpha channel, which is
                kept. A tensor of shape (3, height, width), an array of (height, width, 3), or a batch of either returns
                the same type and layout: RGB, never BGR; uint8, uint16 in [0, 65535], or floats in [0, 1].
            style: a style's name, or weights by name for a blend (positive; scaled to sum to 1); also accepted as
                `styles`. None: all styles with equal weight.
            size: long side of the result in pixels; None: unchanged.
            controls: how to stylize, for use with many pictures.
            settings: `strength` and other fields of `Controls`, which override `controls`.

        Raises:
            ImageError: if a picture or mask cannot be read, or a tensor or array has an invalid shape, type or range.
            ConfigError: if the network does not know the style, or a setting is out of range.

        Example:
            >>> stylizer = load("starry_night", device="cpu")
            >>> stylizer(np.zeros((64, 96, 3), np.uint8), strength=0.8, size=48).shape
            (32, 48, 3)
        """
        controls = chosen_controls(style, controls, settings)
        require_size(size)
        if isinstance(image, list | tuple | Generator):
            raise ImageError(f"{type(image).__name__}: a call takes one image; stylizer.map(images) takes several")
        if isinstance(image, np.ndarray) or is_tensor(image):
            given = InMemory(image if size is None else self._resized(image, size))
            result: NDArray[Any] = given.like(self._stylize(given.in_range(self.backend.place(given.batch)), controls))
            return result
        picture = Picture.of(image) if isinstance(image, Image.Image) else open_picture(image)
        picture = picture if size is None else picture.resized(size)
        (stylized,) = self.stylize_pictures([picture], controls)
        assert isinstance(stylized, Image.Image)
        if picture.alpha is not None:
            stylized.putalpha(picture.alpha)
        return stylized

    def stylize_file(
        self,
        source: str | Path,
        target: str | Path,
        style: StyleChoice | None = None,
        *,
        size: int | None = None,
        overwrite: bool = True,
        controls: Controls | None = None,
        **settings: Unpack[Settings],
    ) -> Report:
        """Stylize one file into another, keeping its size, orientation, alpha channel, format, depth and EXIF.

        Args:
            source: the picture to read.
            target: the file to write. A suffix other than that of `source` changes the format.
            style: as for a call.
            size: long side of the result in pixels; None: unchanged.
            overwrite: whether the target may replace a file.
            controls: as for a call.
            settings: as for a call.

        Returns:
            The target's size, the time, and what of the source the target lacks.

        Raises:
            ImageError: if the picture cannot be read or written.
            ConfigError: if the network does not know the style, or a setting is out of range.
        """
        began = time.perf_counter()
        controls = chosen_controls(style, controls, settings)
        require_size(size)
        source, target = Path(source), Path(target)
        contents = contents_of(source)
        if not overwrite:
            require_free(target)
        with gathered() as warnings:
            if is_paged(source, target, contents):
                notes = self.stylize_pages(source, target, contents, controls, size)
                shape = size_in_header(target)
            elif self.budget.fits_file(source, size, controls):
                picture = read_original(source, target, size)
                with _named(source):
                    (stylized,) = self.stylize_pictures([picture], controls)
                if not overwrite:
                    require_free(target)
                picture.write_copy(stylized, target)
                notes, shape = contents.left_out(target), picture.size
            else:
                self.tiling.stylize_file(source, target, controls.rows(self.styles), controls, size)
                notes, shape = contents.left_out(target), size_in_header(target)
        return Report(Job(source, target), "done", shape, time.perf_counter() - began, notes=[*notes, *warnings])

    def stylize_pictures(self, pictures: Sequence[Picture], controls: Controls) -> list[Image.Image | Deep]:
        """Stylize pictures of one size, in one pass unless memory is short or one has 16 bits per channel.

        Raises:
            ImageError: if one does not fit into memory and the backend cannot tile.
            ConfigError: if the network does not know the style.
        """
        first, (width, height) = pictures[0], pictures[0].size
        fits = self.budget.fits_with(len(pictures) * width * height, controls)
        if len(pictures) > 1 and (not fits or any(picture.deep is not None for picture in pictures)):
            return [stylized for picture in pictures for stylized in self.stylize_pictures([picture], controls)]
        tiled = not fits and can_be_tiled(first.size, controls)
        if first.deep is not None and tiled:
            return [self.tiling.stylize_deep(first.deep, first.size, controls.rows(self.styles), controls)]
        if first.deep is not None and fits:
            return [self._stylize_deep(first.deep, first.size, controls)]
        if tiled:
            return [self.tiling.stylize_image(first.rgb, controls.rows(self.styles), controls)]
        images = self.backend.place(np.stack([np.asarray(picture.rgb) for picture in pictures]).transpose(0, 3, 1, 2))
        images /= 255
        levels = self.backend.fetch((self._stylize(images, controls) * 255).round()).transpose(0, 2, 3, 1)
        return [Image.fromarray(np.ascontiguousarray(picture)) for picture in levels]

    def stylize_pages(
        self,
        source: Path | BinaryFile,
        target: Path,
        contents: Contents,
        controls: Controls,
        size: int | None = None,
        name: str = "",
        stop: Callable[[], None] = lambda: None,
    ) -> list[str]:
        """Stylize all pages of a file, each with its own size, depth and metadata.

        Args:
            source: the file, or its content.
            target: path of the copy, written atomically.
            contents: the file's pages.
            controls: as for a call.
            size: long side of each page in pixels; None: unchanged.
            name: name of the source in messages; by default its path.
            stop: called before each page; an exception from it ends the work.

        Returns:
            Short notes on what was left out.

        Raises:
            ImageError: if no page can be read, or the copy cannot be written.
        """
        # Imported lazily: most files have one page.
        from fast_style.images.pages import stylized_pages

        def stylize(page: Picture) -> Image.Image | Deep:
            stop()
            return self.stylize_pictures([page], controls)[0]

        return stylized_pages(stylize, source, target, contents, size, name)

    @cached_property
    def tiling(self) -> "Tiling":
        """Tiling for pictures that do not fit into memory."""
        # Imported lazily: most images fit.
        from fast_style.stylizing.tiling import Tiling

        return Tiling(self.backend, self.budget, self._tiles, self._progress)

    def _stylize_deep(self, deep: Deep, size: tuple[int, int], controls: Controls) -> Deep:
        planes = [Image.fromarray(plane) for plane in deep.transpose(2, 0, 1).astype(np.float32)]
        # No change if `size` is the current size.
        resized = np.stack([np.asarray(plane.resize(size, Image.Resampling.LANCZOS)) for plane in planes])
        stylized = self._stylize(self.backend.place(resized[None] / 65535).clip(0, 1), controls)
        (levels,) = self.backend.fetch((stylized * 65535).round(), np.uint16)
        return np.ascontiguousarray(levels.transpose(1, 2, 0))

    def _stylize(self, images: Array, controls: Controls) -> Array:
        """Return a new array, whatever the controls."""
        rows = controls.rows(self.styles)
        height, width = images.shape[2:]
        cover = controls.cover(height, width)
        if not cover.any():
            return images * 1
        seen = images
        if controls.brush != 1:
            seen = self.backend.resize(images, *(max(1, round(side / controls.brush)) for side in (height, width)))
        if controls.masks:
            shares = controls.shares(height, width)
            # The photograph where no mask has weight: a later blur must not bring in black there.
            stylized = images * self.backend.place(1 - shares.sum(0))
            for row, share in zip(rows, shares, strict=True):
                if share.any():
                    stylized += self._in_one_style(seen, row, height, width) * self.backend.place(share)
        else:
            stylized = self._in_one_style(seen, rows[0], height, width)
        return apply_effects(images, stylized, self.backend.place(cover), controls, self.backend.place)

    def _in_one_style(self, seen: Array, row: NDArray[np.float32], height: int, width: int) -> Array:
        """Run the network; the result has the given height and width, which may differ from the input's."""
        rows, columns = seen.shape[2:]
        stylized = self._through_network(enlarged(seen), np.tile(row, (len(seen), 1)))
        stylized = stylized[:, :, :rows, :columns].clip(0, 1)
        if (rows, columns) == (height, width):
            return stylized
        return self.backend.resize(stylized, height, width).clip(0, 1)

    def _through_network(self, images: Array, style: NDArray[np.float32]) -> Array:
        batch, _, height, width = images.shape
        if self.budget.fits(batch * height * width):
            try:
                return blend_by_contrast(images, self.backend(images, style))
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
            # Outside the except block: the traceback would keep the failed attempt's arrays alive.
            _log.info("%sx%s pixels: does not fit into memory; going on in tiles", width, height)
        return self.tiling.stylize_array(images, style)

    @overload
    def map(
        self,
        images: Iterable[Image.Image | str | Path],
        style: StyleChoice | None = None,
        *,
        size: int | None = None,
        batch: int = 1,
        controls: Controls | None = None,
        **settings: Unpack[Settings],
    ) -> Iterator[Image.Image]: ...
    @overload
    def map(
        self,
        images: Iterable[Pixels],
        style: StyleChoice | None = None,
        *,
        size: int | None = None,
        batch: int = 1,
        controls: Controls | None = None,
        **settings: Unpack[Settings],
    ) -> Iterator[Pixels]: ...
    def map(
        self,
        images: Iterable[Any],
        style: StyleChoice | None = None,
        *,
        size: int | None = None,
        batch: int = 1,
        controls: Controls | None = None,
        **settings: Unpack[Settings],
    ) -> Iterator[Any]:
        """Stylize images from an iterator, such as frames of a generator, one result for each.

        Args:
            images: inputs of a call; the iterator may be endless.
            style: as for a call.
            size: as for a call.
            batch: most consecutive arrays or tensors of one shape and type to stylize at once (faster on a GPU); their
                results arrive together.
            controls: as for a call.
            settings: as for a call.

        Yields:
            The stylized images, in the same order.

        Raises:
            ImageError: as for a call.
            ConfigError: as for a call, or if `batch` is not a positive whole number.

        Example:
            >>> stylizer = load("starry_night", device="cpu")
            >>> frames = (np.full((48, 64, 3), level, np.uint8) for level in (0, 128))
            >>> [frame.shape for frame in stylizer.map(frames)]
            [(48, 64, 3), (48, 64, 3)]
        """
        if type(batch) is not int or batch < 1:
            raise ConfigError(f"batch must be a whole number from 1 on, not {batch!r}")
        if isinstance(images, str | Path):
            raise ConfigError(f"map takes several images; for one, write stylizer({str(images)!r})")
        chosen = chosen_controls(style, controls, settings)
        return (result for group in _groups(images, batch) for result in self._group(group, size, chosen))

    def __repr__(self) -> str:
        network = self.metadata.config.get("network")
        name = str(network.get("_target_")).rpartition(".")[2] if isinstance(network, dict) else "Stylizer"
        return f"<{name} of {', '.join(self.styles)}: backend {self.backend.name} on {self.backend.device}>"

    def _group(self, group: list[Any], size: int | None, controls: Controls) -> Iterable[Any]:
        if len(group) == 1:
            return [self(group[0], size=size, controls=controls)]
        stack = sys.modules["torch"].stack if is_tensor(group[0]) else np.stack
        results: Iterable[Any] = self(stack(group), size=size, controls=controls)
        return results

    def _resized(self, image: "Tensor | NDArray[Any]", size: int) -> Any:
        given = InMemory(image)
        height, width = given.batch.shape[2:]
        width, height = resized_to((width, height), size)
        return given.like(
            self.backend.resize(given.in_range(self.backend.place(given.batch)), height, width).clip(0, 1)
        )


def load(
    path: str | Path,
    device: "str | torch.device | None" = None,
    backend: str = "auto",
    precision: str = "auto",
    memory: str | int | None = None,
    tiles: str = "exact",
    network: "type[TransformNet] | None" = None,
    progress: "Progress | None" = None,
) -> Stylizer:
    """Load a trained network from its .safetensors file, or by its name.

    Args:
        path: the file, or a name, searched in `checkpoints/`, then in the user's folder (FAST_STYLE_NETWORKS, or in
            the system's place for user data), then among the shipped networks; see `fast_style.list`.
        device: device to run on; by default a GPU if there is one. `onnx` and `openvino` run on the CPU only.
        backend: `torch`; `compile`, torch's compiler, which takes a minute at the first picture; `onnx` or `openvino`,
            optional packages that do not import torch once a network has been converted; or `auto`: on a CPU
            `openvino`, else `onnx`, once one of them has converted the network; `torch` on a GPU, with a given device,
            and with `memory` or `tiles`.
        precision: `fp32`, equal on all backends to within one level (of 255); `bf16`, about twice as fast and a few
            levels off; or `auto`: bf16 where the hardware computes in it.
        memory: limit of the process's memory (on a GPU, of GPU memory), such as "2GB". Larger pictures are tiled,
            without seams. None: most of what is free.
        tiles: `exact`, within 2 levels of the untiled fp32 result with the same reserve, in three to five passes; or
            `fast`, PSNR 30 to 45 dB against it, in two.
        network: the user's network class, in addition to those of `fast_style.networks`, of installed packages with an
            entry point, and of the modules in FAST_STYLE_PLUGINS.
        progress: called after each tile with the number of the pass, its finished tiles, and its tiles in all. Not
            called for untiled pictures.

    Returns:
        A Stylizer.

    Raises:
        CheckpointError: if the file is missing, damaged or foreign.
        ConfigError: if backend, device and precision do not fit, or a package is missing.

    Example:
        >>> load("starry_night", device="cpu")
        <BalancedNet of starry_night: backend torch on cpu>
    """
    if network is not None:
        # Imported lazily: other backends do without torch.
        from fast_style.networks.registry import register

        register(network)
    file = read_network_file(find(Path(path)))
    if backend == "auto" and (memory is not None or tiles != "exact"):
        backend = "torch"  # the only backend that can tile
    return Stylizer(make_backend(file, device, backend, precision), file.metadata, memory, tiles, progress)


@contextlib.contextmanager
def _named(source: Path) -> Iterator[None]:
    """Put the picture's name into errors."""
    try:
        yield
    except ImageError as error:
        raise ImageError(f"{source}: {error}") from None
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise ImageError(f"{source}: not enough memory; try a smaller size") from error


def _groups(images: Iterable[Any], most: int) -> Iterator[list[Any]]:
    """Yield runs of arrays of one type and shape, at most `most` each; anything else comes alone."""
    group: list[Any] = []
    before: Any = None
    for image in images:
        single = (isinstance(image, np.ndarray) or is_tensor(image)) and image.ndim == 3
        kind = (type(image), image.shape, image.dtype) if single else None
        if group and kind != before:
            yield group
            group = []
        group.append(image)
        # Yield a full group at once: the next image may arrive late.
        if len(group) == most or kind is None:
            yield group
            group = []
        before = kind
    if group:
        yield group
