"""One forward pass, for whatever a person has in hand."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, overload

import numpy as np
from PIL import Image

from fast_style.backends import Array, Backend, make_backend
from fast_style.backends.backend import SMALLEST
from fast_style.blends import style_weights
from fast_style.errors import ConfigError
from fast_style.images import Picture, flatten, open_picture, write_image
from fast_style.network_files import Metadata, read_network_file
from fast_style.zoo import find

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from typing_extensions import TypeIs


class Stylizer:
    """A trained network, and how to ask it.

    Args:
        backend: the trained network, ready to run.
        metadata: what its file says of it.
    """

    def __init__(self, backend: Backend, metadata: Metadata) -> None:
        self.backend = backend
        self.metadata = metadata

    @property
    def styles(self) -> list[str]:
        """The names of the styles it knows."""
        return list(self.metadata.styles)

    @overload
    def __call__(
        self, image: Image.Image | str | Path, style: str | Mapping[str, float] | None = None, strength: float = 1.0
    ) -> Image.Image: ...
    @overload
    def __call__(
        self, image: "Tensor", style: str | Mapping[str, float] | None = None, strength: float = 1.0
    ) -> "Tensor": ...
    def __call__(
        self,
        image: "Image.Image | str | Path | Tensor",
        style: str | Mapping[str, float] | None = None,
        strength: float = 1.0,
    ) -> "Image.Image | Tensor":
        """Stylise a picture.

        Args:
            image: a file's path or a PIL image, answered with an upright PIL image in RGB, or a tensor of RGB in
                [0, 1], of shape (3, height, width) or (batch, 3, height, width), answered with its like.
            style: a style's name, or weights by name for a blend (any positive numbers: they are scaled to sum
                to 1). Nothing: all styles alike, which for a network of one style is that style.
            strength: how much of the result to mix with the original, from 0 to 1.

        Raises:
            ImageError: if the file is not a readable picture.
            ConfigError: if the network does not know the style, or the strength is out of range.
        """
        if _is_tensor(image):
            batch = self.backend.place(image if image.ndim == 4 else image[None])
            stylized = self._stylize(batch, style, strength)
            if isinstance(stylized, np.ndarray):
                stylized = image.new_tensor(stylized)
            result: Tensor = (stylized if image.ndim == 4 else stylized[0]).to(image.device, image.dtype)
            return result
        picture = Picture.of(image) if isinstance(image, Image.Image) else open_picture(image)
        return self._stylize_picture(flatten(picture), style, strength)

    def stylize_file(
        self,
        source: Path,
        target: Path,
        style: str | Mapping[str, float] | None = None,
        strength: float = 1.0,
        size: int | None = None,
    ) -> None:
        """Stylise one file into another, keeping its size, orientation, alpha channel and format.

        Args:
            source: the picture to read.
            target: the file to write. A suffix other than that of `source` changes the format.
            style: as for a call.
            strength: as for a call.
            size: long side of the output in pixels; nothing: that of the input.

        Raises:
            ImageError: if the picture cannot be read or written.
            ConfigError: if the network does not know the style, or a number is out of range.
        """
        if size is not None and not 1 <= size <= 65_535:
            raise ConfigError(f"size must be from 1 to 65535 pixels, not {size}")
        picture = open_picture(source)
        rgb, alpha = picture.rgb, picture.alpha
        if size is not None:
            scale = size / max(rgb.size)
            shape = (max(1, round(rgb.width * scale)), max(1, round(rgb.height * scale)))
            rgb = rgb.resize(shape, Image.Resampling.LANCZOS)
            alpha = alpha.resize(shape, Image.Resampling.LANCZOS) if alpha else None
        same = source.suffix.lower() == target.suffix.lower()
        write_image(self._stylize_picture(rgb, style, strength), target, alpha, picture.format if same else None)

    def _stylize_picture(
        self, rgb: Image.Image, style: str | Mapping[str, float] | None, strength: float
    ) -> Image.Image:
        images = self.backend.place(np.array(rgb).transpose(2, 0, 1)[None])
        images /= 255
        stylized = self._stylize(images, style, strength)
        stylized *= 255
        (levels,) = self.backend.fetch(stylized.round())
        return Image.fromarray(np.ascontiguousarray(levels.transpose(1, 2, 0)))

    def _stylize(self, images: Array, style: str | Mapping[str, float] | None, strength: float) -> Array:
        """Return a new array, whatever the strength."""
        if not 0 <= strength <= 1:
            raise ConfigError(f"strength must be from 0 to 1, not {strength}")
        row = style_weights(self.styles, style)
        height, width = images.shape[2:]
        stylized = self.backend(_enlarged(images, height, width), np.tile(row, (len(images), 1)))
        stylized = stylized[:, :, :height, :width].clip(0, 1)
        return stylized if strength == 1 else images + strength * (stylized - images)


def load(
    path: str | Path,
    device: "str | torch.device | None" = None,
    backend: str = "torch",
    precision: str = "auto",
) -> Stylizer:
    """Load a trained network from its .safetensors file, or by its bare name.

    Args:
        path: the file, or the name of one in `checkpoints/` or, if there is none, of one that ships with the package.
        device: where to run it; by default a GPU if there is one. Only the processor with `onnx` and `openvino`.
        backend: `torch`; `compile`, torch's compiler, which takes a minute at the first picture; `onnx` or `openvino`,
            which do not import torch once a network has been converted, and are extras of the package.
        precision: `fp32`, the same picture from every backend to within one level; `bf16`, about twice as fast
            and a few levels off; or `auto`: bf16 where the hardware computes in it.

    Raises:
        CheckpointError: if there is no such file, or it is damaged or not one of ours.
        ConfigError: if backend, device and precision do not fit, or need what is not installed.
    """
    file = read_network_file(find(Path(path)))
    return Stylizer(make_backend(file, device, backend, precision), file.metadata)


def _enlarged(images: Array, height: int, width: int) -> Array:
    """Repeat the last row and column of tiny pictures; on the right and below, so that the crop is a plain slice."""
    if min(height, width) >= SMALLEST:
        return images
    rows = np.minimum(np.arange(max(height, SMALLEST)), height - 1)
    columns = np.minimum(np.arange(max(width, SMALLEST)), width - 1)
    return images[:, :, rows][:, :, :, columns]


def _is_tensor(image: object) -> "TypeIs[Tensor]":
    # Where torch is not imported, nobody can have made one.
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(image, torch.Tensor)
