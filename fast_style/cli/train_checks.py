"""What of a training's settings can be checked without PyTorch, which takes seconds to import."""

import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from fast_style.cli.hydra_app import find_pictures
from fast_style.cli.run_folder import check_names_of_files
from fast_style.errors import ConfigError, DataError, WeightsError, require_choice
from fast_style.images.picture import open_picture
from fast_style.system.text import printable
from fast_style.zoo import find
from fast_style.zoo.network_file import read_network_file

#: Lightning's, as far as they train here.
PRECISIONS = (
    *("32-true", "bf16-mixed", "16-mixed", "bf16-true", "16-true", "64-true", "32", "16", "bf16", "64"),
    *("transformer-engine", "transformer-engine-float16"),
)
_UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
_UNIT = r"\s*(\d+(?:\.\d+)?)\s*(d|h|m|s)(?:ays?|ours?|r|rs|in|ins|inutes?|ec|ecs|econds?)?"


def check_training(config: DictConfig) -> None:
    """Check the settings of a training, before PyTorch is imported: numbers, choices, and that files are there.

    What only the maker of a part knows, such as the range of a network's width, it says itself, later.

    Raises:
        FastStyleError: naming the setting or the file.
    """
    check_names_of_files(config)
    if not 0 <= config.seed < 2**32:
        raise ConfigError(f"seed must be from 0 to {2**32 - 1}, not {config.seed}")
    for key, least in (("batch_size", 1), ("workers", 0), ("preview.every_n_steps", 1)):
        if (value := OmegaConf.select(config, key)) < least:
            raise ConfigError(f"{key} must be at least {least}, not {value}")
    for key in ("preview.size", "heldout.size"):
        if (value := OmegaConf.select(config, key)) < 32:
            raise ConfigError(f"{key} must be at least 32 pixels, not {value}")
    if not OmegaConf.is_interpolation(config.trainer, "precision"):  # which would ask PyTorch
        require_choice("trainer.precision", str(config.trainer.precision), PRECISIONS)
    seconds_of(config.trainer.get("max_time"))
    for names in (config.heldout.images, config.preview.images):
        if names:
            find_pictures(names)
    _check_styles(config.style)
    source = config.data.get("source") if "fast_style.data." in config.data._target_ else None
    if source is not None and not Path(str(source)).exists():
        raise DataError(f"{printable(str(source))}: there is no such folder or archive; check the path")
    if config.init not in ("auto", "none") and config.resume is None:
        read_network_file(find(Path(str(config.init))))
    ours = "fast_style.encoders.vgg." in config.encoder._target_
    weights = str(config.encoder.get("weights", "oxford")) if ours else "oxford"
    if weights not in ("oxford", "torchvision") and not Path(weights).is_file():
        raise WeightsError(f"{weights}: no such file; encoder.weights is oxford, torchvision or a path")


def seconds_of(length: Any) -> float | None:
    """Return how many seconds the setting `trainer.max_time` stands for; None: there is no limit.

    Args:
        length: a number of seconds; text with units, such as 2min, 90s or 1h30m; minutes:seconds,
            hours:minutes:seconds or days:hours:minutes:seconds; or what `timedelta` takes, by name.

    Raises:
        ConfigError: if it is none of these, or not above 0.
    """
    if length is None:
        return None
    seconds = _seconds(length)
    if seconds is None or not 0 < seconds < 1e9:
        raise ConfigError(
            "trainer.max_time must be a length of time above 0, such as 30min, 1h30m, 01:30:00 "
            f"(hours:minutes:seconds) or 1800 (seconds), not {length!r}"
        )
    return seconds


def _seconds(length: Any) -> float | None:
    if isinstance(length, Mapping | DictConfig):
        try:
            return timedelta(**length).total_seconds()
        except TypeError:
            return None
    if isinstance(length, bool) or not isinstance(length, int | float | str):
        return None
    text = str(length).strip().lower()
    if re.fullmatch(r"\d+(\.\d+)?|\d+(\.\d+)?e\+?\d+", text):
        return float(text)
    if re.fullmatch(r"\d+(:\d\d){1,3}", text):
        parts = [int(part) for part in text.split(":")]
        return float(sum(part * size for part, size in zip(reversed(parts), (1, 60, 3600, 86400), strict=False)))
    if re.fullmatch(f"({_UNIT})+", text):
        units = [unit for _, unit in re.findall(_UNIT, text)]
        # Each once, the largest first.
        if units == sorted(set(units), key="dhms".index):
            return sum(float(number) * _UNITS[unit] for number, unit in re.findall(_UNIT, text))
    return None


def _check_styles(styles: DictConfig) -> None:
    names: set[str] = set()
    for style in (style for style in styles.values() if isinstance(style, DictConfig)):
        name = str(style.get("name"))
        if name in names:
            raise ConfigError(f"two styles are called {name}; give each a name of its own: style.KEY.name=...")
        names.add(name)
        if (image := style.get("image")) is not None:
            # As small as it can be decoded.
            open_picture(str(image), short_side=1)
