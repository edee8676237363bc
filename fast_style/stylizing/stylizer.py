"""Stylizer: read an image, run the network, apply effects, write the result."""

import contextlib
import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
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
from fast_style.stylizing.controls import Controls, Settings, Style, chosen_controls
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
        backend: the trained network, ready to run.
        metadata: what its file says of it.
        memory: as for `load`.
        tiles: as for `load`.
        progress: as for `load`.

    Raises:
        ConfigError: if `memory` or `tiles` is none of these.

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
        """The names of the styles it knows."""
        return list(self.metadata.styles)

    @overload
    def __call__(
        self,
        image: Image.Image | str | Path,
        style: Style | None = None,
        *,
        size: int | None = None,
        controls: Controls | None = None,
        **settings: Unpack[Settings],
    ) -> Image.Image: ...
    @overload
    def __call__(
        self,
        image: Pixels,
        style: Style | None = None,
        *,
        size: int | None = None,
        controls: Controls | None = None,
        **settings: Unpack[Settings],
    ) -> Pixels: ...
    def __call__(
        self,
        image: "Image.Image | str | Path | Tensor | NDArray[Any]",
        style: Style | None = None,
        *,
        size: int | None = None,
        controls: Controls | None = None,
        **settings: Unpack[Settings],
    ) -> "Image.Image | Tensor | NDArray[Any]":
        """Stylize a picture.

        Args:
            image: a file's path or a PIL image, answered with an upright PIL image in RGB, or in RGBA if it has an
                opacity, which is kept; or a tensor of shape (3, height, width), an array of (height, width, 3) or a
                batch of either, answered with its like: RGB, never BGR, as uint8, as uint16 from 0 to 65535, or as
                floats in [0, 1].
            style: a style's name, or weights by name for a blend (any positive numbers: they are scaled to sum
                to 1), which may be called `styles`, too. Nothing: all styles alike, which for a network of one style
                is that style.
            size: long side of the outcome in pixels; nothing: that of the picture.
            controls: how to stylize, for many pictures alike.
            settings: `strength` and the other `Controls` by name; they go before those of `controls`.

        Raises:
            ImageError: if the file is not a readable picture, or that of a mask is none, or a tensor or an array has
                another shape or type, or values out of range.
            ConfigError: if the network does not know the style, or a setting is out of range.

        Example:
            >>> stylizer = load("starry_night", device="cpu")
            >>> stylizer(np.zeros((64, 96, 3), np.uint8), strength=0.8, size=48).shape
            (32, 48, 3)
        """
        controls = chosen_controls(style, controls, settings)
        require_size(size)
        if isinstance(image, list | tuple | Iterator):
            raise ImageError(f"{type(image).__name__}: a call takes one image; stylizer.map(images) takes several")
        if isinstance(image, np.ndarray) or is_tensor(image):
            given = InMemory(image if size is None else self._resized(image, size))
            made: NDArray[Any] = given.like(self._stylize(given.in_range(self.backend.place(given.batch)), controls))
            return made
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
        style: Style | None = None,
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
            size: long side of the output in pixels; nothing: that of the input.
            overwrite: whether the target may replace a file.
            controls: as for a call.
            settings: as for a call.

        Returns:
            The size of the target, how long it took, and what the target does not hold of the source.

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
        with gathered() as told:
            if is_paged(source, target, contents):
                notes = self.stylize_pages(source, target, contents, controls, size)
                made = size_in_header(target)
            elif self.budget.fits_file(source, size, controls):
                picture = read_original(source, target, size)
                with _named(source):
                    (stylized,) = self.stylize_pictures([picture], controls)
                if not overwrite:
                    require_free(target)
                picture.write_copy(stylized, target)
                notes, made = contents.left_out(target), picture.size
            else:
                self.tiling.stylize_file(source, target, controls.rows(self.styles), controls, size)
                notes, made = contents.left_out(target), size_in_header(target)
        return Report(Job(source, target), "done", made, time.perf_counter() - began, notes=[*notes, *told])

    def stylize_pictures(self, pictures: Sequence[Picture], controls: Controls) -> list[Image.Image | Deep]:
        """Stylize pictures of one size: in one pass, unless memory is short or one has 16 bits of each color.

        Raises:
            ImageError: if one does not fit into memory, and the backend makes no tiles.
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
        images = to_numbers([picture.rgb for picture in pictures], self.backend)
        return [*to_images(self._stylize(images, controls), self.backend)]

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
            target: where the copy goes; it is there only when it is whole.
            contents: what pages there are.
            controls: as for a call.
            size: long side of each page of the copy in pixels; nothing: that of the page.
            name: what the source is called; by default its path.
            stop: is called before each page; what it raises ends the work.

        Returns:
            What has been left out, in a few words each.

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
        """What makes the pictures that do not fit into memory."""
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
            # Where no mask has any weight, the photograph, so that no blur there brings in black.
            stylized = images * self.backend.place(1 - shares.sum(0))
            for row, share in zip(rows, shares, strict=True):
                if share.any():
                    stylized += self._in_one_style(seen, row, height, width) * self.backend.place(share)
        else:
            stylized = self._in_one_style(seen, rows[0], height, width)
        return apply_effects(images, stylized, self.backend.place(cover), controls, self.backend.place)

    def _in_one_style(self, seen: Array, row: NDArray[np.float32], height: int, width: int) -> Array:
        """Return what the network makes of pictures, at a height and width that may differ from theirs."""
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
        style: Style | None = None,
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
        style: Style | None = None,
        *,
        size: int | None = None,
        batch: int = 1,
        controls: Controls | None = None,
        **settings: Unpack[Settings],
    ) -> Iterator[Pixels]: ...
    def map(
        self,
        images: Iterable[Any],
        style: Style | None = None,
        *,
        size: int | None = None,
        batch: int = 1,
        controls: Controls | None = None,
        **settings: Unpack[Settings],
    ) -> Iterator[Any]:
        """Stylize pictures as they come, such as the frames of a generator: each is answered as by a call.

        Args:
            images: what a call takes, one after the other, without an end if one likes.
            style: as for a call.
            size: as for a call.
            batch: how many arrays or tensors in a row, of one shape and type, are stylized at once, which is faster on
                a GPU. They come when the last of them is there.
            controls: as for a call.
            settings: as for a call.

        Yields:
            The stylized pictures, in the same order.

        Raises:
            ImageError: as for a call.
            ConfigError: as for a call, or if `batch` is no whole number above 0.

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
        return (made for group in _groups(images, batch) for made in self._group(group, size, chosen))

    def __repr__(self) -> str:
        network = self.metadata.config.get("network")
        name = str(network.get("_target_")).rpartition(".")[2] if isinstance(network, dict) else "Stylizer"
        return f"<{name} of {', '.join(self.styles)}: backend {self.backend.name} on {self.backend.device}>"

    def _group(self, group: list[Any], size: int | None, controls: Controls) -> Iterable[Any]:
        if len(group) == 1:
            return [self(group[0], size=size, controls=controls)]
        stack = sys.modules["torch"].stack if is_tensor(group[0]) else np.stack
        made: Iterable[Any] = self(stack(group), size=size, controls=controls)
        return made

    def _resized(self, image: "Tensor | NDArray[Any]", size: int) -> Any:
        given = InMemory(image)
        height, width = given.batch.shape[2:]
        width, height = resized_to((width, height), size)
        return given.like(
            self.backend.resize(given.in_range(self.backend.place(given.batch)), height, width).clip(0, 1)
        )


def to_numbers(rgbs: Sequence[Image.Image], backend: Backend) -> Array:
    """Return pictures of mode RGB and of one size as the backend has them, (batch, 3, height, width)."""
    images = backend.place(np.stack([np.asarray(rgb) for rgb in rgbs]).transpose(0, 3, 1, 2))
    images /= 255
    return images


def to_images(images: Array, backend: Backend) -> list[Image.Image]:
    """Return an array of pictures, (batch, 3, height, width) in [0, 1], each in mode RGB."""
    levels = backend.fetch((images * 255).round()).transpose(0, 2, 3, 1)
    return [Image.fromarray(np.ascontiguousarray(picture)) for picture in levels]


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
    """Load a trained network from its .safetensors file, or by its bare name.

    Args:
        path: the file, or the name of one in `checkpoints/`, else in the user's folder (FAST_STYLE_NETWORKS, or the
            system's for a user's data), else of one that ships with the package; see `fast_style.list`.
        device: where to run it; by default a GPU if there is one. Only the processor with `onnx` and `openvino`.
        backend: `auto`: on a processor `openvino` or, without it, `onnx`, once either has converted the network, and
            `torch` on a GPU, where a device is given, and with `memory` or `tiles`; `torch`; `compile`, torch's
            compiler, which takes a minute at the first picture; `onnx` or `openvino`,
            which do not import torch once a network has been converted, and are extras of the package.
        precision: `fp32`, the same picture from every backend to within one level; `bf16`, about twice as fast and a
            few levels off; or `auto`: bf16 where the hardware computes in it.
        memory: the most that the process is to have in memory (on a GPU, that it is to have there), such as "2GB".
            Pictures that do not fit are made in tiles, without a seam. Nothing: most of what is free.
        tiles: `exact`, within 2 levels of the whole picture in fp32 with the same reserve, in three to five passes; or
            `fast`, some 30 to 45 dB from it, in two.
        network: a class of one's own that the file may be of, besides those of `fast_style.networks`, of installed
            packages with an entry point, and of the modules that FAST_STYLE_PLUGINS names.
        progress: is told after each tile the number of the pass, how many of its tiles are done, and how many there
            are. What fits has no tiles.

    Returns:
        What stylizes pictures with it.

    Raises:
        CheckpointError: if there is no such file, or it is damaged or not one of ours.
        ConfigError: if backend, device and precision do not fit, or need what is not installed.

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
        backend = "torch"  # which alone makes tiles
    return Stylizer(make_backend(file, device, backend, precision), file.metadata, memory, tiles, progress)


@contextlib.contextmanager
def _named(source: Path) -> Iterator[None]:
    """Let errors name the picture."""
    try:
        yield
    except ImageError as error:
        raise ImageError(f"{source}: {error}") from None
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise ImageError(f"{source}: not enough memory; try a smaller size") from error


def _groups(images: Iterable[Any], most: int) -> Iterator[list[Any]]:
    """Yield runs of arrays of one type and shape, at most `most` at a time; whatever is no array comes alone."""
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
