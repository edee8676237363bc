"""Plugins: installed packages with entry points, and modules named by FAST_STYLE_PLUGINS."""

import importlib
import os
import sys
from importlib.machinery import ModuleSpec
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from fast_style.errors import ConfigError

#: Environment variable with module names, separated by commas; the commands' setting `plugins` sets it.
VARIABLE = "FAST_STYLE_PLUGINS"
#: Entry points of network classes, such as `Tiny = "my_package.networks:Tiny"`.
NETWORKS = "fast_style.networks"
#: Entry points of packages with YAML files in folders network, loss, style and so on; any name.
CONFIGS = "fast_style.configs"

_added: list[str] = []


def names() -> list[str]:
    """Return the module names in FAST_STYLE_PLUGINS and those given to `add`."""
    return [*(name.strip() for name in os.environ.get(VARIABLE, "").split(",") if name.strip()), *_added]


def add(module: str) -> None:
    """Add a module to the plugins of this process and of the processes it starts to convert networks."""
    if module != "__main__" and module not in names():
        _added.append(module)


def modules() -> list[ModuleType]:
    """Import the plugin modules, which may be in the working folder.

    Raises:
        ConfigError: if one cannot be imported.
    """
    if names() and not {"", os.getcwd()}.intersection(sys.path):
        # Last, so that nothing there hides an installed module.
        sys.path.append(os.getcwd())
    imported = []
    for name in names():
        try:
            imported.append(importlib.import_module(name))
        except Exception as error:  # Any: plugins may raise anything.
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            raise ConfigError(f"plugins: {name} cannot be imported ({reason})") from None
    return imported


def config_folders() -> list[Path]:
    """Return the folders of YAML files of installed packages, and `configs` in each plugin module."""
    packages = [entry.value for entry in entry_points(group=CONFIGS)]
    packages += [f"{name}.configs" for name in names()]
    specs = filter(None, map(_spec, packages))
    return [Path(place) for spec in specs for place in spec.submodule_search_locations or ()]


def network_sources(name: str) -> list[Path]:
    """Return the Python files that may define a plugin's network class of this name."""
    found: set[Path] = set()
    for module in [entry.module for entry in entry_points(group=NETWORKS, name=name)] + names():
        spec = _spec(module)
        if spec is not None and spec.origin is not None:
            file = Path(spec.origin)
            # All files of a package, since its modules import each other.
            found |= set(file.parent.rglob("*.py")) if spec.parent else {file}
    return sorted(found)


def _spec(module: str) -> ModuleSpec | None:
    try:
        return find_spec(module)
    except ModuleNotFoundError:  # The parent package is missing or not a package.
        return None
