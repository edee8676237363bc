"""A network that is small enough to read at a glance."""

import torch
from torch import Tensor, nn

from fast_style.networks import TransformNet
from fast_style.networks.layers import ConvNorm, ResidualBlock, UpsampledConvNorm


class TinyNet(TransformNet):
    """Down by two, residual blocks, and up by two.

    Args:
        styles: how many styles to learn; the command gives it.
        width: channels.
        blocks: residual blocks.
    """

    def __init__(self, styles: int = 1, width: int = 16, blocks: int = 2) -> None:
        # What is given here is saved in the network's file, and given again when that is loaded.
        super().__init__(styles=styles, width=width, blocks=blocks)
        self.down = ConvNorm(3, width, styles, stride=2)
        self.blocks = nn.ModuleList(ResidualBlock(width, styles) for _ in range(blocks))
        self.up = UpsampledConvNorm(width, width, styles, bilinear=True)
        self.output = nn.Conv2d(width, 3, kernel_size=1)

    def forward(self, images: Tensor, style: Tensor) -> Tensor:
        """Stylize pictures of shape (batch, 3, height, width) in [0, 1] by weights of shape (batch, styles)."""
        x = self.down(images, style)
        for block in self.blocks:
            x = block(x, style)
        x = self.up(x, style, (images.shape[2], images.shape[3]))
        return torch.sigmoid(self.output(x))
