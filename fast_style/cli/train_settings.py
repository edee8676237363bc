"""Checks of a training's settings before PyTorch is imported, which takes seconds."""

import math
import re
from collections.abc import Mapping
from datetime import timedelta
from fnmatch import fnmatchcase
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import Container, DictConfig, OmegaConf

from fast_style.cli.hydra_app import find_pictures
from fast_style.cli.resume import LIMITS, check_names_of_files, flat
from fast_style.errors import ConfigError, DataError, WeightsError, require_choice
from fast_style.images.picture import open_picture
from fast_style.system.text import printable
from fast_style.zoo import find
from fast_style.zoo.network_file import read_network_file

#: Lightning's precisions that train here.
PRECISIONS = (
    *("32-true", "bf16-mixed", "16-mixed", "bf16-true", "16-true", "64-true", "32", "16", "bf16", "64"),
    *("transformer-engine", "transformer-engine-float16"),
)
#: Optional packages of a logger; one of each tuple is enough.
LOGGER_PACKAGES = {"tensorboard": ("tensorboard", "tensorboardX"), "wandb": ("wandb",), "mlflow": ("mlflow",)}
#: Columns that TensorBoard's table of runs always has ...
TELLING = ("name", "seed", "init", "batch_size", "data.size", "optimizer.lr", "trainer.max_steps")
#: ... and given settings that it omits.
SILENT = ("resume", "checkpoint", "overwrite", "workers")
#: Minimum of numbers, by key pattern; some constructors would check them only after PyTorch's import.
LEAST = {
    "batch_size": (1, "at least 1"),
    "workers": (0, "at least 0"),
    "preview.every_n_*": (1, "at least 1"),
    "style.*.size": (16, "at least 16 pixels"),
    "*.size": (32, "at least 32 pixels"),
    "loss.*.weight": (0, "at least 0"),
    "network.width": (1, "at least 1"),
    "optimizer.lr": (0, "at least 0"),
    "trainer.max_steps": (-1, "at least 1, or -1 for no limit"),
    "trainer.devices": (-1, "at least 1, or -1 or auto for all"),
    "trainer.val_check_interval": (1e-12, "above 0"),
    "trainer.gradient_clip_val": (0, "at least 0, or null for no limit"),
}
_UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
_UNIT = r"\s*(\d+(?:\.\d+)?)\s*(d|h|m|s)(?:ays?|ours?|r|rs|in|ins|inutes?|ec|ecs|econds?)?"


def check_settings(config: DictConfig) -> None:
    """Check the settings of a training: numbers, choices and files. FastStyleError names the setting or the file.

    Constructors check the rest later, such as the range of a network's width.
    """
    check_names_of_files(config)
    if not 0 <= config.seed < 2**32:
        raise ConfigError(f"seed must be from 0 to {2**32 - 1}, not {config.seed}")
    for key, value in flat(OmegaConf.to_container(config)).items():
        least, limit = next((least for pattern, least in LEAST.items() if fnmatchcase(key, pattern)), (-math.inf, ""))
        zero = key in ("trainer.max_steps", "trainer.devices") and value == 0  # -1: no limit; 0: no training
        if isinstance(value, int | float) and (zero or not least <= value < math.inf):
            raise ConfigError(f"{key} must be {limit or 'finite'}, not {value}")
    if not OmegaConf.is_interpolation(config.trainer, "precision"):  # resolving it would import PyTorch
        require_choice("trainer.precision", str(config.trainer.precision), PRECISIONS)
    _check_limits(config)
    logger = str(OmegaConf.select(config, "logger._target_")).rpartition(".")[2].removesuffix("Logger").lower()
    if logger in LOGGER_PACKAGES and not any(map(find_spec, LOGGER_PACKAGES[logger])):
        name = LOGGER_PACKAGES[logger][0]
        raise ConfigError(f"logger={logger} needs the package {name}: uv pip install {name}, or choose another logger")
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


def time_limit(config: DictConfig) -> timedelta | None:
    """Return the time limit of a training, `minutes` or else `trainer.max_time`; None: no limit."""
    seconds = config.minutes * 60 if config.minutes else seconds_of(config.trainer.get("max_time"))
    return None if seconds is None else timedelta(seconds=seconds)


def telling_settings(config: DictConfig) -> dict[str, Any]:
    """Return the settings that tell runs apart, the columns of TensorBoard's table: chosen, given, and `TELLING`.

    All settings of a run are in its settings.yaml.
    """
    chosen, given = {}, []
    if HydraConfig.initialized():
        hydra = HydraConfig.get()
        chosen = {group: option for group, option in hydra.runtime.choices.items() if not group.startswith("hydra/")}
        given = [text.partition("=")[0].lstrip("+~") for text in hydra.overrides.task]
    weights = [f"loss.{name}.weight" for name in config.loss]
    keys = dict.fromkeys((*TELLING, *weights, *(key for key in given if key not in chosen and key not in SILENT)))
    values = ((key, OmegaConf.select(config, key)) for key in keys)
    parts = {key: OmegaConf.to_container(part) if isinstance(part, Container) else part for key, part in values}
    return {**chosen, **flat(parts)}


def _check_limits(config: DictConfig) -> None:
    given = {text.partition("=")[0].lstrip("+") for text in HydraConfig.get().overrides.task}
    if config.minutes is None:
        seconds_of(config.trainer.get("max_time"))
        return
    if set(LIMITS) <= given:
        raise ConfigError("minutes and trainer.max_time are two ways to say how long a training may take; give one")
    if isinstance(config.minutes, bool | str) or not 0 < config.minutes < 1e7:
        raise ConfigError(f"minutes must be a number above 0, such as 2 or 0.5, not {config.minutes!r}")


def seconds_of(length: Any) -> float | None:
    """Return the seconds of the setting `trainer.max_time`; None: no limit.

    Args:
        length: seconds; text with units, such as 2min, 90s or 1h30m; minutes:seconds, hours:minutes:seconds or
            days:hours:minutes:seconds; or keyword arguments of `timedelta`.

    Raises:
        ConfigError: if it is none of these, or not positive.
    """
    if length is None:
        return None
    seconds = _seconds(length)
    if seconds is None or not 0 < seconds < 1e9:
        examples = "such as 30min, 1h30m, 01:30:00 (hours:minutes:seconds) or 1800 (seconds)"
        raise ConfigError(f"trainer.max_time must be a length of time above 0, {examples}, not {length!r}")
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
    if re.fullmatch(r"\d+(\.\d+)?(e\+?\d+)?", text):
        return float(text)
    if re.fullmatch(r"\d+(:\d\d){1,3}", text):
        parts = [int(part) for part in text.split(":")]
        return float(sum(part * size for part, size in zip(reversed(parts), (1, 60, 3600, 86400), strict=False)))
    if re.fullmatch(f"({_UNIT})+", text):
        units = [unit for _, unit in re.findall(_UNIT, text)]
        # Each unit once, largest first.
        if units == sorted(set(units), key="dhms".index):
            return sum(float(number) * _UNITS[unit] for number, unit in re.findall(_UNIT, text))
    return None


def _check_styles(styles: DictConfig) -> None:
    names: set[str] = set()
    for style in (style for style in styles.values() if isinstance(style, DictConfig)):
        if (name := str(style.get("name"))) in names:
            raise ConfigError(f"two styles are called {name}; give each a name of its own: style.KEY.name=...")
        names.add(name)
        if (image := style.get("image")) is not None:
            open_picture(str(image), short_side=1)  # decoded as small as possible
