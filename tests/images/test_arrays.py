"""Arrays and tensors instead of files."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from small_messages import assert_names, raises
from small_networks import varied

from fast_style.backends.backend import NumpyBackend
from fast_style.backends.pytorch import TorchBackend
from fast_style.errors import ConfigError, ImageError
from fast_style.losses.styles import Style
from fast_style.networks import LightNet
from fast_style.stylizing.stylizer import Stylizer
from fast_style.zoo.saving import Metadata


class Inverted(NumpyBackend):
    """One without torch, whose style is that of a negative."""

    def __call__(self, images: Any, style: NDArray[np.float32]) -> Any:
        return 1 - images


@pytest.fixture(scope="module", params=["torch", "numpy"])
def stylizer(request: pytest.FixtureRequest) -> Stylizer:
    torch.manual_seed(0)
    network = varied(LightNet(styles=1, width=4, blocks=1))
    backend = Inverted() if request.param == "numpy" else TorchBackend(network, "cpu", "fp32")
    return Stylizer(backend, Metadata({"waves": {}}))


@pytest.fixture
def levels() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (33, 47, 3), np.uint8)


def test_an_array_is_answered_as_the_picture_of_it_is(stylizer: Stylizer, levels: NDArray[np.uint8]) -> None:
    expected = np.asarray(stylizer(Image.fromarray(levels)))
    made = stylizer(levels)
    assert made.dtype == np.uint8
    assert made.flags.c_contiguous
    assert np.array_equal(made, expected)
    # 65535 is 255 times 257.
    deep = stylizer(levels.astype(">u2") * 257)
    assert deep.dtype == np.uint16
    assert np.abs(deep / 257 - expected).max() <= 0.5 + 1 / 257
    for kind, tolerance in (("f2", 4.0), (">f4", 0.501), ("f8", 0.501)):
        floats = stylizer((levels / 255).astype(kind))
        assert (floats.dtype, floats.shape) == (np.dtype(kind), levels.shape)
        assert np.abs(floats.astype(float) * 255 - expected).max() < tolerance
    batch = stylizer(np.stack([levels, levels[::-1]]))
    assert batch.shape == (2, 33, 47, 3)
    assert np.abs(batch[0].astype(int) - expected).max() <= 1


def test_a_tensor_of_bytes_is_answered_in_bytes(stylizer: Stylizer, levels: NDArray[np.uint8]) -> None:
    expected = np.asarray(stylizer(Image.fromarray(levels)))
    planes = torch.from_numpy(levels).permute(2, 0, 1)
    for tensor in (planes, planes.contiguous()[None]):
        made = stylizer(tensor)
        assert (made.dtype, made.shape) == (torch.uint8, tensor.shape)
        assert np.array_equal(made.reshape(3, 33, 47).permute(1, 2, 0).numpy(), expected)
    floats = stylizer(torch.nn.Parameter(planes / 255))
    assert (floats.dtype, floats.requires_grad) == (torch.float32, False)
    assert np.abs(floats.permute(1, 2, 0).numpy() * 255 - expected).max() < 0.501


@pytest.mark.filterwarnings("error")
def test_memory_may_be_read_only_and_in_any_order(stylizer: Stylizer, levels: NDArray[np.uint8]) -> None:
    expected = stylizer(levels)
    read_only = levels.copy()
    read_only.flags.writeable = False
    wide = np.zeros((33, 94, 4), np.uint8)
    wide[:, ::2, :3] = levels
    backwards = np.ascontiguousarray(levels[::-1, ::-1])[::-1, ::-1]
    for same in (read_only, np.asfortranarray(levels), wide[:, ::2, :3], backwards):
        before = same.copy()
        assert np.array_equal(stylizer(same), expected)
        assert np.array_equal(same, before)


def test_where_nothing_is_stylized_values_stay(stylizer: Stylizer, levels: NDArray[np.uint8]) -> None:
    deep = levels.astype(np.uint16) * 256 + levels[::-1]
    for given in (levels, deep, (levels / 255).astype(np.float32)):
        assert np.array_equal(stylizer(given, strength=0), given)
    assert torch.equal(stylizer(torch.from_numpy(levels.T.copy()), strength=0), torch.from_numpy(levels.T.copy()))


def test_what_rounding_adds_is_cut_off(stylizer: Stylizer) -> None:
    white = stylizer(torch.ones(3, 40, 40))
    assert torch.equal(stylizer(torch.full((3, 40, 40), 1.0000001)), white)
    assert torch.equal(stylizer(torch.full((3, 40, 40), 1.0078).bfloat16()), white.bfloat16())
    black = stylizer(np.zeros((40, 40, 3)), strength=0.5)
    assert np.array_equal(stylizer(np.full((40, 40, 3), -1e-7), strength=0.5), black)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda rgb: rgb.astype(np.float32), "255 uint8"),
        (lambda rgb: rgb / 127.5 - 1, "-1 1 [0, 1]"),
        (lambda rgb: np.where(rgb == 7, np.nan, rgb / 255), "NaN"),
        (lambda rgb: np.where(rgb == 7, -np.inf, rgb / 255), "infinity"),
        (lambda rgb: torch.from_numpy(rgb.T.copy()).float(), "(3, 47, 33) float32 0"),
        (lambda rgb: rgb.astype(np.int64), "int64 uint8 0 255 uint16 65535"),
        (lambda rgb: rgb > 3, "bool"),
        (lambda rgb: rgb.astype(object), "object"),
        (lambda rgb: torch.from_numpy(rgb.T.copy()).long(), "int64"),
        (lambda rgb: rgb[..., 0], "(33, 47) RGB (height, width, 3)"),
        (lambda rgb: rgb[..., :1], "(33, 47, 1) RGB (height, width, 3)"),
        (lambda rgb: np.dstack([rgb, rgb[..., 0]]), "opacity array[..., :3]"),
        (lambda rgb: rgb.transpose(2, 0, 1), "array.transpose(1, 2, 0)"),
        (lambda rgb: rgb.transpose(2, 0, 1)[None], "array.transpose(0, 2, 3, 1)"),
        (lambda rgb: torch.from_numpy(rgb), "tensor.permute(2, 0, 1)"),
        (lambda rgb: torch.from_numpy(rgb[None]), "tensor.permute(0, 3, 1, 2)"),
        (lambda rgb: torch.from_numpy(rgb[..., 0]), "batch gray.expand(3, -1, -1)"),
        (lambda rgb: torch.zeros(3, 5, 5).to_sparse(), "to_dense()"),
        (lambda rgb: rgb[:0], "(0, 47, 3) RGB (height, width, 3) batch"),
        (lambda rgb: torch.zeros(0, 3, 9, 9), "empty"),
        (lambda rgb: rgb.tolist(), "list image"),
        (lambda rgb: rgb.tobytes(), "bytes picture"),
        (lambda rgb: None, "NoneType picture"),
    ],
)
def test_what_is_no_picture_is_told_in_one_line(
    stylizer: Stylizer, levels: NDArray[np.uint8], wrong: Any, says: str
) -> None:
    with pytest.raises(ImageError) as error:
        stylizer(wrong(levels))
    assert_names(error.value, says)
    assert "\n" not in str(error.value)


def test_what_a_message_advises_works(stylizer: Stylizer, levels: NDArray[np.uint8]) -> None:
    gray, rgba = levels[..., 0], np.dstack([levels, levels[..., 0]])
    tensor = torch.from_numpy(gray.copy())
    for array in (np.stack([gray] * 3, axis=-1), gray[..., None].repeat(3, axis=-1), rgba[..., :3]):
        assert stylizer(array).shape == levels.shape
    for advised in (tensor.expand(3, -1, -1), tensor[None].repeat_interleave(3, dim=-3)):
        assert stylizer(advised).shape == (3, 33, 47)


def test_masks_may_be_arrays_and_tensors(stylizer: Stylizer, levels: NDArray[np.uint8]) -> None:
    mask = np.zeros((33, 47), bool)
    mask[:, 20:] = True
    expected = stylizer(levels, mask=Image.fromarray(mask.astype(np.uint8) * 255))
    assert np.array_equal(expected[:, :20], levels[:, :20])
    assert not np.array_equal(expected, levels)
    kinds: list[NDArray[Any]] = [
        mask,
        mask[None],
        mask[..., None],
        mask[::-1][::-1],
        mask.astype(np.float16),
        mask.astype(np.uint8) * 255,
    ]
    same: Any
    for same in (*kinds, *(torch.from_numpy(np.ascontiguousarray(kind)) for kind in kinds)):
        assert np.array_equal(stylizer(levels, masks={"waves": same}), expected)
    # 0.4 of 255 levels is 102 of them.
    soft = np.full((33, 47), 102, np.uint8)
    assert np.array_equal(stylizer(levels, mask=soft / 255), stylizer(levels, mask=soft))
    wrong: list[Any] = [
        mask.astype(int),
        np.zeros((3, 4, 5)),
        mask[:0],
        np.full((4, 4), 7.0),
        torch.full((4, 4), float("nan")),
    ]
    for each in wrong:
        with pytest.raises(ImageError, match=r"^masks\.waves: "):
            stylizer(levels, masks={"waves": each})


def test_a_picture_may_be_an_open_file_or_of_one_pixel(stylizer: Stylizer, levels: NDArray[np.uint8]) -> None:
    content = io.BytesIO()
    Image.fromarray(levels).save(content, "PNG")
    assert np.array_equal(np.asarray(stylizer(content)), stylizer(levels))  # type: ignore[call-overload]
    for shape in ((1, 1, 3), (1, 900, 3), (900, 1, 3), (3, 3, 3)):
        assert stylizer(np.full(shape, 90, np.uint8), brush=2.0).shape == shape


def test_the_picture_of_a_style_is_a_file(levels: NDArray[np.uint8]) -> None:
    with raises(ConfigError, "image ndarray"):
        Style("waves", levels)  # type: ignore[arg-type]
    assert Style("waves", "a.png").image == Path("a.png")  # type: ignore[arg-type]
