"""Image transformation networks."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from small_messages import raises
from small_networks import dilated, varied
from torch import Tensor, nn
from torch.export import Dim, export

from fast_style.errors import ConfigError
from fast_style.networks import (
    BalancedNet,
    ConditionalInstanceNorm,
    LightNet,
    ResidualNet,
    TransformNet,
    convolutions,
    norms,
    padding,
)
from fast_style.networks.balanced import LARGEST_DILATION
from fast_style.networks.convolutions import BilinearConv, NearestConv, PackedConv
from fast_style.networks.layers import ResidualBlock

NETWORKS: list[Callable[..., TransformNet]] = [LightNet, BalancedNet, ResidualNet]
SMALL = {"width": 4, "blocks": 1}


class FirstOfTwo(nn.Module):
    """What a normalization is called with, without its style."""

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        return x


@pytest.fixture(params=[*NETWORKS, dilated])
def network(request: pytest.FixtureRequest) -> TransformNet:
    """A small network of three styles that differ."""
    torch.manual_seed(0)
    return varied(request.param(styles=3, **SMALL))


def rows(*weights: list[float]) -> Tensor:
    return torch.tensor(weights, dtype=torch.float32)


def test_one_style_is_affine_instance_norm() -> None:
    layer, torchs = ConditionalInstanceNorm(5, styles=1), nn.InstanceNorm2d(5, affine=True)
    x, scale, shift = torch.randn(2, 5, 7, 6) * 3 + 1, torch.randn(5), torch.randn(5)
    with torch.no_grad():
        layer.scale[0], layer.shift[0] = scale, shift
        torchs.weight.copy_(scale)
        torchs.bias.copy_(shift)
    torch.testing.assert_close(layer(x, torch.ones(2, 1)), torchs(x))


def test_a_new_norm_leaves_mean_zero_and_variance_one() -> None:
    x = ConditionalInstanceNorm(3, styles=2)(torch.rand(2, 3, 32, 32), rows([1, 0], [0.5, 0.5]))
    torch.testing.assert_close(x.mean((2, 3)), torch.zeros(2, 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(x.var((2, 3), correction=0), torch.ones(2, 3), atol=1e-3, rtol=0)


def test_a_blend_of_styles_is_the_blend_of_their_scales_and_shifts() -> None:
    layer = ConditionalInstanceNorm(4, styles=2)
    nn.init.normal_(layer.scale)
    nn.init.normal_(layer.shift)
    x = torch.randn(1, 4, 6, 6)
    first, second = layer(x, rows([1, 0])), layer(x, rows([0, 1]))
    torch.testing.assert_close(layer(x, rows([0.3, 0.7])), 0.3 * first + 0.7 * second)


def test_normalization_keeps_channels_last() -> None:
    x = torch.rand(2, 4, 8, 8).to(memory_format=torch.channels_last)
    assert ConditionalInstanceNorm(4, styles=1)(x, torch.ones(2, 1)).is_contiguous(memory_format=torch.channels_last)


def test_the_backward_of_normalization_is_that_of_its_formula() -> None:
    x = (torch.randn(2, 3, 5, 7) * 3 + 1).to(memory_format=torch.channels_last)
    layer, style = ConditionalInstanceNorm(3, styles=2), rows([1, 0], [0.3, 0.7])
    nn.init.normal_(layer.scale)
    nn.init.normal_(layer.shift)
    leaves = [each.detach().double().requires_grad_() for each in (x, layer.scale, layer.shift)]
    mean, variance = leaves[0].mean((2, 3), keepdim=True), leaves[0].var((2, 3), correction=0, keepdim=True)
    scale, shift = ((style.double() @ each)[:, :, None, None] for each in leaves[1:])
    expected = scale * (leaves[0] - mean) / (variance + 1e-5).sqrt() + shift
    x.requires_grad_()
    output, towards = layer(x, style), torch.randn_like(x)
    torch.testing.assert_close(output, expected.float())
    found = torch.autograd.grad((output * towards).sum(), [x, layer.scale, layer.shift])
    wanted = torch.autograd.grad((expected * towards).sum(), leaves)
    torch.testing.assert_close(found, tuple(each.float() for each in wanted), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("cls", [BalancedNet, LightNet, ResidualNet])
def test_what_has_no_content_does_not_make_the_gradient_explode(
    cls: Callable[..., TransformNet], dtype: torch.dtype
) -> None:
    torch.manual_seed(0)
    network = varied(cls(width=8)).to(memory_format=torch.channels_last)
    # A loss that knows places, as that of a loss network does.
    towards = torch.linspace(-1, 1, 48 * 48).view(48, 48)

    def gradient(images: Tensor) -> float:
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
            output = network(images, torch.ones(len(images), 1))
        loss = (F.avg_pool2d(output, 3, 1, 1) * towards).mean((1, 2, 3)).sum() + (output - 0.3).square().mean()
        found = torch.autograd.grad(loss, list(network.parameters()))
        return float(torch.stack([each.norm() for each in found]).norm())

    photograph = torch.rand(1, 3, 6, 6).repeat_interleave(8, 2).repeat_interleave(8, 3)
    usual = gradient(photograph)
    dot = torch.ones(1, 3, 48, 48)
    dot[..., 20, 20] = 254 / 255
    pages = [torch.full((1, 3, 48, 48), value) for value in (0.0, 0.5, 1.0)]
    noise = [0.9 + deviation * torch.randn(1, 3, 48, 48) for deviation in (1e-5, 1e-4, 0.002)]
    for page in (*pages, *noise, dot):
        assert gradient(page) < 10 * usual
        assert gradient(torch.cat([photograph, page])) < 10 * usual


def test_what_is_normalized_on_cuda_is_the_same() -> None:
    x, scale, shift = torch.randn(2, 3, 9, 7) * 3 + 1, torch.rand(2, 3), torch.rand(2, 3)
    for found, wanted in zip(norms._normalize_on_cuda(x, scale, shift), norms._normalize(x, scale, shift), strict=True):
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)
    half = norms._normalize_on_cuda(x.bfloat16().to(memory_format=torch.channels_last), scale, shift)[0]
    assert half.dtype == torch.bfloat16
    assert half.is_contiguous(memory_format=torch.channels_last)


def test_a_network_that_keeps_the_channels_last_and_its_gradient_are_the_same(
    network: TransformNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, style = torch.rand(2, 3, 37, 42), rows([1, 0, 0], [0, 0.5, 0.5])
    towards = torch.randn_like(images)

    def measured() -> list[Tensor]:
        output = network(images, style)
        return [output, *torch.autograd.grad((output * towards).sum(), list(network.parameters()))]

    expected = measured()
    for module in (convolutions, padding):
        monkeypatch.setattr(module, "keeps_channels_last", lambda _: True)
    # A shift that the next normalization takes away has a gradient of rounding alone.
    largest = max(float(gradient.abs().max()) for gradient in expected[1:])
    torch.testing.assert_close(measured(), expected, atol=1e-5 * largest, rtol=1e-3)


@pytest.mark.parametrize("margins", [(2, 2, 2, 2), (1, 0, 0, 3)])
@pytest.mark.parametrize("mode", ["reflect", "replicate"])
def test_padding_by_pixels_and_its_gradient_are_those_of_torch(margins: padding.Margins, mode: padding.Mode) -> None:
    x = torch.randn(2, 3, 5, 7, requires_grad=True)
    found, wanted = padding._GatheredPad.apply(x, margins, mode), F.pad(x, margins, mode)
    assert torch.equal(found, wanted)
    assert found.is_contiguous(memory_format=torch.channels_last)
    towards = torch.randn_like(wanted)
    gradients = [torch.autograd.grad((output * towards).sum(), x)[0] for output in (found, wanted)]
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("size", [(10, 14), (9, 13)])
def test_the_four_small_convolutions_are_the_one_after_upsampling(size: tuple[int, int]) -> None:
    x = torch.rand(2, 3, 5, 7)
    for layer, mode, around in (
        (NearestConv(3, 4), "nearest", "reflect"),
        (BilinearConv(3, 4), "bilinear", "replicate"),
    ):
        upsampled = F.pad(F.interpolate(x, scale_factor=2, mode=mode), (1, 1, 1, 1), mode=around)
        expected = F.conv2d(upsampled, layer.weight)[:, :, : size[0], : size[1]]
        torch.testing.assert_close(layer(x, size), expected)


def test_pixels_end_with_a_bias_and_a_sigmoid() -> None:
    x = torch.rand(2, 3, 5, 7)
    layer = BilinearConv(3, 4, sigmoid=True)
    upsampled = F.pad(F.interpolate(x, scale_factor=2, mode="bilinear"), (1, 1, 1, 1), mode="replicate")
    torch.testing.assert_close(layer(x, (9, 14)), F.conv2d(upsampled, layer.weight, layer.bias)[:, :, :9].sigmoid())
    assert layer.bias is not None
    assert layer.bfloat16()(x.bfloat16(), (9, 14)).dtype == torch.float32


@pytest.mark.parametrize("kernel", [3, 9])
@pytest.mark.parametrize(("height", "width"), [(12, 14), (13, 15)])
def test_a_convolution_of_packed_pixels_is_a_convolution(kernel: int, height: int, width: int) -> None:
    layer, x, margin = PackedConv(5, 3, kernel), torch.rand(2, 5, height, width), kernel // 2
    expected = F.conv2d(F.pad(x, (margin,) * 4, mode="reflect"), layer.weight, layer.bias).sigmoid()
    torch.testing.assert_close(layer(x), expected)


@pytest.mark.parametrize(("height", "width"), [(33, 47), (64, 32), (9, 10), (50, 51)])
def test_output_has_the_size_of_the_input_and_its_range(network: TransformNet, height: int, width: int) -> None:
    output = network(torch.rand(2, 3, height, width), torch.full((2, 3), 1 / 3))
    assert output.shape == (2, 3, height, width)
    assert 0 <= output.min() < output.max() <= 1


def test_each_picture_is_stylized_as_if_alone(network: TransformNet) -> None:
    images, style = torch.rand(3, 3, 40, 36), rows([1, 0, 0], [0, 0.5, 0.5], [0, 0, 1])
    alone = [network(images[i : i + 1], style[i : i + 1]) for i in range(3)]
    torch.testing.assert_close(network(images, style), torch.cat(alone), atol=1e-5, rtol=0)


def test_styles_look_different(network: TransformNet) -> None:
    image = torch.rand(1, 3, 32, 32)
    outputs = torch.cat([network(image, row[None]) for row in torch.eye(3)])
    assert (outputs[0] - outputs[1]).abs().mean() > 0.01
    assert (outputs[1] - outputs[2]).abs().mean() > 0.01


def test_gradient_reaches_every_parameter(network: TransformNet) -> None:
    output = network(torch.rand(1, 3, 32, 32), torch.full((1, 3), 1 / 3))
    parameters = dict(network.named_parameters())
    gradients = torch.autograd.grad((output - torch.rand_like(output)).square().mean(), list(parameters.values()))
    assert [name for name, gradient in zip(parameters, gradients, strict=True) if not gradient.any()] == []


@pytest.mark.parametrize("shift", [8, 16])
def test_a_thing_moved_by_whole_squares_moves_in_the_output(network: TransformNet, shift: int) -> None:
    # On plain gray, far from the edges, so that nothing else changes, and no mean or variance does.
    image = torch.full((1, 3, 160, 160), 0.5)
    image[:, :, 60:100, 50:90] = torch.rand(1, 3, 40, 40)
    output = network(image, rows([1, 0, 0]))
    moved = network(image.roll(shift, dims=3), rows([1, 0, 0]))
    torch.testing.assert_close(moved, output.roll(shift, dims=3), atol=1e-4, rtol=0)
    assert (moved - output).abs().max() > 0.1


@pytest.mark.usefixtures("unchecked_shapes")
def test_exported_for_a_range_of_sizes_it_gives_the_same(network: TransformNet) -> None:
    batch = Dim("batch", max=64)
    sizes = {0: batch, 2: Dim("height", min=40, max=512), 3: Dim("width", min=40, max=512)}
    example = (torch.rand(2, 3, 64, 72), torch.full((2, 3), 1 / 3))
    program = export(
        network,
        example,
        dynamic_shapes=(sizes, {0: batch}),
        # That no height divides 1, torch cannot prove at the time of export: it may look when the program runs.
        prefer_deferred_runtime_asserts_over_guards=True,
    ).module()
    for shape in [(3, 3, 47, 101), (1, 3, 40, 512), (2, 3, 64, 65)]:
        images, style = torch.rand(shape), torch.rand(shape[0], 3)
        assert torch.equal(program(images, style), network(images, style))


@pytest.mark.parametrize("cls", NETWORKS)
def test_the_arguments_rebuild_the_network(cls: Callable[..., TransformNet]) -> None:
    network = cls(styles=2, **SMALL)
    assert network.arguments == {"styles": 2, **SMALL} | ({"dilation": 2} if cls is BalancedNet else {})
    assert network.styles == 2
    cls(**network.arguments).load_state_dict(network.state_dict())


@pytest.mark.parametrize("cls", NETWORKS)
@pytest.mark.parametrize("name", ["styles", "width", "blocks"])
@pytest.mark.parametrize("value", [0, -1, 10**9, 2.0, True, "8", None])
def test_an_argument_out_of_range_is_named(cls: Callable[..., TransformNet], name: str, value: object) -> None:
    with raises(ConfigError, f"{name} 1 4096 {value!r}"):
        cls(**{name: value})


@pytest.mark.parametrize("blocks", [1, 2, 3, 5])
def test_the_first_and_the_last_block_are_not_dilated(blocks: int) -> None:
    network = BalancedNet(blocks=blocks, dilation=3)
    found = [module.first.conv.dilation for module in network.modules() if isinstance(module, ResidualBlock)]
    assert found == [(3, 3) if 0 < index < blocks - 1 else (1, 1) for index in range(blocks)]


def test_dilation_lets_a_network_see_further() -> None:
    image = torch.zeros(1, 3, 32, 256)
    image[..., 128] = torch.nan
    # Every normalization would carry what is not a number everywhere.
    reached = []
    for dilation in (1, 2):
        network = BalancedNet(width=4, blocks=3, dilation=dilation)
        for module in network.modules():
            for name, child in list(module.named_children()):
                if isinstance(child, ConditionalInstanceNorm):
                    setattr(module, name, FirstOfTwo())
        reached.append(int(network(image, torch.ones(1, 1)).isnan().any(dim=(0, 1, 2)).sum()))
    # Two convolutions of one block see one square of 4x4 pixels more each, on both sides.
    assert reached[1] - reached[0] == 2 * 2 * 4


def test_the_largest_dilation_is_for_the_smallest_pictures_and_more_is_refused() -> None:
    network = BalancedNet(width=4, blocks=3, dilation=LARGEST_DILATION)
    assert network(torch.rand(1, 3, 32, 32), torch.ones(1, 1)).shape == (1, 3, 32, 32)
    with raises(ConfigError, "dilation 1 7 8"):
        BalancedNet(dilation=LARGEST_DILATION + 1)


@pytest.mark.parametrize("value", [0, 2.0])
def test_a_dilation_out_of_range_is_named(value: object) -> None:
    with raises(ConfigError, f"dilation 1 4096 {value!r}"):
        BalancedNet(dilation=value)  # type: ignore[arg-type]
