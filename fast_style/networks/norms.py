"""Instance normalization conditional on the style."""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable

from fast_style.types import StyleWeights

#: Added to a variance; torch's default.
EPSILON = 1e-5


class _ScaledInstanceNorm(torch.autograd.Function):
    """Instance normalization with a scale and a shift for each channel of each image, and a fast backward.

    torch's backward of group_norm on channels_last takes 20 to 80 times as long on the CPU, more than the rest of a
    training step together. As there, sums are in float32.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        normalize = _normalize_on_cuda if x.is_cuda else _normalize
        output, mean, rstd = normalize(x, scale, shift)
        ctx.save_for_backward(x, mean, rstd, scale)
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, mean, rstd, scale = ctx.saved_tensors
        area = x.shape[2] * x.shape[3]
        # float16 products would overflow, because its gradients are scaled up.
        product = gradient.float() * x if x.dtype == torch.float16 else gradient * x
        mean, rstd = mean.float(), rstd.float()
        shift_gradient = gradient.sum(dim=(2, 3), dtype=torch.float32)
        scale_gradient = (product.sum(dim=(2, 3), dtype=torch.float32) - mean * shift_gradient) * rstd
        # With the normalized z = (x - mean) rstd: dx = scale rstd (dy - (sum of dy + z sum of dy z) / area),
        # sorted into a multiple of dy, a multiple of x and a constant.
        # Departure: channels without variance pass no gradient; a dozen norms would amplify it 300x each, and overflow.
        per_gradient = scale.float() * rstd * _has_content(mean, rstd, x.dtype)
        per_x = -per_gradient * rstd * scale_gradient / area
        constant = -per_gradient * shift_gradient / area - per_x * mean
        x_gradient = torch.addcmul(_per_channel(constant, x), x, _per_channel(per_x, x))
        return x_gradient.addcmul_(gradient, _per_channel(per_gradient, x)), scale_gradient, shift_gradient


def _has_content(mean: Tensor, rstd: Tensor, dtype: torch.dtype) -> Tensor:
    """Whether each channel varies by more than EPSILON, and by more than the rounding of its mean in this dtype."""
    variance = rstd.square().reciprocal() - EPSILON
    return variance > (torch.finfo(dtype).eps * mean).square().clamp_min(EPSILON)


def _normalize(x: Tensor, scale: Tensor, shift: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return x normalized, scaled and shifted, and per channel the mean and the reciprocal standard deviation."""
    batch, channels, height, width = x.shape
    # One channel per group is instance normalization; unlike instance_norm, group_norm keeps channels_last.
    normalized, mean, rstd = torch.native_group_norm(x, None, None, batch, channels, height * width, channels, EPSILON)
    return torch.addcmul(_per_channel(shift, x), normalized, _per_channel(scale, x)), mean, rstd


def _normalize_on_cuda(x: Tensor, scale: Tensor, shift: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Do the same on CUDA, where group_norm does not keep channels_last, with one pass over x less."""
    area, precise = x.shape[2] * x.shape[3], torch.promote_types(x.dtype, torch.float32)
    mean = x.mean(dim=(2, 3), dtype=precise)
    squares = torch.linalg.vector_norm(x, dim=(2, 3), dtype=precise).square() / area
    rstd = (squares - mean.square()).clamp_min(0).add(EPSILON).rsqrt()
    scale = scale * rstd
    shift = shift - scale * mean
    output = torch.empty_like(x)
    # Computed in float32, and rounded when written.
    torch.addcmul(shift[:, :, None, None], x, scale[:, :, None, None], out=output)
    return output, mean, rstd


def _per_channel(values: Tensor, x: Tensor) -> Tensor:
    return values.to(x.dtype)[:, :, None, None]


class ConditionalInstanceNorm(nn.Module):
    """Instance normalization with a scale and a shift for each style.

    A blend of styles is the same blend of their scales and shifts. With one style this is ordinary
    affine instance normalization.

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
        """Normalize each channel of each image, then scale and shift it by its style."""
        scale, shift = self.blended(style)
        if torch.is_grad_enabled() and not torch.compiler.is_compiling():
            normalized: Tensor = _ScaledInstanceNorm.apply(x, scale, shift)
            return normalized
        return torch.addcmul(_per_channel(shift, x), F.group_norm(x, self.channels), _per_channel(scale, x))

    def blended(self, style: StyleWeights) -> tuple[Float[Tensor, "batch channels"], Float[Tensor, "batch channels"]]:
        """Return the scale and the shift of each channel of each image."""
        # A sum of products: autocast would round a matrix product to bfloat16.
        return (style[:, :, None] * self.scale).sum(dim=1), (style[:, :, None] * self.shift).sum(dim=1)
