"""Convolutions computed at a lower resolution than their output, followed by a pixel shuffle."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from fast_style.networks.padding import keeps_channels_last, pad


class NearestConv(nn.Module):
    """Nearest upsampling by two, reflection padding and a 3x3 convolution, without computing the upsampled image.

    Two of three neighboring rows of an upsampled image are equal, so each output pixel is a sum over 2x2 input pixels,
    with weights that depend on its place in a 2x2 square. Four 2x2 convolutions at the low resolution and a pixel
    shuffle give the same result for 4/9 of the multiply-adds (Shi et al. 2016, https://arxiv.org/abs/1609.07009).
    Unlike a transposed convolution (Odena, Dumoulin & Olah 2016, https://distill.pub/2016/deconv-checkerboard), it
    adds no checkerboard pattern.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Conv2d(inputs, outputs, kernel_size=3, bias=False).weight

    def forward(
        self, x: Float[Tensor, "batch _inputs _height _width"], size: tuple[int, int]
    ) -> Float[Tensor, "batch _outputs _h _w"]:
        """Return the feature map at `size` (height, width), which is twice that of `x`, or one less."""
        weight = _merge_taps(_merge_taps(self.weight, dim=2), dim=4).permute(0, 2, 4, 1, 3, 5).flatten(0, 2)
        # Reflection of the upsampled image equals replication of this one.
        x = pad(x, (1, 1, 1, 1), "replicate")
        x = shuffle(F.conv2d(x, weight))
        return crop(x, 1, 1, size)


def _merge_taps(weight: Tensor, dim: int) -> Tensor:
    """Split a dimension of three taps into two phases of two taps each, ordered for a shuffle after padding."""
    first, middle, last = weight.unbind(dim)
    odd, even = torch.stack([first + middle, last], dim), torch.stack([first, middle + last], dim)
    return torch.stack([odd, even], dim)


class BilinearConv(nn.Module):
    """Bilinear upsampling by two, replication padding and a 3x3 convolution, computed as in NearestConv.

    Each output pixel is a sum over 3x3 input pixels: as many multiply-adds as a convolution after upsampling, but
    without the upsampled feature map.

    Args:
        inputs: input channels.
        outputs: output channels.
        sigmoid: add a bias and a sigmoid in float32, for layers that output images: bfloat16 has fewer levels near 1
            than an image. The sigmoid comes before the shuffle, with the same result, so that runtimes fuse it with
            the convolution.
    """

    def __init__(self, inputs: int, outputs: int, *, sigmoid: bool = False) -> None:
        super().__init__()
        conv = nn.Conv2d(inputs, outputs, kernel_size=3, bias=sigmoid)
        self.weight, self.bias, self.sigmoid = conv.weight, conv.bias, sigmoid

    def forward(
        self, x: Float[Tensor, "batch _inputs _height _width"], size: tuple[int, int]
    ) -> Float[Tensor, "batch _outputs _h _w"]:
        """Return the feature map at `size` (height, width), at most twice that of `x`."""
        weight = _spread_taps(_spread_taps(self.weight, dim=2), dim=4).permute(0, 2, 4, 1, 3, 5).flatten(0, 2)
        x = F.conv2d(pad(x, (1, 1, 1, 1), "replicate"), weight, _repeat(self.bias))
        return crop(shuffle(torch.sigmoid(x.float()) if self.sigmoid else x), 0, 0, size)


def _spread_taps(weight: Tensor, dim: int) -> Tensor:
    """Split a dimension of three taps into two phases of three taps each, which include the upsampling."""
    first, middle, last = weight.unbind(dim)
    even = [(3 * first + middle) / 4, (first + 3 * middle + 3 * last) / 4, last / 4]
    odd = [first / 4, (3 * first + 3 * middle + last) / 4, (middle + 3 * last) / 4]
    return torch.stack([torch.stack(even, dim), torch.stack(odd, dim)], dim)


class PackedConv(nn.Conv2d):
    """Reflection padding, a convolution with few output channels, computed for 2x2 pixels at once, and a sigmoid.

    CPUs process 8, 16 or 32 channels together, and a convolution with three output channels leaves most of that idle.
    Four shifted copies of the kernel make it a convolution with twelve channels and stride two, with the same sums.
    For the sigmoid, see BilinearConv.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        super().__init__(inputs, outputs, kernel)

    def forward(self, x: Float[Tensor, "batch _inputs height width"]) -> Float[Tensor, "batch _outputs height width"]:
        """Return the result at every pixel, in float32."""
        height, width = x.shape[2:]
        margin = self.weight.shape[2] // 2
        weight = torch.stack([F.pad(self.weight, (j, 1 - j, i, 1 - i)) for i in (0, 1) for j in (0, 1)], dim=1)
        # One extra row or column if the size is odd.
        x = pad(x, (margin, margin + width % 2, margin, margin + height % 2), "reflect")
        x = F.conv2d(x, weight.flatten(0, 1), _repeat(self.bias), stride=2)
        return crop(shuffle(torch.sigmoid(x.float())), 0, 0, (height, width))


def _repeat(bias: Tensor | None) -> Tensor | None:
    """Repeat a bias for each pixel of a 2x2 square."""
    return None if bias is None else bias.repeat_interleave(4)


def shuffle(x: Float[Tensor, "batch _inputs height width"]) -> Float[Tensor, "batch _outputs _h _w"]:
    """Rearrange groups of four channels as 2x2 pixels, as F.pixel_shuffle does."""
    if not keeps_channels_last(x):
        return F.pixel_shuffle(x, 2)
    # On CUDA, torch's pixel shuffle returns channels first.
    batch, channels, height, width = x.shape
    squares = x.permute(0, 2, 3, 1).reshape(batch, height, width, channels // 4, 2, 2).permute(0, 1, 4, 2, 5, 3)
    return squares.reshape(batch, 2 * height, 2 * width, channels // 4).permute(0, 3, 1, 2)


def crop(
    x: Float[Tensor, "batch channels _height _width"], top: int, left: int, size: tuple[int, int]
) -> Float[Tensor, "batch channels _h _w"]:
    """Crop to `size` (height, width), from a top left corner."""
    if keeps_channels_last(x):
        return x[:, :, top : top + size[0], left : left + size[1]]
    # Negative padding, because torch.export specializes a slice: a copy at some sizes, a no-op at others.
    height, width = x.shape[2:]
    return F.pad(x, (-left, size[1] + left - width, -top, size[0] + top - height))
