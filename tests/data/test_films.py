"""Tests of procedural films and their exact flow."""

import numpy as np
import pytest
import torch

from fast_style.data.films import ProceduralFilm, make_film, measure_stillness
from fast_style.errors import ConfigError


def drifting(columns: float, rows: float) -> ProceduralFilm:
    """A film of one shape that fills the picture, and moves by this many pixels a frame."""
    texture = torch.randint(0, 256, (3, 48, 80), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    frames = torch.stack([texture[:, :32, 4 * number : 4 * number + 32] for number in (2, 1, 0)])
    motion = np.zeros((3, 2, 1), complex)
    motion[:, 0] = 1
    motion[:, 1, 0] = np.arange(3) * complex(columns, rows)
    return ProceduralFilm(frames, np.ones((3, 32, 32), np.int32), motion)


def test_the_origin_of_a_pixel_is_where_its_shape_was() -> None:
    origins, visible = drifting(4, 0).origins(2, before=1)
    column = torch.arange(32)
    # grid_sample's coordinates: -1 and 1 are the picture's edges, half a pixel beyond the centers.
    assert torch.allclose(origins[:, :, 0], ((column - 4 + 0.5) / 16 - 1).expand(32, 32), atol=1e-5)
    assert torch.allclose(origins[:, :, 1], ((column + 0.5) / 16 - 1)[:, None].expand(32, 32), atol=1e-5)
    assert torch.equal(visible, (column >= 4).expand(32, 32))


def test_what_moves_along_is_still_and_what_sticks_to_the_screen_is_not() -> None:
    film = drifting(4, 0)
    along, stuck = film.frames / 255, (film.frames[:1] / 255).expand(3, -1, -1, -1)
    assert film.stillness(along) > 60
    # Two independent uniform values differ by 1 / 6 in the mean square: 7.8 dB.
    assert film.stillness(stuck) == pytest.approx(7.8, abs=0.4)
    assert film.stillness(along, apart=2) > 60


@pytest.mark.parametrize("camera_moves", [False, True])
@pytest.mark.parametrize("seed", [2, 13])
def test_frames_are_what_their_flow_carries_from_other_frames(seed: int, *, camera_moves: bool) -> None:
    film = make_film(seed, 6, 96, camera_moves=camera_moves, noise=0)
    _, visible = film.origins(5, before=0)
    assert visible.float().mean() > 0.3
    frames = film.frames / 255
    unmoved = (frames[5] - frames[0])[:, visible].square().mean().item()
    carried = 10 ** (-film.stillness(frames, apart=5) / 10)
    assert carried < 3e-3
    assert not camera_moves or carried < 0.2 * unmoved


def test_a_camera_that_stands_still_leaves_most_of_the_picture_where_it_is() -> None:
    film = make_film(2, 4, 96, camera_moves=False)
    origins, visible = film.origins(3, before=0)
    axis = (torch.arange(96) + 0.5) / 48 - 1
    here = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), dim=-1)
    still = (origins - here).abs().amax(-1) < 1e-4
    assert (still & visible).float().mean() > 0.3
    assert (~still & visible).any()


def test_noise_differs_between_frames_and_nothing_else_does_in_a_film_without_motion() -> None:
    film = make_film(4, 3, 64, camera_moves=False, noise=0.01)
    _, visible = film.origins(1, before=0)
    difference = (film.frames[1].float() - film.frames[0].float())[:, visible] / 255
    assert difference.std().item() == pytest.approx(0.01 * 2**0.5, rel=0.2)


def test_a_film_depends_on_its_seed_alone() -> None:
    assert torch.equal(make_film(7, 3, 48).frames, make_film(7, 3, 48).frames)
    assert not torch.equal(make_film(7, 3, 48).frames, make_film(8, 3, 48).frames)


def test_a_painter_that_changes_with_every_frame_is_less_still_than_one_that_does_not() -> None:
    generator = torch.Generator().manual_seed(0)
    steady = measure_stillness(lambda frames: 1 - frames)
    restless = measure_stillness(
        lambda frames: (frames + 0.1 * torch.randn(frames.shape, generator=generator)).clamp(0, 1)
    )
    assert all(restless[name] < steady[name] for name in steady)
    assert steady == pytest.approx(measure_stillness(lambda frames: frames), abs=0.01)


@pytest.mark.parametrize("setting", [{"size": 31}, {"frames": 1}])
def test_an_impossible_film_is_refused_by_name(setting: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=f"^{next(iter(setting))} "):
        make_film(**setting)  # type: ignore[arg-type]
