"""Plugins on the command line: import the user's packages and add their YAML files to Hydra's search path."""

import os

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.plugins.search_path_plugin import SearchPathPlugin

from fast_style.system import plugins


class OwnConfigs(SearchPathPlugin):
    """Search path entry for the plugins' YAML files, after those of this package, which they cannot replace."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Append the plugins' folders; called by Hydra."""
        for folder in plugins.config_folders():
            search_path.append("fast_style plugins", f"file://{folder}")


def find_own_configs() -> None:
    """Register `OwnConfigs` with Hydra, once."""
    if OwnConfigs not in Plugins.instance().discover(SearchPathPlugin):
        Plugins.instance().register(OwnConfigs)


def import_plugins(arguments: list[str]) -> list[str]:
    """Import the modules of `plugins=my_package` or `plugins=[one,another]`; return the arguments unchanged.

    Child processes import them too, through the environment. ConfigError if one cannot be imported.
    """
    if given := [argument for argument in arguments if argument.partition("=")[0] == "plugins"]:
        value = OverridesParser.create().parse_override(given[-1]).value()
        names = value if isinstance(value, list) else str(value or "").split(",")
        os.environ[plugins.VARIABLE] = ",".join(map(str, names))
    plugins.modules()
    return arguments
