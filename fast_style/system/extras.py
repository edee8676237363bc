"""How to get the packages that only some users need."""

import re
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent.parent


def how_to_install(extra: str) -> str:
    """Return what to do for an extra of this package, such as `video`: in a checkout, by its own name."""
    if (_ROOT / "pyproject.toml").is_file():
        folder = "." if Path.cwd() == _ROOT else str(_ROOT)
        return f"run it by uv run --extra {extra} python ..., or uv pip install -e '{folder}[{extra}]'"
    try:
        lines = requires("fast_style") or []
    except PackageNotFoundError:
        lines = []
    named = [line.partition(";")[0].strip() for line in lines if re.search(rf"extra == .{extra}.$", line)]
    return f"pip install {' '.join(map(repr, named))}" if named else f"install what its extra {extra} needs"
