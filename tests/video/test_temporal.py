"""Videos without flicker, and without ghosts."""

import numpy as np
import pytest
from numpy.typing import NDArray
from small_messages import raises

from fast_style.errors import ConfigError
from fast_style.video.temporal import Smoother, make_smoother

Pixels = NDArray[np.uint8]


def texture(height: int = 96, width: int = 128, seed: int = 0) -> Pixels:
    """Blotches of some pixels, as in a photograph."""
    coarse = np.random.default_rng(seed).integers(0, 256, (height // 12 + 1, width // 12 + 1, 3)).astype(np.float64)
    rows = np.repeat(np.repeat(coarse, 12, axis=0), 12, axis=1)[:height, :width]
    for axis in (0, 1):
        rows = np.mean([np.roll(rows, shift, axis) for shift in range(-4, 5)], axis=0)
    return rows.astype(np.uint8)


def flickering(pixels: Pixels, seed: int) -> Pixels:
    """As a network might draw it: with other noise in every frame."""
    noise = np.random.default_rng(seed).normal(0, 20, pixels.shape)
    return (128 + noise).clip(0, 255).astype(np.uint8)


def test_the_first_frame_stays_as_it_is() -> None:
    painted = flickering(texture(), 1)
    assert (Smoother(1.0)(texture(), painted) == painted).all()


def test_a_still_loses_the_flicker_that_a_recursive_mean_takes_away() -> None:
    still, smooth = texture(), Smoother(0.5)
    steady = [smooth(still, flickering(still, seed)) for seed in range(24)]
    spread = np.std([frame[8:-8, 8:-8].astype(float) for frame in steady[12:]], axis=0).mean()
    before = np.std([flickering(still, seed)[8:-8, 8:-8].astype(float) for seed in range(12, 24)], axis=0).mean()
    # Of x' = k x' + (1 - k) x, the variance is (1 - k) / (1 + k); k = 0.5 * 0.9.
    assert spread / before == pytest.approx(np.sqrt(0.55 / 1.45), abs=0.05)


def test_what_moves_takes_its_strokes_along() -> None:
    film, paint, smooth = texture(96, 256), texture(96, 256, seed=1), Smoother(1.0)
    # The strokes are fixed to what is seen: smoothing must find nothing to change.
    for shift in range(0, 24, 3):
        seen, painted = film[:, shift : shift + 160], paint[:, shift : shift + 160]
        result = smooth(np.ascontiguousarray(seen), np.ascontiguousarray(painted))
    inner = np.s_[8:-8, 8:-16]
    assert np.abs(result[inner].astype(int) - painted[inner]).mean() < 2
    # Without motion, three pixels of it would be mixed.
    assert np.abs(np.roll(painted, 3, 1)[inner].astype(int) - painted[inner]).mean() > 8


def test_nothing_remains_of_what_has_gone() -> None:
    background, smooth = texture(), Smoother(1.0)
    with_ball = background.copy()
    with_ball[30:60, 40:70] = (250, 20, 20)
    red = np.full_like(background, 128)
    red[30:60, 40:70] = (255, 0, 0)
    for _ in range(4):
        smooth(with_ball, red)
    empty = np.full_like(background, 128)
    after = smooth(background, empty)
    assert np.abs(after[32:58, 42:68].astype(int) - 128).max() <= 2


def test_a_new_scene_begins_anew() -> None:
    smooth = Smoother(1.0)
    for seed in range(3):
        smooth(texture(seed=1), flickering(texture(), seed))
    painted = flickering(texture(), 9)
    assert (smooth(texture(seed=2), painted) == painted).all()


def test_large_frames_are_smoothed_as_small_ones_are() -> None:
    still, smooth = texture(600, 800), Smoother(1.0)
    smooth(still, np.full_like(still, 100))
    # Nine tenths of 100, one tenth of 200.
    assert np.abs(smooth(still, np.full_like(still, 200)).astype(int) - 110).max() <= 1


@pytest.mark.parametrize("shape", [(1, 1, 3), (5, 90, 3), (24, 90, 3)])
def test_tiny_frames_are_no_trouble(shape: tuple[int, int, int]) -> None:
    frame, smooth = np.full(shape, 50, np.uint8), Smoother(1.0)
    smooth(frame, frame)
    assert (smooth(frame, frame) == 50).all()


@pytest.mark.parametrize("amount", [-0.1, 1.5, "much"])
def test_an_amount_out_of_range_is_refused(amount: float) -> None:
    with raises(ConfigError, "temporal 0 1"):
        Smoother(amount)


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with raises(ConfigError, "temporal opencv-python-headless [video]'"):
        Smoother(0.5)
    assert make_smoother(None) is None
