"""Backends that run a network: torch, plain or compiled, or a runtime without torch. `auto` is the fastest."""

import contextlib
import gc
from collections.abc import Iterator
from typing import TYPE_CHECKING

from fast_style.backends.automatic import BYTES_PER_PIXEL, RUNTIMES, RuntimeWithTiles, fastest
from fast_style.backends.backend import Array, Backend
from fast_style.backends.onnx_cache import converted_to_onnx, require_packages
from fast_style.errors import ConfigError, require_choice
from fast_style.system.devices import PRECISIONS
from fast_style.zoo.network_file import NetworkFile, require_styles

if TYPE_CHECKING:
    import torch

    from fast_style.backends.onnxruntime import OnnxRuntimeBackend
    from fast_style.backends.openvino import OpenVinoBackend

__all__ = ["AUTO", "BACKENDS", "Array", "Backend", "load_model", "make_backend"]

#: `torch` and `compile` run on any device; `onnx` and `openvino` run on the CPU and do not import torch.
BACKENDS = ("torch", "compile", "onnx", "openvino")
#: The fastest backend that is installed and ready. See `fastest`.
AUTO = "auto"


def make_backend(
    file: NetworkFile, device: "str | torch.device | None" = None, name: str = AUTO, precision: str = "auto"
) -> Backend:
    """Create the backend for a network.

    Args:
        file: the network.
        device: device of `torch` and `compile`; by default a GPU if there is one.
        name: one of BACKENDS, or `auto`.
        precision: one of PRECISIONS.

    Raises:
        CheckpointError: if the file does not hold a network of ours, or cannot be converted.
        ConfigError: if a choice is unknown, conflicts with another, or needs a missing package.
    """
    require_choice("backend", name, (AUTO, *BACKENDS))
    require_choice("precision", precision, PRECISIONS)
    if name == AUTO:
        name = fastest(file, device, precision)
        require_choice("FAST_STYLE_BACKEND", name, BACKENDS)
        if name in RUNTIMES:
            runtime = _runtime(file, name, precision)
            size = float(runtime.metadata().get(BYTES_PER_PIXEL, 0))
            return RuntimeWithTiles(runtime, size, lambda: make_backend(file, "cpu", "torch", precision))
    if name in ("torch", "compile"):
        with _no_collection():
            from fast_style.backends.pytorch import TorchBackend
            from fast_style.zoo.saving import build_network

        return TorchBackend(build_network(file), device, precision, compile=name == "compile")
    require_packages(name, RUNTIMES[name])
    if device is not None and str(device) != "cpu":
        raise ConfigError(f"device must be cpu with backend={name}, not {device}; backend=torch runs on GPUs")
    if name == "onnx" and precision == "bf16":
        raise ConfigError("precision must be auto or fp32 with backend=onnx, which does not compute in bf16")
    return _runtime(file, name, precision)


def _runtime(file: NetworkFile, name: str, precision: str) -> "OnnxRuntimeBackend | OpenVinoBackend":
    arguments = file.network.get("arguments")
    require_styles(file, arguments.get("styles") if isinstance(arguments, dict) else None)
    return load_model(name, converted_to_onnx(file, name), precision)


def load_model(name: str, model: bytes, precision: str = "auto") -> "OnnxRuntimeBackend | OpenVinoBackend":
    """Create an `onnx` or `openvino` backend from a converted network."""
    if name == "onnx":
        from fast_style.backends.onnxruntime import OnnxRuntimeBackend

        return OnnxRuntimeBackend(model)
    from fast_style.backends.openvino import OpenVinoBackend

    return OpenVinoBackend(model, precision)


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """Pause garbage collection while importing torch, which leaves no garbage: saves a tenth of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
