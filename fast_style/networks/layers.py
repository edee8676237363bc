"""The layers that image transformation networks are made of."""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable

from fast_style.types import StyleWeights


class _ScaledInstanceNorm(torch.autograd.Function):
    """Instance normalisation of each channel of each picture, with a scale and a shift for each, and a fast backward.

    torch's own backward of group_norm on channels_last takes 20 to 80 times as long on the CPU, more than all else of
    a training step together. Sums are in float32, as there.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        normalized, mean, rstd = _normalize(x)
        ctx.save_for_backward(x, mean, rstd, scale)
        return torch.addcmul(_per_channel(shift, x), normalized, _per_channel(scale, x))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, mean, rstd, scale = ctx.saved_tensors
        area = x.shape[2] * x.shape[3]
        # float16, whose gradients are scaled up, would overflow.
        product = gradient.float() * x if x.dtype == torch.float16 else gradient * x
        of_shift = gradient.sum(dim=(2, 3), dtype=torch.float32)
        of_scale = (product.sum(dim=(2, 3), dtype=torch.float32) - mean.float() * of_shift) * rstd.float()
        # With the normalised z = (x - mean) rstd: dx = scale rstd (dy - (sum of dy + z sum of dy z) / area),
        # sorted into a multiple of dy, a multiple of x and a constant.
        per_gradient = scale.float() * rstd.float()
        per_x = -per_gradient * rstd.float() * of_scale / area
        constant = -per_gradient * of_shift / area - per_x * mean.float()
        of_x = torch.addcmul(_per_channel(constant, x), x, _per_channel(per_x, x))
        return of_x.addcmul_(gradient, _per_channel(per_gradient, x)), of_scale, of_shift


def _normalize(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return x normalised, and of each channel the mean and the inverse of the standard deviation."""
    batch, channels, height, width = x.shape
    # A group of one channel is an instance; unlike instance_norm, group_norm keeps channels_last.
    return torch.native_group_norm(x, None, None, batch, channels, height * width, channels, 1e-5)


def _per_channel(values: Tensor, x: Tensor) -> Tensor:
    return values.to(x.dtype)[:, :, None, None]


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
        scale = (style[:, :, None] * self.scale).sum(dim=1)
        shift = (style[:, :, None] * self.shift).sum(dim=1)
        if torch.is_grad_enabled() and not torch.compiler.is_compiling():
            normalized: Tensor = _ScaledInstanceNorm.apply(x, scale, shift)
            return normalized
        return torch.addcmul(_per_channel(shift, x), F.group_norm(x, self.channels), _per_channel(scale, x))


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
        # In place: nothing else needs what the normalisation returned, not even its backward.
        return F.relu(x, inplace=True) if self.relu else x


class UpsampledConvNorm(nn.Module):
    """Nearest upsampling by two, convolution, conditional instance normalisation and ReLU."""

    def __init__(self, inputs: int, outputs: int, styles: int) -> None:
        super().__init__()
        self.conv = UpsampledConv(inputs, outputs)
        self.norm = ConditionalInstanceNorm(outputs, styles)

    def forward(
        self, x: Float[Tensor, "batch _inputs _height _width"], style: StyleWeights, size: tuple[int, int]
    ) -> Float[Tensor, "batch _outputs _h _w"]:
        """Return the layer's feature map at (height, width). See UpsampledConv."""
        return F.relu(self.norm(self.conv(x, size), style), inplace=True)


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


class UpsampledConv(nn.Module):
    """Nearest upsampling by two, reflection padding and a 3x3 convolution, without ever making the upsampled picture.

    Of three neighbouring rows of an upsampled picture two are the same, so that each pixel of the result is a sum over
    2x2 pixels before upsampling, with weights that depend on its place in a 2x2 square: four small convolutions at the
    low resolution and a pixel shuffle give the same for 4/9 of the multiply-adds (Shi et al. 2016,
    https://arxiv.org/abs/1609.07009). Unlike a transposed convolution (Odena, Dumoulin & Olah 2016,
    https://distill.pub/2016/deconv-checkerboard) it makes no checkerboard of its own.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Conv2d(inputs, outputs, kernel_size=3, bias=False).weight

    def forward(
        self, x: Float[Tensor, "batch _inputs _height _width"], size: tuple[int, int]
    ) -> Float[Tensor, "batch _outputs _h _w"]:
        """Return the feature map at (height, width), which are twice those of `x`, or one less."""
        weight = _merge_taps(_merge_taps(self.weight, dim=2), dim=4).permute(0, 2, 4, 1, 3, 5).flatten(0, 2)
        # What reflection is to the upsampled picture, replication is to this one.
        x = F.pad(x, (1, 1, 1, 1), mode="replicate")
        x = F.pixel_shuffle(F.conv2d(x, weight), 2)
        return crop(x, 1, 1, size)


def _merge_taps(weight: Tensor, dim: int) -> Tensor:
    """Split a dimension of three taps into two phases, ordered for a shuffle after padding, of two taps each."""
    first, middle, last = weight.unbind(dim)
    odd, even = torch.stack([first + middle, last], dim), torch.stack([first, middle + last], dim)
    return torch.stack([odd, even], dim)


class PackedConv(nn.Conv2d):
    """Reflection padding and a convolution with very few output channels, computed for 2x2 pixels at once.

    A processor works on 8, 16 or 32 channels together, and a convolution with three leaves most of it idle. The
    same kernel at four places in a larger one makes it a convolution with twelve and stride two: the same sums.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        super().__init__(inputs, outputs, kernel)

    def forward(self, x: Float[Tensor, "batch _inputs height width"]) -> Float[Tensor, "batch _outputs height width"]:
        """Return the convolution at every pixel."""
        height, width = x.shape[2:]
        margin = self.weight.shape[2] // 2
        weight = torch.stack([F.pad(self.weight, (j, 1 - j, i, 1 - i)) for i in (0, 1) for j in (0, 1)], dim=1)
        # One more row or column than needed where the size is odd.
        x = F.pad(x, (margin, margin + width % 2, margin, margin + height % 2), mode="reflect")
        x = F.pixel_shuffle(F.conv2d(x, weight.flatten(0, 1), stride=2), 2)
        bias = None if self.bias is None else self.bias[:, None, None]
        return crop(x if bias is None else x + bias.to(x.dtype), 0, 0, (height, width))


def crop(
    x: Float[Tensor, "batch channels _height _width"], top: int, left: int, size: tuple[int, int]
) -> Float[Tensor, "batch channels _h _w"]:
    """Return what is right of and below a corner, of a (height, width)."""
    # Not a slice, which torch.export takes for a copy at some sizes and for nothing at others.
    height, width = x.shape[2:]
    return F.pad(x, (-left, size[1] + left - width, -top, size[0] + top - height))
