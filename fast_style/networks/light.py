"""The fastest network."""

import torch.nn.functional as F
from torch import nn

from fast_style.networks.convolutions import BilinearConv
from fast_style.networks.layers import ConvNorm, ResidualBlock, UpsampledConvNorm
from fast_style.networks.network import TransformNet
from fast_style.types import Images, StyleWeights


class LightNet(TransformNet):
    """Does nearly all of its work at an eighth of the resolution; only the output has full resolution.

    Downsampling by four and by two, residual blocks, upsampling by two with a skip connection at a quarter of the
    resolution, and twice more by two. The last two are bilinear: pixel shuffles leave a visible grid, and nearest
    upsampling a weave of straight strokes, which after the first a further convolution removes. Feature maps at full
    resolution would cost more than all of this, for normalization alone.

    Args:
        styles: number of styles to learn.
        width: channels at a quarter of the resolution; twice at an eighth, and half at half of it.
        blocks: number of residual blocks, at an eighth of the resolution.

    Example:
        >>> network = LightNet(styles=1, width=8, blocks=1)
        >>> network(torch.rand(1, 3, 48, 64), torch.ones(1, 1)).shape
        torch.Size([1, 3, 48, 64])
    """

    def __init__(self, styles: int = 1, width: int = 32, blocks: int = 2) -> None:
        super().__init__(styles=styles, width=width, blocks=blocks)
        self.down_quarter = ConvNorm(3, width, styles, kernel=4, stride=4)
        self.down_eighth = ConvNorm(width, 2 * width, styles, stride=2)
        self.blocks = nn.ModuleList(ResidualBlock(2 * width, styles) for _ in range(blocks))
        self.up_quarter = UpsampledConvNorm(2 * width, width, styles)
        self.smooth = ConvNorm(width, width, styles)
        self.up_half = UpsampledConvNorm(width, max(1, width // 2), styles, bilinear=True)
        self.output = BilinearConv(max(1, width // 2), 3, sigmoid=True)

    def forward(self, images: Images, style: StyleWeights) -> Images:
        """See TransformNet. Height and width must be above 8, for reflection padding."""
        height, width = images.shape[2:]
        x = F.pad(images, (0, -width % 4, 0, -height % 4), mode="reflect")
        quarter = self.down_quarter(x, style)
        x = self.down_eighth(quarter, style)
        for block in self.blocks:
            x = block(x, style)
        x = self.smooth(quarter + self.up_quarter(x, style, (quarter.shape[2], quarter.shape[3])), style)
        x = self.up_half(x, style, (2 * x.shape[2], 2 * x.shape[3]))
        output: Images = self.output(x, (height, width))
        return output
