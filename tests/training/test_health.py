"""What is seen of a training that goes wrong, and when."""

from collections.abc import Sequence
from math import inf, nan

import pytest
import torch

from fast_style.training.health import (
    EXPLOSION_STEPS,
    FLAT_STEPS,
    LOOK_EVERY,
    SCALER_STEPS,
    GradientWatch,
    Health,
    OutputWatch,
    spread,
)

#: Norms as they come: between a half and twice the usual, 1.
USUAL = [1.0, 0.5, 2.0, 1.0, 1.5, 0.7] * 5


def first_alarm(norms: Sequence[float]) -> int | None:
    watch = GradientWatch()
    return next((step for step, norm in enumerate(norms) if watch.see(norm)), None)


def test_whatever_is_wrong_is_told_within_twenty_steps() -> None:
    # The last step of a streak may be read as late as the next look.
    assert max(EXPLOSION_STEPS, FLAT_STEPS, SCALER_STEPS) - 1 + LOOK_EVERY <= 20


def test_a_gradient_that_stays_a_thousand_times_its_size_explodes() -> None:
    assert first_alarm(USUAL + [1000.0] * 30) == len(USUAL) + EXPLOSION_STEPS - 1


def test_a_gradient_that_grows_by_half_each_step_explodes() -> None:
    growing = [1.5**step for step in range(1, 60)]
    alarm = first_alarm(USUAL + growing)
    assert alarm is not None
    # 1.5 ** 12 is the first power above 100.
    assert alarm <= len(USUAL) + 12 + 20


def test_odd_batches_now_and_then_do_not_explode() -> None:
    assert first_alarm((USUAL[:9] + [1e6] * (EXPLOSION_STEPS - 1)) * 20) is None


@pytest.mark.parametrize("factor", [1.02, 0.97])
def test_a_gradient_that_drifts_does_not_explode(factor: float) -> None:
    assert first_alarm([factor**step for step in range(600)]) is None


def test_nothing_is_unusual_at_first() -> None:
    assert first_alarm([1.0] * 2 + [1e6] * 100) is None


def test_a_gradient_that_was_zero_may_come_back() -> None:
    assert first_alarm([0.0] * 60 + [1.0] * 60) is None


def test_a_flat_output_is_dead_when_it_stays_so() -> None:
    watch = OutputWatch()
    alarms = [watch.see(output, content=0.2) for output in [0.1] * 5 + [0.0] * FLAT_STEPS]
    assert alarms == [False] * (5 + FLAT_STEPS - 1) + [True]


def test_a_flat_content_may_become_a_flat_output() -> None:
    watch = OutputWatch()
    assert not any(watch.see(0.0, content=0.001) for _ in range(100))
    assert watch.steps == 0


def test_a_flat_content_in_between_hides_nothing() -> None:
    watch = OutputWatch()
    alarms = [watch.see(0.0, content) for content in [0.2, 0.0] * FLAT_STEPS]
    assert any(alarms)


def test_an_output_that_comes_back_is_alive() -> None:
    watch = OutputWatch()
    assert not any(watch.see(output, content=0.2) for output in ([0.0] * (FLAT_STEPS - 1) + [0.1]) * 5)


def test_the_spread_is_that_of_the_liveliest_channel() -> None:
    # Half of the pixels 0 and half of them 1: a standard deviation of a half. All others are flat.
    images = torch.full((2, 3, 4, 4), 0.7)
    images[1, 2] = torch.tensor([0.0, 1.0]).repeat(8).view(4, 4)
    assert spread(images).item() == pytest.approx(0.5)
    assert spread(images[:1]).item() == pytest.approx(0.0, abs=1e-6)
    assert spread(images.bfloat16()).item() == pytest.approx(0.5)


def losses(content: float = 1.0, style: float = 1.0, pictures: float = 0.2, output: float = 0.1) -> torch.Tensor:
    return torch.tensor([content, style, content + style, pictures, output])


TERMS = ["content", "style", "total"]
NAMES = ["stem", "block", "output"]


def note_gradient(health: Health, step: int, norm: float, scaled: bool = False) -> None:
    """Of three weights, of which the second has the largest gradient."""
    health.note_gradient(step, NAMES, torch.tensor([0.48, 0.64, 0.6]) * norm, torch.ones(3), scaled)


def test_a_loss_is_named_at_the_step_where_it_was_not_finite_however_late_it_is_read() -> None:
    health = Health()
    health.note_losses(7, TERMS, losses())
    health.note_losses(8, TERMS, losses(style=inf))
    health.note_losses(9, TERMS, losses(content=nan, style=nan, output=nan))
    ailment = health.read()
    assert ailment is not None
    assert (ailment.kind, ailment.name, ailment.step, ailment.value) == ("loss", "style", 8, inf)
    assert ailment.content_finite
    assert ailment.output_finite


def test_a_gradient_that_was_not_finite_is_the_cause_of_the_losses_after_it() -> None:
    health = Health()
    note_gradient(health, 7, nan)
    health.note_losses(8, TERMS, losses(content=nan, output=nan))
    ailment = health.read()
    assert ailment is not None
    assert (ailment.kind, ailment.step) == ("gradient", 7)


def test_weights_are_named_for_what_is_wrong_with_them() -> None:
    fine, huge = torch.tensor([1.0, 1.0, 1.0]), torch.tensor([1e30, 3e30, 1e30])
    for norms, peaks, kind, name in (
        # It flows from the output to the stem: the block spoils it.
        (torch.tensor([nan, inf, 1.0]), fine, "gradient", "block"),
        (fine, torch.tensor([1.0, 2.0, inf]), "weight", "output"),
        (fine, torch.tensor([nan, nan, 1.0]), "weight", "stem"),
    ):
        health = Health()
        health.note_gradient(3, NAMES, norms, peaks)
        ailment = health.read()
        assert ailment is not None
        assert (ailment.kind, ailment.name, ailment.step) == (kind, name, 3)
    health = Health()
    for step in range(40):
        health.note_gradient(step, NAMES, fine if step < 20 else huge, fine)
    ailment = health.read()
    assert ailment is not None
    assert (ailment.kind, ailment.name, ailment.step) == ("explosion", "block", 19 + EXPLOSION_STEPS)
    assert ailment.usual == pytest.approx(3**0.5)
    assert ailment.part == pytest.approx(9 / 11)


def test_a_scaler_may_try_scales_that_are_too_large() -> None:
    # From 2 ** 16, fifteen halvings come to a scale of 2; each costs a gradient that is not finite.
    health = Health()
    for step in range(15):
        note_gradient(health, step, inf, scaled=True)
    assert health.read() is None
    assert health.suspicious
    note_gradient(health, 15, inf, scaled=True)
    assert health.read() is not None


def test_it_is_suspicious_from_the_first_odd_step_until_all_is_well() -> None:
    health = Health()
    for step in range(20):
        note_gradient(health, step, 1.0)
        health.note_losses(step, TERMS, losses())
    assert not health.suspicious
    note_gradient(health, 20, 1e6)
    assert health.suspicious
    note_gradient(health, 21, 1.0)
    assert not health.suspicious
    health.note_losses(22, TERMS, losses(output=0.0))
    assert health.suspicious
    health.note_losses(23, TERMS, losses())
    assert not health.suspicious
    health.note_losses(24, TERMS, losses(style=nan))
    assert health.suspicious


@pytest.mark.parametrize("stop", [5, 33, 36])
def test_a_training_that_is_resumed_is_judged_as_if_it_had_never_stopped(stop: int) -> None:
    def take(health: Health, steps: range) -> None:
        for step in steps:
            health.note_losses(step, TERMS, losses(output=0.0 if step > 34 else 0.1))
            note_gradient(health, step, USUAL[step] if step < 30 else 500.0)

    through, first, second = Health(), Health(), Health()
    take(through, range(60))
    take(first, range(stop))
    second.load_state_dict(first.state_dict())
    take(second, range(stop, 60))
    assert second.read() == through.read() is not None


def test_its_state_is_small_and_plain() -> None:
    health = Health()
    for step in range(1000):
        note_gradient(health, step, 1.0 + step % 7)
    state = health.state_dict()
    numbers = [number for values in state.values() for number in values]
    assert len(numbers) < 60
    assert {type(number) for number in numbers} == {int, float}
