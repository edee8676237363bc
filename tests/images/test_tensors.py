"""Pictures as tensors, and back."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from small_messages import raises

from fast_style.errors import ImageError
from fast_style.images.tensors import read_image, to_pil, to_tensor


def test_a_read_image_is_a_batch_of_one_in_0_to_1(tmp_path: Path) -> None:
    red, green = np.meshgrid(np.linspace(0, 255, 60), np.linspace(0, 255, 30))
    pixels = np.stack([red, green, red], axis=2).round().astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "scene.png")
    image = read_image(tmp_path / "scene.png")
    assert (image.shape, image.dtype) == ((1, 3, 30, 60), torch.float32)
    assert image[0, 0, 0, [0, -1]].tolist() == image[0, 1, [0, -1], 0].tolist() == [0, 1]
    assert read_image(tmp_path / "scene.png", size=15).shape == (1, 3, 15, 30)


def test_a_strip_is_not_enlarged_without_end(tmp_path: Path) -> None:
    path = tmp_path / "strip.png"
    Image.new("RGB", (48_000, 10)).save(path)
    # 64 / 10 of 48,000. At 29 it has 4,800 times 29^2 pixels, at most 2^22.
    with raises(ImageError, "48,000x10 307,200 64 size 29"):
        read_image(path, size=64)
    assert read_image(path, size=29).shape == (1, 3, 29, 139_200)
    Image.new("RGB", (1, 30_000)).save(path)
    with raises(ImageError, "480,000 16 crop"):
        read_image(path, size=16)
    # 16 times as long as wide is a panorama.
    Image.new("RGB", (160, 10)).save(path)
    assert read_image(path, size=600).shape == (1, 3, 600, 9600)


def test_tensor_and_picture_convert_exactly_both_ways() -> None:
    levels = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)
    [back] = to_pil(to_tensor(Image.fromarray(levels)))
    assert np.array_equal(np.asarray(back), levels)
    assert to_tensor(Image.fromarray(levels)).is_contiguous()


def test_levels_are_rounded_to_the_nearest_and_clamped() -> None:
    values = torch.tensor([-3.0, 0.4 / 255, 0.6 / 255, 254.6 / 255, 7.0])
    [image] = to_pil(values.expand(1, 3, 1, 5).requires_grad_())
    assert np.asarray(image)[0, :, 0].tolist() == [0, 0, 1, 255, 255]


def test_bytes_are_levels_and_one_picture_needs_no_batch() -> None:
    levels = torch.arange(48, dtype=torch.uint8).reshape(3, 4, 4) * 5
    (image,) = to_pil(levels)
    assert np.array_equal(np.asarray(image), levels.permute(1, 2, 0).numpy())
    gray = Image.fromarray(np.array([[0, 255]], np.uint8))
    assert to_tensor(gray)[0].tolist() == [[[0, 1]]] * 3
    with pytest.raises(ImageError, match=r"shape \(1, 1, 1, 2\)"):
        to_pil(to_tensor(gray)[:, :1])


def test_a_batch_becomes_as_many_pictures() -> None:
    first, second = to_pil(torch.stack([torch.zeros(3, 4, 5), torch.ones(3, 4, 5)]).bfloat16())
    assert first.size == second.size == (5, 4)
    assert (first.getpixel((0, 0)), second.getpixel((0, 0))) == ((0, 0, 0), (255, 255, 255))
