"""Pictures that are made up, for training without photographs."""

import pytest
import torch
from jaxtyping import Float
from small_messages import raises
from torch import Tensor
from torch.utils.data import DataLoader

from fast_style.data.procedural import ProceduralPictures
from fast_style.errors import ConfigError

GRAY = torch.tensor([0.299, 0.587, 0.114])


@pytest.fixture(scope="module")
def luminance() -> Float[Tensor, "pictures 128 128"]:
    pictures = ProceduralPictures(128, seed=7)
    return torch.stack([torch.einsum("c,chw->hw", GRAY, pictures[0, index] / 255) for index in range(32)])


def spectral_slope(pictures: Float[Tensor, "pictures size size"]) -> float:
    """The exponent a for which the power falls as 1/frequency**a, from 4 to 48 cycles a picture."""
    size = pictures.shape[-1]
    window = torch.outer(*[torch.hann_window(size, periodic=False)] * 2)
    centered = pictures - pictures.mean((1, 2), keepdim=True)
    power = torch.fft.fft2(centered * window).abs().square().mean(0)
    cycles = torch.fft.fftfreq(size) * size
    ring = torch.hypot(cycles[:, None], cycles).round()
    frequencies = torch.arange(4, 49)
    energy = torch.stack([power[ring == frequency].mean() for frequency in frequencies])
    x, y = frequencies.log(), energy.log()
    return -(((x - x.mean()) * (y - y.mean())).sum() / (x - x.mean()).square().sum()).item()


def kurtosis(values: Tensor) -> float:
    deviations = (values - values.mean()).double()
    return (deviations.pow(4).mean() / deviations.square().mean() ** 2).item()


def test_a_picture_depends_on_seed_epoch_and_index_alone() -> None:
    pictures = ProceduralPictures(48, seed=3)
    picture = pictures[2, 5]
    torch.manual_seed(1)
    pictures[0, 0]
    assert torch.equal(pictures[2, 5], picture)
    assert torch.equal(ProceduralPictures(48, length=9, seed=3)[2, 5], picture)


def test_a_worker_process_makes_the_same_picture() -> None:
    pictures = ProceduralPictures(48, seed=11)  # a seed of this test alone: the worker finds nothing prepared
    keys = [(1, 4), (0, 2)]
    made_elsewhere = list(DataLoader(pictures, batch_size=None, sampler=keys, num_workers=1))
    assert all(torch.equal(picture, pictures[key]) for picture, key in zip(made_elsewhere, keys, strict=True))


@pytest.mark.parametrize(("seed", "epoch", "index"), [(1, 0, 0), (0, 1, 0), (0, 0, 1)])
def test_another_seed_epoch_or_index_makes_another_picture(seed: int, epoch: int, index: int) -> None:
    first, other = ProceduralPictures(48)[0, 0], ProceduralPictures(48, seed=seed)[epoch, index]
    assert (first != other).float().mean() > 0.5


@pytest.mark.parametrize("size", [33, 65, 96])
def test_pictures_have_the_size_asked_for(size: int) -> None:
    picture = ProceduralPictures(size)[0, 0]
    assert picture.shape == (3, size, size)
    assert picture.dtype == torch.uint8


def test_length_is_that_of_an_epoch() -> None:
    assert len(ProceduralPictures(32, length=12)) == 12


def test_power_falls_with_frequency_as_in_photographs(luminance: Tensor) -> None:
    # Photographs: about 2 (Field 1987); 2.4 for small photographs, reduced from larger ones. White noise: 0.
    assert 1.8 < spectral_slope(luminance) < 2.9
    assert abs(spectral_slope(torch.rand(48, 128, 128))) < 0.2


def test_derivatives_are_heavy_tailed(luminance: Tensor) -> None:
    # A Gaussian's kurtosis is 3; photographs have 10 and more (Huang & Mumford 1999).
    assert kurtosis(luminance.diff(dim=2)) > 9


def test_pictures_are_dark_and_bright_busy_and_calm(luminance: Tensor) -> None:
    means = luminance.mean((1, 2))
    assert means.min() < 0.3
    assert means.max() > 0.6
    blocks = luminance.unfold(1, 8, 8).unfold(2, 8, 8).flatten(-2).std(-1)
    assert 0.03 < (blocks < 0.01).float().mean() < 0.3  # photographs: an eighth of the blocks is flat
    assert 0.15 < (blocks > 0.1).float().mean() < 0.45  # and 0.29 are busy


def test_a_size_too_small_to_show_anything_is_refused() -> None:
    with raises(ConfigError, "size 32 0"):
        ProceduralPictures(0)
