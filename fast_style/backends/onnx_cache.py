"""Networks as ONNX for runtimes without torch: converted once and cached.

torch converts them in a separate process, so that the caller pays neither its memory nor its start-up.
"""

import hashlib
import importlib.util
import json
import logging
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from fast_style.errors import CheckpointError, ConfigError
from fast_style.system import plugins
from fast_style.system.cache import cache_folder, write_cached
from fast_style.system.optional_packages import how_to_install
from fast_style.zoo.network_file import NetworkFile

#: Exit status of fast_style.backends.export when it refuses a network; its last line then says why, for the user.
REFUSED = 3

_PACKAGE = Path(__file__).parents[1]
_DIGEST_BYTES = 32
_log = logging.getLogger(__name__)


def converted_to_onnx(file: NetworkFile, backend: str) -> bytes:
    """Return a network as ONNX, verified with a backend (`onnx` or `openvino`), from the cache if possible.

    Raises:
        CheckpointError: if it cannot be converted.
        ConfigError: if a package for the conversion is missing.
    """
    path = cache_folder() / _cache_name(file, backend)
    model = _cached(path)
    if model is not None:
        return model
    require_packages(backend, "torch", "onnx", "onnxscript")
    _log.info("%s: converting it for the backend %s, once", file.path, backend)
    model = _convert(file, backend)
    write_cached(path, hashlib.sha256(model).digest() + model, "converts")
    return model


def is_converted(file: NetworkFile, backend: str) -> bool:
    """Whether the cache holds a network, converted for a backend."""
    return _cached(cache_folder() / _cache_name(file, backend)) is not None


def require_packages(backend: str, *packages: str) -> None:
    """Check that the packages of a backend are installed.

    Raises:
        ConfigError: if one is missing.
    """
    missing = [package for package in packages if importlib.util.find_spec(package) is None]
    if missing:
        raise ConfigError(f"backend={backend} needs {' and '.join(missing)}: {how_to_install(backend)}")


def _cache_name(file: NetworkFile, backend: str) -> str:
    # A network file's digest covers only the weights; the result also depends on the code.
    hasher = hashlib.sha256(json.dumps(file.network, sort_keys=True).encode())
    sources = (*sorted((_PACKAGE / "networks").glob("*.py")), _PACKAGE / "backends" / "export.py")
    for source in (*sources, *plugins.network_sources(str(file.network.get("class")))):
        hasher.update(source.read_bytes() if source.exists() else b"")
    return f"{file.sha256}-{hasher.hexdigest()[:16]}.{backend}"


def _cached(path: Path) -> bytes | None:
    try:
        data = path.read_bytes()
    except OSError:
        return None
    model = data[_DIGEST_BYTES:]
    return model if model and hashlib.sha256(model).digest() == data[:_DIGEST_BYTES] else None


def _convert(file: NetworkFile, backend: str) -> bytes:
    with tempfile.TemporaryDirectory(prefix="fast_style-") as folder:
        output = Path(folder) / "model.onnx"
        # -P: a folder named torch or onnx in the working directory must not shadow the package.
        command = [sys.executable, "-P", "-m", "fast_style.backends.export", backend, str(file.path), str(output)]
        search = [str(_PACKAGE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
        done = subprocess.run(
            command,
            # The bytes that were verified; the file may have changed since.
            input=file.data,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(search), plugins.VARIABLE: ",".join(plugins.names())},
            check=False,
        )
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        if done.returncode == REFUSED and lines:
            raise CheckpointError(lines[-1])
        if done.returncode or not output.exists():
            reason = lines[-1] if lines else f"the process ended with status {done.returncode}"
            raise CheckpointError(f"{file.path}: cannot be converted ({reason}); use backend=torch")
        return output.read_bytes()
