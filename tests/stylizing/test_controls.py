"""What is set picture by picture: each control does what it says, alone and with others."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from small_messages import assert_names, raises
from small_networks import varied
from torch import nn

from fast_style.backends.backend import Array, NumpyBackend
from fast_style.backends.pytorch import TorchBackend
from fast_style.errors import ConfigError, ImageError
from fast_style.networks import LightNet
from fast_style.stylizing.colors import blurred, color_transfer, joined, light, recolored
from fast_style.stylizing.controls import PRESERVE_COLOR, Controls, Settings
from fast_style.stylizing.effects import REACH, apply_effects, grain
from fast_style.stylizing.stylizer import Stylizer
from fast_style.zoo.saving import Metadata

WHITE, BLACK = Image.new("L", (3, 5), 255), Image.new("L", (3, 5), 0)
#: Of more than one pixel of the picture below to each of its own, and with every level.
SOFT = Image.linear_gradient("L").resize((31, 17))


class Counting(TorchBackend):
    """A backend that counts its pictures."""

    seen = 0

    def __call__(self, images: Array, style: NDArray[np.float32]) -> torch.Tensor:
        self.seen += len(images)
        return super().__call__(images, style)


class InNumpy(NumpyBackend):
    """The same network behind NumPy's arrays."""

    def __init__(self, backend: TorchBackend) -> None:
        self.backend = backend

    def __call__(self, images: Array, style: NDArray[np.float32]) -> NDArray[np.float32]:
        found: NDArray[np.float32] = self.backend(torch.from_numpy(images), style).numpy()
        return found


@pytest.fixture(scope="module")
def stylizer() -> Stylizer:
    """A small network of two styles that differ."""
    torch.manual_seed(0)
    network = varied(LightNet(styles=2, width=4, blocks=1))
    return Stylizer(Counting(network, "cpu", "fp32"), Metadata({"waves": {}, "stars": {}}))


@pytest.fixture(scope="module")
def photograph() -> torch.Tensor:
    """A batch of two pictures of middling, varied colors."""
    coarse = torch.rand(2, 3, 6, 8, generator=torch.Generator().manual_seed(1))
    fine = nn.functional.interpolate(coarse, (51, 64), mode="bicubic").clip(0, 1)
    return 0.25 + 0.5 * fine


def moments(images: torch.Tensor, where: Any = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    """The mean and covariance of the colors of the first picture."""
    weights = torch.as_tensor(where).double().expand(1, 1, *images.shape[2:]).flatten()
    colors = images[0].double().flatten(1)
    return colors @ weights / weights.sum(), torch.cov(colors, correction=0, aweights=weights)


@pytest.mark.parametrize(
    "neutral",
    [
        {"brush": 1.0, "strength": 1.0, "preserve_color": "none", "sharpen": 0.0, "grain": 0.0, "mask": None},
        {"seed": 7},
        {"mask": WHITE},
        {"mask": Image.new("RGB", (9, 9), "white")},
        {"masks": {}},
        {"controls": Controls()},
    ],
)
def test_what_asks_for_nothing_changes_no_bit(
    stylizer: Stylizer, photograph: torch.Tensor, neutral: dict[str, Any]
) -> None:
    expected = stylizer(photograph, "stars")
    assert torch.equal(stylizer(photograph, "stars", **neutral), expected)
    row = np.array([[0, 1], [0, 1]], np.float32)
    assert torch.equal(stylizer.backend(photograph, row).clip(0, 1), expected)


ALL: dict[str, Any] = {"preserve_color": "luminance", "brush": 1.5, "sharpen": 1.0, "grain": 1.0, "seed": 3}


@pytest.mark.parametrize(
    "nothing", [{"mask": BLACK}, {"strength": 0}, {"mask": SOFT, "strength": 0}, {"masks": {"stars": BLACK}}]
)
@pytest.mark.parametrize("others", [{}, ALL, {**ALL, "preserve_color": "histogram"}])
def test_where_nothing_is_stylized_the_photograph_is_as_it_was(
    stylizer: Stylizer, photograph: torch.Tensor, nothing: dict[str, Any], others: dict[str, Any]
) -> None:
    result = stylizer(photograph, **nothing, **others)
    assert torch.equal(result, photograph)
    assert result.data_ptr() != photograph.data_ptr()


def test_a_mask_mixes_photograph_and_outcome_pixel_by_pixel(stylizer: Stylizer, photograph: torch.Tensor) -> None:
    whole = stylizer(photograph, "waves", **ALL)
    levels = torch.arange(51 * 64).reshape(51, 64) % 256
    mask = Image.fromarray(levels.numpy().astype(np.uint8))
    weights = levels / 255
    result = stylizer(photograph, "waves", mask=mask, **ALL)
    torch.testing.assert_close(result, photograph + weights * (whole - photograph))
    result = stylizer(photograph, "waves", mask=mask, strength=0.5, **ALL)
    torch.testing.assert_close(result, photograph + 0.5 * weights * (whole - photograph))


def test_a_mask_keeps_soft_edges_at_any_size(stylizer: Stylizer) -> None:
    images = torch.zeros(1, 3, 40, 256)
    ramp = Image.linear_gradient("L").rotate(90)
    fine = Controls(mask=ramp).cover(40, 256)[0, 0]
    assert np.abs(fine - np.linspace(0, 1, 256)).max() < 0.01
    coarse = Controls(mask=ramp.resize((16, 3), Image.Resampling.BOX)).cover(40, 256)[0, 0]
    assert np.abs(coarse - np.linspace(0, 1, 256)).max() < 0.04
    assert np.abs(np.diff(coarse)).max() < 0.01
    assert stylizer(images, mask=ramp).shape == images.shape


def test_what_is_transparent_in_a_mask_is_black_and_turned_ones_are_upright(tmp_path: Path) -> None:
    painted = Image.new("RGBA", (4, 4), (255, 255, 255, 0))
    painted.paste((255, 255, 255, 255), (0, 0, 2, 4))
    painted.save(tmp_path / "painted.png")
    expected = [[1, 1, 0, 0]] * 4
    for mask in (painted, tmp_path / "painted.png", str(tmp_path / "painted.png"), painted.convert("LA")):
        assert Controls(mask=mask).cover(4, 4)[0, 0].tolist() == expected
    exif = Image.Exif()
    exif[0x0112] = 3
    painted.getchannel("A").save(tmp_path / "turned.png", exif=exif)
    assert Controls(mask=tmp_path / "turned.png").cover(4, 4)[0, 0].tolist() == [[0, 0, 1, 1]] * 4


def test_a_mask_for_each_style_gives_each_pixel_its_mixture(stylizer: Stylizer, photograph: torch.Tensor) -> None:
    waves, stars = stylizer(photograph, "waves"), stylizer(photograph, "stars")
    assert (waves - stars).abs().mean() > 0.01
    part = torch.from_numpy(Controls(mask=SOFT).cover(51, 64))
    opposite = Image.fromarray(255 - np.asarray(SOFT))
    result = stylizer(photograph, masks={"waves": SOFT, "stars": opposite})
    torch.testing.assert_close(result, part * waves + (1 - part) * stars, atol=0.005, rtol=0)
    # Weights are scaled where they sum to more than white, and leave the photograph what is missing.
    torch.testing.assert_close(stylizer(photograph, masks={"waves": WHITE, "stars": WHITE}), (waves + stars) / 2)
    torch.testing.assert_close(
        stylizer(photograph, masks={"waves": Image.new("L", (1, 1), 51), "stars": Image.new("L", (1, 1), 102)}),
        0.2 * waves + 0.4 * stars + 0.4 * photograph,
    )
    assert torch.equal(stylizer(photograph, masks={"stars": WHITE, "waves": BLACK}), stars)


def test_the_network_is_asked_once_for_each_style_that_shows(stylizer: Stylizer, photograph: torch.Tensor) -> None:
    backend = stylizer.backend
    assert isinstance(backend, Counting)
    for settings, times in (
        (ALL, 1),
        ({**ALL, "mask": SOFT}, 1),
        ({"masks": {"waves": SOFT, "stars": WHITE}}, 2),
        ({"masks": {"waves": SOFT, "stars": BLACK}}, 1),
        ({"strength": 0}, 0),
    ):
        backend.seen = 0
        stylizer(photograph, **settings)
        assert backend.seen == times * len(photograph), settings


def test_luminance_keeps_the_photographs_color_and_the_results_light(
    stylizer: Stylizer, photograph: torch.Tensor
) -> None:
    plain = stylizer(photograph, "waves")
    result = stylizer(photograph, "waves", preserve_color="luminance")
    torch.testing.assert_close(light(result), light(plain))
    # Against Pillow's conversion, where the color fits that light: Cb and Cr are those of the photograph.
    kept = result - light(result)
    color = photograph - light(photograph)
    fits = ((color + light(plain)).clip(0, 1) == color + light(plain)).all(1, keepdim=True)
    assert fits.float().mean() > 0.3
    torch.testing.assert_close((kept * fits), color * fits, atol=2e-5, rtol=0)
    # Elsewhere it is paler, of the same hue.
    factor = (kept * color).sum(1) / (color * color).sum(1)
    assert (factor > 0).all()
    assert (factor < 1.0001).all()
    torch.testing.assert_close(kept, factor[:, None] * color, atol=2e-5, rtol=0)


def test_light_is_pillows() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    expected = np.asarray(Image.fromarray(pixels).convert("L")).astype(float)
    found = light(pixels.transpose(2, 0, 1)[None] / 255)[0, 0] * 255
    assert np.abs(found - expected).max() <= 1


def test_colors_that_do_not_fit_their_light_turn_pale_and_keep_it() -> None:
    generator = torch.Generator().manual_seed(0)
    color = torch.randn(1, 3, 30, 30, generator=generator)
    color -= light(color)
    brightness = torch.rand(1, 1, 30, 30, generator=generator)
    result = joined(brightness, color)
    assert result.min() >= 0
    assert result.max() <= 1
    torch.testing.assert_close(light(result), brightness)
    torch.testing.assert_close(joined(brightness, 0 * color), brightness.expand(1, 3, 30, 30))
    assert set(joined(brightness * 0 + 1.5, color).unique().tolist()) == {1.0}


def test_histogram_gives_the_photographs_mean_and_covariance(stylizer: Stylizer, photograph: torch.Tensor) -> None:
    images = photograph[:1]
    stylized = stylizer(images, "waves")
    transfer = color_transfer(stylized, images)
    result = recolored(stylized, *(torch.from_numpy(part).float() for part in transfer))
    for found, expected in zip(moments(result), moments(images), strict=True):
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-3)
    # What lies outside of [0, 1] is then brought back in, and little does.
    shown = stylizer(images, "waves", preserve_color="histogram")
    inside = ((result > 0.001) & (result < 0.999)).all(1, keepdim=True)
    assert inside.float().mean() > 0.9
    torch.testing.assert_close(shown * inside, result * inside, atol=1e-5, rtol=0)


def test_the_transfer_of_a_picture_to_itself_changes_nothing(photograph: torch.Tensor) -> None:
    matrices, shifts = color_transfer(photograph, photograph)
    assert np.abs(matrices - np.eye(3)).max() < 1e-9
    assert np.abs(shifts).max() < 1e-9


def test_the_colors_of_a_gray_photograph_are_gray(photograph: torch.Tensor) -> None:
    gray = light(photograph) + 0 * photograph
    matrices, shifts = color_transfer(photograph, gray)
    result = recolored(photograph, torch.from_numpy(matrices).float(), torch.from_numpy(shifts).float())
    # Within what the deviations may be off by, one level.
    assert (result - light(result)).std() < 1.5 / 255


def test_histogram_looks_where_the_mask_lets_it(stylizer: Stylizer, photograph: torch.Tensor) -> None:
    images = photograph[:1]
    left = Image.new("L", (64, 51), 0)
    left.paste(255, (0, 0, 32, 51))
    result = stylizer(images, "waves", preserve_color="histogram", mask=left)
    torch.testing.assert_close(result[..., 32:], images[..., 32:], atol=0, rtol=0)
    for found, expected in zip(moments(result[..., :32]), moments(images[..., :32]), strict=True):
        torch.testing.assert_close(found, expected, atol=0.02, rtol=0)
    weights = torch.rand(1, 1, 51, 64, generator=torch.Generator().manual_seed(0))
    stylized = stylizer(images, "waves")
    transfer = color_transfer(stylized, images, weights)
    weighted = recolored(stylized, *(torch.from_numpy(part).float() for part in transfer))
    for found, expected in zip(moments(weighted, weights), moments(images, weights), strict=True):
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-3)


def test_brush_shows_the_network_a_picture_of_another_size(stylizer: Stylizer) -> None:
    image = torch.rand(1, 3, 96, 128)
    resize, waves = stylizer.backend.resize, np.array([[1, 0]], np.float32)
    for brush, height, width in ((2, 48, 64), (0.5, 192, 256)):
        # Not the stylizer, which refuses what this overshoots.
        seen = stylizer.backend(resize(image, height, width), waves).clip(0, 1)
        torch.testing.assert_close(stylizer(image, "waves", brush=brush), resize(seen, 96, 128).clip(0, 1))


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 40), (40, 1), (33, 47)])
@pytest.mark.parametrize("brush", [0.5, 0.83, 1.99])
def test_every_size_is_kept_with_every_control(stylizer: Stylizer, height: int, width: int, brush: float) -> None:
    for color in PRESERVE_COLOR:
        settings: dict[str, Any] = {**ALL, "brush": brush, "preserve_color": color, "strength": 0.9, "mask": SOFT}
        image = stylizer(torch.rand(1, 3, height, width), masks={"waves": SOFT, "stars": WHITE}, **settings)
        assert image.shape == (1, 3, height, width)
        assert 0 <= image.min() <= image.max() <= 1


@pytest.mark.parametrize("size", [(20, 25), (80, 97), (13, 50)])
def test_backends_resize_alike(size: tuple[int, int], stylizer: Stylizer, photograph: torch.Tensor) -> None:
    assert isinstance(stylizer.backend, TorchBackend)
    expected = InNumpy(stylizer.backend).resize(photograph.numpy(), *size)
    torch.testing.assert_close(stylizer.backend.resize(photograph, *size).numpy(), expected, atol=1e-5, rtol=0)


def test_sharpening_raises_edges_and_leaves_flat_ground_and_color(photograph: torch.Tensor) -> None:
    flat = torch.full((1, 3, 20, 20), 0.4)
    flat[:, :, :, 10:] = 0.6
    cover = torch.ones(1, 1, 1, 1)
    sharp = apply_effects(flat, flat, cover, Controls(sharpen=1), torch.from_numpy)
    torch.testing.assert_close(sharp[..., :7], flat[..., :7])
    torch.testing.assert_close(sharp[..., 13:], flat[..., 13:])
    assert sharp[0, 0, 5, 9] < 0.4
    assert sharp[0, 0, 5, 10] > 0.6
    result = apply_effects(photograph, photograph, cover, Controls(sharpen=0.3), torch.from_numpy)
    torch.testing.assert_close(result - light(result), photograph - light(photograph), atol=1e-5, rtol=0)


def test_a_blur_is_what_torch_convolves(photograph: torch.Tensor) -> None:
    weights = np.array([0.1, 0.2, 0.4, 0.2, 0.1])
    padded = nn.functional.pad(photograph.flatten(0, 1)[:, None], (2, 2, 2, 2), mode="replicate")
    kernel = torch.from_numpy(np.outer(weights, weights)).float()[None, None]
    expected = nn.functional.conv2d(padded, kernel).reshape(photograph.shape)
    torch.testing.assert_close(blurred(photograph, weights), expected)


def test_grain_is_of_the_seed_and_of_nothing_else(stylizer: Stylizer, photograph: torch.Tensor) -> None:
    once = stylizer(photograph, grain=0.5, seed=1)
    assert torch.equal(stylizer(photograph, grain=0.5, seed=1), once)
    assert (stylizer(photograph, grain=0.5, seed=2) - once).abs().mean() > 0.001
    # Pictures of one batch, as the frames of a video, have the same.
    noise = grain(1, 0, 300, 400)
    assert abs(noise.mean()) < 0.01
    assert noise.std() == pytest.approx(1, abs=0.02)
    assert np.array_equal(grain(1, 120, 50, 400), noise[:, :, 120:170])
    gray = torch.full((2, 3, 51, 64), 0.5)
    result = apply_effects(gray, gray, torch.ones(1, 1, 1, 1), Controls(grain=1, seed=1), torch.from_numpy)
    assert torch.equal(result[0], result[1])
    assert torch.equal(result[:, 0], result[:, 2])
    ends = torch.stack([torch.zeros(3, 51, 64), torch.ones(3, 51, 64)])
    result = apply_effects(ends, ends, torch.ones(1, 1, 1, 1), Controls(grain=1, seed=1), torch.from_numpy)
    assert torch.equal(result, ends)


@pytest.mark.parametrize("color", PRESERVE_COLOR)
def test_every_backend_gives_the_same(stylizer: Stylizer, photograph: torch.Tensor, color: str) -> None:
    assert isinstance(stylizer.backend, TorchBackend)
    other = Stylizer(InNumpy(stylizer.backend), stylizer.metadata)
    settings: dict[str, Any] = {**ALL, "preserve_color": color, "masks": {"waves": SOFT, "stars": WHITE}, "mask": SOFT}
    expected = stylizer(photograph, **settings)
    torch.testing.assert_close(other(photograph, **settings), expected, atol=1e-4, rtol=0)


def test_strips_are_finished_as_the_whole_is(stylizer: Stylizer, photograph: torch.Tensor) -> None:
    controls = Controls(preserve_color="histogram", sharpen=0.7, grain=0.4, mask=SOFT, strength=0.8)
    stylized = stylizer(photograph, "stars")
    cover = torch.from_numpy(controls.cover(51, 64))
    place = stylizer.backend.place
    whole = apply_effects(photograph, stylized, cover, controls, place)
    transfer = color_transfer(stylized, photograph, cover)
    strips = []
    for first, last in ((0, 20), (20, 37), (37, 51)):
        top, bottom = max(0, first - REACH), min(51, last + REACH)
        images, drawn, shown = (part[:, :, top:bottom] for part in (photograph, stylized, cover))
        strip = apply_effects(images, drawn, shown, controls, place, top, transfer)
        strips.append(strip[:, :, first - top : last - top])
    torch.testing.assert_close(torch.cat(strips, 2), whole, atol=1e-6, rtol=0)


def test_controls_at_once_or_by_name(stylizer: Stylizer, photograph: torch.Tensor, tmp_path: Path) -> None:
    controls = Controls("waves", strength=0.7, sharpen=0.5)
    expected = stylizer(photograph, "waves", strength=0.7, sharpen=0.5)
    assert torch.equal(stylizer(photograph, controls=controls), expected)
    # What is named goes before.
    named = stylizer(photograph, "stars", controls=controls, sharpen=0)
    assert torch.equal(named, stylizer(photograph, "stars", strength=0.7))
    picture = Image.fromarray((photograph[0].permute(1, 2, 0) * 255).round().byte().numpy())
    picture.save(tmp_path / "photo.png")
    stylizer.stylize_file(tmp_path / "photo.png", tmp_path / "out.png", controls=controls, grain=0.2, size=32)
    small = picture.resize((32, 26), Image.Resampling.LANCZOS)
    with Image.open(tmp_path / "out.png") as written:
        assert written.tobytes() == stylizer(small, controls=controls, grain=0.2).tobytes()


def test_styles_is_another_name_of_style_and_goes_before_it() -> None:
    blend = {"day": 0.7, "night": 0.3}
    assert Controls(styles=blend) == Controls(style=blend)
    assert replace(Controls("day", grain=0.1), styles=blend) == Controls(blend, grain=0.1)
    with raises(ConfigError, "masks styles"):
        Controls(styles="day", masks={"night": Image.new("L", (8, 8))})


def test_what_can_be_named_is_what_controls_have() -> None:
    # Named where it stands, because controls import no torch.
    known = {"Tensor": torch.Tensor}
    hints = get_type_hints(Controls, localns=known)
    # Its other name.
    hints["styles"] = hints.pop("style")
    assert get_type_hints(Settings, localns=known) == hints


@pytest.mark.parametrize(
    ("settings", "answer"),
    [
        ({"strength": 1.5}, "strength 0 1 1.5"),
        ({"strength": float("nan")}, "strength 0 1 nan"),
        ({"brush": 0.4}, "brush 0.5 2 0.4"),
        ({"brush": "broad"}, "brush 0.5 2 'broad'"),
        ({"sharpen": -1}, "sharpen 0 1 -1"),
        ({"grain": 2}, "grain 0 1 2"),
        ({"seed": -1}, "seed 0 2^64 - 1 -1"),
        ({"seed": 0.5}, "seed 0 2^64 - 1 0.5"),
        ({"preserve_color": "hue"}, "preserve_color none histogram luminance 'hue'"),
        ({"mask": 3}, "mask 3"),
        ({"masks": {"waves": None}}, "masks.waves None"),
        ({"masks": "sky.png"}, "masks styles {starry_night: sky.png} 'sky.png'"),
        ({"masks": {"moon": WHITE}}, "style moon waves stars"),
        (
            {"masks": {"waves": WHITE}, "style": "stars"},
            "masks style both",
        ),
    ],
)
def test_a_mistake_is_one_line(stylizer: Stylizer, settings: dict[str, Any], answer: str) -> None:
    with pytest.raises(ConfigError) as error:
        stylizer(Image.new("RGB", (8, 8)), **settings)
    assert_names(error.value, answer)
    assert "\n" not in str(error.value)


def test_a_mask_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "sky.png").write_text("clouds")
    makers: list[Callable[[], Controls]] = [
        lambda: Controls(mask=tmp_path / "sky.png"),
        lambda: Controls(masks={"waves": str(tmp_path / "sky.png")}),
    ]
    for make in makers:
        with raises(ImageError, "sky.png readable none JPEG"):
            make()
