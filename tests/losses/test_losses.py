"""Losses, each a function of one Stylization."""

import math
from collections import Counter
from dataclasses import replace
from typing import Literal

import pytest
import torch
from small_messages import raises
from torch import Tensor, nn

from fast_style.encoders.vgg import VGGEncoder
from fast_style.errors import ConfigError
from fast_style.losses import (
    ContentLoss,
    GridLoss,
    HatchLoss,
    Loss,
    PerceptualLoss,
    StyleLoss,
    Stylization,
    TotalVariationLoss,
    gram_matrix,
)
from fast_style.losses.styles import Style
from fast_style.types import Features, Images

ONE = torch.ones(1, 1)


def stylization(
    output: Features, content: Features | None = None, style: Tensor | None = None, images: Tensor | None = None
) -> Stylization:
    batch = len(next(iter(output.values()))) if output else 1
    images = torch.zeros(batch, 3, 8, 8) if images is None else images
    style = torch.ones(batch, 1) if style is None else style
    return Stylization(images, images, style, content or {}, output)


@pytest.fixture
def noise() -> Features:
    torch.manual_seed(0)
    return {"relu1_1": torch.rand(2, 6, 8, 9) * 100, "relu2_1": torch.rand(2, 10, 4, 5) * 200}


def features_of(encoder: VGGEncoder, style: Style) -> Features:
    features: Features = encoder(style.read(), list(style.layers))
    return features


def test_gram_of_orthogonal_channels_is_diagonal() -> None:
    # Four pixels, and in each another channel is active.
    features = torch.diag(torch.tensor([1.0, 2.0, 3.0, 4.0])).view(1, 4, 2, 2)
    assert torch.equal(gram_matrix(features)[0], torch.diag(torch.tensor([1.0, 4.0, 9.0, 16.0])) / 4)


def test_gram_does_not_depend_on_the_size_or_order_of_the_map() -> None:
    features = torch.rand(1, 5, 6, 8)
    tiled = features.repeat(1, 1, 3, 2).flip(3)
    torch.testing.assert_close(gram_matrix(tiled), gram_matrix(features))


def test_gram_of_half_precision_features_is_computed_in_float32() -> None:
    features = torch.full((1, 2, 4, 4), 10_000.0, dtype=torch.float16)  # whose square float16 cannot hold
    assert torch.equal(gram_matrix(features), torch.full((1, 2, 2), 1e8))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 5e-3)])
def test_a_gram_matrix_and_its_gradient_are_those_of_the_formula(dtype: torch.dtype, tolerance: float) -> None:
    # More positions than are summed in one go, and not a whole number of times as many.
    features = torch.rand(2, 5, 20, 27).to(dtype).to(memory_format=torch.channels_last).requires_grad_()
    exact = features.detach().double().requires_grad_()
    expected = torch.einsum("bchw,bdhw->bcd", exact, exact) / (20 * 27)
    towards = torch.randn(2, 5, 5)  # not symmetric
    gram = gram_matrix(features)
    assert gram.dtype == torch.float32
    torch.testing.assert_close(gram, expected.float(), atol=0, rtol=tolerance)
    (found,), (wanted,) = (
        torch.autograd.grad((matrix * towards.to(matrix.dtype)).sum(), leaf)
        for matrix, leaf in ((gram, features), (expected, exact))
    )
    torch.testing.assert_close(found.double(), wanted, atol=tolerance * float(wanted.abs().max()), rtol=0)


def test_relative_content_loss_is_0_for_the_picture_itself_and_1_for_nothing(noise: Features) -> None:
    loss = ContentLoss(layers=["relu1_1", "relu2_1"])
    blank = {layer: torch.zeros_like(x) for layer, x in noise.items()}
    assert loss(stylization(noise, noise)) == 0
    assert loss(stylization(blank, noise)) == 1


def test_content_loss_mean_is_torchs_mse(noise: Features) -> None:
    loss = ContentLoss(layers=["relu2_1"], normalization="mean")
    other = {layer: x.flip(0) for layer, x in noise.items()}
    expected = nn.functional.mse_loss(other["relu2_1"], noise["relu2_1"])
    torch.testing.assert_close(loss(stylization(other, noise)), expected)


def test_content_loss_half_sum_is_equation_1_of_gatys_2015(noise: Features) -> None:
    loss = ContentLoss(layers=["relu1_1"], normalization="half_sum")
    f, p = noise["relu1_1"][:1], noise["relu1_1"][1:]
    expected = 0.5 * sum((f_ij - p_ij) ** 2 for f_ij, p_ij in zip(f.flatten(), p.flatten(), strict=True))
    torch.testing.assert_close(loss(stylization({"relu1_1": f}, {"relu1_1": p})), torch.as_tensor(expected))


def test_content_loss_averages_layers_and_pictures(noise: Features) -> None:
    other = {layer: x.flip(0) for layer, x in noise.items()}
    both = ContentLoss(layers=["relu1_1", "relu2_1"])(stylization(other, noise))
    each = [
        ContentLoss(layers=[layer])(stylization({layer: other[layer][i : i + 1]}, {layer: noise[layer][i : i + 1]}))
        for layer in noise
        for i in range(2)
    ]
    torch.testing.assert_close(both, torch.stack(each).mean())


def test_relative_style_loss_is_0_for_the_styles_picture_and_1_for_nothing(encoder: VGGEncoder, style: Style) -> None:
    loss = StyleLoss()
    loss.prepare(encoder, [style])
    own = features_of(encoder, style)
    blank = {layer: torch.zeros_like(x) for layer, x in own.items()}
    assert loss(stylization(own)) < 1e-9
    assert loss(stylization(blank)) == pytest.approx(1)


def test_style_loss_mean_is_johnsons_equation_4(encoder: VGGEncoder, style: Style) -> None:
    loss = StyleLoss(layers={"relu2_1": 1.0}, normalization="mean")
    loss.prepare(encoder, [style])
    phi_y, phi_hat = (encoder(image, ["relu2_1"])["relu2_1"] for image in (style.read(), torch.rand(1, 3, 24, 40)))

    def gram(phi: Tensor) -> Tensor:
        _, c, h, w = phi.shape
        return torch.einsum("ahw,bhw->ab", phi[0], phi[0]) / (c * h * w)

    expected = torch.linalg.matrix_norm(gram(phi_hat) - gram(phi_y), ord="fro") ** 2
    torch.testing.assert_close(loss(stylization({"relu2_1": phi_hat})), expected, rtol=1e-4, atol=0)


def test_style_loss_quarter_mean_is_equations_4_and_5_of_gatys_2015(encoder: VGGEncoder, style: Style) -> None:
    layers = {"relu1_1": 0.2, "relu2_1": 0.5}
    loss = StyleLoss(layers=layers, normalization="quarter_mean")
    loss.prepare(encoder, [style])
    image = torch.rand_like(style.read())
    x, a = encoder(image, list(layers)), encoder(style.read(), list(layers))
    expected = torch.zeros(())
    for layer, w in layers.items():
        f, s = x[layer].flatten(2)[0], a[layer].flatten(2)[0]
        n, m = f.shape
        expected += w * ((f @ f.T - s @ s.T) ** 2).sum() / (4 * n**2 * m**2)
    torch.testing.assert_close(loss(stylization(x)), expected, rtol=1e-4, atol=0)


def test_style_loss_is_the_mean_of_the_layers_by_their_weights(encoder: VGGEncoder, style: Style) -> None:
    def value(layers: dict[str, float], of: Style = style) -> Tensor:
        loss = StyleLoss(layers=layers or None)
        loss.prepare(encoder, [of])
        result: Tensor = loss(stylization(encoder(torch.full((1, 3, 32, 32), 0.5), ["relu1_1", "relu2_1"])))
        return result

    first, second = value({"relu1_1": 1.0}), value({"relu2_1": 1.0})
    assert abs(first - second) > 0.01
    torch.testing.assert_close(value({"relu1_1": 3.0, "relu2_1": 1.0}), 0.75 * first + 0.25 * second)
    # Without weights of its own the loss takes the style's.
    of = replace(style, layers={"relu1_1": 1.0, "relu2_1": 4.0})
    torch.testing.assert_close(value({}, of), 0.2 * first + 0.8 * second)


def test_a_blend_of_styles_aims_at_the_blend_of_their_grams(encoder: VGGEncoder, style: Style) -> None:
    small = replace(style, size=24)
    loss = StyleLoss(layers={"relu1_1": 1.0})
    loss.prepare(encoder, [style, small])
    grams = [gram_matrix(features_of(encoder, one)["relu1_1"])[0] for one in (style, small)]
    target = 0.25 * grams[0] + 0.75 * grams[1]
    # Any square root of the target is a picture's features: relu1_1 of 64 channels in 8 by 8 places.
    values, vectors = torch.linalg.eigh(target.double())
    root = vectors * (64 * values.clamp_min(0)).sqrt()
    features = {"relu1_1": root.float().view(1, 64, 8, 8)}
    assert loss(stylization(features, style=torch.tensor([[0.25, 0.75]]))) < 1e-6
    assert loss(stylization(features, style=torch.tensor([[1.0, 0.0]]))) > 1e-5


def test_each_picture_is_measured_by_its_own_style(encoder: VGGEncoder, style: Style) -> None:
    small = replace(style, size=24)
    loss = StyleLoss(layers={"relu1_1": 1.0})
    loss.prepare(encoder, [style, small])
    own = features_of(encoder, style)["relu1_1"]
    alone = loss(stylization({"relu1_1": own}, style=torch.tensor([[0.0, 1.0]])))
    both = loss(stylization({"relu1_1": own.repeat(2, 1, 1, 1)}, style=torch.eye(2)))
    torch.testing.assert_close(both, alone / 2)


def test_total_variation_of_a_checkerboard_and_of_a_ramp() -> None:
    y, x = torch.meshgrid(torch.arange(6), torch.arange(8), indexing="ij")
    checkerboard = ((x + y) % 2).float().expand(1, 3, 6, 8)
    ramp = (0.1 * x).expand(1, 3, 6, 8)
    loss = TotalVariationLoss()
    assert loss(stylization({}, images=checkerboard)) == 2  # every neighbor differs by 1, along rows and columns
    assert loss(stylization({}, images=ramp)) == pytest.approx(0.01)
    assert loss(stylization({}, images=torch.full((1, 3, 6, 8), 0.3))) == 0


def test_features_are_computed_once_for_each_picture(encoder: VGGEncoder, style: Style) -> None:
    losses = {"content": ContentLoss(layers=["relu2_1"]), "style": StyleLoss(), "again": StyleLoss(2.0)}
    perceptual = PerceptualLoss(encoder, losses, [style])
    calls: Counter[str] = Counter()
    hooks = [
        conv.register_forward_hook(lambda *_, name=name: calls.update([name]))
        for name, conv in encoder.convolutions.items()
    ]
    try:
        perceptual(torch.rand(2, 3, 32, 32), torch.rand(2, 3, 32, 32), torch.ones(2, 1))
    finally:
        for hook in hooks:
            hook.remove()
    # Once for the two contents and once for the two outputs, as deep as relu2_1.
    assert calls == {"conv1_1": 2, "conv1_2": 2, "conv2_1": 2}


def test_weights_of_layers_may_be_whole_numbers(encoder: VGGEncoder, style: Style) -> None:
    images = torch.rand(1, 3, 32, 32)
    whole, real = (
        PerceptualLoss(encoder, {"style": StyleLoss(layers={"relu1_1": one, "relu2_1": 2 * one})}, [style])
        for one in (1, 1.0)
    )
    torch.testing.assert_close(whole(images, images, ONE), real(images, images, ONE))


def test_a_loss_of_weight_0_is_left_out(encoder: VGGEncoder, style: Style) -> None:
    losses = {"content": ContentLoss(0.0), "style": StyleLoss(), "total_variation": TotalVariationLoss(0)}
    perceptual = PerceptualLoss(encoder, losses, [style])
    images = torch.rand(1, 3, 32, 32)
    assert list(perceptual(images, images, ONE)) == ["style"]
    assert perceptual.content_layers == set()
    assert perceptual.output_layers == {"relu1_1", "relu2_1"}


def test_total_is_the_weighted_sum(encoder: VGGEncoder, style: Style) -> None:
    losses = {"style": StyleLoss(10.0), "total_variation": TotalVariationLoss(0.5)}
    perceptual = PerceptualLoss(encoder, losses, [style])
    terms = perceptual(torch.rand(1, 3, 32, 32), torch.rand(1, 3, 32, 32), ONE)
    torch.testing.assert_close(perceptual.total(terms), 10 * terms["style"] + 0.5 * terms["total_variation"])


def test_autocast_does_not_round_the_losses(encoder: VGGEncoder, style: Style) -> None:
    losses = {"content": ContentLoss(layers=["relu2_1"]), "style": StyleLoss(), "noise": TotalVariationLoss()}
    perceptual = PerceptualLoss(encoder, losses, [style])
    content, output = torch.rand(1, 3, 32, 32), torch.rand(1, 3, 32, 32).to(torch.bfloat16)
    plain = perceptual(content, output.float(), ONE)
    with torch.autocast("cpu", torch.bfloat16):
        assert (output @ output.mT).dtype == torch.bfloat16
        rounded = perceptual(content, output, ONE)
    assert {name: term.dtype for name, term in rounded.items()} == dict.fromkeys(losses, torch.float32)
    torch.testing.assert_close(rounded, plain)


def test_gradient_reaches_the_output_and_not_the_content(encoder: VGGEncoder, style: Style) -> None:
    perceptual = PerceptualLoss(encoder, {"content": ContentLoss(layers=["relu2_1"]), "style": StyleLoss()}, [style])
    content, output = (torch.rand(1, 3, 32, 32, requires_grad=True) for _ in range(2))
    torch.autograd.backward(perceptual.total(perceptual(content, output, ONE)))
    assert content.grad is None
    assert output.grad is not None
    assert (output.grad != 0).float().mean() > 0.9


@pytest.mark.parametrize("cls", [ContentLoss, StyleLoss, TotalVariationLoss])
@pytest.mark.parametrize("weight", [-1.0, float("nan")])
def test_a_negative_weight_is_refused(cls: type[ContentLoss | StyleLoss | TotalVariationLoss], weight: float) -> None:
    with raises(ConfigError, f"weight negative {weight}"):
        cls(weight)


@pytest.mark.parametrize(("cls", "choices"), [(ContentLoss, "mean, half_sum"), (StyleLoss, "mean, quarter_mean")])
def test_an_unknown_normalization_lists_the_choices(cls: type[ContentLoss | StyleLoss], choices: str) -> None:
    with raises(ConfigError, f"normalization relative {choices} 'sum'"):
        cls(normalization="sum")  # type: ignore[arg-type]


def test_a_content_loss_without_layers_is_refused() -> None:
    with raises(ConfigError, "one layer"):
        ContentLoss(layers=[])


@pytest.mark.parametrize("layers", [{"relu1_1": 0.0}, {"relu1_1": 1.0, "relu2_1": -1.0}])
def test_a_style_loss_wants_layers_with_weights_above_0(layers: dict[str, float]) -> None:
    with raises(ConfigError, "layers negative"):
        StyleLoss(layers=layers)


def test_nothing_to_learn_is_refused(encoder: VGGEncoder, style: Style) -> None:
    nothing: list[dict[str, Loss]] = [{}, {"content": ContentLoss(0.0)}]
    for losses in nothing:
        with raises(ConfigError, "loss weight 0"):
            PerceptualLoss(encoder, losses, [style])


def test_an_unknown_layer_of_a_style_is_named_before_the_first_step(encoder: VGGEncoder, style: Style) -> None:
    misspelt = replace(style, layers={"relu1_1": 1.0, "rleu2_1": 1.0})
    with raises(ConfigError, "VGGEncoder layer rleu2_1 conv1_1 relu1_1"):
        PerceptualLoss(encoder, {"style": StyleLoss()}, [misspelt])


def test_an_unknown_layer_of_a_content_loss_is_named_before_the_first_step(encoder: VGGEncoder, style: Style) -> None:
    with raises(ConfigError, "VGGEncoder layer relu9_9 conv1_1 relu1_1"):
        PerceptualLoss(encoder, {"content": ContentLoss(layers=["relu9_9"])}, [style])


def test_measured_grams_are_not_saved(encoder: VGGEncoder, style: Style) -> None:
    loss = StyleLoss()
    loss.prepare(encoder, [style])
    assert loss.state_dict() == {}


def grid(output: Images, window: int = 64) -> float:
    one = torch.ones(len(output), 1)
    return float(GridLoss(period=4, window=window)(Stylization(output, output, one, {}, {})))


def test_a_mesh_costs_the_variance_of_its_pattern() -> None:
    picture = torch.full((1, 3, 128, 64), 0.5)
    picture[:, :, ::4, ::4] += 0.1  # one pixel in sixteen
    assert grid(picture) == pytest.approx(0.1**2 * (1 / 16) * (15 / 16), rel=1e-4)
    assert grid(picture, window=32) == pytest.approx(grid(picture), rel=1e-4)


def test_a_mesh_that_changes_sign_costs_as_much() -> None:
    picture = torch.full((1, 3, 64, 128), 0.5)
    picture[:, :, ::4, ::4] += 0.1 * torch.tensor([1.0, -1.0]).repeat_interleave(16)
    assert grid(picture) == pytest.approx(0.1**2 * (1 / 16) * (15 / 16), rel=1e-4)


def test_a_picture_without_a_mesh_costs_next_to_nothing() -> None:
    noise = 0.1 * torch.randn(1, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    # The variance of a mean over the 256 pixels of each place in a window.
    assert grid(noise) == pytest.approx(0.1**2 / 256, rel=0.2)


def test_a_picture_smaller_than_a_window_is_looked_at_whole() -> None:
    picture = torch.zeros(1, 3, 21, 70)
    picture[:, :, 1::4, 2::4] = 1.0
    assert grid(picture) == pytest.approx((1 / 16) * (15 / 16), rel=1e-4)


@pytest.mark.parametrize(("period", "window", "message"), [(1, 64, "period must be"), (6, 64, "window must be")])
def test_a_lattice_that_does_not_fit_its_window_is_refused(period: int, window: int, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        GridLoss(period=period, window=window)


def stripes(period: float, amplitude: float, *, colors: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> Images:
    wave = amplitude * torch.sin(2 * math.pi * torch.arange(180) / period)
    return 0.5 + torch.tensor(colors)[None, :, None, None] * wave.expand(1, 3, 90, 180)


def hatch(output: Images, photograph: Images | None = None) -> float:
    photograph = torch.full_like(output, 0.5) if photograph is None else photograph
    return float(HatchLoss(period=9.0)(Stylization(photograph, output, torch.ones(1, 1), {}, {})))


def test_stripes_where_the_photograph_is_flat_cost_their_energy() -> None:
    # What a difference of Gaussians, one twice as wide as the other, leaves of what it passes best.
    passed = 4 ** (-1 / 3) - 4 ** (-4 / 3)
    # Half of the square of the amplitude, in one of three channels.
    assert hatch(stripes(9.0, 0.1)) == pytest.approx((passed * 0.1) ** 2 / 2 / 3, rel=0.03)
    assert hatch(stripes(9.0, 0.1).transpose(2, 3)) == pytest.approx(hatch(stripes(9.0, 0.1)), rel=1e-4)
    # Of one brightness: red beside green.
    assert hatch(stripes(9.0, 0.1, colors=(1.0, -1.0, 0.0))) == pytest.approx((passed * 0.2) ** 2 / 2 / 3, rel=0.03)


def test_stripes_of_the_photograph_and_those_of_another_scale_may_stay() -> None:
    cost = hatch(stripes(9.0, 0.1))
    assert hatch(stripes(9.0, 0.1), stripes(9.0, 0.1)) < 0.01 * cost
    assert hatch(stripes(60.0, 0.1)) < 0.02 * cost
    assert hatch(stripes(2.0, 0.1)) < 0.02 * cost
    half = torch.cat([torch.full((1, 3, 90, 90), 0.5), stripes(9.0, 0.1)[..., 90:]], dim=3)
    # All of what lies a blur's width from the photograph's stripes, and little of the rest.
    assert 0.35 * cost < hatch(stripes(9.0, 0.1), half) < 0.5 * cost


def test_a_picture_smaller_than_what_is_blurred_has_a_loss() -> None:
    assert hatch(torch.rand(1, 3, 4, 4)) > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"period": 3.0}, "period 4 3.0"), ({"detail": 0.0}, "detail 0")],
)
def test_a_hatching_that_cannot_be_is_refused(arguments: dict[str, float], message: str) -> None:
    with raises(ConfigError, message):
        HatchLoss(**arguments)


@pytest.mark.parametrize("normalization", ["relative", "mean"])
def test_what_the_layers_add_comes_to_the_loss(
    encoder: VGGEncoder, style: Style, noise: Features, normalization: Literal["relative", "mean"]
) -> None:
    losses = (
        ContentLoss(layers=list(noise), normalization=normalization),
        StyleLoss(layers={"relu1_1": 1.0, "relu2_1": 3.0}, normalization=normalization),
    )
    features: Features = encoder(torch.rand(2, 3, 16, 16), list(noise))
    given = stylization(features, {layer: activations.flip(0) for layer, activations in features.items()})
    for loss in losses:
        loss.prepare(encoder, [style])
        contributions = loss.contributions(given)
        assert list(contributions) == ["relu1_1", "relu2_1"]
        torch.testing.assert_close(sum(contributions.values(), start=torch.zeros(2)).mean(), loss(given))
