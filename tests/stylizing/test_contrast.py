"""What has no content stays calm, a fade fades, and all else is the network's alone."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from small_networks import varied
from torch import Tensor

from fast_style.backends.pytorch import TorchBackend
from fast_style.images.disk_image import Box
from fast_style.networks import BalancedNet
from fast_style.stylizing.contrast import CONTENT, blend_by_contrast, blend_parts_by_contrast
from fast_style.stylizing.memory_budget import MemoryBudget
from fast_style.stylizing.stylizer import Stylizer
from fast_style.zoo.network_file import Metadata


@pytest.fixture(scope="module")
def stylizer() -> Stylizer:
    torch.manual_seed(0)
    network = varied(BalancedNet(styles=1, width=8, blocks=1))
    return Stylizer(TorchBackend(network, "cpu", "fp32"), Metadata({"a": {}}))


def photograph(height: int = 96, width: int = 128) -> Tensor:
    """As varied as photographs are: a standard deviation of 0.2."""
    values = torch.rand(1, 3, height // 8, width // 8, generator=torch.Generator().manual_seed(1))
    values = torch.nn.functional.interpolate(values, (height, width), mode="bicubic")
    return ((values - values.mean((2, 3), keepdim=True)) / values.std((2, 3), keepdim=True) * 0.2 + 0.5).clamp(0, 1)


def alone(stylizer: Stylizer, images: Tensor) -> Tensor:
    made: Tensor = stylizer.backend(images, np.ones((len(images), 1), np.float32))
    return made.clamp(0, 1)


@pytest.mark.parametrize("color", [(0, 0, 0), (255, 255, 255), (3, 120, 250)])
@pytest.mark.parametrize("size", [(320, 240), (1, 1)])
def test_what_is_of_one_color_stays_as_it_is(
    stylizer: Stylizer, color: tuple[int, int, int], size: tuple[int, int]
) -> None:
    page = Image.new("RGB", size, color)
    assert stylizer(page).tobytes() == page.tobytes()


def test_the_noise_of_a_blank_page_stays_noise(stylizer: Stylizer) -> None:
    page = 0.9 + 0.002 * torch.randn(1, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    # The fourth root of its fourth moment, 3^(1/4) 0.002, is 0.022 of what is content: a share of 0.022^2 (3 - 0.044).
    assert (stylizer(page) - page).abs().max() < 0.002


@pytest.mark.parametrize("blank", [0.0, 0.5, 1.0])
def test_a_fade_goes_from_the_blank_to_the_network_without_a_jump_or_a_step_back(
    stylizer: Stylizer, blank: float
) -> None:
    light = torch.linspace(0, 1, 41)[:, None, None, None]
    frames = (1 - light) * blank + light * photograph()
    made, wanted = stylizer(frames), alone(stylizer, frames)
    assert torch.equal(made[0], frames[0])
    full = (photograph() - photograph().mean((2, 3), keepdim=True)).pow(4).mean((2, 3)).max().item() ** 0.25
    whole = int(CONTENT / full * 40) + 1  # the first frame that is all the network's: at 48 % of light
    assert 15 < whole < 25
    assert torch.equal(made[whole:], wanted[whole:])
    far = [(made[index] - frames[index]).square().mean().sqrt() / (wanted[index] - frames[index]).square().mean().sqrt()
           for index in range(1, whole + 1)]  # fmt: skip
    assert far == sorted(far)
    # Half of what is content is half the network's: t^2 (3 - 2 t) at 1/2.
    half = (1 - CONTENT / full / 2) * blank + CONTENT / full / 2 * photograph()
    torch.testing.assert_close(stylizer(half), (half + alone(stylizer, half)) / 2)


@pytest.mark.parametrize("contrast", [1.0, 0.5])
def test_a_photograph_is_the_networks_to_the_last_bit(stylizer: Stylizer, contrast: float) -> None:
    fog = photograph() * contrast + 0.7 * (1 - contrast)
    assert torch.equal(stylizer(fog), alone(stylizer, fog))


def test_a_night_with_few_lights_is_the_networks(stylizer: Stylizer) -> None:
    night = torch.zeros(1, 3, 256, 256)
    night[..., 100:108, 50:58] = 1  # a thousandth of the picture
    assert torch.equal(stylizer(night), alone(stylizer, night))


def test_each_picture_of_a_batch_is_judged_alone(stylizer: Stylizer) -> None:
    images = torch.cat([photograph(), torch.zeros(1, 3, 96, 128), 0.05 * photograph()])
    for found, image in zip(stylizer(images), images, strict=True):
        torch.testing.assert_close(found, stylizer(image))


def test_arrays_of_numpy_and_of_torch_are_calmed_alike() -> None:
    images, made = 0.05 * photograph(), torch.rand(1, 3, 96, 128)
    found: NDArray[np.float32] = blend_by_contrast(images.numpy(), made.numpy().copy())
    torch.testing.assert_close(torch.from_numpy(found), blend_by_contrast(images, made.clone()))


@pytest.mark.parametrize("light", [0.0, 0.06, 1.0])
def test_in_parts_it_is_what_it_is_as_a_whole(monkeypatch: pytest.MonkeyPatch, light: float) -> None:
    monkeypatch.setattr("fast_style.stylizing.contrast._PART", 40)
    # White from the middle on: parts without content of a picture that has some.
    images = light * photograph()
    images[..., 64:] = light
    made = torch.rand(1, 3, 96, 128, generator=torch.Generator().manual_seed(0))
    expected, found = blend_by_contrast(images, made.clone()), torch.zeros(1, 3, 96, 128)

    def read(box: Box) -> Tensor:
        left, top, right, bottom = box
        return images[:, :, top:bottom, left:right]

    def write(box: Box, tile: Tensor) -> None:
        left, top, right, bottom = box
        found[:, :, top:bottom, left:right] = tile

    take = blend_parts_by_contrast(read, write, (128, 96))
    for box in ((0, 0, 70, 96), (70, 0, 128, 96)):
        take(box, made[:, :, box[1] : box[3], box[0] : box[2]])
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    assert torch.equal(expected, made) == (light == 1)


def test_what_does_not_fit_into_memory_stays_calm_too(stylizer: Stylizer, monkeypatch: pytest.MonkeyPatch) -> None:
    faint = photograph(300, 320) * (0.6 * CONTENT / 0.2)
    expected = stylizer(faint)
    monkeypatch.setattr("fast_style.stylizing.memory_budget._SMALL", 0)
    monkeypatch.setattr(MemoryBudget, "left", lambda self: 256**2 * (stylizer.backend.bytes_per_pixel() + 15))
    assert (stylizer(faint) - expected).abs().max() < 2 / 255
    page = Image.new("RGB", (320, 300), (250, 240, 230))
    assert stylizer(page).tobytes() == page.tobytes()
