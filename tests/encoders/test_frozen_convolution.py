"""Convolutions whose weights never change."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from fast_style.encoders.frozen_convolution import FrozenConv
from fast_style.encoders.vgg import PaddingMode


def frozen(padding: PaddingMode = "replicate") -> FrozenConv:
    torch.manual_seed(0)
    return FrozenConv(3, 5, kernel_size=3, padding=1, padding_mode=padding).requires_grad_(False)


def plain(layer: FrozenConv, x: Tensor, padding: str, *, relu: bool) -> Tensor:
    mode = "constant" if padding == "zeros" else padding
    x = F.conv2d(F.pad(x, (1, 1, 1, 1), mode=mode), layer.weight, layer.bias)
    return F.relu(x) if relu else x


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("padding", ["replicate", "zeros", "reflect"])
@pytest.mark.parametrize("size", [(7, 9), (2, 3)])
def test_it_and_its_gradient_are_those_of_torch(size: tuple[int, int], padding: PaddingMode, relu: bool) -> None:
    layer, x, towards = frozen(padding), torch.randn(2, 3, *size, requires_grad=True), torch.randn(2, 5, *size)
    found, wanted = layer(x, relu=relu), plain(layer, x, padding, relu=relu)
    torch.testing.assert_close(found, wanted)
    gradients = [torch.autograd.grad((output * towards).sum(), x)[0] for output in (found, wanted)]
    torch.testing.assert_close(*gradients)


def test_one_pixel_is_its_own_neighbor() -> None:
    layer, x = frozen(), torch.randn(1, 3, 1, 1)
    assert layer.bias is not None
    expected = torch.einsum("oikl,bixy->boxy", layer.weight, x) + layer.bias.view(1, -1, 1, 1)
    torch.testing.assert_close(layer(x), expected)


def test_the_channels_stay_last_and_the_input_is_not_kept() -> None:
    layer = frozen().to(memory_format=torch.channels_last)
    x = torch.rand(2, 3, 6, 8).to(memory_format=torch.channels_last).requires_grad_()
    kept: list[Tensor] = []

    def note(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        output = layer(x)
    assert output.is_contiguous(memory_format=torch.channels_last)
    assert [tensor.data_ptr() for tensor in kept] == [layer.weight.data_ptr()]
