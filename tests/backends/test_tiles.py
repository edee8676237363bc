"""Pictures in tiles, which are what they are as a whole."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from small_messages import assert_each, assert_names, raises
from small_networks import dilated, varied
from torch import Tensor, nn

import fast_style.stylizing.memory_budget
import fast_style.stylizing.tiling
from fast_style.backends import Backend
from fast_style.backends.pytorch import TorchBackend
from fast_style.backends.tile_statistics import RunningStatistics
from fast_style.backends.tiles import TiledNetwork
from fast_style.cli import stylize
from fast_style.cli.hydra_app import run
from fast_style.errors import ConfigError, ImageError
from fast_style.images.disk_image import Box
from fast_style.networks import BalancedNet, ConditionalInstanceNorm, LightNet, ResidualNet, TransformNet
from fast_style.stylizing.memory_budget import MemoryBudget
from fast_style.stylizing.stylizer import Stylizer
from fast_style.system.memory import free_memory, is_out_of_memory, parse_memory, process_memory
from fast_style.zoo.network_file import Metadata
from fast_style.zoo.saving import save_network

NETWORKS: list[Callable[..., TransformNet]] = [LightNet, BalancedNet, ResidualNet]
BLEND = np.array([0.3, 0.7], np.float32)


@pytest.fixture(scope="module", params=[*NETWORKS, dilated])
def network(request: pytest.FixtureRequest) -> TransformNet:
    """A small network of two styles."""
    torch.manual_seed(6)
    return strong(request.param(styles=2, width=8, blocks=2))


def strong(network: TransformNet) -> TransformNet:
    """The network with other weights, whose output is as colorful as a trained one's, as a backend lays it out."""
    return varied(network).to(memory_format=torch.channels_last)


@pytest.fixture
def stylizer() -> Stylizer:
    torch.manual_seed(2)
    network = strong(BalancedNet(styles=2, width=8, blocks=1))
    return Stylizer(TorchBackend(network, "cpu", "fp32"), Metadata({"a": {}, "b": {}}))


def picture(height: int, width: int) -> Tensor:
    """Light at the upper left, dark elsewhere, with structures that differ from place to place; in 256 levels."""
    generator = torch.Generator().manual_seed(0)
    coarse = F.interpolate(torch.rand(1, 3, 5, 7, generator=generator), (height, width), mode="bicubic")
    fine = torch.rand(1, 3, height, width, generator=generator) * torch.linspace(0, 0.5, width)
    fall = torch.linspace(1, 0.3, height)[:, None] * torch.linspace(1, 0.5, width)
    return ((coarse + fine) * fall).clamp(0, 1).mul(255).round() / 255


def in_tiles(network: TransformNet, images: Tensor, side: int, exact: bool = True) -> Tensor:
    """The result, NaN where nothing was written; each pixel is written once in a pass, and tiles are seen on time."""
    made = torch.full_like(images, torch.nan)
    times = torch.zeros(images.shape[2:])
    passes: list[tuple[int, int, int]] = []

    def write(box: Box, tile: Tensor) -> None:
        left, top, right, bottom = box
        made[:, :, top:bottom, left:right] = tile
        times[top:bottom, left:right] += 1

    def read(box: Box) -> Tensor:
        return images[:, :, box[1] : box[3], box[0] : box[2]]

    tiled = TiledNetwork(network)
    tiled(
        read,
        write,
        (images.shape[3], images.shape[2]),
        BLEND,
        side=side,
        pixels=side * side,
        exact=exact,
        progress=lambda *state: passes.append(state),
    )
    number, done, total = passes[-1]
    assert done == total > 1
    assert len(passes) == number * total
    assert (times == number).all()
    return made


@torch.no_grad()
def whole(network: TransformNet, images: Tensor) -> Tensor:
    made: Tensor = network(images.contiguous(memory_format=torch.channels_last), torch.from_numpy(BLEND[None]))
    return made


def levels(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max() * 255)


@pytest.mark.parametrize(("height", "width"), [(301, 415), (200, 522)])
def test_in_tiles_it_is_what_it_is_as_a_whole(network: TransformNet, height: int, width: int) -> None:
    images = picture(height, width)
    expected = whole(network, images)
    assert expected.std() * 255 > 15
    assert levels(in_tiles(network, images, side=256), expected) <= 2


def test_with_the_statistics_of_the_whole_no_pixel_differs(
    network: TransformNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So that there is no seam, wherever one might look for it.
    monkeypatch.setattr("fast_style.backends.tiles.TOLERANCE", 0)
    images = picture(245, 391)
    assert levels(in_tiles(network, images, side=224), whole(network, images)) <= 0.2


def test_at_the_edges_of_tiles_there_is_no_step_even_where_statistics_are_guessed(network: TransformNet) -> None:
    images = picture(261, 401)
    made, expected = in_tiles(network, images, 256, exact=False), whole(network, images)
    edges = [tile.kept[0] for tile in TiledNetwork(network).tiles((401, 261), 256) if tile.kept[0]]
    assert edges
    # How much more the result changes from one column to the next than it does as a whole.
    steps = (made.diff(dim=3) - expected.diff(dim=3)).abs().mean(dim=(0, 1, 2))
    for edge in edges:
        near = steps[max(0, edge - 20) : edge + 20]
        assert steps[edge - 1] <= 1.3 * near.quantile(0.9)


def test_what_lies_beyond_the_margin_makes_no_difference_and_what_lies_within_does(network: TransformNet) -> None:
    tiled = TiledNetwork(network)
    assert tiled.margin % tiled.grid == 0
    norms = [module for module in network.modules() if isinstance(module, ConditionalInstanceNorm)]
    assert tiled.norms == len(norms)
    # The gradient of a pixel, where statistics are given, reaches all that it depends on.
    images = picture(32, 1024).requires_grad_()
    tiled._rule = lambda x, index: (x.detach().mean((0, 2, 3)).double(), x.detach().var((0, 2, 3)).double())
    made = tiled._forward(images, torch.from_numpy(BLEND[None]))
    (gradient,) = torch.autograd.grad(made[..., 512 : 512 + tiled.grid].sum(), images)
    columns = gradient.abs().sum(dim=(0, 1, 2)).nonzero().flatten()
    reach = max(512 - int(columns[0]), int(columns[-1]) - (512 + tiled.grid - 1))
    assert reach <= tiled.margin <= reach + 2 * tiled.grid + 4


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_moments_are_those_of_torchs_layer(dtype: torch.dtype) -> None:
    # A mean that is large beside the deviation, which a plain sum of squares would lose.
    x = (torch.randn(1, 5, 70, 90) + torch.tensor([0, 100, -7, 3, 0]).view(1, 5, 1, 1)).to(dtype)
    moments = RunningStatistics()
    for part in (x[:, :, :33, :], x[:, :, 33:, :1], x[:, :, 33:, 1:]):
        moments.add(part.contiguous(memory_format=torch.channels_last))
    layer = nn.BatchNorm2d(5, momentum=None).train()
    layer(x.double().float())
    mean, variance = moments.result()
    assert layer.running_mean is not None
    assert layer.running_var is not None
    torch.testing.assert_close(mean.float(), layer.running_mean, atol=1e-5, rtol=1e-5)
    # torch keeps the variance of a sample.
    count = 70 * 90
    torch.testing.assert_close(variance.float() * count / (count - 1), layer.running_var, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize(("size", "side"), [((1, 5000), 256), ((1000, 700), 300), ((513, 512), 512), ((40, 40), 300)])
def test_tiles_cover_the_picture_and_none_is_too_large(size: tuple[int, int], side: int) -> None:
    tiled = TiledNetwork(BalancedNet(width=4, blocks=1))
    times = np.zeros(size[::-1], int)
    for tile in tiled.tiles(size, side):
        (left, top, right, bottom), (x, y, x_end, y_end) = tile.seen, tile.kept
        times[y:y_end, x:x_end] += 1
        assert 0 <= left <= x < x_end <= right <= size[0]
        assert 0 <= top <= y < y_end <= bottom <= size[1]
        assert max(right - left, bottom - top) <= side
        assert left % tiled.grid == top % tiled.grid == 0
        for near, edge in ((x - left, left == 0), (right - x_end, right == size[0]), (y - top, top == 0)):
            assert near >= tiled.margin or edge
    assert (times == 1).all()


def test_squares_of_a_sample_lie_within_and_all_over() -> None:
    tiled = TiledNetwork(BalancedNet(width=4, blocks=1))
    for size, pixels in (((9000, 4000), 2**21), ((9000, 4000), 2**19), ((300, 5000), 2**17), ((700, 600), 2**21)):
        squares = tiled.squares(size, pixels)
        assert len(set(squares)) == len(squares)
        assert sum((right - left) * (bottom - top) for left, top, right, bottom in squares) <= pixels
        assert all(
            0 <= left < right <= size[0] and 0 <= top < bottom <= size[1] for left, top, right, bottom in squares
        )
        middle = np.array([(left + right, top + bottom) for left, top, right, bottom in squares]).mean(axis=0) / 2
        assert np.abs(middle / size - 0.5).max() < 0.05


def limit_to(monkeypatch: pytest.MonkeyPatch, free: float) -> None:
    """As if so many bytes were free for the tensors of tiles."""
    monkeypatch.setattr(fast_style.stylizing.memory_budget, "_SMALL", 0)
    monkeypatch.setattr(MemoryBudget, "left", lambda self: free)


def to_pil(images: Tensor) -> Image.Image:
    return Image.fromarray(images[0].permute(1, 2, 0).mul(255).round().byte().numpy())


SOFT, HARD = Image.linear_gradient("L"), Image.fromarray(np.eye(5, dtype=np.uint8) * 255)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"strength": 0.6, "sharpen": 0.5, "grain": 0.3},
        {"brush": 1.5, "preserve_color": "luminance"},
        {"brush": 0.7, "mask": SOFT},
        {"style": None, "masks": {"b": HARD, "a": SOFT}, "preserve_color": "histogram"},
        {"style": None, "masks": {"b": Image.new("L", (3, 3)), "a": SOFT}},
        {"strength": 0},
    ],
)
def test_a_picture_that_does_not_fit_is_what_it_is_as_a_whole(
    stylizer: Stylizer, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any]
) -> None:
    # Pale, or the histogram of colors would be a large matrix, and make many levels of one.
    photograph = to_pil(picture(333, 601) / 5 + 0.4)
    settings = {"style": {"a": 1, "b": 2}, **settings}
    expected = np.asarray(stylizer(photograph, **settings)).astype(int)
    sizes = seen_sizes(monkeypatch)
    # Several strips.
    monkeypatch.setattr("fast_style.stylizing.tiling._STRIP", 601 * 40)
    limit_to(monkeypatch, 300**2 * (stylizer.backend.bytes_per_pixel() + 15))
    made = np.asarray(stylizer(photograph, **settings))
    assert sizes == []
    assert np.abs(made - expected).max() <= 2


def seen_sizes(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The shapes of what the network is given whole from now on."""
    sizes: list[tuple[int, ...]] = []
    call = TorchBackend.__call__

    def noted(self: TorchBackend, images: Tensor, style: np.ndarray) -> Tensor:
        sizes.append(tuple(images.shape))
        return call(self, images, style)

    monkeypatch.setattr(TorchBackend, "__call__", noted)
    return sizes


def test_of_a_batch_each_picture_is_what_it_is_alone(stylizer: Stylizer, monkeypatch: pytest.MonkeyPatch) -> None:
    images = torch.cat([picture(300, 280), picture(300, 280).flip(3).sqrt()])
    before = images.clone()
    expected = stylizer(images, "b")
    limit_to(monkeypatch, 256**2 * (stylizer.backend.bytes_per_pixel() + 15))
    sizes = seen_sizes(monkeypatch)
    assert levels(stylizer(images, "b"), expected) <= 2
    assert sizes == []
    assert torch.equal(images, before)


def test_what_fits_is_made_whole(stylizer: Stylizer, monkeypatch: pytest.MonkeyPatch) -> None:
    limit_to(monkeypatch, 300**2 * (stylizer.backend.bytes_per_pixel() + 15))
    sizes = seen_sizes(monkeypatch)
    stylizer(to_pil(picture(299, 300)))
    assert sizes == [(1, 3, 299, 300)]


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory."),
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_out_of_memory_goes_on_in_tiles_and_says_so(
    stylizer: Stylizer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    photograph = to_pil(picture(290, 310))
    expected = np.asarray(stylizer(photograph)).astype(int)
    monkeypatch.setattr(fast_style.stylizing.tiling, "LARGEST_SIDE", 256)

    def fails(self: Backend, images: Tensor, style: np.ndarray) -> Tensor:
        raise error

    monkeypatch.setattr(TorchBackend, "__call__", fails)
    assert np.abs(np.asarray(stylizer(photograph)) - expected).max() <= 2
    said = capsys.readouterr()
    assert said.out == ""
    assert_names(said.err, "310x290 memory tiles")


def test_tiles_for_which_there_is_no_memory_get_smaller(
    stylizer: Stylizer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sides = []

    def fails(self: TiledNetwork, *arguments: object, side: int, **settings: object) -> None:
        sides.append(side)
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(TiledNetwork, "__call__", fails)
    limit_to(monkeypatch, 600**2 * (stylizer.backend.bytes_per_pixel() + 15) + 1)
    with raises(ImageError, "700x700 memory tiles"):
        stylizer(to_pil(picture(700, 700)))
    assert sides == [600, 300, 256]
    assert_each(capsys.readouterr().err.splitlines(), "700x700 memory 300x300", "700x700 memory 256x256")


def test_another_error_is_not_taken_for_a_lack_of_memory(stylizer: Stylizer, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(self: Backend, images: Tensor, style: np.ndarray) -> Tensor:
        raise RuntimeError("shapes differ")

    monkeypatch.setattr(TorchBackend, "__call__", fails)
    with pytest.raises(RuntimeError, match="shapes differ"):
        stylizer(to_pil(picture(40, 40)))
    assert not is_out_of_memory(ValueError("out of memory"))


def test_a_limit_that_nothing_fits_into_says_what_would_do() -> None:
    backend = TorchBackend(BalancedNet(width=8, blocks=1), "cpu", "fp32")
    with raises(ImageError, "memory GB 400x300 0.02"):
        Stylizer(backend, Metadata({"a": {}}), memory="20MB")(to_pil(picture(300, 400)))


def test_a_limit_lets_through_what_is_said_to_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = TorchBackend(BalancedNet(width=8, blocks=1), "cpu", "fp32")
    per_pixel = backend.bytes_per_pixel()
    monkeypatch.setattr(TorchBackend, "used_and_free", lambda self: (500e6, 1e12))
    budget = MemoryBudget(backend, "1GB")
    pixels = int((1e9 - 500e6 - 250e6) / per_pixel)
    assert budget.fits(pixels)
    assert not budget.fits(pixels + 10)
    assert not budget.fits(pixels, beside=15)
    # Without a limit, most of what is free.
    assert MemoryBudget(backend).fits(int(0.7e12 / per_pixel))
    assert not MemoryBudget(backend).fits(int(0.9e12 / per_pixel))


def test_a_backend_without_tiles_takes_no_limit_and_says_which_one_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TorchBackend, "bytes_per_pixel", Backend.bytes_per_pixel)
    monkeypatch.setattr(TorchBackend, "tiled", Backend.tiled)
    backend = TorchBackend(LightNet(width=4, blocks=1), "cpu", "fp32")
    with raises(ConfigError, "memory backend=torch compile"):
        MemoryBudget(backend, "2GB")

    def fails(self: Backend, images: Tensor, style: np.ndarray) -> Tensor:
        raise MemoryError

    monkeypatch.setattr(TorchBackend, "__call__", fails)
    with raises(ImageError, "40x32 memory backend=torch"):
        Stylizer(backend, Metadata({"a": {}}))(to_pil(picture(32, 40)))


def test_the_model_of_memory_is_that_of_the_benchmark() -> None:
    # docs/performance.md, "The largest picture", less the picture itself, which is float32 there.
    for cls, measured in ((BalancedNet, 129), (LightNet, 59), (ResidualNet, 335)):
        assert TorchBackend(cls(), "cpu", "bf16").bytes_per_pixel() == pytest.approx(measured - 12, rel=0.05)


@pytest.mark.parametrize(
    ("size", "number"),
    [
        ("2GB", 2e9),
        ("800MB", 800e6),
        ("1.5 GiB", 1.5 * 2**30),
        ("2g", 2e9),
        (".5tb", 5e11),
        ("2000000000", 2e9),
        (10**9, 1e9),
    ],
)
def test_sizes_of_memory_are_understood(size: str | int, number: float) -> None:
    assert parse_memory(size) == number


@pytest.mark.parametrize("size", ["", "GB", "-1GB", "0", "0GB", "2PB", "two", "1e9", "2GBs", "nan", True, 2.5j])
def test_what_is_no_size_of_memory_is_refused(size: str) -> None:
    with raises(ConfigError, "memory size 2GB 800MB"):
        parse_memory(size)


def test_the_script_keeps_to_a_limit_and_names_the_picture_that_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    save_network(Path("net.safetensors"), strong(LightNet(width=4, blocks=1)), Metadata({"a": {}}))
    to_pil(picture(40, 50)).save("photo.png")

    def call(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["stylize.py", "ckpt=net.safetensors", "input=photo.png", *arguments])
        try:
            run(stylize.main, "stylize", stylize.without_input)
        except SystemExit as stop:
            return str(stop.code).removeprefix("stylize.py: ")
        return capfd.readouterr().out.strip()

    assert call("memory=64GB", "tiles=fast") == "photo_net.png"
    assert_names(call("memory=100MB", "overwrite=true"), "photo.png memory 50x40 0.1 GB")
    assert_names(call("memory=much", "overwrite=true"), "memory size 2GB 800MB 'much'")
    assert_names(call("tiles=none", "overwrite=true"), "tiles exact fast 'none'")


def test_tiles_are_exact_or_fast(stylizer: Stylizer) -> None:
    with raises(ConfigError, "tiles exact fast 'auto'"):
        Stylizer(stylizer.backend, stylizer.metadata, tiles="auto")


def write_files(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def test_free_memory_is_the_least_that_machine_and_groups_leave(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=5_120_000))
    assert free_memory(tmp_path) == 5_120_000
    group = "sys/fs/cgroup/jobs/one"
    write_files(
        tmp_path,
        {
            "proc/self/cgroup": "0::/jobs/one\n",
            f"{group}/memory.max": "max\n",
            f"{group}/memory.current": "900000\n",
            "sys/fs/cgroup/jobs/memory.max": "3000000\n",
            "sys/fs/cgroup/jobs/memory.current": "1000000\n",
            "sys/fs/cgroup/jobs/memory.stat": "anon 5\ninactive_file 70000\nfile 900000\n",
        },
    )
    assert free_memory(tmp_path) == 2_070_000
    old = "sys/fs/cgroup/memory"
    write_files(
        tmp_path,
        {
            "proc/self/cgroup": "5:cpu:/a\n4:memory:/outside\n",
            f"{old}/memory.limit_in_bytes": "1000000\n",
            f"{old}/memory.usage_in_bytes": "400000\n",
        },
    )
    assert free_memory(tmp_path) == 600_000
    write_files(tmp_path, {f"{old}/memory.usage_in_bytes": "1400000\n"})
    assert free_memory(tmp_path) == 0


def test_this_process_has_some_memory_and_may_have_more() -> None:
    assert process_memory() > 50e6
    assert free_memory() > 0
