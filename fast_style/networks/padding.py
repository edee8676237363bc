"""Padding as in torch, but keeping channels_last on CUDA during training."""

from functools import lru_cache
from typing import Any, Literal, TypeAlias

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

#: Left, right, top and bottom, in torch's order.
Margins: TypeAlias = tuple[int, int, int, int]
Mode: TypeAlias = Literal["reflect", "replicate"]


def pad(
    x: Float[Tensor, "batch channels _height _width"], margins: Margins, mode: Mode
) -> Float[Tensor, "batch channels _h _w"]:
    """Pad a feature map. In training on CUDA, input and output are channels_last."""
    if keeps_channels_last(x):
        padded: Tensor = _GatheredPad.apply(x, margins, mode)
        return padded
    return F.pad(x, margins, mode)


def keeps_channels_last(x: Tensor) -> bool:
    """Whether our own kernels that keep channels_last pay off: in training on CUDA."""
    return x.is_cuda and torch.is_grad_enabled() and not torch.compiler.is_compiling()


class _GatheredPad(torch.autograd.Function):
    """Padding by a gather of whole pixels: torch's CUDA kernels convert to channels first, and add pixel by pixel."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, margins: Margins, mode: Mode) -> Tensor:
        batch, channels, height, width = x.shape
        left, right, top, bottom = ctx.margins = margins  # type: ignore[attr-defined]
        ctx.mode, ctx.size = mode, (height, width)  # type: ignore[attr-defined]
        sources, _, _ = _gather_indices(height, width, margins, mode, x.device)
        padded = _pixels(x).index_select(1, sources)
        return padded.view(batch, top + height + bottom, left + width + right, channels).permute(0, 3, 1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (height, width), (left, _, top, _) = ctx.size, ctx.margins
        _, margin, sources = _gather_indices(height, width, ctx.margins, ctx.mode, gradient.device)
        inner = gradient[:, :, top : top + height, left : left + width].clone(memory_format=torch.channels_last)
        # The gradient of a copy belongs to the pixel that was copied.
        _pixels(inner).index_add_(1, sources, _pixels(gradient).index_select(1, margin))
        return inner, None, None


def _pixels(x: Tensor) -> Tensor:
    """View a feature map as (batch, pixels, channels); a copy unless it is channels_last."""
    return x.contiguous(memory_format=torch.channels_last).permute(0, 2, 3, 1).flatten(1, 2)


@lru_cache(maxsize=64)
def _gather_indices(height: int, width: int, margins: Margins, mode: Mode, device: torch.device) -> tuple[Tensor, ...]:
    """Return the source index of each padded pixel, the indices of padded pixels in the margins, and their sources."""
    left, _, top, _ = margins
    indices = torch.arange(height * width, dtype=torch.float64).view(1, 1, height, width)
    sources = F.pad(indices, margins, mode)[0, 0].long()
    outside = torch.ones_like(sources, dtype=torch.bool)
    outside[top : top + height, left : left + width] = False
    margin = outside.flatten().nonzero()[:, 0]
    return tuple(places.to(device) for places in (sources.flatten(), margin, sources.flatten()[margin]))
