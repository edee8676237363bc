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
    available = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name.startswith("cuda") and int(name.partition(":")[2] or 0) >= available:
        raise ConfigError(f"device={name}: there are {available} such devices here; use device=cpu")
    return name if name != "auto" else "cuda" if available else "cpu"


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
    }
