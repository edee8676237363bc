"""Instance statistics of an image in tiles: mean and variance added up part by part, and normalization by them."""

import math
from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from fast_style.networks import ConditionalInstanceNorm
from fast_style.types import StyleWeights

#: The mean and the variance of each channel, in float64 on the processor.
MeanVariance: TypeAlias = tuple[Float[Tensor, " _channels"], Float[Tensor, " _channels"]]
#: Returns the statistics for a normalization, given its input and its index in the network.
StatisticsRule: TypeAlias = Callable[[Tensor, int], MeanVariance]

# That of ConditionalInstanceNorm, and torch's default.
_EPSILON = 1e-5


class RunningStatistics:
    """The mean and the variance of each channel of what is added, piece by piece.

    Chan, Golub & LeVeque 1979, Updating formulae and a pairwise algorithm for computing sample variances.
    """

    def __init__(self) -> None:
        self.count = 0
        self._mean: Tensor | float = 0.0
        self._squares: Tensor | float = 0.0

    def add(self, x: Float[Tensor, "batch channels _height _width"]) -> None:
        """Add all positions of a feature map, of all pictures of the batch."""
        batch, channels, _, width = x.shape
        # In strips: float32 takes twice the memory of bfloat16, and cutting a part out of channels_last copies it.
        room = 2**18 if x.device.type == "cpu" else 2**26
        for strip in torch.split(x, max(1, room // (batch * channels * width)), dim=2):
            values = strip.permute(0, 2, 3, 1).reshape(-1, channels).float()
            # Around their middle, so that the squares lose nothing to rounding.
            middle = values.mean(dim=0)
            values = values - middle
            offset = values.mean(dim=0).cpu().double()
            count = len(values)
            squares = values.square_().sum(dim=0).cpu().double() - count * offset.square()
            self._merge(count, middle.cpu().double() + offset, squares)

    def _merge(self, count: int, mean: Tensor, squares: Tensor) -> None:
        total = self.count + count
        step = mean - self._mean
        self._mean = self._mean + step * (count / total)
        self._squares = self._squares + squares + step.square() * (self.count * count / total)
        self.count = total

    def result(self) -> MeanVariance:
        """Return the mean and the variance, which is that of a population, of at least one position."""
        mean, variance = torch.as_tensor(self._mean), torch.as_tensor(self._squares) / self.count
        return mean, variance


def distance(found: Sequence[MeanVariance], used: Sequence[MeanVariance]) -> float:
    """Return the largest difference between statistics over all channels, in standard deviations."""
    worst = 0.0
    for (mean, variance), (other_mean, other_variance) in zip(found, used, strict=True):
        deviation, other = (variance + _EPSILON).sqrt(), (other_variance + _EPSILON).sqrt()
        for apart in ((mean - other_mean) / deviation, other / deviation - 1):
            # Not max(worst, ...), which would pass over a NaN.
            worst = float(torch.maximum(apart.abs().max(), torch.tensor(worst, dtype=torch.float64)))
    return worst


class SampleCorrection:
    """Corrections to the statistics of a sample, one for each normalization."""

    def __init__(self) -> None:
        self._terms: list[MeanVariance] = []

    def apply(self, sample: MeanVariance, index: int) -> MeanVariance:
        """Return the corrected statistics of a sample at a normalization."""
        if not self._terms:
            return sample
        (mean, variance), (term, logarithm) = sample, self._terms[index]
        # By a factor: a variance stays one.
        return mean + term, ((variance + _EPSILON) * logarithm.exp() - _EPSILON).clamp(min=0)

    def learn(self, found: Sequence[MeanVariance], used: Sequence[MeanVariance]) -> None:
        """Add what turns the statistics that were used into those that were found."""
        terms = [
            (mean - used_mean, ((variance + _EPSILON) / (used_variance + _EPSILON)).log())
            for (mean, variance), (used_mean, used_variance) in zip(found, used, strict=True)
        ]
        before = self._terms or [(torch.zeros_like(mean), torch.zeros_like(mean)) for mean, _ in terms]
        self._terms = [(a + c, b + d) for (a, b), (c, d) in zip(before, terms, strict=True)]


class GivenStatisticsNorm(nn.Module):
    """A ConditionalInstanceNorm whose statistics are given by a rule, for the tiles of one image.

    Args:
        norm: whose scales and shifts it shares.
        rule: returns the statistics, given the input.
    """

    def __init__(self, norm: ConditionalInstanceNorm, rule: Callable[[Tensor], MeanVariance]) -> None:
        super().__init__()
        self.norm = norm
        self.rule = rule

    def forward(
        self, x: Float[Tensor, "batch channels height width"], style: StyleWeights
    ) -> Float[Tensor, "batch channels height width"]:
        """Normalize, then scale and shift as the first picture's style says, which is that of all."""
        scale, shift = self.norm.blended(style[:1])
        mean, variance = (values.to(x.device, torch.float32) for values in self.rule(x))
        return F.batch_norm(x, mean, variance, scale[0], shift[0], eps=_EPSILON)


def stride_of(whole: int, part: int) -> int:
    """Return the stride of a feature map, a power of two, from the lengths of a picture and of the map."""
    # At the end, a map may cover a little more than the picture.
    return int(2 ** round(math.log2(whole / part)))
