"""Slow style transfer, on the same losses."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from small_messages import raises
from torch import Tensor

from fast_style.encoders.vgg import VGGEncoder
from fast_style.errors import ConfigError, ImageError, TrainingError
from fast_style.losses import ContentLoss, Loss, PerceptualLoss, StyleLoss, TotalVariationLoss
from fast_style.losses.styles import Style
from fast_style.optimize import Algorithm, optimize

ONE = torch.ones(1, 1)


def both() -> dict[str, Loss]:
    return {"content": ContentLoss(layers=["relu2_1"]), "style": StyleLoss()}


def loss(encoder: VGGEncoder, style: Style, content: Tensor, output: Tensor) -> float:
    perceptual = PerceptualLoss(encoder, both(), [style])
    return float(perceptual.total(perceptual(content, output, torch.ones(len(content), 1))))


@pytest.fixture
def content() -> Tensor:
    """Two pictures of soft blotches."""
    coarse = torch.rand(2, 3, 6, 8, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.interpolate(coarse, size=(36, 48), mode="bicubic").clamp(0, 1)


class Steps:
    """Remembers what it is told after each step."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.sizes: list[tuple[int, ...]] = []
        self.images: list[Tensor] = []

    def __call__(self, step: int, value: float, images: Tensor) -> None:
        self.losses.append(value)
        assert step == len(self.losses)
        self.sizes.append(tuple(images.shape[2:]))
        self.images.append(images.clone())


@pytest.mark.parametrize("algorithm", ["adam", "lbfgs"])
def test_the_loss_falls(encoder: VGGEncoder, style: Style, content: Tensor, algorithm: Algorithm) -> None:
    content, steps = content[:1], Steps()
    result = optimize(content, both(), encoder, [style], ONE, algorithm=algorithm, steps=8, min_delta=0, on_step=steps)
    assert len(steps.losses) == 8
    assert steps.losses[0] == pytest.approx(loss(encoder, style, content, content), rel=1e-4)
    assert loss(encoder, style, content, result) < 0.7 * steps.losses[0]


def test_the_result_is_the_last_step_within_the_range_of_pixels(
    encoder: VGGEncoder, style: Style, content: Tensor
) -> None:
    steps, before = Steps(), content.clone()
    result = optimize(content[:1], both(), encoder, [style], ONE, steps=3, lr=0.3, on_step=steps)
    assert torch.equal(result, steps.images[-1])
    assert all(0 <= images.min() <= images.max() <= 1 for images in steps.images)
    assert not result.requires_grad
    assert torch.equal(content, before)


def test_no_steps_give_the_start(encoder: VGGEncoder, style: Style, content: Tensor) -> None:
    assert torch.equal(optimize(content[:1], both(), encoder, [style], ONE, steps=0), content[:1])


def test_pictures_together_come_out_as_each_alone(encoder: VGGEncoder, style: Style, content: Tensor) -> None:
    def run(images: Tensor) -> Tensor:
        return optimize(images, both(), encoder, [style], torch.ones(len(images), 1), steps=5, min_delta=0)

    together, alone = run(content), torch.cat([run(content[:1]), run(content[1:])])
    # Adam takes steps of one length, so that where a slope is about 0, rounding may decide its sign.
    assert (together - alone).abs().mean() < 1e-3
    assert (together - content).abs().mean() > 0.02


def test_each_picture_gets_its_own_style(encoder: VGGEncoder, style: Style, content: Tensor) -> None:
    other = Style("plain", style.image, size=16, layers=style.layers)
    losses: dict[str, Loss] = {"style": StyleLoss()}
    same = content[:1].repeat(2, 1, 1, 1)
    together = optimize(same, losses, encoder, [style, other], torch.eye(2), steps=5, min_delta=0)
    alone = optimize(content[:1], losses, encoder, [other], ONE, steps=5, min_delta=0)
    assert (together[1:] - alone).abs().mean() < 1e-3
    assert (together[:1] - alone).abs().mean() > 5e-3


@pytest.mark.parametrize("scales", [[1.0], [0.5, 1.0]])
def test_from_noise_and_without_content_loss_the_content_does_not_matter(
    encoder: VGGEncoder, style: Style, content: Tensor, scales: Sequence[float]
) -> None:
    losses: dict[str, Loss] = {"style": StyleLoss()}
    results = [
        optimize(images, losses, encoder, [style], ONE, init="noise", scales=scales, steps=2, seed=seed)
        for images, seed in ((content[:1], 0), (content[1:], 0), (content[:1], 1))
    ]
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


@pytest.mark.parametrize("scales", [[1.0], [0.5, 1.0]])
def test_noise_has_full_contrast_at_the_first_scale(
    encoder: VGGEncoder, style: Style, content: Tensor, scales: Sequence[float]
) -> None:
    steps = Steps()
    optimize(
        content[:1],
        both(),
        encoder,
        [style],
        ONE,
        init="noise",
        scales=scales,
        steps=1,
        lr=1e-4,
        on_step=steps,
    )
    assert steps.images[0].std() == pytest.approx(12**-0.5, rel=0.05)  # that of uniform noise in [0, 1]


@pytest.mark.parametrize(("steps", "expected"), [(2, [2, 2]), ([3, 1], [3, 1]), ([0, 2], [0, 2])])
def test_each_scale_takes_its_steps_at_its_size(
    encoder: VGGEncoder, style: Style, content: Tensor, steps: int | list[int], expected: list[int]
) -> None:
    seen = Steps()
    result = optimize(content[:1], both(), encoder, [style], ONE, scales=[0.5, 1.0], steps=steps, on_step=seen)
    assert seen.sizes == [(18, 24)] * expected[0] + [(36, 48)] * expected[1]
    assert result.shape == content[:1].shape


def test_no_scale_is_below_16_pixels(encoder: VGGEncoder, style: Style, content: Tensor) -> None:
    seen = Steps()
    optimize(content[:1], both(), encoder, [style], ONE, scales=[0.1, 1.0], steps=1, on_step=seen)
    assert seen.sizes == [(16, 16), (36, 48)]


def test_a_loss_that_does_not_fall_ends_a_scale(encoder: VGGEncoder, style: Style, content: Tensor) -> None:
    # From the content, a content loss is 0 and cannot fall.
    losses: dict[str, Loss] = {"content": ContentLoss(layers=["relu1_1"])}
    for min_delta, expected in ((0.001, 4), (0.0, 9)):
        steps = Steps()
        result = optimize(
            content[:1],
            losses,
            encoder,
            [style],
            ONE,
            steps=9,
            patience=3,
            min_delta=min_delta,
            on_step=steps,
        )
        # The first sets the best, and three more do not lower it.
        assert len(steps.losses) == expected
        assert torch.equal(result, content[:1])


def test_a_loss_that_falls_goes_on(encoder: VGGEncoder, style: Style, content: Tensor) -> None:
    steps = Steps()
    losses: dict[str, Loss] = {"smooth": TotalVariationLoss()}
    optimize(content[:1], losses, encoder, [style], ONE, steps=9, patience=2, lr=0.005, on_step=steps)
    assert len(steps.losses) == 9


def test_a_loss_that_is_not_finite_ends_it(encoder: VGGEncoder, style: Style, content: Tensor) -> None:
    # At first the pictures are their content: 0 times infinity.
    broken: dict[str, Loss] = {"content": ContentLoss(weight=float("inf"))}
    with raises(TrainingError, "loss nan 0 lr"):
        optimize(content[:1], broken, encoder, [style], ONE, steps=3)


def test_bytes_and_arrays_are_answered_with_their_like(encoder: VGGEncoder, style: Style, content: Tensor) -> None:
    levels = (content[:1] * 255).round().to(torch.uint8)
    floats = optimize(levels / 255, both(), encoder, [style], ONE, steps=2)
    expected = (floats * 255).round().to(torch.uint8)
    assert not torch.equal(expected, levels)
    assert torch.equal(optimize(levels, both(), encoder, [style], ONE, steps=2), expected)
    array = optimize(levels[0].permute(1, 2, 0).numpy(), both(), encoder, [style], ONE, steps=2)
    assert np.array_equal(array, expected[0].permute(1, 2, 0).numpy())
    with raises(ImageError, "255"):
        optimize(levels.float(), both(), encoder, [style], ONE, steps=2)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"init": "style"}, "init content noise 'style'"),
        ({"algorithm": "sgd"}, "algorithm adam lbfgs 'sgd'"),
        ({"scales": []}, "scales 0 1 []"),
        ({"scales": [0.5]}, "scales 0 1 [0.5]"),
        ({"scales": [0.5, 0.25, 1.0]}, "scales 0 1 [0.5, 0.25, 1.0]"),
        ({"scales": [0.0, 1.0]}, "scales 0 1 [0.0, 1.0]"),
        ({"steps": [1, 2]}, "steps 1 scales [1, 2]"),
        ({"steps": -1}, "steps negative -1"),
        ({"lr": 0.0}, "lr 0 0.0"),
        ({"lr": float("nan")}, "lr 0 nan"),
    ],
)
def test_a_setting_out_of_range_is_named(
    encoder: VGGEncoder, style: Style, content: Tensor, settings: dict[str, Any], text: str
) -> None:
    with raises(ConfigError, text):
        optimize(content[:1], both(), encoder, [style], ONE, **settings)
