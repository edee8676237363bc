"""A network between ResidualNet and LightNet in speed."""

from collections.abc import Mapping
from typing import ClassVar

import torch.nn.functional as F
from torch import nn

from fast_style.errors import ConfigError
from fast_style.networks.convolutions import PackedConv
from fast_style.networks.layers import ConvNorm, ResidualBlock, UpsampledConvNorm
from fast_style.networks.network import TransformNet
from fast_style.types import Images, StyleWeights

#: With larger dilations, reflection padding fails on images of 32 pixels, which all networks accept.
LARGEST_DILATION = 7


class BalancedNet(TransformNet):
    """Space-to-depth by four, residual blocks, and two upsampling layers.

    The stem moves each 4x4 square of pixels into channels (the inverse of Shi et al. 2016,
    https://arxiv.org/abs/1609.05158), which loses nothing and avoids computing at full resolution before the
    head. The head upsamples bilinearly before it convolves: a pixel shuffle, the inverse of the stem, leaves a
    visible 4x4 grid, and nearest upsampling a weave of straight strokes.

    Args:
        styles: number of styles to learn.
        width: channels of the residual blocks; half at half, and a quarter at full resolution.
        blocks: number of residual blocks.
        dilation: dilation of all blocks except the first and the last, which fill the gaps it leaves (Yu, Koltun &
            Funkhouser 2017, https://arxiv.org/abs/1705.09914). A larger one lets the network see and paint larger
            shapes at the same cost.

    Raises:
        ConfigError: if an argument is not a whole number from 1 to 4096, or the dilation is above LARGEST_DILATION.

    Example:
        >>> network = BalancedNet(styles=2, width=8, blocks=1)
        >>> network(torch.rand(1, 3, 48, 64), torch.tensor([[0.7, 0.3]])).shape
        torch.Size([1, 3, 48, 64])
    """

    added_arguments: ClassVar[Mapping[str, int]] = {"dilation": 1}

    def __init__(self, styles: int = 1, width: int = 64, blocks: int = 5, dilation: int = 2) -> None:
        super().__init__(styles=styles, width=width, blocks=blocks, dilation=dilation)
        if dilation > LARGEST_DILATION:
            raise ConfigError(f"dilation must be a whole number from 1 to {LARGEST_DILATION}, not {dilation}")
        half, quarter = max(1, width // 2), max(1, width // 4)
        self.stem = ConvNorm(3 * 16, width, styles)
        self.blocks = nn.ModuleList(
            ResidualBlock(width, styles, dilation=dilation if 0 < index < blocks - 1 else 1) for index in range(blocks)
        )
        self.up_half = UpsampledConvNorm(width, half, styles, bilinear=True)
        self.up_full = UpsampledConvNorm(half, quarter, styles, bilinear=True)
        self.output = PackedConv(quarter, 3, kernel=3)

    def forward(self, images: Images, style: StyleWeights) -> Images:
        """See TransformNet. Height and width must be above 4 times the dilation, for reflection padding."""
        height, width = images.shape[2:]
        x = F.pad(images, (0, -width % 4, 0, -height % 4), mode="reflect")
        x = self.stem(F.pixel_unshuffle(x, 4), style)
        for block in self.blocks:
            x = block(x, style)
        x = self.up_half(x, style, (2 * x.shape[2], 2 * x.shape[3]))
        output: Images = self.output(self.up_full(x, style, (height, width)))
        return output
