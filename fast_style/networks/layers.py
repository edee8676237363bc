"""Layers of image transformation networks."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from fast_style.networks.convolutions import BilinearConv, NearestConv
from fast_style.networks.norms import ConditionalInstanceNorm
from fast_style.networks.padding import pad
from fast_style.types import StyleWeights


class ConvNorm(nn.Module):
    """Convolution, conditional instance normalization and optional ReLU; reflection padding if kernels overlap."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        styles: int,
        *,
        kernel: int = 3,
        stride: int = 1,
        dilation: int = 1,
        relu: bool = True,
    ) -> None:
        super().__init__()
        self.padding = dilation * (kernel // 2) if kernel > stride else 0
        # Normalization removes the mean, so a bias would have no effect.
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, dilation=dilation, bias=False)
        self.norm = ConditionalInstanceNorm(outputs, styles)
        self.relu = relu

    def forward(
        self, x: Float[Tensor, "batch _inputs _height _width"], style: StyleWeights
    ) -> Float[Tensor, "batch _outputs _h _w"]:
        """Return the layer's feature map, `stride` times smaller."""
        if self.padding:
            x = pad(x, (self.padding,) * 4, "reflect")
        x = self.norm(self.conv(x), style)
        # In place: nothing else needs the output of the normalization, not even its backward.
        return F.relu(x, inplace=True) if self.relu else x


class UpsampledConvNorm(nn.Module):
    """Upsampling by two, convolution, conditional instance normalization and ReLU."""

    def __init__(self, inputs: int, outputs: int, styles: int, *, bilinear: bool = False) -> None:
        super().__init__()
        self.conv = BilinearConv(inputs, outputs) if bilinear else NearestConv(inputs, outputs)
        self.norm = ConditionalInstanceNorm(outputs, styles)

    def forward(
        self, x: Float[Tensor, "batch _inputs _height _width"], style: StyleWeights, size: tuple[int, int]
    ) -> Float[Tensor, "batch _outputs _h _w"]:
        """Return the layer's feature map at `size` (height, width), twice that of `x`, or one less."""
        return F.relu(self.norm(self.conv(x, size), style), inplace=True)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions and an identity shortcut, without ReLU after the sum.

    Johnson, Alahi & Fei-Fei 2016, supplementary material, figure 2, after Gross & Wilber 2016. They do not pad, and
    crop the identity; we use reflection padding to keep the size.

    Args:
        channels: input and output channels.
        styles: number of styles to learn.
        dilation: dilation of both convolutions (Yu & Koltun 2016, https://arxiv.org/abs/1511.07122).
    """

    def __init__(self, channels: int, styles: int, *, dilation: int = 1) -> None:
        super().__init__()
        self.first = ConvNorm(channels, channels, styles, dilation=dilation)
        self.second = ConvNorm(channels, channels, styles, dilation=dilation, relu=False)

    def forward(
        self, x: Float[Tensor, "batch channels height width"], style: StyleWeights
    ) -> Float[Tensor, "batch channels height width"]:
        """Return the input plus a residual."""
        correction: Tensor = self.second(self.first(x, style), style)
        return x + correction
