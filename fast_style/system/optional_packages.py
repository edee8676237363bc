"""Optional packages: how to install the extras that only some users need."""

import re
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]


def how_to_install(extra: str) -> str:
    """Return the command that installs an extra of this package, such as `video`."""
    if (_ROOT / "pyproject.toml").is_file():
        folder = "." if Path.cwd() == _ROOT else str(_ROOT)
        return f"uv pip install -e '{folder}[{extra}]'"
    try:
        lines = requires("fast-style-transfer") or []
    except PackageNotFoundError:
        lines = []
    spelt = extra.replace("_", "[-_]")  # an underscore in pyproject.toml is a dash in what is installed
    named = [line.partition(";")[0].strip() for line in lines if re.search(rf"extra == .{spelt}.$", line)]
    return f"pip install {' '.join(map(repr, named))}" if named else f"install what its extra {extra} needs"
