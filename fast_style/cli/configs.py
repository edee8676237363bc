"""Where the configuration files are."""

from pathlib import Path

#: In a checkout beside the package, in a wheel within it.
_PLACES = (Path(__file__).resolve().parents[1] / "configs", Path(__file__).resolve().parents[2] / "configs")
CONFIGS = next((place for place in _PLACES if place.is_dir()), _PLACES[0])
