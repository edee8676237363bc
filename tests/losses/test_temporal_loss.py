"""Tests of the temporal loss, and of the motion of the pictures that it compares."""

import pytest
import torch
from torch import Tensor

from fast_style.errors import ConfigError
from fast_style.losses import Moved, Stylization, TemporalLoss
from fast_style.losses.motion import Motion, carry
from fast_style.losses.temporal import stroke_energy
from fast_style.types import Images

PICTURES = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
STROKES = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(2))


def stylization(outputs: Images, moved_outputs: Tensor, motion: Motion) -> Stylization:
    moved, origins, visible = motion(PICTURES, seeds=[3, 4])
    assert moved.shape == moved_outputs.shape
    return Stylization(PICTURES, outputs, torch.ones(2, 1), {}, {}, Moved(moved, moved_outputs, origins, visible))


def test_strokes_that_move_with_what_they_depict_cost_nothing() -> None:
    motion = Motion(distance=8, noise=0)
    moved, _, _ = motion(PICTURES, seeds=[3, 4])
    assert TemporalLoss()(stylization(1 - PICTURES, 1 - moved, motion)).item() == pytest.approx(0, abs=1e-8)


def test_strokes_that_stick_to_the_screen_cost_as_much_as_independent_ones() -> None:
    # The difference of two independent textures has twice the energy of one, and a mean over 9x9 takes 1 / 81 of it.
    motion = Motion(distance=8, noise=0)
    loss = TemporalLoss()(stylization(STROKES, STROKES[:, :, :48, :48], motion)).item()
    assert loss == pytest.approx(2 * 81 / 80, rel=0.05)


def test_paler_strokes_cost_as_much_as_strong_ones() -> None:
    motion = Motion(distance=8, noise=0)
    strong, pale = (
        TemporalLoss()(stylization(scale * STROKES, scale * STROKES[:, :, :48, :48], motion)) for scale in (1, 0.25)
    )
    assert pale.item() == pytest.approx(strong.item(), rel=1e-4)


def test_the_loss_of_a_batch_is_the_mean_of_its_pictures() -> None:
    motion = Motion(distance=8, noise=0)
    scale = torch.tensor([1.0, 0.1]).view(2, 1, 1, 1)
    both = stylization(scale * STROKES, scale * (1 - STROKES)[:, :, :48, :48], motion)
    assert both.moved is not None
    alone = []
    for number in range(2):
        one = slice(number, number + 1)
        parts = (part[one] for part in (both.moved.content, both.moved.output, both.moved.origins, both.moved.visible))
        single = Stylization(PICTURES[one], both.output[one], torch.ones(1, 1), {}, {}, Moved(*parts))
        alone.append(TemporalLoss()(single).item())
    assert TemporalLoss()(both).item() == pytest.approx(sum(alone) / 2, rel=1e-5)
    assert alone[0] != pytest.approx(alone[1], rel=1e-3)


def test_without_a_second_picture_there_is_no_loss() -> None:
    assert TemporalLoss()(Stylization(PICTURES, STROKES, torch.ones(2, 1), {}, {})).item() == 0


def test_both_outputs_get_a_gradient() -> None:
    outputs, moved_outputs = STROKES.clone().requires_grad_(), STROKES[:, :, :48, :48].clone().requires_grad_()
    torch.autograd.backward(TemporalLoss()(stylization(outputs, moved_outputs, Motion(distance=8))))
    for each in (outputs, moved_outputs):
        assert each.grad is not None
        assert each.grad.abs().sum() > 0


def test_the_map_leads_from_each_pixel_of_the_moved_picture_to_where_it_was() -> None:
    moved, origins, _ = Motion(distance=8, noise=0)(PICTURES, seeds=[3, 4])
    assert torch.allclose(carry(PICTURES, origins), moved, atol=1e-5)
    assert not torch.allclose(moved, PICTURES[:, :, 8:-8, 8:-8])


def test_the_motion_of_a_picture_does_not_depend_on_its_batch() -> None:
    both, _, _ = Motion()(PICTURES, seeds=[3, 4])
    alone, _, _ = Motion()(PICTURES[1:], seeds=[4])
    assert torch.equal(both[1:], alone)


def test_pixels_at_the_edges_are_not_compared() -> None:
    _, _, visible = Motion(distance=8)(PICTURES, seeds=[3, 4])
    assert visible[:, 8:-8, 8:-8].all()
    assert visible.sum() == 2 * 32 * 32


@pytest.mark.parametrize(("side", "expected"), [(32, 32), (40, 32), (64, 48)])
def test_a_crop_is_never_smaller_than_what_networks_accept(side: int, expected: int) -> None:
    moved, _, _ = Motion(distance=8)(torch.rand(1, 3, side, side), seeds=[0])
    assert moved.shape == (1, 3, expected, expected)


def test_noise_is_equally_strong_in_pixels_and_in_the_squares_of_a_codec() -> None:
    gray = torch.full((200, 3, 96, 96), 0.5)
    moved, _, _ = Motion(distance=0, noise=0.02)(gray, seeds=range(200))
    noise = moved - 0.5
    # Strengths are uniform from 0 to 0.02: their mean square is 0.02^2 / 3.
    assert noise.square().mean().sqrt().item() == pytest.approx(0.02 / 3**0.5, rel=0.1)
    # Of its six sizes, half are at least as wide as squares of 8 pixels; means over 4 pixels keep the next in part.
    coarse = torch.nn.functional.avg_pool2d(noise, 4)
    assert coarse.square().mean() / noise.square().mean() > 0.5


@pytest.mark.parametrize("setting", [{"distance": -1}, {"distance": 2.5}, {"noise": -0.1}])
def test_an_impossible_motion_is_refused_by_name(setting: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=f"^{next(iter(setting))} "):
        TemporalLoss(**setting)  # type: ignore[arg-type]


def test_fine_and_strong_strokes_have_more_energy_than_broad_or_pale_ones() -> None:
    # Stripes of one pixel: of nine pixels in a row, five are like the one in the middle, so it is 4 / 9 off their mean.
    stripes = torch.tensor([0.0, 1.0]).repeat(32).expand(1, 3, 64, 64)
    assert stroke_energy(stripes) == pytest.approx(16 / 81, rel=0.03)
    assert stroke_energy(0.5 * stripes) == pytest.approx(stroke_energy(stripes) / 4)
    broad = torch.tensor([0.0, 1.0]).repeat_interleave(32).expand(1, 3, 64, 64)
    assert stroke_energy(broad) < 0.1 * stroke_energy(stripes)
