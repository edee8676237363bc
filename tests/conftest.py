"""Shapes are checked while tests run, and what most tests need is made once."""

import functools
import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

# Before torch: tests run side by side, each on a core of its own.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Not the networks of whoever runs the tests.
os.environ["FAST_STYLE_NETWORKS"] = os.devnull
# Whatever is installed, and has been converted by whoever runs the tests; those of backend=auto say otherwise.
os.environ["FAST_STYLE_BACKEND"] = "torch"

import absl.logging
import forked
import numpy as np
import pytest
from beartype import beartype
from jaxtyping import AbstractArray, install_import_hook
from PIL import Image
from small_runs import Run, Train, run_script

# When Hydra sets up logging, absl, which comes with TensorBoard, closes the stream that it logs to unless that is the
# standard error of the moment: here it would be the one in which pytest catches what tests print.
absl.logging.get_absl_handler().python_handler.stream = sys.__stderr__


# A shell's background job ignores Ctrl-C, and so would all that tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


#: Files of which a test takes ten seconds and more: it starts trainings, clusters or installations.
SLOW_FILES = tuple(
    f"tests/{name}.py"
    for name in (
        *("training/test_resume", "training/test_recovery", "test_docs", "cli/test_run_folder", "cli/test_plugins"),
        *("cli/test_train", "batch/test_ray", "test_wheel", "data/test_dirty_data", "cli/test_front_door"),
        *("backends/test_backends", "backends/test_automatic", "cli/test_export_command", "cli/test_experiments"),
    )
)


def check_shapes(function: Callable[..., Any]) -> Callable[..., Any]:
    """Check the shapes in a signature, and nothing else: a wrong setting must reach the error that users see."""
    for name, hint in function.__annotations__.items():
        if not _has_shape(hint):
            function.__annotations__[name] = Any
    return beartype(function)


def _has_shape(hint: Any) -> bool:
    return (isinstance(hint, type) and issubclass(hint, AbstractArray)) or any(map(_has_shape, get_args(hint)))


# Before the first import of fast_style, hence the imports below it and in the fixtures.
install_import_hook("fast_style", f"{__name__}.{check_shapes.__name__}")

from fast_style.cli.log_lines import log_to_standard_error  # noqa: E402
from fast_style.encoders.vgg import VGGEncoder  # noqa: E402
from fast_style.losses.styles import Style  # noqa: E402

# Tests see what the package logs as a person does.
log_to_standard_error()


def pytest_cmdline_main(config: pytest.Config) -> None:
    """Install, by uv if it has started the tests, what they need and the first training does not: all extras."""
    needed = (
        "av",
        "cv2",
        "imagecodecs",
        "importlinter",
        "matplotlib",
        "mypy",
        "onnx",
        "onnxruntime",
        "openvino",
        "pygame",
        "ray",
    )
    if not (uv := os.environ.get("UV")) or "FAST_STYLE_TESTS" in os.environ or hasattr(config, "workerinput"):
        return
    if all(importlib.util.find_spec(package) for package in needed):
        return
    config.pluginmanager.getplugin("capturemanager").suspend_global_capture(in_=True)
    os.environ["FAST_STYLE_TESTS"] = "installed"  # once, whatever comes of it
    os.execv(uv, [uv, "run", "--all-extras", "--group=dev", "pytest", *config.invocation_params.args])


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files whose tests take longest, so that no worker is left with one at the end."""
    items.sort(key=lambda item: not item.nodeid.startswith(SLOW_FILES))


def pytest_xdist_auto_num_workers() -> int:
    """One worker more than cores, for at any time one of them waits for processes that a test has started."""
    return (os.cpu_count() or 1) + 1


@pytest.fixture
def unchecked_shapes(monkeypatch: pytest.MonkeyPatch) -> None:
    """For torch.export, which would take a checked size for a fixed one."""
    monkeypatch.setattr("jaxtyping.config.jaxtyping_disable", True)


@pytest.fixture(scope="session")
def encoder() -> VGGEncoder:
    """The embedded VGG19."""
    return VGGEncoder()


@pytest.fixture(scope="session")
def style(tmp_path_factory: pytest.TempPathFactory) -> Style:
    """A style of two shallow layers: colored waves."""
    y, x = np.mgrid[:48, :64]
    waves = np.stack([np.sin(x / 3 + y / 5), np.sin(y / 4), np.cos(x / 7 - y / 2)], axis=2)
    path = tmp_path_factory.mktemp("styles") / "waves.png"
    Image.fromarray((127.5 + 127.5 * waves).round().astype(np.uint8)).save(path)
    return Style("waves", path, size=32, layers={"relu1_1": 1.0, "relu2_1": 1.0}, artist="nobody", year=2024)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The development data, which a clone of the repository alone does not have."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("needs ../shared")
    return folder


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Make a file system of a size such as 1m."""
    place = tmp_path / "disk"

    def mount(size: str) -> Path:
        place.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)]
        try:
            subprocess.run(command, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            pytest.skip("needs the right to mount a file system")
        return place

    yield mount
    if place.is_mount():
        subprocess.run(["umount", str(place)], check=True)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run a script in an empty folder, in a process that begins with nothing, as a user's does."""
    return functools.partial(run_script, tmp_path)


@pytest.fixture
def train(tmp_path: Path) -> Train:
    """Run train.py in an empty folder, in a process that has imported its libraries already."""
    return functools.partial(forked.run, tmp_path)
