"""Stylizes an image in tiles, with the same result as for the whole image at once.

Only instance normalization depends on the whole image: given its statistics, an output pixel depends on a neighborhood,
and tiles that overlap by that much join without a seam. The statistics of the whole image are found by iteration:

1. The statistics of a sample are taken: a batch of squares from all over the image, at full resolution. They differ
   from those of the whole by some percent, which gives a PSNR of 18 to 36 dB against the exact result.
2. A pass over all tiles with these statistics stylizes the image, and measures the true ones at each normalization.
3. The difference at each normalization becomes a correction to the sample there, given the corrections before it.
   Repeat from 2 until the statistics used are those measured.

Each pass reduces the error five to ten times, so three to five passes suffice. The first normalization is exact after
one pass, and one more after each further pass, because its statistics depend only on those before: it always ends.
Using the measured statistics directly does not converge: errors grow from one normalization to the next.

Chen et al. 2022 (URST), https://arxiv.org/abs/2103.11784, use the statistics of a thumbnail. Its small structures are
not those of the image: a worse start, and a worse model of how the statistics depend on one another.
"""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fast_style.backends.tile_statistics import (
    GivenStatisticsNorm,
    MeanVariance,
    RunningStatistics,
    SampleCorrection,
    StatisticsRule,
    distance,
    stride_of,
)
from fast_style.images.disk_image import Box
from fast_style.networks import ConditionalInstanceNorm, TransformNet

#: Returns a part of the image, (1, 3, height, width) in [0, 1]; takes a part of the result, likewise.
Read: TypeAlias = Callable[[Box], Tensor]
Write: TypeAlias = Callable[[Box, Tensor], None]
#: Called after each tile with the number of the pass, the tiles done and the tiles in total.
Progress: TypeAlias = Callable[[int, int, int], None]

#: Maximum error of the statistics in standard deviations; keeps the image correct to about one 8-bit level.
TOLERANCE = 0.003
#: Number of passes for an approximate result.
FAST_PASSES = 2
#: Side of the squares in a sample, in pixels; half of it if fewer than 16 would fit.
SAMPLE = 256


@dataclass(frozen=True)
class Tile:
    """A part of the image."""

    seen: Box  #: the input of the network, with margins
    kept: Box  #: the part of its output that equals that of the whole image


class TiledNetwork:
    """A network that stylizes an image in tiles; it shares the weights of the original network.

    Args:
        network: on any device, in any precision.

    Attributes:
        grid: the largest stride of a feature map, in pixels; tiles begin at multiples of it.
        margin: radius of the receptive field in pixels, rounded up to a multiple of `grid`.
    """

    def __init__(self, network: TransformNet) -> None:
        parameters = list(network.parameters())
        self._like = parameters[0]
        # Parameters in the memo of deepcopy are shared rather than copied.
        self._network = copy.deepcopy(network, {id(parameter): parameter for parameter in parameters})
        for module in list(self._network.modules()):
            for name, child in list(module.named_children()):
                if isinstance(child, ConditionalInstanceNorm):
                    setattr(module, name, GivenStatisticsNorm(child, self._statistics))
        self._rule: StatisticsRule
        self._index = 0
        self._strides: dict[int, int] = {}
        self.grid, self.margin = self._reach()

    @property
    def norms(self) -> int:
        """Number of normalizations in the network."""
        return len(self._strides)

    def tiles(self, size: tuple[int, int], side: int) -> list[Tile]:
        """Divide an image into tiles of at most side x side pixels, or more if margins would leave nothing.

        Args:
            size: width and height in pixels.
            side: in pixels.
        """
        columns, rows = (self._spans(length, side) for length in size)
        return [
            Tile((left, top, right, bottom), (x, y, x_end, y_end))
            for top, y, y_end, bottom in rows
            for left, x, x_end, right in columns
        ]

    @torch.no_grad()
    def __call__(
        self,
        read: Read,
        write: Write,
        size: tuple[int, int],
        row: NDArray[np.float32],
        *,
        side: int,
        pixels: int,
        exact: bool = True,
        progress: Progress = lambda number, done, total: None,
    ) -> float:
        """Stylize an image. Every pass writes each pixel once; the last pass is correct.

        Args:
            read: returns parts of the image.
            write: takes parts of the result.
            size: width and height in pixels.
            row: the style weights.
            side: maximum side of tiles, in pixels.
            pixels: size of the sample; more pixels need fewer passes.
            exact: repeat until the statistics are correct to TOLERANCE; otherwise stop after FAST_PASSES.
            progress: called after every tile.

        Returns:
            Error of the statistics in the last pass, as in `tile_statistics.distance`.
        """
        tiles, correction = self.tiles(size, side), SampleCorrection()
        style = torch.from_numpy(row[None]).to(self._like.device)
        # After norms + 1 passes the statistics are exact at every normalization.
        for number in range(1, (self.norms + 1 if exact else FAST_PASSES) + 1):
            used = self._sample(read, size, style, pixels, correction)
            measured = [RunningStatistics() for _ in used]
            for done, tile in enumerate(tiles, 1):
                self._rule = self._measuring_rule(tile, size, used, measured)
                left, top, right, bottom = (a - b for a, b in zip(tile.kept, 2 * tile.seen[:2], strict=True))
                write(tile.kept, self._forward(read(tile.seen), style)[:, :, top:bottom, left:right])
                progress(number, done, len(tiles))
            statistics = [each.result() for each in measured]
            error = distance(statistics, used)
            if error <= TOLERANCE:
                break
            correction.learn(statistics, used)
        return error

    def _forward(self, images: Tensor, style: Tensor) -> Tensor:
        self._index = 0
        images = images.to(self._like.dtype).contiguous(memory_format=torch.channels_last)
        stylized: Tensor = self._network(images, style.expand(len(images), -1))
        return stylized.float()

    def _statistics(self, x: Tensor) -> MeanVariance:
        self._index += 1
        return self._rule(x, self._index - 1)

    def _sample(
        self, read: Read, size: tuple[int, int], style: Tensor, pixels: int, correction: SampleCorrection
    ) -> list[MeanVariance]:
        used = []

        def rule(x: Tensor, index: int) -> MeanVariance:
            moments = RunningStatistics()
            moments.add(x)
            used.append(correction.apply(moments.result(), index))
            return used[-1]

        self._rule = rule
        squares = [read(box).to(self._like.dtype) for box in self.squares(size, pixels)]
        self._forward(torch.cat(squares), style)
        return used

    def squares(self, size: tuple[int, int], pixels: int) -> list[Box]:
        """Return sample squares all over an image of a width and height, with at most `pixels` pixels in total."""
        side = min(SAMPLE if pixels >= 16 * SAMPLE**2 else SAMPLE // 2, *size)
        # No more squares than cover the image once.
        across, down = (math.ceil(length / side) for length in size)
        room = max(1, pixels // side**2)
        across = min(across, max(1, round(math.sqrt(room * size[0] / size[1]))), room)
        down = min(down, room // across)
        lefts, tops = (self._starts(*each, side) for each in zip(size, (across, down), strict=True))
        return [(left, top, left + side, top + side) for top in tops for left in lefts]

    def _starts(self, length: int, count: int, side: int) -> list[int]:
        # Centered in equal parts, clamped to the image.
        part = length / count
        starts = [round((i + 0.5) * part - side / 2) for i in range(count)]
        return [min(max(0, start // self.grid * self.grid), length - side) for start in starts]

    @staticmethod
    def _measuring_rule(
        tile: Tile, size: tuple[int, int], used: list[MeanVariance], measured: list[RunningStatistics]
    ) -> StatisticsRule:
        """Rule that uses given statistics, and adds the kept part of a tile to those measured."""

        def rule(x: Tensor, index: int) -> MeanVariance:
            slices = []
            for axis, length in ((1, x.shape[2]), (0, x.shape[3])):
                start, end = tile.seen[axis], tile.seen[axis + 2]
                first, last = tile.kept[axis], tile.kept[axis + 2]
                stride = stride_of(end - start, length)
                # At the edge of the image, up to the end of the map, which may extend slightly beyond.
                stop = length if last == size[axis] else (last - start) // stride
                slices.append(slice((first - start) // stride, stop))
            measured[index].add(x[:, :, slices[0], slices[1]])
            return used[index]

        return rule

    def _spans(self, length: int, side: int) -> list[tuple[int, int, int, int]]:
        """Spans of tiles along an axis: seen start, kept start, kept end, seen end."""
        if length <= side:
            return [(0, 0, length, length)]
        kept = max(self.grid, (side - 2 * self.margin) // self.grid * self.grid)
        step = math.ceil(length / math.ceil(length / kept) / self.grid) * self.grid
        return [
            (max(0, start - self.margin), start, min(start + step, length), min(start + step + self.margin, length))
            for start in range(0, length, step)
        ]

    @torch.no_grad()
    def _reach(self) -> tuple[int, int]:
        """Find the grid and the margin, by how far a NaN spreads through the network."""
        height, block, width = 64, 64, 512
        one = torch.ones(1, dtype=torch.float64)

        def rule(x: Tensor, index: int) -> MeanVariance:
            self._strides[index] = stride_of(height, x.shape[2])
            return 0 * one.expand(x.shape[1]), one.expand(x.shape[1])

        self._rule = rule
        style = self._like.new_full((1, self._network.styles), 1 / self._network.styles, dtype=torch.float32)
        while True:
            start = width // 2 - block // 2
            images = torch.zeros(1, 3, height, width, device=self._like.device)
            images[..., start : start + block] = torch.nan
            reached = self._forward(images, style).isnan()[0].any(dim=0).any(dim=0).nonzero().flatten()
            before, behind = start - int(reached[0]), int(reached[-1]) - (start + block - 1)
            if max(before, behind) < start:
                grid = max(self._strides.values())
                return grid, math.ceil(max(before, behind, grid) / grid) * grid
            width *= 2
