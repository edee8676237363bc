"""How a picture moves from one frame of a film to the next, in training."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from fast_style.errors import ConfigError
from fast_style.types import Images

#: Sides of the squares of noise, in pixels: of a sensor (1) and of a codec, whose blocks are 4 to 32 pixels wide.
_GRAINS = (1, 2, 4, 8, 16, 32)
#: Smallest side of a crop in pixels, which all networks accept.
_SMALLEST = 32
#: Pixels at a crop's edges that are not compared: a network paints edges by what it sees beyond them.
_MARGIN = 8


@dataclass(frozen=True)
class Motion:
    """Random motion of pictures: a shift by whole pixels, as of a camera that pans, and noise.

    Departure from Gupta et al. 2017, https://arxiv.org/abs/1705.02092, who train on films, and from Rainy & de Berker
    2018, https://arxiv.org/abs/1807.01197, who turn and resize pictures: interpolated pictures are less sharp, and a
    network that must paint them alike paints with less detail. It learns to follow fractions of a pixel, turns and
    changes of size from whole pixels, because its own first step is four pixels wide.

    Attributes:
        distance: largest shift in pixels, along each axis.
        noise: largest standard deviation of the noise, relative to the range of a pixel.

    Raises:
        ConfigError: if a value is negative, or the distance is not a whole number.

    Example:
        >>> moved, origins, visible = Motion(distance=4)(torch.rand(2, 3, 48, 48), seeds=[1, 2])
        >>> moved.shape, origins.shape, visible.shape
        (torch.Size([2, 3, 40, 40]), torch.Size([2, 40, 40, 2]), torch.Size([2, 40, 40]))
    """

    distance: int = 8
    noise: float = 0.02

    def __post_init__(self) -> None:
        if type(self.distance) is not int or self.distance < 0:
            raise ConfigError(f"distance must be a whole number of pixels from 0 on, not {self.distance}")
        if not self.noise >= 0:
            raise ConfigError(f"noise must not be negative, not {self.noise}")

    def __call__(
        self, images: Images, seeds: Sequence[int]
    ) -> tuple[
        Float[Tensor, "batch 3 _height _width"],
        Float[Tensor, "batch _height _width 2"],
        Bool[Tensor, "batch _height _width"],
    ]:
        """Return pictures a moment later: cropped elsewhere, with noise.

        Args:
            images: the pictures, in [0, 1].
            seeds: one random seed for each, so that its motion does not depend on the batch that it is in.

        Returns:
            The crops, smaller by twice the distance; where each of their pixels is in `images`, in the coordinates of
            `grid_sample`; and whether it is far enough from the crop's edges to look the same there.
        """
        height, width = images.shape[2:]
        distance = max(0, min(self.distance, (min(height, width) - _SMALLEST) // 2))
        size = height - 2 * distance, width - 2 * distance
        crops, origins = [], []
        for image, seed in zip(images, seeds, strict=True):
            generator = torch.Generator().manual_seed(seed)
            top, left = torch.randint(0, 2 * distance + 1, (2,), generator=generator).tolist()
            noise = self._noise(generator, *size).to(images.device)
            crops.append((image[:, top : top + size[0], left : left + size[1]] + noise).clamp(0, 1))
            rows = (2 * torch.arange(top, top + size[0]) + 1) / height - 1
            columns = (2 * torch.arange(left, left + size[1]) + 1) / width - 1
            origins.append(torch.stack(torch.meshgrid(columns, rows, indexing="xy"), dim=-1))
        margin = min(_MARGIN, min(size) // 4)
        inside = torch.zeros(len(images), *size, dtype=torch.bool, device=images.device)
        inside[:, margin : size[0] - margin, margin : size[1] - margin] = True
        moved = torch.stack(crops).contiguous(memory_format=torch.channels_last)
        return moved, torch.stack(origins).to(images.device), inside

    def _noise(self, generator: torch.Generator, height: int, width: int) -> Float[Tensor, "3 height width"]:
        """Draw noise of equal strength at each size of `_GRAINS`."""
        noise = torch.zeros(3, height, width)
        for grain in _GRAINS:
            squares = torch.randn(3, height // grain + 2, width // grain + 2, generator=generator)
            row, column = torch.randint(0, grain, (2,), generator=generator).tolist()
            coarse = squares.repeat_interleave(grain, 1).repeat_interleave(grain, 2)
            noise += coarse[:, row : row + height, column : column + width]
        return noise * (self.noise * float(torch.rand((), generator=generator)) / math.sqrt(len(_GRAINS)))


def carry(images: Images, origins: Float[Tensor, "batch _height _width 2"]) -> Float[Tensor, "batch 3 _height _width"]:
    """Return pictures whose pixels come from the places `origins`, in the coordinates of `grid_sample`."""
    return F.grid_sample(images.float(), origins, mode="bicubic", padding_mode="reflection", align_corners=False)
