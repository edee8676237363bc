"""The fastest backend that is installed, for who names none: a runtime on processors, and torch for all else."""

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

#: What computes on processors without torch, the fastest first, and the package that it needs.
RUNTIMES = {"openvino": "openvino", "onnx": "onnxruntime"}

#: In an ONNX file of ours, how many bytes torch takes for each pixel, in float32: about what a runtime takes at most.
BYTES_PER_PIXEL = "bytes_per_pixel"

_log = logging.getLogger(__name__)


def fastest(file: NetworkFile, device: "str | torch.device | None" = None, precision: str = "auto") -> str:
    """Return the fastest backend for a network, and log why. FAST_STYLE_BACKEND names another.

    That is OpenVINO or, without it, ONNX Runtime, where one of them is installed, there is no GPU, no device is asked
    for and the network is converted already: that takes longer than torch takes to start. See `prepare_fastest`.
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
    """Convert a network for the fastest backend, if that is one that wants it: worth while for more than one picture.

    Raises:
        CheckpointError: if it cannot be converted.
    """
    if not os.environ.get("FAST_STYLE_BACKEND") and not _has_gpu() and _is_installed("openvino"):
        converted_to_onnx(file, "openvino")


class Fastest(NumpyBackend):
    """A runtime, with torch beside it for pictures that have to be made in tiles.

    Args:
        runtime: what computes.
        bytes_per_pixel: what that takes for each pixel.
        make_torch: makes the same network in torch.
    """

    def __init__(self, runtime: NumpyBackend, bytes_per_pixel: float, make_torch: Callable[[], Backend]) -> None:
        self.runtime = runtime
        self._bytes_per_pixel = bytes_per_pixel
        self._make_torch = make_torch

    def __call__(self, images: Array, style: NDArray[np.float32]) -> Array:
        """See Backend."""
        return self.runtime(images, style)

    def bytes_per_pixel(self) -> float:
        """See Backend."""
        return self._bytes_per_pixel

    def tiled(self) -> "TiledNetwork | None":
        """See Backend. Made by torch, for tiles of NumPy's."""
        backend = self._make_torch()
        tiled = backend.tiled()
        if tiled is None:
            return None

        def in_numpy(read: Callable[..., Array], write: Callable[..., None], *given: Any, **settings: Any) -> float:
            wrong: float = tiled(
                lambda box: backend.place(read(box)),
                lambda box, tile: write(box, tile.numpy()),
                *given,
                **settings,
            )
            return wrong

        return cast("TiledNetwork", in_numpy)


def _is_installed(name: str) -> bool:
    needed = (RUNTIMES[name], "onnx", "onnxscript")
    return all(importlib.util.find_spec(package) is not None for package in needed)


@functools.cache
def _has_gpu() -> bool:
    """Return whether torch would compute on a GPU. It is asked, which takes seconds, only where there may be one."""
    if "torch" not in sys.modules:
        seen = [*Path("/dev").glob("nvidia[0-9]*"), *(Path(name) for name in ("/dev/kfd", "/dev/dxg"))]
        if not any(path.exists() for path in seen) and not (os.name == "nt" and find_library("nvcuda")):
            return False
    import torch

    return torch.cuda.is_available()


@functools.cache
def _say(text: str) -> None:
    _log.info("%s", text)
