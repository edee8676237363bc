"""Each measure of a fault: rises with it, is visible where one sees it, and leaves good pictures alone."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from fast_style.cli.overrides import CONFIGS
from fast_style.evaluation.visible_faults import VISIBLE, border, clipped, dots, grid, washed_out
from fast_style.images.photographs import packaged_photographs
from fast_style.images.tensors import read_image
from fast_style.types import Images

#: How each fault is made, weak to strong, the last of them plain to see; and how it is measured.
Fault = Callable[[Images, float], Images]


def mesh(images: Images, strength: float, period: int = 4) -> Images:
    """Every pixel of a square has a level of its own; strength is their standard deviation in levels."""
    levels = torch.randn(3, period, period, generator=torch.Generator().manual_seed(0))
    levels = (levels - levels.mean()) / levels.std() * strength / 255
    height, width = images.shape[2:]
    return images + levels.repeat(1, height // period + 1, width // period + 1)[:, :height, :width]


def spotted(images: Images, strength: float, width: int = 3) -> Images:
    """So many white spots."""
    generator, spotted = torch.Generator().manual_seed(0), images.clone()
    height, length = images.shape[2] - 20, images.shape[3] - 20
    for place in torch.randperm(height * length, generator=generator)[: int(strength)].tolist():
        top, left = place // length + 10, place % length + 10
        spotted[:, :, top : top + width, left : left + width] = 1.6
    return spotted


def framed(images: Images, strength: float, width: int = 8) -> Images:
    """A frame that is lighter by so many levels."""
    lighter = images + strength / 255
    lighter[:, :, width:-width, width:-width] = images[:, :, width:-width, width:-width]
    return lighter


def faded(images: Images, strength: float) -> Images:
    return images + strength * (0.5 - images)


def stretched(images: Images, strength: float) -> Images:
    return 0.5 + (images - 0.5) * strength


@pytest.fixture(scope="module")
def texture() -> Images:
    """As a good stylized picture is: a painting's strokes, and no place like another."""
    return read_image(CONFIGS / "style" / "images" / "starry_night.jpg", 256)


FAULTS = [
    ("grid", mesh, (0, 1, 2, 4, 8)),
    ("dots", spotted, (0, 10, 20, 40, 80)),
    ("border", framed, (0, 10, 20, 40, 80)),
    ("washed_out", faded, (0, 0.2, 0.4, 0.6, 0.8)),
    # Far stretched, a picture falls into specks, which count as dots.
    ("clipped", stretched, (1, 1.5, 2, 4, 8)),
]


def measured(name: str, images: Images, painting: Images) -> float:
    """As made from a gray photograph, or what colors are concerned from the painting itself."""
    images = images.clamp(0, 1)
    gray = torch.full_like(images, 0.5)
    measures: dict[str, Callable[[], Tensor]] = {
        "grid": lambda: grid(images),
        "dots": lambda: dots(images),
        "border": lambda: border(images, gray),
        "washed_out": lambda: washed_out(images, painting, painting),
        "clipped": lambda: clipped(images),
    }
    return float(measures[name]())


@pytest.mark.parametrize(("name", "make", "strengths"), FAULTS)
def test_a_measure_rises_with_its_fault_to_where_it_is_visible(
    texture: Images, name: str, make: Fault, strengths: tuple[float, ...]
) -> None:
    found = [measured(name, make(texture, strength), texture) for strength in strengths]
    # A frame that is lighter by a little may lie within the picture's own variation.
    assert found == sorted(found)
    assert found[0] < VISIBLE[name] / 2
    assert found[-2] < found[-1]
    assert found[-1] > VISIBLE[name]


@pytest.mark.parametrize(("name", "make", "strengths"), FAULTS)
def test_other_faults_do_not_count(texture: Images, name: str, make: Fault, strengths: tuple[float, ...]) -> None:
    faulty = make(texture, strengths[2])
    for other in VISIBLE.keys() - {name}:
        assert measured(other, faulty, texture) < VISIBLE[other], other


def test_photographs_have_no_visible_faults() -> None:
    for file in packaged_photographs():
        photograph = read_image(file, 256)
        for name, limit in VISIBLE.items():
            assert measured(name, photograph, photograph) < limit, (file, name)


def test_paintings_have_no_visible_faults(shared: Path) -> None:
    for file in sorted((shared / "styles").glob("*.jpg")):
        painting = read_image(file, 256)
        for name, limit in VISIBLE.items():
            assert measured(name, painting, painting) < limit, (file, name)


def test_each_picture_of_a_batch_has_its_own_number(texture: Images) -> None:
    batch = torch.cat([texture, mesh(texture, 8), framed(texture, 80), stretched(texture, 8)]).clamp(0, 1)
    content = texture.expand_as(batch)
    for measure in (grid, dots, clipped):
        torch.testing.assert_close(measure(batch), torch.cat([measure(one[None]) for one in batch]))
    alone = torch.cat([border(one[None], texture) for one in batch])
    torch.testing.assert_close(border(batch, content), alone)
    alone = torch.cat([washed_out(one[None], texture, texture) for one in batch])
    torch.testing.assert_close(washed_out(batch, content, texture), alone)


def test_the_grid_is_measured_in_levels() -> None:
    # A wave of period 4 and amplitude 10 has the root mean square 10 / sqrt(2).
    wave = torch.sin(torch.arange(256) * torch.pi / 2) * 10 / 255
    picture = 0.5 + wave.expand(1, 3, 128, 256)
    torch.testing.assert_close(grid(picture), torch.tensor([10 / 2**0.5]), rtol=0.02, atol=0)
    # Of another period it is texture.
    assert grid(0.5 + torch.sin(torch.arange(256) * torch.pi / 3.3).expand(1, 3, 128, 256) * 0.04) < 0.5


@pytest.mark.parametrize("period", [2, 4, 8])
def test_a_mesh_counts_whatever_the_factor_of_upsampling(texture: Images, period: int) -> None:
    picture = torch.full((1, 3, 256, 256), 0.5)
    torch.testing.assert_close(grid(mesh(picture, 6, period)), torch.tensor([6.0]), rtol=0.1, atol=0)
    assert grid(mesh(texture, 6, period).clamp(0, 1)) > VISIBLE["grid"]
    # A mesh that lies between them is none of a network's.
    assert grid(mesh(texture, 6, 7).clamp(0, 1)) < VISIBLE["grid"]


def test_dots_are_counted_for_each_hundred_thousand_pixels() -> None:
    picture = torch.full((1, 3, 200, 250), 0.5)
    picture[:, :, 50:53, 60:63] = 0.9
    picture[:, 0, 120:124, 200:204] = 0.1
    assert dots(picture) == 2 * 2


def test_a_margin_that_the_photograph_has_is_no_fault(texture: Images) -> None:
    scan = framed(texture, -80, width=4).clamp(0, 1)
    assert border(scan, texture) > VISIBLE["border"]
    # Kept, as it is or in another picture, and taken away.
    assert border(scan, scan) == 0
    assert border(framed(texture.flip(3), -80, width=4).clamp(0, 1), scan) < VISIBLE["border"]
    assert border(texture, scan) < VISIBLE["border"]


def test_what_is_clipped_is_a_part_of_the_picture() -> None:
    picture = torch.full((1, 3, 64, 64), 0.5)
    picture[:, :, :, :33] = 1.0
    # The column beside the middle has neighbors that are not.
    assert clipped(picture) == 32 / 64


@pytest.mark.parametrize("shape", [(16, 16), (17, 300), (32, 40)])
def test_small_pictures_have_numbers(shape: tuple[int, int]) -> None:
    picture = torch.rand(2, 3, *shape, generator=torch.Generator().manual_seed(0))
    for name in VISIBLE:
        for number in (grid(picture), dots(picture), border(picture, picture), clipped(picture)):
            assert number.shape == (2,), name
            assert number.isfinite().all()
