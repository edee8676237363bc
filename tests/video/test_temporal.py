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


def sharpness(pixels: Pixels) -> float:
    """Variance of the Laplacian."""
    inner = pixels[8:-8, 8:-8].astype(float)
    edges = sum(np.roll(inner, shift, axis) for shift in (-1, 1) for axis in (0, 1)) - 4 * inner
    return float(edges[1:-1, 1:-1].var())


def test_a_still_loses_its_flicker_and_stays_sharp() -> None:
    still, smooth = texture(), Smoother(0.5)
    painted = [flickering(still, seed) for seed in range(24)]
    steady = [smooth(still, frame) for frame in painted]
    change, before = (np.diff(np.array(frames[12:], float), axis=0).std() for frames in (steady, painted))
    # Of x' = k x' + (1 - k) x, k = 0.79, the changes are (1 - k) / sqrt(1 + k) as large, 0.16; restored detail
    # enlarges them. Its sharpness is (1 - k) / (1 + k), 0.12, if detail is not restored.
    assert 0.16 < change / before < 0.5
    assert 0.9 < sharpness(steady[-1]) / sharpness(painted[-1]) < 1.5


# A motion of 60 pixels a second, at 60, 20 and 12 frames a second.
@pytest.mark.parametrize("step", [1, 3, 5])
def test_what_moves_takes_its_strokes_along(step: int) -> None:
    film, paint, smooth = texture(96, 256), texture(96, 256, seed=1), Smoother(1.0)
    # The strokes are fixed to what is seen: smoothing must find nothing to change.
    for shift in range(0, 8 * step, step):
        seen, painted = film[:, shift : shift + 160], paint[:, shift : shift + 160]
        result = smooth(np.ascontiguousarray(seen), np.ascontiguousarray(painted))
    inner = np.s_[8:-8, 8:-32]
    assert np.abs(result[inner].astype(int) - painted[inner]).mean() < 3
    # Without motion, several frames of it would be mixed.
    assert np.abs(np.roll(painted, 3, 1)[inner].astype(int) - painted[inner]).mean() > 8


def test_what_moves_stays_sharp() -> None:
    film, smooth = texture(96, 256), Smoother(0.5)
    strokes = np.random.default_rng(1).integers(64, 192, film.shape).astype(float)
    for shift in range(0, 24, 2):
        flicker = np.random.default_rng(shift).normal(0, 20, (96, 160, 3))
        painted = (strokes[:, shift : shift + 160] + flicker).clip(0, 255).astype(np.uint8)
        result = smooth(np.ascontiguousarray(film[:, shift : shift + 160]), painted)
    assert 0.9 < sharpness(result) / sharpness(painted) < 1.3


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


def test_a_fade_fades_to_black() -> None:
    scene, painted, smooth = texture(), texture(seed=1), Smoother(1.0)
    for light in [*np.linspace(1, 0, 24), *[0] * 12]:
        dim = (painted * light).astype(np.uint8)
        result = smooth((scene * light).astype(np.uint8), dim)
        assert np.abs(result.astype(int) - dim).mean() < 16
    assert result.max() == 0


def test_black_stays_black() -> None:
    scene, smooth = texture(), Smoother(1.0)
    smooth(scene, np.full_like(scene, 12))
    # Rounded, 0.9 of 4 is 4: without a step of one level it would stay gray.
    for _ in range(12):
        result = smooth(scene, np.zeros_like(scene))
    assert result.max() == 0


def test_a_dissolve_dissolves() -> None:
    one, other, smooth = texture(), texture(seed=2), Smoother(1.0)
    for share in [*np.linspace(0, 1, 13), 1]:
        seen = ((1 - share) * one + share * other).astype(np.uint8)
        result = smooth(seen, np.full_like(seen, round(60 + 120 * share)))
    # A twelfth of 120 a frame: two frames late at most, on average.
    assert abs(result.mean() - 180) < 20


def test_what_moves_over_a_still_ground_leaves_no_trail() -> None:
    ground, smooth = texture(96, 192), Smoother(1.0)
    for left in range(20, 100, 8):
        seen, painted = ground.copy(), np.full_like(ground, 128)
        seen[30:66, left : left + 40] = texture(36, 40, seed=5) // 4
        painted[30:66, left : left + 40] = (255, 0, 0)
        result = smooth(seen, painted)
    trail = result[32:64, 16 : left - 8].astype(int)
    assert np.abs(trail - 128).mean() < 6


def test_flicker_of_exposure_is_smoothed() -> None:
    scene, smooth = texture() // 2 + 40.0, Smoother(0.5)
    means = []
    for frame in range(16):
        sign = 1 if frame % 2 else -1
        means.append(
            smooth((scene + 5 * sign).astype(np.uint8), np.full(scene.shape, 128 + 10 * sign, np.uint8)).mean()
        )
    # The painted frames swing by 20; a recursive mean by (1 - k) / (1 + k) of it, 2.4.
    assert np.abs(np.diff(means[8:])).max() < 6


def test_large_frames_are_smoothed_as_small_ones_are() -> None:
    still, smooth = texture(600, 800), Smoother(1.0)
    smooth(still, np.full_like(still, 100))
    # Nine tenths of 100, one tenth of 200, and one level.
    assert np.abs(smooth(still, np.full_like(still, 200)).astype(int) - 111).max() <= 1


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
