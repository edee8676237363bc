"""backend=auto: which one is taken, that its pictures are the same, and that large ones are made by torch."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from small_messages import assert_each, raises
from small_networks import varied

import fast_style
from fast_style.backends import automatic, export, onnx_cache
from fast_style.backends.automatic import BYTES_PER_PIXEL, RuntimeWithTiles, fastest, prepare_fastest
from fast_style.backends.openvino import OpenVinoBackend
from fast_style.backends.pytorch import TorchBackend
from fast_style.cli import script
from fast_style.errors import ConfigError
from fast_style.networks import LightNet
from fast_style.stylizing.memory_budget import MemoryBudget
from fast_style.zoo.network_file import NetworkFile, read_network_file
from fast_style.zoo.saving import Metadata, save_network

pytestmark = pytest.mark.filterwarnings("ignore:.*axis name.*:UserWarning")


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: bytes) -> Path:
    """A network's file on a machine with all runtimes and no GPU, where nothing has been converted yet."""
    monkeypatch.setenv("FAST_STYLE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("FAST_STYLE_BACKEND")
    monkeypatch.setattr(automatic, "_has_gpu", lambda: False)
    monkeypatch.setattr(onnx_cache, "_convert", lambda file, backend: model)
    automatic._say.cache_clear()
    save(tmp_path / "net.safetensors")
    return tmp_path / "net.safetensors"


def save(path: Path) -> None:
    torch.manual_seed(0)
    save_network(path, varied(LightNet(styles=2, width=8, blocks=1)), Metadata({"waves": {}, "stars": {"year": 1889}}))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[bytes]:
    """The same network, converted."""
    path = tmp_path_factory.mktemp("converted") / "net.safetensors"
    save(path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jaxtyping.config.jaxtyping_disable", True)
        yield export.export(read_network_file(path), "openvino")


def convert(path: Path, *backends: str) -> NetworkFile:
    file = read_network_file(path)
    for backend in backends:
        onnx_cache.converted_to_onnx(file, backend)
    return file


def photograph(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8))


def test_what_is_converted_is_taken_the_fastest_first(path: Path) -> None:
    assert fastest(convert(path)) == "torch"
    assert fastest(convert(path, "onnx")) == "onnx"
    assert fastest(convert(path), precision="bf16") == "torch"  # in which that does not compute
    assert fastest(convert(path, "openvino")) == "openvino"


def test_torch_is_taken_on_gpus_on_devices_and_without_runtimes(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = convert(path, "onnx", "openvino")
    assert fastest(file, "cpu") == "torch"
    monkeypatch.setattr(automatic, "_has_gpu", lambda: True)
    assert fastest(file) == "torch"
    monkeypatch.setattr(automatic, "_has_gpu", lambda: False)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert fastest(file) == "torch"


def test_which_one_and_why_is_told_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(automatic._log, "info", lambda text, *values: said.append(text % values))
    for _ in range(2):
        fastest(convert(path))
    assert_each(said, "backend=torch backend=openvino faster")
    for _ in range(2):
        fastest(convert(path, "openvino"))
    assert_each(said[1:], "backend=openvino fastest backend=torch")


def test_the_environment_may_name_another(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    convert(path, "openvino")
    monkeypatch.setenv("FAST_STYLE_BACKEND", "torch")
    assert isinstance(fast_style.load(path).backend, TorchBackend)
    monkeypatch.setenv("FAST_STYLE_BACKEND", "fast")
    with raises(ConfigError, "FAST_STYLE_BACKEND torch"):
        fast_style.load(path)


def test_a_limit_of_memory_takes_what_can_keep_to_it(path: Path) -> None:
    convert(path, "openvino")
    assert isinstance(fast_style.load(path).backend, RuntimeWithTiles)
    assert isinstance(fast_style.load(path, memory="4GB").backend, TorchBackend)
    assert isinstance(fast_style.load(path, tiles="fast").backend, TorchBackend)


def test_pictures_are_those_of_the_runtime(path: Path) -> None:
    convert(path, "openvino")
    chosen, named = (fast_style.load(path, backend=name, precision="fp32") for name in ("auto", "openvino"))
    assert isinstance(chosen.backend, RuntimeWithTiles)
    assert isinstance(chosen.backend.runtime, OpenVinoBackend)
    image = photograph(80, 60)
    assert chosen(image).tobytes() == named(image).tobytes()


def test_what_does_not_fit_is_made_in_tiles_by_torch(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    convert(path, "openvino")
    chosen, exact = fast_style.load(path, precision="fp32"), fast_style.load(path, "cpu", "torch", "fp32")
    image = photograph(700, 650)
    expected = np.asarray(exact(image)).astype(int)
    monkeypatch.setattr(MemoryBudget, "fits", lambda self, pixels, beside=0: False)
    found = np.asarray(chosen(image)).astype(int)
    assert np.abs(found - expected).max() <= 2


def test_a_converted_network_says_what_it_knows_and_takes(path: Path, model: bytes) -> None:
    file = read_network_file(path)
    said = OpenVinoBackend(model).metadata()
    assert said["styles"] == '["waves", "stars"]'
    assert said["credits"] == '{"waves": {}, "stars": {"year": 1889}}'
    assert said["sha256"] == file.sha256
    from fast_style.zoo.saving import build_network

    assert float(said[BYTES_PER_PIXEL]) == round(TorchBackend(build_network(file), "cpu", "fp32").bytes_per_pixel())
    chosen = fast_style.load(convert(path, "openvino").path).backend
    assert chosen.name == "openvino"
    assert chosen.bytes_per_pixel() == float(said[BYTES_PER_PIXEL])


def test_only_more_than_a_picture_is_converted_for(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("one/a.png", "two/a.png", "two/b.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        photograph(32, 24).save(name)
    file = read_network_file(path)
    for source, converted in (("one", False), ("two", True)):
        monkeypatch.setattr("sys.argv", ["stylize.py", f"ckpt={path}", f"input={source}", "styles=waves"])
        script("stylize")
        assert onnx_cache.is_converted(file, "openvino") == converted
    assert not onnx_cache.is_converted(file, "onnx")


def test_nothing_is_converted_for_who_names_a_backend(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAST_STYLE_BACKEND", "torch")
    file = read_network_file(path)
    prepare_fastest(file)
    assert not onnx_cache.is_converted(file, "openvino")
