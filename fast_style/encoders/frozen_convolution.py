"""A 3x3 convolution with frozen weights that does not save its input for the backward pass."""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.nn.grad import conv2d_input


class FrozenConv(nn.Conv2d):
    """A 3x3 convolution with frozen weights, padded by one pixel, with an optional ReLU.

    Replication padding keeps channels_last: torch's padding on CUDA converts to channels first, and the convolution
    would convert back. The input is not saved for the backward pass.
    """

    def forward(
        self, x: Float[Tensor, "batch _inputs height width"], *, relu: bool = False
    ) -> Float[Tensor, "batch _outputs height width"]:
        """Return the feature map, of the same height and width."""
        if self.padding_mode == "replicate":
            result: Tensor = _ReplicatedConv.apply(x, self.weight, self.bias, relu)
            return result
        x = super().forward(x)
        return F.relu(x, inplace=True) if relu else x


class _ReplicatedConv(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, weight: Tensor, bias: Tensor, relu: bool) -> Tensor:
        batch, channels, height, width = x.shape
        shape = (batch, channels, height + 2, width + 2)
        padded = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
        padded[:, :, 1:-1, 1:-1] = x
        padded[:, :, 0, 1:-1], padded[:, :, -1, 1:-1] = x[:, :, 0], x[:, :, -1]
        padded[:, :, :, 0], padded[:, :, :, -1] = padded[:, :, :, 1], padded[:, :, :, -2]
        if relu and x.is_cuda and torch.version.hip is None:
            # A fused kernel takes less than half the time of two.
            result = torch.cudnn_convolution_relu(padded, weight, bias, (1, 1), (0, 0), (1, 1), 1)
        else:
            result = F.conv2d(padded, weight, bias)
            result = F.relu(result, inplace=True) if relu else result
        ctx.save_for_backward(weight, *([result] if relu else []))
        ctx.shape = shape  # type: ignore[attr-defined]  # where torch wants what is no tensor to be kept
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        weight, *result = ctx.saved_tensors
        if result:
            gradient = torch.ops.aten.threshold_backward(gradient, result[0], 0)
        padded = conv2d_input(ctx.shape, weight, gradient)  # type: ignore[no-untyped-call]
        # The gradient of a copy belongs to the pixel that was copied.
        padded[:, :, :, 1] += padded[:, :, :, 0]
        padded[:, :, :, -2] += padded[:, :, :, -1]
        padded[:, :, 1] += padded[:, :, 0]
        padded[:, :, -2] += padded[:, :, -1]
        return padded[:, :, 1:-1, 1:-1], None, None, None
