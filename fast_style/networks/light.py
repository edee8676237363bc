"""A network that does nearly all its work at a quarter of the resolution."""

import torch
import torch.nn.functional as F
from torch import nn

from fast_style.networks.layers import ConvNorm, ResidualBlock, crop
from fast_style.networks.network import TransformNet
from fast_style.types import Images, StyleWeights


class LightNet(TransformNet):
    """Space-to-depth by four, residual blocks, and a head that upsamples twice.

    The stem moves each 4x4 square of pixels into channels (Shi et al. 2016,
    https://arxiv.org/abs/1609.05158, backwards), so nothing is lost and nothing is computed at full
    resolution before the head. The head upsamples bilinearly before it convolves: the shuffle that would
    undo the stem leaves a visible 4x4 grid, and nearest neighbours a weave of straight strokes.

    Args:
        styles: how many styles to learn.
        width: channels of the trunk; half at half, and a quarter at full resolution.
        blocks: residual blocks.
    """

    def __init__(self, styles: int = 1, width: int = 64, blocks: int = 5) -> None:
        super().__init__(styles=styles, width=width, blocks=blocks)
        self.stem = ConvNorm(3 * 16, width, styles)
        self.blocks = nn.ModuleList(ResidualBlock(width, styles) for _ in range(blocks))
        self.up_half = ConvNorm(width, max(1, width // 2), styles)
        self.up_full = ConvNorm(max(1, width // 2), max(1, width // 4), styles)
        self.output = nn.Conv2d(max(1, width // 4), 3, kernel_size=3, padding=1, padding_mode="reflect")

    def forward(self, images: Images, style: StyleWeights) -> Images:
        """See TransformNet. Height and width must be above 4, or reflection has nothing to reflect."""
        height, width = images.shape[2:]
        rows, columns = (height + 3) // 4, (width + 3) // 4
        below, right = 4 * rows - height, 4 * columns - width
        x = F.pad(images, (0, right, 0, below), mode="reflect")
        x = self.stem(F.pixel_unshuffle(x, 4), style)
        for block in self.blocks:
            x = block(x, style)
        x = self.up_half(F.interpolate(x, size=(2 * rows, 2 * columns), mode="bilinear"), style)
        x = self.up_full(F.interpolate(x, size=(4 * rows, 4 * columns), mode="bilinear"), style)
        return crop(torch.sigmoid(self.output(x).float()), 0, 0, (height, width))
