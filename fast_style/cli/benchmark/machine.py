"""Where a benchmark runs."""

import os
import platform
import re
from pathlib import Path
from typing import Any

import torch

from fast_style.errors import ConfigError


def device_of(name: str) -> str:
    """Return where to measure.

    Raises:
        ConfigError: if there is no such device here.
    """
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", name):
        raise ConfigError(f"device must be auto, cpu, cuda or cuda:1, not {name!r}")
    # Without putting anything there, as usable_device does: what is measured shall have the device for itself.
    available = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name.startswith("cuda") and int(name.partition(":")[2] or 0) >= available:
        raise ConfigError(f"device={name}: there are {available} such devices here; use device=cpu")
    return name if name != "auto" else "cuda" if available else "cpu"


def environment_for(device: str, threads: int | None, folder: Path) -> tuple[dict[str, str], str]:
    """Return the environment of the processes that are measured, and what the device is called there.

    They see no GPU but the one that is measured: stylize.py as a whole takes the first that it sees. What they keep
    for later, such as converted networks, they keep in a folder of the benchmark's own.
    """
    environment = dict(os.environ)
    if threads is not None:
        environment["OMP_NUM_THREADS"] = environment["MKL_NUM_THREADS"] = str(threads)
    caches = {"FAST_STYLE_CACHE": "converted", "TORCHINDUCTOR_CACHE_DIR": "compiled"}
    environment |= {name: str(folder / cache) for name, cache in caches.items()}
    kind, _, number = device.partition(":")
    visible = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    index = int(number or 0)
    if kind == "cuda":
        environment["CUDA_VISIBLE_DEVICES"] = visible[index] if index < len(visible) else str(index)
    else:
        environment["CUDA_VISIBLE_DEVICES"] = ""
    return environment, kind


def machine(device: str, threads: int | None) -> dict[str, Any]:
    """Return what the figures depend on."""
    cpuinfo = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*:\s*(.+)", cpuinfo.read_text()) if cpuinfo.exists() else None
    return {
        "processor": found[1] if found else platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": threads or torch.get_num_threads(),
        "waiting": os.environ.get("OMP_WAIT_POLICY"),
        "device": torch.cuda.get_device_name(device) if device.startswith("cuda") else device,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda if device.startswith("cuda") else None,
    }
