"""One forward pass, for whatever a person has in hand."""

from collections.abc import Mapping
from pathlib import Path
from typing import overload

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from fast_style.checkpoints import Metadata, load_network
from fast_style.errors import CheckpointError, ConfigError
from fast_style.images import Picture, flatten, open_picture, to_pil, to_tensor, write_image
from fast_style.networks import TransformNet
from fast_style.styles import style_weights
from fast_style.types import Images

#: The smallest height and width that is given to a network; less leaves reflection padding nothing to reflect.
SMALLEST = 32


class Stylizer:
    """A trained network, and how to ask it.

    Args:
        network: the trained network.
        metadata: what its file says of it.
        device: where to run it; by default a GPU if there is one.
    """

    def __init__(self, network: TransformNet, metadata: Metadata, device: str | torch.device | None = None) -> None:
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.network = network.to(self.device).to(memory_format=torch.channels_last).eval()
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
        self, image: Tensor, style: str | Mapping[str, float] | None = None, strength: float = 1.0
    ) -> Tensor: ...
    def __call__(
        self,
        image: Image.Image | str | Path | Tensor,
        style: str | Mapping[str, float] | None = None,
        strength: float = 1.0,
    ) -> Image.Image | Tensor:
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
        if isinstance(image, Tensor):
            batch = image if image.ndim == 4 else image[None]
            stylized = self._stylize(batch, style, strength)
            return (stylized if image.ndim == 4 else stylized[0]).to(image.device, image.dtype)
        picture = Picture.of(image) if isinstance(image, Image.Image) else open_picture(image)
        return to_pil(self._stylize(to_tensor(flatten(picture)), style, strength))[0]

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
        stylized = to_pil(self._stylize(to_tensor(rgb), style, strength))[0]
        write_image(stylized, target, alpha, picture.format if same else None)

    # Not inference_mode, whose tensors nobody may change afterwards.
    @torch.no_grad()
    def _stylize(self, images: Images, style: str | Mapping[str, float] | None, strength: float) -> Images:
        if not 0 <= strength <= 1:
            raise ConfigError(f"strength must be from 0 to 1, not {strength}")
        row = style_weights(self.styles, style).to(self.device)
        images = images.to(self.device, torch.float32)
        height, width = images.shape[2:]
        # On the right and below, so that the crop is a plain slice.
        padding = (0, max(0, SMALLEST - width), 0, max(0, SMALLEST - height))
        x = F.pad(images, padding, mode="replicate") if any(padding) else images
        x = x.contiguous(memory_format=torch.channels_last)
        stylized = self.network(x, row.expand(len(x), -1))[:, :, :height, :width].clamp(0, 1)
        return torch.lerp(images, stylized, strength)


def load(path: str | Path, device: str | torch.device | None = None) -> Stylizer:
    """Load a trained network from its .safetensors file, or by its bare name from `checkpoints/`.

    Raises:
        CheckpointError: if there is no such file, or it is damaged or not one of ours.
    """
    path = Path(path)
    if path.parent == Path() and not path.is_file():
        folder = Path("checkpoints")
        named = folder / f"{path.name.removesuffix('.safetensors')}.safetensors"
        if not named.exists():
            known = ", ".join(sorted(file.stem for file in folder.glob("*.safetensors"))) or "nothing yet"
            raise CheckpointError(f"{path}: no such file, and no such name in {folder}/, which has {known}")
        path = named
    return Stylizer(*load_network(path), device=device)
