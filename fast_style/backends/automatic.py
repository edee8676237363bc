"""Choice of the fastest installed backend: a runtime on CPUs, otherwise torch."""

import functools
import importlib.util
import logging
import os
import sys
from collections.abc import Callable
from ctypes.util import find_library
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from fast_style.backends.backend import Array, Backend, NumpyBackend
from fast_style.backends.onnx_cache import converted_to_onnx, is_converted
from fast_style.zoo.network_file import NetworkFile

if TYPE_CHECKING:
    import torch

    from fast_style.backends.tiles import TiledNetwork

#: Runtimes for CPUs without torch, fastest first, and the package that each needs.
RUNTIMES = {"openvino": "openvino", "onnx": "onnxruntime"}

#: Metadata key of our ONNX files: bytes per pixel of torch in float32, about the maximum of a runtime.
BYTES_PER_PIXEL = "bytes_per_pixel"

_log = logging.getLogger(__name__)


def fastest(file: NetworkFile, device: "str | torch.device | None" = None, precision: str = "auto") -> str:
    """Return the fastest backend for a network, and log why. FAST_STYLE_BACKEND overrides it.

    OpenVINO, or else ONNX Runtime, is chosen if it is installed, there is no GPU, no device is requested and the
    network is converted already: conversion takes longer than torch takes to start. See `prepare_fastest`.
    """
    if own := os.environ.get("FAST_STYLE_BACKEND"):
        return own
    if device is not None or _has_gpu():
        return "torch"
    installed = [name for name in RUNTIMES if _is_installed(name) and (name, precision) != ("onnx", "bf16")]
    for name in installed:
        if is_converted(file, name):
            _say(f"backend={name}, the fastest on this processor; backend=torch is another")
            return name
    if installed:
        _say(f"backend=torch; backend={installed[0]} is faster, and the default once it has converted this network")
    return "torch"


def prepare_fastest(file: NetworkFile) -> None:
    """Convert a network for the fastest backend, if that needs it; worthwhile for more than one image.

    Raises:
        CheckpointError: if it cannot be converted.
    """
    if not os.environ.get("FAST_STYLE_BACKEND") and not _has_gpu() and _is_installed("openvino"):
        converted_to_onnx(file, "openvino")


class RuntimeWithTiles(NumpyBackend):
    """A runtime, and torch for images that need tiles.

    Args:
        runtime: runs the network.
        bytes_per_pixel: memory use of the runtime.
        make_torch: creates a torch backend of the same network.
    """

    def __init__(self, runtime: NumpyBackend, bytes_per_pixel: float, make_torch: Callable[[], Backend]) -> None:
        self.runtime, self.name = runtime, runtime.name
        self._bytes_per_pixel, self._make_torch = bytes_per_pixel, make_torch

    def __call__(self, images: Array, style: NDArray[np.float32]) -> Array:
        """See Backend."""
        return self.runtime(images, style)

    def bytes_per_pixel(self) -> float:
        """See Backend."""
        return self._bytes_per_pixel

    def tiled(self) -> "TiledNetwork | None":
        """See Backend. Runs in torch, on NumPy tiles."""
        backend = self._make_torch()
        tiled = backend.tiled()
        if tiled is None:
            return None

        def in_numpy(read: Callable[..., Array], write: Callable[..., None], *arguments: Any, **settings: Any) -> float:
            return tiled(
                lambda box: backend.place(read(box)),
                lambda box, tile: write(box, tile.numpy()),
                *arguments,
                **settings,
            )

        return cast("TiledNetwork", in_numpy)


def _is_installed(name: str) -> bool:
    needed = (RUNTIMES[name], "onnx", "onnxscript")
    return all(importlib.util.find_spec(package) is not None for package in needed)


@functools.cache
def _has_gpu() -> bool:
    """Whether torch would use a GPU. Importing torch takes seconds, so it is asked only if a driver is present."""
    if "torch" not in sys.modules:
        devices = [*Path("/dev").glob("nvidia[0-9]*"), *(Path(name) for name in ("/dev/kfd", "/dev/dxg"))]
        if not any(path.exists() for path in devices) and not (os.name == "nt" and find_library("nvcuda")):
            return False
    import torch

    return torch.cuda.is_available()


@functools.cache
def _say(text: str) -> None:
    _log.info("%s", text)
