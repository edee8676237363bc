"""Location of the configuration files."""

from pathlib import Path

#: In the package (wheel), or next to it (checkout).
_PLACES = (Path(__file__).resolve().parents[1] / "configs", Path(__file__).resolve().parents[2] / "configs")
CONFIGS = next((place for place in _PLACES if place.is_dir()), _PLACES[0])
