"""Johnson's network."""

from torch import nn

from fast_style.networks.convolutions import PackedConv
from fast_style.networks.layers import ConvNorm, ResidualBlock, UpsampledConvNorm
from fast_style.networks.network import TransformNet
from fast_style.types import Images, StyleWeights


class ResidualNet(TransformNet):
    """The residual image transformation network: downsampling by four, residual blocks, upsampling by four.

    Johnson, Alahi & Fei-Fei 2016, supplementary material, table 1, https://arxiv.org/abs/1603.08155,
    with three changes: instance instead of batch normalization (Ulyanov, Vedaldi & Lempitsky 2016,
    https://arxiv.org/abs/1607.08022), conditional on the style and with a sigmoid at the end (Dumoulin,
    Shlens & Kudlur 2017, https://arxiv.org/abs/1610.07629, table 1), and nearest upsampling instead of
    fractionally strided convolutions.

    Args:
        styles: number of styles to learn.
        width: channels at full resolution; twice at half and four times at a quarter of it.
        blocks: number of residual blocks, at a quarter of the resolution.

    Example:
        >>> network = ResidualNet(styles=1, width=8, blocks=1)
        >>> network(torch.rand(1, 3, 48, 64), torch.ones(1, 1)).shape
        torch.Size([1, 3, 48, 64])
    """

    def __init__(self, styles: int = 1, width: int = 32, blocks: int = 5) -> None:
        super().__init__(styles=styles, width=width, blocks=blocks)
        self.stem = ConvNorm(3, width, styles, kernel=9)
        self.down_half = ConvNorm(width, 2 * width, styles, stride=2)
        self.down_quarter = ConvNorm(2 * width, 4 * width, styles, stride=2)
        self.blocks = nn.ModuleList(ResidualBlock(4 * width, styles) for _ in range(blocks))
        self.up_half = UpsampledConvNorm(4 * width, 2 * width, styles)
        self.up_full = UpsampledConvNorm(2 * width, width, styles)
        self.output = PackedConv(width, 3, kernel=9)

    def forward(self, images: Images, style: StyleWeights) -> Images:
        """See TransformNet. Height and width must be above 8, for reflection padding."""
        full = self.stem(images, style)
        half = self.down_half(full, style)
        x = self.down_quarter(half, style)
        for block in self.blocks:
            x = block(x, style)
        x = self.up_half(x, style, (half.shape[2], half.shape[3]))
        x = self.up_full(x, style, (full.shape[2], full.shape[3]))
        output: Images = self.output(x)
        return output
