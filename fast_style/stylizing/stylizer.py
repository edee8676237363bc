"""One forward pass, for whatever a person has in hand."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack, overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fast_style.backends import Array, Backend, make_backend
from fast_style.backends.backend import SMALLEST, enlarged
from fast_style.errors import ConfigError, ImageError
from fast_style.images.arrays import InMemory, Pixels, is_tensor
from fast_style.images.copies import Original, read_original, require_size
from fast_style.images.deep import Deep
from fast_style.images.pages import is_paged, look_for_several
from fast_style.images.picture import Picture, flatten, open_picture
from fast_style.images.upright import resized_to
from fast_style.stylizing.controls import Controls, Settings, Style
from fast_style.stylizing.finish import finished
from fast_style.stylizing.large_images import Giants
from fast_style.stylizing.pages import stylize_pages
from fast_style.stylizing.strips import to_numbers, to_pictures
from fast_style.zoo import find
from fast_style.zoo.network_file import Metadata, read_network_file

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from fast_style.networks import TransformNet


class Stylizer:
    """A trained network, and how to ask it.

    Args:
        backend: the trained network, ready to run.
        metadata: what its file says of it.
        memory: as for `load`.
        tiles: as for `load`.

    Raises:
        ConfigError: if `memory` or `tiles` is none of these.
    """

    def __init__(
        self, backend: Backend, metadata: Metadata, memory: str | int | None = None, tiles: str = "exact"
    ) -> None:
        self.backend = backend
        self.metadata = metadata
        self.giants = Giants(backend, memory, tiles)

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
            image: a file's path or a PIL image, answered with an upright PIL image in RGB; or a tensor of shape
                (3, height, width), an array of (height, width, 3) or a batch of either, answered with its like: RGB,
                never BGR, as uint8, as uint16 from 0 to 65535, or as floats in [0, 1].
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
        controls = _chosen(style, controls, settings)
        if size is not None:
            image = self._resized(image, size)
        if isinstance(image, np.ndarray) or is_tensor(image):
            given = InMemory(image)
            made: NDArray[Any] = given.like(self._stylize(given.in_range(self.backend.place(given.batch)), controls))
            return made
        picture = Picture.of(image) if isinstance(image, Image.Image) else open_picture(image)
        return self._stylize_picture(flatten(picture), controls)

    def stylize_file(
        self,
        source: Path,
        target: Path,
        style: Style | None = None,
        *,
        size: int | None = None,
        controls: Controls | None = None,
        **settings: Unpack[Settings],
    ) -> None:
        """Stylize one file into another, keeping its size, orientation, alpha channel, format, depth and EXIF.

        Args:
            source: the picture to read.
            target: the file to write. A suffix other than that of `source` changes the format.
            style: as for a call.
            size: long side of the output in pixels; nothing: that of the input.
            controls: as for a call.
            settings: as for a call.

        Raises:
            ImageError: if the picture cannot be read or written.
            ConfigError: if the network does not know the style, or a setting is out of range.
        """
        controls = _chosen(style, controls, settings)
        if is_paged(source, target, found := look_for_several(source)):
            stylize_pages(lambda page: self.stylize_originals([page], controls)[0], source, target, found, size)
            return
        if self.giants.takes(source, size, controls):
            self.giants.file(source, target, controls.rows(self.styles), controls, size)
            return
        original = read_original(source, target, size)
        try:
            (stylized,) = self.stylize_originals([original], controls)
        except ImageError as error:
            raise ImageError(f"{source}: {error}") from None
        original.write(stylized, target)

    def stylize_originals(self, originals: Sequence[Original], controls: Controls) -> list[Image.Image | Deep]:
        """Stylize pictures of one size: in one pass, unless memory is short or one has 16 bits of each color.

        Raises:
            ImageError: if one does not fit into memory, and the backend makes no tiles.
            ConfigError: if the network does not know the style.
        """
        pictures = [original.picture for original in originals]
        first, (width, height) = pictures[0], originals[0].size
        fits = self.giants.fits_with(len(pictures) * width * height, controls)
        if len(pictures) == 1:
            if first.deep is not None and fits:
                return [self._stylize_deep(first.deep, first.rgb.size, controls)]
            if first.deep is not None and min(width, height) >= SMALLEST * max(1, controls.brush):
                return [self.giants.deep(first.deep, first.rgb.size, controls.rows(self.styles), controls)]
            return [self._stylize_picture(first.rgb, controls)]
        if not fits or any(picture.deep is not None for picture in pictures):
            return [stylized for original in originals for stylized in self.stylize_originals([original], controls)]
        images = to_numbers([picture.rgb for picture in pictures], self.backend)
        return [*to_pictures(self._stylize(images, controls), self.backend)]

    def _stylize_picture(self, rgb: Image.Image, controls: Controls) -> Image.Image:
        large = min(rgb.size) >= SMALLEST * max(1, controls.brush)
        if large and not self.giants.fits_with(rgb.width * rgb.height, controls):
            return self.giants.picture(rgb, controls.rows(self.styles), controls)
        (stylized,) = to_pictures(self._stylize(to_numbers([rgb], self.backend), controls), self.backend)
        return stylized

    def _stylize_deep(self, deep: Deep, size: tuple[int, int], controls: Controls) -> Deep:
        planes = [Image.fromarray(plane) for plane in deep.transpose(2, 0, 1).astype(np.float32)]
        # At the size that they have, they are not changed.
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
                    stylized += self._repainted(seen, row, height, width) * self.backend.place(share)
        else:
            stylized = self._repainted(seen, rows[0], height, width)
        return finished(images, stylized, self.backend.place(cover), controls, self.backend.place)

    def _repainted(self, seen: Array, row: NDArray[np.float32], height: int, width: int) -> Array:
        """Return what the network makes of pictures, at a height and width that may differ from theirs."""
        rows, columns = seen.shape[2:]
        stylized = self.giants(enlarged(seen), np.tile(row, (len(seen), 1)))
        stylized = stylized[:, :, :rows, :columns].clip(0, 1)
        if (rows, columns) == (height, width):
            return stylized
        return self.backend.resize(stylized, height, width).clip(0, 1)

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
        chosen = _chosen(style, controls, settings)
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

    def _resized(self, image: "Image.Image | str | Path | Tensor | NDArray[Any]", size: int) -> Any:
        require_size(size)
        if not (isinstance(image, np.ndarray) or is_tensor(image)):
            picture = Picture.of(image) if isinstance(image, Image.Image) else open_picture(image)
            return flatten(picture.resized(size))
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
        # Here, not above: where torch does not compute, it is not imported.
        from fast_style.networks.registry import register

        register(network)
    file = read_network_file(find(Path(path)))
    if backend == "auto" and (memory is not None or tiles != "exact"):
        backend = "torch"  # which alone makes tiles
    return Stylizer(make_backend(file, device, backend, precision), file.metadata, memory, tiles)


def _chosen(style: Style | None, controls: Controls | None, settings: Settings) -> Controls:
    given = settings if style is None else {"style": style, **settings}
    # Anew only where something is given, because masks are read then.
    return replace(controls or Controls(), **given) if given else controls or Controls()


def _groups(images: Iterable[Any], most: int) -> Iterator[list[Any]]:
    """Yield what there is in a row of one kind, as many as may be stylized at once."""
    group: list[Any] = []
    before: Any = None
    for image in images:
        single = (isinstance(image, np.ndarray) or is_tensor(image)) and image.ndim == 3
        kind = (type(image), image.shape, image.dtype) if single else None
        if group and kind != before:
            yield group
            group = []
        group.append(image)
        # Not when the next is there, which may take a while.
        if len(group) == most or kind is None:
            yield group
            group = []
        before = kind
    if group:
        yield group
