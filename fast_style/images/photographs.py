"""Photographs that are there in any installation: those that scikit-image ships."""

from importlib.util import find_spec
from pathlib import Path

from fast_style.errors import ConfigError


def packaged_photographs() -> list[Path]:
    """Return the files of four photographs under free licenses that scikit-image ships.

    Raises:
        ConfigError: if scikit-image is missing.
    """
    package = find_spec("skimage")
    if package is None or not package.submodule_search_locations:
        raise ConfigError("photographs must be given: the package scikit-image, which ships some, is missing")
    # The files, without an import: scikit-image takes long to load.
    folder = Path(package.submodule_search_locations[0]) / "data"
    return [folder / name for name in ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg")]
