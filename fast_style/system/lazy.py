"""Lazy imports of a package's public names (PEP 562)."""

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy_names(
    package: str, homes: Mapping[str, str], renamed: Mapping[str, str] | None = None
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return `__getattr__` and `__dir__` for a package that imports its modules on first use of their names.

    Args:
        package: the package's `__name__`.
        homes: module (relative to the package, or a full name) to its public names, separated by spaces.
        renamed: public name to its name in the module, where they differ.

    Example:
        >>> __getattr__, __dir__ = lazy_names("fast_style", {"stylizing.stylizer": "Stylizer load"})
        >>> __getattr__("load").__module__
        'fast_style.stylizing.stylizer'
    """
    home_of = {
        name: home if home.startswith("fast_style.") else f"{package}.{home}"
        for home, names in homes.items()
        for name in names.split()
    }

    def get(name: str) -> Any:
        if name not in home_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        found = getattr(import_module(home_of[name]), (renamed or {}).get(name, name))
        setattr(sys.modules[package], name, found)
        return found

    def names() -> list[str]:
        # Not what the package itself imports.
        return sorted({*home_of, *(name for name in vars(sys.modules[package]) if name.startswith("__"))})

    return get, names
