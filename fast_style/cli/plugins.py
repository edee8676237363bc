"""Packages of one's own on the command line: their classes are imported, and their YAML files can be chosen."""

import os

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.plugins.search_path_plugin import SearchPathPlugin

from fast_style.system import plugins


class OwnConfigs(SearchPathPlugin):
    """Where Hydra looks for YAML files after those of this package, which cannot be replaced."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Add the folders of packages of one's own. Hydra calls this."""
        for folder in plugins.config_folders():
            search_path.append("fast_style plugins", f"file://{folder}")


def find_own_configs() -> None:
    """Let Hydra look for YAML files in packages of one's own, too."""
    if OwnConfigs not in Plugins.instance().discover(SearchPathPlugin):
        Plugins.instance().register(OwnConfigs)


def import_plugins(arguments: list[str]) -> list[str]:
    """Import what a command line names by `plugins=my_package` or `plugins=[one,another]`, and return it as it is.

    Processes that are started from this one do so too.

    Raises:
        ConfigError: if one cannot be imported.
    """
    if given := [argument for argument in arguments if argument.partition("=")[0] == "plugins"]:
        value = OverridesParser.create().parse_override(given[-1]).value()
        names = value if isinstance(value, list) else str(value or "").split(",")
        os.environ[plugins.VARIABLE] = ",".join(map(str, names))
    plugins.modules()
    return arguments
