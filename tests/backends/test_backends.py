"""What computes a network: each gives the same picture, and those that need no torch do without it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from small_messages import assert_names, missing_from, raises
from small_networks import dilated, varied

import fast_style
from fast_style import backends
from fast_style.backends import BACKENDS, export, onnx_cache, openvino
from fast_style.backends.backend import threads
from fast_style.backends.pytorch import TorchBackend, require_compiler
from fast_style.errors import CheckpointError, ConfigError
from fast_style.networks import LightNet, ResidualNet, TransformNet
from fast_style.stylizing.stylizer import Stylizer
from fast_style.zoo.network_file import read_network_file
from fast_style.zoo.saving import Metadata, save_network

ROOT = Path(__file__).resolve().parents[2]
RUNTIMES = ("onnx", "openvino")
NETWORKS: list[Callable[..., TransformNet]] = [LightNet, dilated, ResidualNet]

pytestmark = pytest.mark.filterwarnings("ignore:.*axis name.*:UserWarning")


def small(cls: Callable[..., TransformNet]) -> TransformNet:
    """Make a small network of two styles that differ."""
    torch.manual_seed(0)
    return varied(cls(styles=2, width=8, blocks=1))


@pytest.fixture(scope="module", params=NETWORKS)
def path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A network's file, which any runtime finds converted."""
    path: Path = tmp_path_factory.mktemp("network") / "net.safetensors"
    network = small(request.param)
    save_network(path, network, Metadata({"waves": {}, "stars": {}}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jaxtyping.config.jaxtyping_disable", True)
        model = export.to_onnx(network)
        patch.setattr("jaxtyping.config.jaxtyping_disable", False)
        patch.setattr(onnx_cache, "_convert", lambda file, backend: model)
        patch.setenv("FAST_STYLE_CACHE", str(path.parent / "cache"))
        yield path


def load(path: Path, backend: str, precision: str = "fp32") -> Stylizer:
    return fast_style.load(path, device="cpu", backend=backend, precision=precision)


def picture(width: int, height: int) -> Image.Image:
    """Waves of color."""
    y, x = np.mgrid[:height, :width]
    waves = np.stack([np.sin(x / 9 + y / 5), np.sin(y / 14), np.cos(x / 7 - y / 12)], axis=2)
    return Image.fromarray((127.5 + 127.5 * waves).round().astype(np.uint8))


def levels(image: Image.Image) -> Any:  # an array
    return np.asarray(image).astype(np.int64)


@pytest.mark.parametrize("backend", RUNTIMES)
def test_pictures_are_the_same_to_within_one_level(path: Path, backend: str) -> None:
    expected, stylizer = load(path, "torch"), load(path, backend)
    # Not of one pixel: where a picture is flat, normalization makes a texture of rounding errors.
    for size in [(3, 50), (50, 3), (32, 33), (47, 101), (128, 96)]:
        cases: list[tuple[str | dict[str, float] | None, float]]
        cases = [("stars", 1.0), ({"waves": 3.0, "stars": 1.0}, 1.0), (None, 0.6), ("waves", 0.0)]
        for style, strength in cases:
            result = levels(stylizer(picture(*size), style, strength=strength))
            assert np.abs(result - levels(expected(picture(*size), style, strength=strength))).max() <= 1
    assert stylizer(picture(1, 1), "stars").size == (1, 1)
    assert stylizer.styles == ["waves", "stars"]


@pytest.mark.parametrize("backend", RUNTIMES)
def test_tensors_give_their_like_and_are_left_alone(path: Path, backend: str) -> None:
    stylizer, images = load(path, backend), torch.rand(3, 3, 45, 37)
    before = images.clone()
    output = stylizer(images, "stars")
    torch.testing.assert_close(output, load(path, "torch")(images, "stars"), atol=1 / 255, rtol=0)
    assert torch.equal(images, before)
    assert stylizer(images[0].half(), "stars").dtype == torch.float16
    # The result is the caller's: neither does the next call change it, nor does changing it matter.
    first = output.clone()
    stylizer(torch.rand(3, 3, 45, 37), "stars")
    assert torch.equal(output, first)
    output.zero_()
    torch.testing.assert_close(stylizer(images, "stars"), first)


@pytest.mark.parametrize("backend", ["torch", "openvino"])
def test_bfloat16_stays_close(path: Path, backend: str) -> None:
    exact, half = load(path, "torch"), load(path, backend, "bf16")
    image = picture(160, 120)
    noise = np.square(levels(exact(image, "stars")) - levels(half(image, "stars"))).mean()
    assert 10 * np.log10(255**2 / max(noise, 1e-9)) > 35  # dB


def test_bfloat16_keeps_weights_in_half_the_memory() -> None:
    for precision, kind in (("bf16", torch.bfloat16), ("fp32", torch.float32)):
        backend = TorchBackend(small(LightNet), "cpu", precision)
        assert {parameter.dtype for parameter in backend.network.parameters()} == {kind}
        assert backend(torch.rand(1, 3, 40, 40), np.array([[1, 0]], np.float32)).dtype == torch.float32


@pytest.mark.parametrize("native", [True, False])
def test_auto_is_bfloat16_where_the_processor_computes_in_it(monkeypatch: pytest.MonkeyPatch, native: bool) -> None:
    monkeypatch.setattr("fast_style.backends.pytorch.torch_computes_bfloat16", lambda device: native)
    assert TorchBackend(small(LightNet), "cpu").dtype == (torch.bfloat16 if native else torch.float32)


@pytest.mark.parametrize("backend", RUNTIMES)
def test_threads_may_stylize_at_once(path: Path, backend: str) -> None:
    stylizer, image = load(path, backend), picture(64, 48)
    expected = levels(stylizer(image, "stars"))
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: levels(stylizer(image, "stars")), range(8)))
    assert all(np.array_equal(result, expected) for result in results)


def test_a_folder_of_many_sizes_does_not_keep_them_all(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = load(path, "openvino").backend
    assert isinstance(backend, openvino.OpenVinoBackend)
    monkeypatch.setattr(openvino, "PIXELS_WORTH_COMPILING", 0)

    def stylize(*sizes: int) -> list[int]:
        for size in sizes:
            backend(np.zeros((1, 3, size, size), np.float32), np.array([[1, 0]], np.float32))
        return [shape[3] for shape in backend._compiled]

    assert stylize(32, 33, 34, 35, 32, 36) == [34, 35, 32, 36]
    monkeypatch.setattr(openvino, "MAX_COMPILED_PIXELS", 4000)
    assert stylize(37) == [32, 36, 37]
    # One that is larger than all together stays alone.
    assert stylize(80) == [80]


def test_what_is_compiled_for_any_size_makes_rare_sizes_and_gives_the_same(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stylizer, alone = load(path, "openvino"), load(path, "openvino")
    backend = stylizer.backend
    assert isinstance(backend, openvino.OpenVinoBackend)
    monkeypatch.setattr(openvino, "PIXELS_WORTH_COMPILING", 3 * 50 * 40)
    stylizer(picture(64, 48), "stars")
    for _ in range(3):
        assert [shape[2:] for shape in backend._compiled] == [(48, 64)]
        rare = levels(stylizer(picture(50, 40), "stars"))
        assert np.abs(rare - levels(alone(picture(50, 40), "stars"))).max() <= 1
    assert [shape[2:] for shape in backend._compiled] == [(48, 64), (40, 50)]


@pytest.mark.parametrize(("value", "count"), [("3", 3), ("2,1", 2), ("", 0), ("many", 0)])
def test_the_number_of_threads_is_that_of_openmp(monkeypatch: pytest.MonkeyPatch, value: str, count: int) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", value)
    assert threads() == count


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        ({"backend": "tensorflow"}, "backend auto torch compile onnx openvino 'tensorflow'"),
        ({"precision": "int8"}, "precision auto fp32 bf16 'int8'"),
        ({"backend": "openvino", "device": "cuda"}, "device cpu backend=openvino cuda"),
        ({"backend": "onnx", "precision": "bf16"}, "precision fp32 backend=onnx"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(path: Path, arguments: dict[str, Any], answer: str) -> None:
    with pytest.raises(ConfigError) as error:
        fast_style.load(path, **arguments)
    assert_names(error.value, answer)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("backend", "package"), [("onnx", "onnxruntime"), ("openvino", "openvino")])
def test_a_runtime_that_is_not_installed_is_named_with_the_remedy(
    path: Path, monkeypatch: pytest.MonkeyPatch, backend: str, package: str
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with raises(ConfigError, f"backend={backend} {package} [{backend}]'"):
        fast_style.load(path, backend=backend)


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_backend_runs_what_a_file_does_not_describe(path: Path, tmp_path: Path, backend: str) -> None:
    data = path.read_bytes()
    bad = tmp_path / "bad.safetensors"
    bad.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(CheckpointError, match=r"SHA-256 differs"):
        load(bad, backend)
    bad.write_bytes(data.replace(b'\\"styles\\": 2', b'\\"styles\\": 3'))
    with pytest.raises(CheckpointError, match=r"names 2 styles, its network has 3|do not fit"):
        load(bad, backend)


def test_without_a_compiler_one_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def get_cpp_compiler() -> str:
        raise RuntimeError("No working C++ compiler found")

    fake = SimpleNamespace(get_cpp_compiler=get_cpp_compiler)
    monkeypatch.setitem(sys.modules, "torch._inductor.cpp_builder", fake)
    with raises(ConfigError, "backend=compile C++ compiler"):
        require_compiler(torch.device("cpu"))


@pytest.mark.nightly
def test_compiled_it_gives_the_same_at_every_size(path: Path) -> None:
    # In a process of its own: compiling leaves much behind, and the shapes that tests check are not for compilers.
    program = """
import sys, numpy as np, torch, fast_style
compiled, plain = (fast_style.load(sys.argv[1], "cpu", backend, "fp32") for backend in ("compile", "torch"))
for shape in [(1, 3, 64, 80), (1, 3, 47, 101), (3, 3, 50, 33), (2, 3, 64, 64)]:
    images = torch.rand(shape)
    print(shape, float((compiled(images, "stars") - plain(images, "stars")).abs().max()) < 1 / 255)
"""
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout.count("True") == 4


def modules_after(program: str, folder: Path, *arguments: str) -> tuple[list[str], set[str]]:
    """Run a program, and return the lines that it prints and the modules that it has imported by then."""
    program = f"{program}\nimport json, sys; print(json.dumps([*sys.modules]))"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    *lines, modules = done.stdout.splitlines()
    return [*done.stderr.splitlines(), *lines], set(json.loads(modules))


def test_the_package_is_imported_without_torch(tmp_path: Path) -> None:
    for names in ("fast_style, fast_style.stylizing.stylizer", "fast_style.cli.stylize"):
        _, modules = modules_after(f"import {names}", tmp_path)
        assert {"torch", "jaxtyping", "openvino", "onnxruntime", "rich"}.intersection(modules) == set()


def test_a_conversion_is_done_once_elsewhere_and_torch_never_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_network(tmp_path / "net.safetensors", small(LightNet), Metadata({"waves": {}, "stars": {}}))
    monkeypatch.setenv("FAST_STYLE_CACHE", str(tmp_path / "cache"))
    picture(60, 40).save(tmp_path / "a.png")
    # A file of the name of a package, where one works, is not taken for it.
    (tmp_path / "torch.py").write_text("raise SystemExit('the wrong torch')")
    program = "import fast_style.cli as s; s.script('stylize')"
    overrides = ("ckpt=net.safetensors", "input=a.png", "output=b.png", "overwrite=true", "precision=fp32")
    results = []
    for said in (1, 0):
        lines, modules = modules_after(program, tmp_path, *overrides, "backend=openvino")
        assert lines[-1] == "b.png"
        assert len(lines) == 1 + said
        assert not said or not missing_from(lines[0], "net.safetensors converting openvino")
        assert "openvino" in modules
        assert {"torch", "onnx", "onnxscript"}.intersection(modules) == set()
        with Image.open(tmp_path / "b.png") as image:
            results.append(levels(image))
    expected = levels(load(tmp_path / "net.safetensors", "torch")(picture(60, 40)))
    assert np.array_equal(results[0], results[1])
    assert np.abs(results[0] - expected).max() <= 1


def test_onnxruntime_needs_no_torch_either(path: Path) -> None:
    load(path, "onnx")
    picture(60, 40).save(path.parent / "a.png")
    program = "import fast_style; fast_style.load('net.safetensors', backend='onnx')('a.png').save('b.png')"
    lines, modules = modules_after(program, path.parent)
    assert lines == []
    assert "onnxruntime" in modules
    assert {"torch", "onnx", "onnxscript"}.intersection(modules) == set()


def test_torch_keeps_the_settings_of_garbage_collection(path: Path) -> None:
    import gc

    backends.make_backend(read_network_file(path), "cpu")
    assert gc.isenabled()
