"""How to install the optional dependencies (extras)."""

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
    pattern = extra.replace("_", "[-_]")  # installed metadata has dashes for the underscores of pyproject.toml
    packages = [line.partition(";")[0].strip() for line in lines if re.search(rf"extra == .{pattern}.$", line)]
    return f"pip install {' '.join(map(repr, packages))}" if packages else f"install what its extra {extra} needs"
