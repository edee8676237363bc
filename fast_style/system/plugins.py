"""Packages of one's own: installed ones, by their entry points, and those that a person names for a program."""

import importlib
import os
import sys
from importlib.machinery import ModuleSpec
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from fast_style.errors import ConfigError

#: Of modules, with commas between them; the setting `plugins` of the commands sets it.
VARIABLE = "FAST_STYLE_PLUGINS"
#: Entry points: the name of a network's class, and where it is, such as `Tiny = "my_package.networks:Tiny"`.
NETWORKS = "fast_style.networks"
#: Entry points: any name, and the package that has YAML files in folders network, loss, style and so on.
CONFIGS = "fast_style.configs"


_added: list[str] = []


def names() -> list[str]:
    """Return the modules that FAST_STYLE_PLUGINS names, and those that `add` was given."""
    return [*(name.strip() for name in os.environ.get(VARIABLE, "").split(",") if name.strip()), *_added]


def add(module: str) -> None:
    """Count a module among the plugins of this process, and of those that it starts to convert networks."""
    if module != "__main__" and module not in names():
        _added.append(module)


def modules() -> list[ModuleType]:
    """Import the modules that FAST_STYLE_PLUGINS names, which may lie in the folder one works in.

    Raises:
        ConfigError: if one cannot be imported.
    """
    if names() and not {"", os.getcwd()}.intersection(sys.path):
        # Last: nothing there takes the place of an installed module.
        sys.path.append(os.getcwd())
    made = []
    for name in names():
        try:
            made.append(importlib.import_module(name))
        except Exception as error:  # Any: it is another's code.
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            raise ConfigError(f"plugins: {name} cannot be imported ({reason})") from None
    return made


def config_folders() -> list[Path]:
    """Return the folders of YAML files: of installed packages, and `configs` in each that FAST_STYLE_PLUGINS names."""
    packages = [entry.value for entry in entry_points(group=CONFIGS)]
    packages += [f"{name}.configs" for name in names()]
    specs = filter(None, map(_spec, packages))
    return [Path(place) for spec in specs for place in spec.submodule_search_locations or ()]


def network_sources(name: str) -> list[Path]:
    """Return the Python files that a network's class of that name may come from, if it is none of this package."""
    found: set[Path] = set()
    for module in [entry.module for entry in entry_points(group=NETWORKS, name=name)] + names():
        spec = _spec(module)
        if spec is not None and spec.origin is not None:
            file = Path(spec.origin)
            # Of a package all, for one module of it uses others.
            found |= set(file.parent.rglob("*.py")) if spec.parent else {file}
    return sorted(found)


def _spec(module: str) -> ModuleSpec | None:
    try:
        return find_spec(module)
    except ModuleNotFoundError:  # the package that it would be in is missing, or no package
        return None
