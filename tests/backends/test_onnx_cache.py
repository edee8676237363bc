"""Converted networks, and where they are kept."""

import errno
import re
import shlex
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from small_messages import assert_names, raises
from small_runs import ROOT

import fast_style
from fast_style.backends import onnx_cache
from fast_style.backends.onnx_cache import converted_to_onnx, require_packages
from fast_style.errors import CheckpointError, ConfigError
from fast_style.networks import LightNet, ResidualNet, TransformNet
from fast_style.system.cache import cache_folder
from fast_style.system.optional_packages import how_to_install
from fast_style.zoo.network_file import NetworkFile, read_network_file
from fast_style.zoo.saving import Metadata, save_network


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FAST_STYLE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def count(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Puts something quick in the place of converting, and tells how often it was done."""
    done: list[str] = []

    def convert(file: NetworkFile, backend: str) -> bytes:
        done.append(backend)
        return f"{backend} {len(done)}".encode()

    monkeypatch.setattr(onnx_cache, "_convert", convert)
    return lambda: len(done)


def network_file(folder: Path, cls: type[TransformNet] = LightNet, seed: int = 0) -> NetworkFile:
    torch.manual_seed(seed)
    path = folder / "net.safetensors"
    save_network(path, cls(styles=1, width=4, blocks=1), Metadata({"waves": {}}))
    return read_network_file(path)


def test_a_network_is_converted_once_and_that_is_said(
    tmp_path: Path, count: Callable[[], int], capsys: pytest.CaptureFixture[str]
) -> None:
    file = network_file(tmp_path)
    first = converted_to_onnx(file, "onnx")
    said = capsys.readouterr()
    assert said.out == ""
    assert_names(said.err, f"{file.path} converting onnx")
    assert converted_to_onnx(file, "onnx") == first == b"onnx 1"
    assert capsys.readouterr() == ("", "")
    assert count() == 1


def test_other_weights_another_network_and_another_backend_are_converted_anew(
    tmp_path: Path, count: Callable[[], int]
) -> None:
    for file in (network_file(tmp_path), network_file(tmp_path, seed=1), network_file(tmp_path, ResidualNet)):
        for backend in ("onnx", "openvino"):
            converted_to_onnx(file, backend)
    assert count() == 6


def test_weights_that_are_read_into_another_network_are_converted_anew(
    tmp_path: Path, count: Callable[[], int]
) -> None:
    file = network_file(tmp_path)
    converted_to_onnx(file, "onnx")
    converted_to_onnx(NetworkFile(file.path, file.data, {"class": "Other"}, file.sha256, file.metadata), "onnx")
    assert count() == 2


@pytest.mark.parametrize(
    "damage", [lambda data: b"", lambda data: data[:-1], lambda data: data[:-1] + b"x", lambda data: data[:32]]
)
def test_a_damaged_file_in_the_cache_is_made_again(
    tmp_path: Path, cache: Path, count: Callable[[], int], damage: Callable[[bytes], bytes]
) -> None:
    file = network_file(tmp_path)
    converted_to_onnx(file, "onnx")
    (kept,) = cache.iterdir()
    kept.write_bytes(damage(kept.read_bytes()))
    assert converted_to_onnx(file, "onnx") == b"onnx 2"
    assert converted_to_onnx(file, "onnx") == b"onnx 2"
    assert count() == 2


def test_a_cache_that_cannot_be_written_is_said_and_does_without(
    tmp_path: Path, count: Callable[[], int], cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cache.write_text("not a folder")
    assert converted_to_onnx(network_file(tmp_path), "onnx") == b"onnx 1"
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert_names(lines[1], f"{cache} written")
    assert_names(lines[1], "FAST_STYLE_CACHE")


def test_a_full_disk_leaves_nothing_half_written(
    tmp_path: Path, count: Callable[[], int], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = network_file(tmp_path)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    assert converted_to_onnx(file, "onnx") == b"onnx 1"
    assert list(cache.iterdir()) == []


def test_the_cache_is_where_the_system_keeps_such_things(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("FAST_STYLE_CACHE", raising=False)
    assert cache_folder().name in ("fast_style", "Cache")  # The latter on Windows, below it.
    monkeypatch.setenv("FAST_STYLE_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path


@pytest.mark.parametrize(
    ("status", "errors", "answer"),
    [
        (onnx_cache.REFUSED, "a warning\nnet: its network, 'X', is unknown here\n", "net network 'X'"),
        (1, "Traceback\nImportError: no such thing\n", "converted ImportError: no such thing backend=torch"),
        (-9, "", "converted -9 backend=torch"),
        (0, "", "converted 0 backend=torch"),
    ],
)
def test_a_conversion_that_fails_gets_one_line(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, status: int, errors: str, answer: str
) -> None:
    def ended(command: list[str], **_: object) -> "subprocess.CompletedProcess[bytes]":
        return subprocess.CompletedProcess(command, status, b"", errors.encode())

    monkeypatch.setattr(subprocess, "run", ended)
    with raises(CheckpointError, answer):
        converted_to_onnx(network_file(tmp_path), "openvino")
    assert not cache.exists()


def test_what_is_not_installed_is_named_with_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as error:
        require_packages("openvino", "sys", "no_such_package")
    root = Path(fast_style.__file__).resolve().parent.parent
    assert_names(error.value, f"backend=openvino no_such_package '{root}[openvino]'")


def test_without_a_checkout_the_packages_themselves_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fast_style.system.optional_packages._ROOT", tmp_path)
    # What the project's own file says, in its order.
    expected = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["video"]
    said = how_to_install("video")
    assert said.startswith("pip install 'av")
    assert [set(re.findall(r"[\w.-]+", word)) for word in shlex.split(said)[2:]] == [
        set(re.findall(r"[\w.-]+", word)) for word in expected
    ]
