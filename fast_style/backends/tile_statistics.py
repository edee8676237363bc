"""Instance statistics of a tiled image: accumulated mean and variance, and normalization by them."""

import math
from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from fast_style.networks import EPSILON, ConditionalInstanceNorm
from fast_style.types import StyleWeights

#: Mean and variance of each channel, in float64 on the CPU.
MeanVariance: TypeAlias = tuple[Float[Tensor, " _channels"], Float[Tensor, " _channels"]]
#: Returns the statistics for a normalization, from its input and its index in the network.
StatisticsRule: TypeAlias = Callable[[Tensor, int], MeanVariance]


class RunningStatistics:
    """Mean and variance per channel, accumulated piece by piece.

    Chan, Golub & LeVeque 1979, Updating formulae and a pairwise algorithm for computing sample variances.
    """

    def __init__(self) -> None:
        self.count = 0
        self._mean: Tensor | float = 0.0
        self._squares: Tensor | float = 0.0

    def add(self, x: Float[Tensor, "batch channels _height _width"]) -> None:
        """Add all positions of a feature map, of all images in the batch."""
        batch, channels, _, width = x.shape
        # In strips: float32 takes twice the memory of bfloat16, and slicing channels_last copies.
        room = 2**18 if x.device.type == "cpu" else 2**26
        for strip in torch.split(x, max(1, room // (batch * channels * width)), dim=2):
            values = strip.permute(0, 2, 3, 1).reshape(-1, channels).float()
            # Centered, so that squares lose little to rounding.
            center = values.mean(dim=0)
            values = values - center
            offset = values.mean(dim=0).cpu().double()
            count = len(values)
            squares = values.square_().sum(dim=0).cpu().double() - count * offset.square()
            self._merge(count, center.cpu().double() + offset, squares)

    def _merge(self, count: int, mean: Tensor, squares: Tensor) -> None:
        total = self.count + count
        shift = mean - self._mean
        self._mean = self._mean + shift * (count / total)
        self._squares = self._squares + squares + shift.square() * (self.count * count / total)
        self.count = total

    def result(self) -> MeanVariance:
        """Return the mean and the population variance; at least one position must have been added."""
        return torch.as_tensor(self._mean), torch.as_tensor(self._squares) / self.count


def distance(found: Sequence[MeanVariance], used: Sequence[MeanVariance]) -> float:
    """Largest difference between statistics over all channels, in standard deviations."""
    worst = 0.0
    for (mean, variance), (other_mean, other_variance) in zip(found, used, strict=True):
        deviation, other = (variance + EPSILON).sqrt(), (other_variance + EPSILON).sqrt()
        for difference in ((mean - other_mean) / deviation, other / deviation - 1):
            # torch.maximum propagates NaN; Python's max does not.
            worst = float(torch.maximum(difference.abs().max(), torch.tensor(worst, dtype=torch.float64)))
    return worst


class SampleCorrection:
    """Corrections of sample statistics, one per normalization."""

    def __init__(self) -> None:
        self._terms: list[MeanVariance] = []

    def apply(self, sample: MeanVariance, index: int) -> MeanVariance:
        """Return the corrected statistics at a normalization."""
        if not self._terms:
            return sample
        (mean, variance), (term, logarithm) = sample, self._terms[index]
        # Multiplicative, so that the variance stays positive.
        return mean + term, ((variance + EPSILON) * logarithm.exp() - EPSILON).clamp(min=0)

    def learn(self, found: Sequence[MeanVariance], used: Sequence[MeanVariance]) -> None:
        """Add the correction that turns the used statistics into the measured ones."""
        terms = [
            (mean - used_mean, ((variance + EPSILON) / (used_variance + EPSILON)).log())
            for (mean, variance), (used_mean, used_variance) in zip(found, used, strict=True)
        ]
        before = self._terms or [(torch.zeros_like(mean), torch.zeros_like(mean)) for mean, _ in terms]
        self._terms = [(a + c, b + d) for (a, b), (c, d) in zip(before, terms, strict=True)]


class GivenStatisticsNorm(nn.Module):
    """A ConditionalInstanceNorm with given statistics, for the tiles of one image.

    Args:
        norm: the norm whose scales and shifts are shared.
        rule: returns the statistics for an input.
    """

    def __init__(self, norm: ConditionalInstanceNorm, rule: Callable[[Tensor], MeanVariance]) -> None:
        super().__init__()
        self.norm, self.rule = norm, rule

    def forward(
        self, x: Float[Tensor, "batch channels height width"], style: StyleWeights
    ) -> Float[Tensor, "batch channels height width"]:
        """Normalize, then scale and shift by the style of the first image, which is that of all tiles."""
        scale, shift = self.norm.blended(style[:1])
        mean, variance = (values.to(x.device, torch.float32) for values in self.rule(x))
        return F.batch_norm(x, mean, variance, scale[0], shift[0], eps=EPSILON)


def stride_of(whole: int, part: int) -> int:
    """Stride of a feature map, a power of two, from the lengths of the image and of the map."""
    # At the end, a map may extend slightly beyond the image.
    return int(2 ** round(math.log2(whole / part)))
