"""The layers that image transformation networks are made of."""

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from fast_style.types import StyleWeights


class ConditionalInstanceNorm(nn.Module):
    """Instance normalisation with a scale and a shift for each style.

    A blend of styles is the same blend of their scales and shifts. With one style this is ordinary
    affine instance normalisation.

    Dumoulin, Shlens & Kudlur 2017, https://arxiv.org/abs/1610.07629, equation 5.
    """

    def __init__(self, channels: int, styles: int) -> None:
        super().__init__()
        self.channels = channels
        self.scale = nn.Parameter(torch.ones(styles, channels))
        self.shift = nn.Parameter(torch.zeros(styles, channels))

    def forward(
        self, x: Float[Tensor, "batch channels height width"], style: StyleWeights
    ) -> Float[Tensor, "batch channels height width"]:
        """Normalise each channel of each picture, then scale and shift it as its style says."""
        # A sum of products, not a matrix product, which autocast would round to bfloat16.
        scale = (style[:, :, None] * self.scale).sum(dim=1)[:, :, None, None].to(x.dtype)
        shift = (style[:, :, None] * self.shift).sum(dim=1)[:, :, None, None].to(x.dtype)
        # A group of one channel is an instance; unlike instance_norm, group_norm keeps channels_last.
        return torch.addcmul(shift, F.group_norm(x, self.channels), scale)


class ConvNorm(nn.Module):
    """Reflection padding, convolution, conditional instance normalisation and, by default, ReLU."""

    def __init__(
        self, inputs: int, outputs: int, styles: int, *, kernel: int = 3, stride: int = 1, relu: bool = True
    ) -> None:
        super().__init__()
        # The normalisation takes the mean away, so a bias would have no effect.
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, padding_mode="reflect", bias=False)
        self.norm = ConditionalInstanceNorm(outputs, styles)
        self.relu = relu

    def forward(
        self, x: Float[Tensor, "batch _inputs _height _width"], style: StyleWeights
    ) -> Float[Tensor, "batch _outputs _h _w"]:
        """Return the layer's feature map, `stride` times smaller."""
        x = self.norm(self.conv(x), style)
        return F.relu(x) if self.relu else x


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside an identity, without ReLU after the sum.

    Johnson, Alahi & Fei-Fei 2016, supplementary material, figure 2, after Gross & Wilber 2016. They
    do not pad, and crop the identity; we pad by reflection, so that the size stays.
    """

    def __init__(self, channels: int, styles: int) -> None:
        super().__init__()
        self.first = ConvNorm(channels, channels, styles)
        self.second = ConvNorm(channels, channels, styles, relu=False)

    def forward(
        self, x: Float[Tensor, "batch channels height width"], style: StyleWeights
    ) -> Float[Tensor, "batch channels height width"]:
        """Return x plus a correction to it."""
        correction: Tensor = self.second(self.first(x, style), style)
        return x + correction


def upsample(
    x: Float[Tensor, "batch channels _height _width"],
    size: tuple[int, int],
    mode: Literal["nearest", "bilinear"] = "nearest",
) -> Float[Tensor, "batch channels _h _w"]:
    """Enlarge to (height, width).

    Before a convolution this makes none of the checkerboards of a transposed convolution (Odena,
    Dumoulin & Olah 2016, https://distill.pub/2016/deconv-checkerboard). To a size rather than by a
    factor: only then can the network be exported for a range of sizes, and odd sizes come out exact.
    """
    return F.interpolate(x, size=size, mode=mode)
