"""Sample photographs from scikit-image."""

from importlib.util import find_spec
from pathlib import Path

from fast_style.errors import ConfigError


def packaged_photographs() -> list[Path]:
    """Return the paths of four freely licensed photographs that scikit-image ships.

    Raises:
        ConfigError: if scikit-image is missing.
    """
    package = find_spec("skimage")
    if package is None or not package.submodule_search_locations:
        raise ConfigError("photographs must be given: the package scikit-image, which ships some, is missing")
    # Found without importing scikit-image, which is slow.
    folder = Path(package.submodule_search_locations[0]) / "data"
    return [folder / name for name in ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg")]
