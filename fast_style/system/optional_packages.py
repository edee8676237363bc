"""How to install the optional dependencies (extras)."""

import re
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

#: Name of this package on PyPI.
DISTRIBUTION = "fast-style-transfer"
_ROOT = Path(__file__).resolve().parents[2]


def extras() -> dict[str, list[str]]:
    """Return what each extra of the installed package requires, such as `av<19,>=18`; names have dashes."""
    try:
        lines = requires(DISTRIBUTION) or []
    except PackageNotFoundError:
        lines = []
    found: dict[str, list[str]] = {}
    for line in lines:
        if extra := re.search(r"extra == ['\"]([\w-]+)", line):
            found.setdefault(extra[1].replace("_", "-"), []).append(line.partition(";")[0].strip())
    return found


def how_to_install(extra: str) -> str:
    """Return the command that installs an extra of this package, such as `video`."""
    if (_ROOT / "pyproject.toml").is_file():
        folder = "." if Path.cwd() == _ROOT else str(_ROOT)
        return f"uv pip install -e '{folder}[{extra}]'"
    packages = extras().get(extra.replace("_", "-"))
    return f"pip install {' '.join(map(repr, packages))}" if packages else f"install what its extra {extra} needs"
