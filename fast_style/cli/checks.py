"""The command checks: versions, devices, formats, folders and extras, for bug reports."""

import importlib.metadata
import json
import os
import platform
import re
import shutil
import sys
import textwrap
from collections.abc import Callable
from typing import Any

from rich.filesize import decimal

import fast_style
from fast_style.cli import errors_in_one_line
from fast_style.errors import ConfigError
from fast_style.system.cache import cache_folder
from fast_style.system.memory import free_memory
from fast_style.system.optional_packages import extras, how_to_install
from fast_style.zoo import CHECKPOINTS, saved_networks, shipped_networks, user_folder, user_networks

_PACKAGES = ("torch", "torchvision", "lightning", "hydra-core", "numpy", "pillow", "safetensors")
_CODECS = {"h264": "libx264", "hevc": "libx265", "av1": "libsvtav1", "vp9": "libvpx-vp9", "ffv1": "ffv1"}


def found() -> dict[str, Any]:
    """Return all parts as plain values, in the order in which they are printed."""
    parts: dict[str, Callable[[], Any]] = {
        "version": lambda: fast_style.__version__,
        "python": lambda: f"{platform.python_version()}, {sys.executable}",
        "system": _system,
        "packages": lambda: {name: _version(name) for name in _PACKAGES},
        "devices": _devices,
        "backends": _backends,
        "pictures": _pictures,
        "videos": _videos,
        "networks": lambda: {
            f"{CHECKPOINTS}{os.sep}": [*saved_networks()],
            str(user_folder()): [*user_networks()],
            "shipped": [*shipped_networks()],
        },
        "cache": _cache,
        "extras": _extras,
    }
    values = {}
    for name, part in parts.items():
        try:
            values[name] = part()
        except Exception as error:  # any: a broken part is reported like the others
            values[name] = f"cannot be told ({type(error).__name__}: {str(error).partition(chr(10))[0][:200]})"
    return values


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "missing"


def _system() -> str:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    free = f"{decimal(int(free_memory()))} of memory free, {decimal(shutil.disk_usage(os.curdir).free)} on this disk"
    return f"{platform.system()} {platform.release()} {platform.machine()}, {cores} cores, {free}"


def _devices() -> dict[str, str]:
    import torch

    from fast_style.system.devices import torch_computes_bfloat16

    def precision(device: str) -> str:
        return "bf16 and fp32" if torch_computes_bfloat16(device) else "fp32"

    devices = {"cpu": f"{precision('cpu')}, {torch.get_num_threads()} threads"}
    for number in range(torch.cuda.device_count()):
        memory = decimal(torch.cuda.get_device_properties(number).total_memory)
        devices[f"cuda:{number}"] = f"{torch.cuda.get_device_name(number)}, {memory}, {precision('cuda')}"
    if torch.backends.mps.is_available():
        devices["mps"] = "fp32"
    return devices


def _backends() -> dict[str, str]:
    import torch

    from fast_style.backends.pytorch import require_compiler

    values = {"torch": _version("torch"), "compile": "ready"}
    try:
        require_compiler(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    except ConfigError as error:
        values["compile"] = str(error).removeprefix("backend=compile ")
    values |= {"onnx": _version("onnxruntime"), "openvino": _version("openvino")}
    if chosen := os.environ.get("FAST_STYLE_BACKEND"):
        values["auto"] = f"{chosen} (FAST_STYLE_BACKEND)"
    return values


def _pictures() -> dict[str, str]:
    from PIL import features

    from fast_style.images.formats import HAS_CODECS, HAS_HEIF, HAS_RAW, READABLE

    codecs = {"JPEG": "jpg", "PNG": "zlib", "WEBP": "webp", "AVIF": "avif", "JPEG2000": "jpg_2000", "TIFF": "libtiff"}
    lacking = [name for name, feature in codecs.items() if not features.check(feature)]
    values = {"read": ", ".join(name for name in READABLE if name not in lacking)}
    if lacking:
        values["not in this Pillow"] = ", ".join(lacking)
    for name, there in (("HEIC", HAS_HEIF), ("raw files", HAS_RAW), ("16 bits of each color", HAS_CODECS)):
        values[name] = "yes" if there else "no (extra formats)"
    return values


def _videos() -> str | dict[str, str]:
    if _version("av") == "missing":
        return "no (extra video)"
    import av.codec

    missing = [name for name, encoder in _CODECS.items() if encoder not in av.codec.codecs_available]
    values = {"av": _version("av"), "write": ", ".join(name for name in _CODECS if name not in missing)}
    return values | ({"not in this FFmpeg": ", ".join(missing)} if missing else {})


def _cache() -> str:
    folder = cache_folder()
    files = [path for path in folder.rglob("*") if path.is_file()] if folder.is_dir() else []
    named = "" if "FAST_STYLE_CACHE" in os.environ else "; FAST_STYLE_CACHE names another"
    return f"{folder}: {decimal(sum(path.stat().st_size for path in files))} in {len(files)} files{named}"


def _extras() -> dict[str, str]:
    values = {}
    for extra, requirements in extras().items():
        packages = [re.split(r"[^\w.-]", requirement)[0] for requirement in requirements]
        missing = [name for name in packages if _version(name) == "missing"]
        values[extra] = f"needs {', '.join(missing)}: {how_to_install(extra)}" if missing else "installed"
    return values


def _table(values: dict[str, Any]) -> list[str]:
    width, lines = max(72, min(120, shutil.get_terminal_size().columns)), []
    for name, value in values.items():
        texts = [str(value)]
        if isinstance(value, dict):
            items = {key: ", ".join(item) or "none" if isinstance(item, list) else item for key, item in value.items()}
            texts = [f"{key}: {item}" for key, item in items.items()]
            if name not in ("devices", "networks", "extras"):
                joined = "; ".join(texts)
                texts = [joined if len(joined) < 3 * width else "\n".join(texts)]
        for number, text in enumerate(texts):
            wrapped = textwrap.wrap(text, width - 12, break_long_words=False, break_on_hyphens=False)
            lines += [f"{name if not (number or row) else '':<12}{line}" for row, line in enumerate(wrapped)]
    return lines


def entry_point() -> None:
    """Run the command."""
    with errors_in_one_line():
        if {"-h", "--help"} & set(sys.argv[1:]):
            parts = "versions, devices, formats, folders and extras"
            print(f"fast-style checks: show {parts}; json=true prints them as JSON.")
            return
        if unknown := [argument for argument in sys.argv[1:] if argument not in ("json=true", "json=false")]:
            raise ConfigError(f"{unknown[0]}: checks takes json=true, and nothing else")
        values = found()
        print(json.dumps(values, indent=2) if "json=true" in sys.argv else "\n".join(_table(values)))
