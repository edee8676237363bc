"""One forward pass, for whatever a person has in hand."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image
from small_messages import raises
from small_networks import varied

import fast_style
from fast_style.backends.pytorch import TorchBackend
from fast_style.errors import CheckpointError, ConfigError, ImageError
from fast_style.images.metadata import ImageMetadata
from fast_style.images.picture import open_picture, write_image
from fast_style.images.tensors import read_image, to_pil, to_tensor
from fast_style.networks import BalancedNet, LightNet, ResidualNet
from fast_style.stylizing.stylizer import Stylizer
from fast_style.zoo.saving import Metadata, save_network

METADATA = Metadata({"waves": {"artist": "Hokusai"}, "stars": {"artist": "van Gogh"}})


@pytest.fixture(scope="module", params=[LightNet, BalancedNet, ResidualNet])
def stylizer(request: pytest.FixtureRequest) -> Stylizer:
    """A small network of two styles that differ."""
    torch.manual_seed(0)
    network = varied(request.param(styles=2, width=4, blocks=1))
    return Stylizer(TorchBackend(network, "cpu", "fp32"), METADATA)


def picture(width: int = 47, height: int = 33) -> Image.Image:
    """Red grows to the right, green downwards."""
    red, green = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return Image.fromarray(np.stack([red, green, np.full_like(red, 90)], axis=2).round().astype(np.uint8))


def distance(a: Image.Image, b: Image.Image) -> int:
    assert a.size == b.size
    return int(np.abs(np.asarray(a).astype(int) - np.asarray(b)).max())


def test_a_path_and_a_pil_image_give_a_pil_image(stylizer: Stylizer, tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    picture().save(path)
    from_pil = stylizer(picture(), "stars")
    assert isinstance(from_pil, Image.Image)
    assert (from_pil.mode, from_pil.size) == ("RGB", (47, 33))
    for same in (stylizer(path, "stars"), stylizer(str(path), "stars")):
        assert distance(same, from_pil) == 0
    assert distance(from_pil, picture()) > 20


def test_a_tensor_gives_its_like(stylizer: Stylizer) -> None:
    batch = torch.rand(2, 3, 33, 47)
    output = stylizer(batch, "waves")
    assert output.shape == batch.shape
    torch.testing.assert_close(stylizer(batch[1], "waves"), output[1], atol=1e-5, rtol=0)
    half = stylizer(batch.half(), "waves")
    assert half.dtype == torch.float16
    torch.testing.assert_close(half.float(), output, atol=1e-2, rtol=0)


def test_a_tensor_and_a_picture_give_the_same(stylizer: Stylizer) -> None:
    expected = to_pil(stylizer(to_tensor(picture()), "waves"))[0]
    assert distance(stylizer(picture(), "waves"), expected) == 0


def test_the_result_may_be_worked_on(stylizer: Stylizer) -> None:
    output = stylizer(torch.rand(1, 3, 32, 32))
    assert not output.requires_grad
    output.mul_(255)
    (output * torch.ones(1, requires_grad=True)).sum().backward()  # type: ignore[no-untyped-call]


def test_the_input_is_left_as_it_was(stylizer: Stylizer) -> None:
    images = torch.rand(1, 3, 40, 40)
    before = images.clone()
    stylizer(images, strength=0.5)
    assert torch.equal(images, before)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 50), (50, 2), (5, 5), (33, 47), (64, 31)])
def test_every_size_is_kept(stylizer: Stylizer, height: int, width: int) -> None:
    output = stylizer(torch.rand(1, 3, height, width))
    assert output.shape == (1, 3, height, width)
    assert 0 <= output.min() <= output.max() <= 1
    assert stylizer(picture(width, height)).size == (width, height)


def test_strength_mixes_the_network_with_the_original(stylizer: Stylizer) -> None:
    images = torch.rand(1, 3, 40, 40)
    full = stylizer.backend(images, np.array([[1, 0]], np.float32))
    assert torch.equal(stylizer(images, "waves", strength=0), images)
    torch.testing.assert_close(stylizer(images, "waves"), full)
    torch.testing.assert_close(stylizer(images, "waves", strength=0.5), (images + full) / 2)


def test_blend_weights_are_scaled_to_sum_to_1(stylizer: Stylizer) -> None:
    images = torch.rand(1, 3, 40, 40)
    expected = stylizer.backend(images, np.array([[0.75, 0.25]], np.float32))
    torch.testing.assert_close(stylizer(images, {"waves": 3, "stars": 1}), expected)
    torch.testing.assert_close(stylizer(images, {"stars": 0.25, "waves": 0.75}), expected)
    torch.testing.assert_close(stylizer(images), stylizer(images, {"waves": 0.5, "stars": 0.5}))
    assert (stylizer(images, "waves") - stylizer(images, "stars")).abs().mean() > 0.01


def test_an_unknown_style_lists_those_there_are(stylizer: Stylizer) -> None:
    with raises(ConfigError, "style moon waves stars") as error:
        stylizer(picture(), "moon")
    assert "\n" not in str(error.value)
    assert stylizer.styles == ["waves", "stars"]


@pytest.mark.parametrize("strength", [-0.1, 1.1, float("nan")])
def test_a_strength_out_of_range_is_refused(stylizer: Stylizer, strength: float) -> None:
    with raises(ConfigError, f"strength 0 1 {strength}"):
        stylizer(picture(), strength=strength)


def test_a_pil_image_on_its_side_comes_out_upright(stylizer: Stylizer, tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    picture(40, 60).transpose(Image.Transpose.ROTATE_90).save(path, exif=exif, quality=95)
    with Image.open(path) as image:
        assert image.size == (60, 40)
        assert distance(stylizer(image, strength=0), picture(40, 60)) < 12
        assert distance(stylizer(image), stylizer(path)) == 0


@pytest.mark.parametrize("size", [None, 30])
def test_a_pil_image_and_a_path_keep_their_opacity_as_a_file_does(
    stylizer: Stylizer, tmp_path: Path, size: int | None
) -> None:
    image = picture().convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    image.save(tmp_path / "clear.png")
    stylizer.stylize_file(tmp_path / "clear.png", tmp_path / "out.png", size=size)
    with Image.open(tmp_path / "out.png") as expected:
        for given in (image, tmp_path / "clear.png"):
            made = stylizer(given, size=size)
            assert made.mode == "RGBA"
            assert np.array_equal(np.asarray(made), np.asarray(expected))


@pytest.mark.parametrize(("suffix", "format"), [("jpg", "JPEG"), ("png", "PNG"), ("webp", "WEBP"), ("tif", "TIFF")])
def test_a_stylized_file_keeps_format_and_size(stylizer: Stylizer, tmp_path: Path, suffix: str, format: str) -> None:
    source, target = tmp_path / f"photo.{suffix}", tmp_path / f"out.{suffix}"
    picture().save(source)
    stylizer.stylize_file(source, target, "stars")
    with Image.open(target) as written:
        assert (written.format, written.size, written.mode) == (format, (47, 33), "RGB")
    difference = read_image(target) - to_tensor(stylizer(source, "stars"))
    assert difference.abs().mean() <= (0 if suffix in ("png", "tif") else 0.02)


def test_the_format_is_that_of_the_content_and_a_new_suffix_changes_it(stylizer: Stylizer, tmp_path: Path) -> None:
    source = tmp_path / "photo.jpg"
    picture().save(source, format="PNG")
    for name, expected in (("same.jpg", "PNG"), ("other.webp", "WEBP")):
        stylizer.stylize_file(source, tmp_path / name)
        with Image.open(tmp_path / name) as written:
            assert written.format == expected


def test_a_file_on_its_side_is_written_upright(stylizer: Stylizer, tmp_path: Path) -> None:
    source, target = tmp_path / "photo.jpg", tmp_path / "out.jpg"
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    picture(40, 60).transpose(Image.Transpose.ROTATE_90).save(source, exif=exif, quality=95)
    stylizer.stylize_file(source, target, strength=0)
    with Image.open(target) as written:
        assert written.getexif().get(ExifTags.Base.Orientation, 1) == 1
        assert distance(written.convert("RGB"), picture(40, 60)) < 15


def test_opacity_is_kept(stylizer: Stylizer, tmp_path: Path) -> None:
    image = picture().convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    image.save(tmp_path / "photo.png")
    stylizer.stylize_file(tmp_path / "photo.png", tmp_path / "out.png", "waves")
    with Image.open(tmp_path / "out.png") as written:
        assert written.mode == "RGBA"
        assert distance(written.getchannel("A"), image.getchannel("A")) == 0
        # The colors under it are the picture's own, not those on white.
        assert distance(written.convert("RGB"), stylizer(picture(), "waves")) == 0


def test_16_bits_in_give_16_bits_out(stylizer: Stylizer, tmp_path: Path) -> None:
    across, down = np.meshgrid(np.arange(47), np.arange(33))
    fine = np.stack([across * 1300 + down, down * 1900 + across, across * down * 7], axis=2).astype(np.uint16)
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = "Nobody"
    write_image(fine, tmp_path / "a.png", metadata=ImageMetadata(exif.tobytes(), (300.0, 300.0)))
    for name in ("b.png", "b.tif"):
        stylizer.stylize_file(tmp_path / "a.png", tmp_path / name, strength=0)
        copy = open_picture(tmp_path / name, deep=True)
        assert copy.deep is not None
        assert np.array_equal(copy.deep, fine)
        assert b"Nobody" in copy.metadata.exif
        assert copy.metadata.dpi == pytest.approx((300, 300), abs=0.1)
        stylizer.stylize_file(tmp_path / "a.png", tmp_path / name, "waves")
        made = open_picture(tmp_path / name, deep=True).deep
        assert made is not None
        expected = stylizer(torch.from_numpy(fine.transpose(2, 0, 1) / 65535).float(), "waves") * 65535
        assert np.abs(made - expected.numpy().transpose(1, 2, 0)).max() <= 1
    stylizer.stylize_file(tmp_path / "a.png", tmp_path / "small.png", size=20)
    small = open_picture(tmp_path / "small.png", deep=True).deep
    assert small is not None
    assert small.shape == (14, 20, 3)
    # A format of 8 bits gets the nearest.
    stylizer.stylize_file(tmp_path / "a.png", tmp_path / "b.bmp", strength=0)
    assert np.abs(np.asarray(open_picture(tmp_path / "b.bmp").rgb) - fine / 257).max() <= 1


@pytest.mark.parametrize(("size", "expected"), [(20, (20, 14)), (94, (94, 66)), (1, (1, 1))])
def test_size_is_that_of_the_long_side(
    stylizer: Stylizer, tmp_path: Path, size: int, expected: tuple[int, int]
) -> None:
    image = picture().convert("RGBA")
    image.save(tmp_path / "photo.png")
    stylizer.stylize_file(tmp_path / "photo.png", tmp_path / "out.png", size=size)
    with Image.open(tmp_path / "out.png") as written:
        assert written.size == expected
        assert written.mode == "RGBA"


@pytest.mark.parametrize("size", [0, -5, 65_536])
def test_a_size_out_of_range_is_refused(stylizer: Stylizer, tmp_path: Path, size: int) -> None:
    with raises(ConfigError, f"size 1 65535 {size}"):
        stylizer.stylize_file(tmp_path / "photo.png", tmp_path / "out.png", size=size)


def test_a_file_that_is_no_picture_is_named_and_nothing_written(stylizer: Stylizer, tmp_path: Path) -> None:
    (tmp_path / "notes.jpg").write_text("no picture")
    with raises(ImageError, "notes.jpg readable"):
        stylizer.stylize_file(tmp_path / "notes.jpg", tmp_path / "out.jpg")
    assert not (tmp_path / "out.jpg").exists()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder one works in, with two trained networks."""
    for name in ("wave", "night"):
        save_network(tmp_path / "checkpoints" / f"{name}.safetensors", LightNet(styles=2, width=4, blocks=1), METADATA)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_network_is_loaded_by_its_path_or_its_bare_name(folder: Path) -> None:
    by_path = fast_style.load(folder / "checkpoints" / "wave.safetensors", device="cpu")
    expected = by_path(picture(), "stars")
    for name in ("wave", "wave.safetensors", "checkpoints/wave.safetensors", Path("wave")):
        loaded = fast_style.load(name, device="cpu")
        assert loaded.styles == ["waves", "stars"]
        assert distance(loaded(picture(), "stars"), expected) == 0


def test_a_folder_of_the_same_name_does_not_hide_it(folder: Path) -> None:
    (folder / "wave").mkdir()
    assert fast_style.load("wave", device="cpu").styles == ["waves", "stars"]


def test_a_wrong_name_lists_those_there_are(folder: Path) -> None:
    with raises(CheckpointError, "waev wave checkpoints/ night"):
        fast_style.load("waev")
    for file in (folder / "checkpoints").iterdir():
        file.unlink()
    with raises(CheckpointError, "checkpoints/ nothing zoo"):
        fast_style.load("wave")


def test_a_device_that_is_not_there_is_named(folder: Path) -> None:
    for device in ("cuda:99", "gpu"):
        with raises(ConfigError, f"device={device}"):
            fast_style.load("wave", device=device)


def test_a_wrong_path_is_named(folder: Path) -> None:
    with raises(CheckpointError, "checkpoints/waev.safetensors"):
        fast_style.load("checkpoints/waev.safetensors")


def test_stylizing_loads_nothing_that_only_training_needs(folder: Path) -> None:
    picture().save(folder / "photo.png")
    program = """
import sys, fast_style
fast_style.load("wave", device="cpu")("photo.png").save("out.png")
heavy = ["lightning", "pytorch_lightning", "hydra", "omegaconf", "torchvision", "tensorboard", "skimage", "rich"]
print([name for name in heavy if name in sys.modules])
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"


def test_size_is_the_long_side_of_the_outcome_whatever_is_given(stylizer: Stylizer, tmp_path: Path) -> None:
    picture(94, 66).save(tmp_path / "photo.png")
    small = picture(94, 66).resize((64, 45), Image.Resampling.LANCZOS)
    for given in (tmp_path / "photo.png", picture(94, 66)):
        assert distance(stylizer(given, "stars", size=64), stylizer(small, "stars")) == 0
    array = np.asarray(picture(94, 66))
    from_array = stylizer(array, "stars", size=64)
    assert from_array.shape == (45, 64, 3)
    assert from_array.dtype == np.uint8
    # Another filter, of the photograph's own range.
    assert np.abs(from_array.astype(int) - np.asarray(stylizer(small, "stars"))).mean() < 2
    assert stylizer(torch.rand(2, 3, 66, 94), size=64).shape == (2, 3, 45, 64)
    with raises(ConfigError, "size 1 65535 0"):
        stylizer(picture(), size=0)


def test_pictures_of_a_generator_are_stylized_as_they_come(stylizer: Stylizer) -> None:
    drawn = []

    def frames() -> Iterator[np.ndarray]:
        for level in range(0, 250, 50):
            drawn.append(level)
            yield np.full((33, 47, 3), level, np.uint8)

    answers = stylizer.map(frames(), "stars")
    assert drawn == []
    assert np.array_equal(next(answers), stylizer(np.zeros((33, 47, 3), np.uint8), "stars"))
    assert drawn == [0]
    assert len(list(answers)) == 4


def test_alike_arrays_in_a_row_are_stylized_at_once(stylizer: Stylizer, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Any] = [np.asarray(picture(width)) for width in (47, 47, 47, 40, 40)]
    given += [torch.rand(3, 33, 40), torch.rand(3, 33, 40), torch.rand(2, 3, 33, 40)]
    expected = [stylizer(image, "stars") for image in given]
    counts, compute = [], TorchBackend.__call__

    def counted(backend: TorchBackend, images: torch.Tensor, style: np.ndarray) -> torch.Tensor:
        counts.append(len(images))
        return compute(backend, images, style)

    monkeypatch.setattr(TorchBackend, "__call__", counted)
    answers = list(stylizer.map(given, styles="stars", batch=2))
    assert counts == [2, 1, 2, 2, 2]
    for answer, alone in zip(answers, expected, strict=True):
        assert (type(answer), answer.shape, answer.dtype) == (type(alone), alone.shape, alone.dtype)
        assert float(abs(answer * 1.0 - alone * 1.0).max()) <= (1 if answer.dtype == np.uint8 else 1e-5)
    with raises(ConfigError, "batch 1 0"):
        stylizer.map(given, batch=0)


def test_a_stylizer_shows_network_styles_backend_and_device(stylizer: Stylizer) -> None:
    assert repr(stylizer) == "<Stylizer of waves, stars: backend torch on cpu>"
    assert repr(fast_style.load("starry_night", "cpu")) == "<BalancedNet of starry_night: backend torch on cpu>"


def test_a_wrong_array_is_a_value_error(stylizer: Stylizer) -> None:
    with raises(ValueError, "array shape"):
        stylizer(np.zeros((33, 47, 2)))
    with raises(ValueError, "strength"):
        stylizer(picture(), strength=2)
