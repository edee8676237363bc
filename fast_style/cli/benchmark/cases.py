"""What a benchmark measures, and how much of it is too much."""

import math
import re
from dataclasses import dataclass
from typing import Any

from fast_style.backends import BACKENDS
from fast_style.cli.overrides import CONFIGS
from fast_style.errors import ConfigError, require_choice
from fast_style.system.devices import PRECISIONS

PARTS = ("step", "stylize", "startup", "loader", "quality", "scale")

#: Who does not take turns, and comes last, with the machine for itself.
ALONE = ("loader", "quality", "scale")


@dataclass(frozen=True)
class Case:
    """What all candidates do in turn.

    Attributes:
        part: one of `PARTS`.
        width, height: of the pictures, in pixels.
        batch: pictures at once.
    """

    part: str
    width: int
    height: int
    batch: int

    @property
    def load(self) -> int:
        """Pixels, to which time and memory are in proportion."""
        return self.width * self.height * self.batch

    def __str__(self) -> str:
        return f"{self.part} {self.width}x{self.height}, batch {self.batch}"


@dataclass(frozen=True)
class Known:
    """What is known of a candidate from an earlier case of the same part: seconds of a run, bytes of memory."""

    load: int
    seconds: float
    base: int
    memory: int


@dataclass(frozen=True)
class Effort:
    """How much is measured, and what is too much.

    Attributes:
        rounds: in each of which each candidate runs once.
        warmup: runs before them that do not count, after the one in which the multiply-adds are counted.
        min_seconds: what takes less is run several times in its turn.
        max_seconds: for all runs of one candidate in one case.
        max_memory: bytes of one process.
    """

    rounds: int
    warmup: int
    min_seconds: float
    max_seconds: float
    max_memory: float

    def repeats(self, seconds: float) -> int:
        """Return how often to run in a turn what takes so many seconds."""
        return max(1, min(1000, math.ceil(self.min_seconds / max(seconds, 1e-9))))

    def refusal(self, seconds: float, memory: float) -> str | None:
        """Say why a candidate is left out that takes so many seconds a run and so many bytes; None: it is not."""
        total = (self.rounds + self.warmup + 1) * max(seconds, self.min_seconds)
        if total > self.max_seconds:
            return f"would take {total:.0f} s (max_seconds={self.max_seconds:g})"
        if memory > self.max_memory:
            return f"would take {memory / 1e9:.1f} GB (max_memory={self.max_memory / 1e9:g})"
        return None

    def forecast(self, case: Case, known: Known | None) -> str | None:
        """Say why a candidate is not even started, to judge by what is known of it; None: it is."""
        if known is None:
            return None
        grown = case.load / known.load
        # Only what depends on the picture grows with it; a run is repeated as often as before.
        return self.refusal(known.seconds * grown, known.base + (known.memory - known.base) * grown)


def planned(settings: dict[str, Any]) -> list[Case]:
    """Return what is to be measured, small pictures before large ones.

    Raises:
        ConfigError: if a setting does not fit.
    """
    networks = [file.stem for file in CONFIGS.glob("network/*.yaml")]
    for key, choices in (
        *(("parts", PARTS), ("networks", networks)),
        *(("backends", BACKENDS), ("precisions", PRECISIONS)),
    ):
        if not settings[key]:
            raise ConfigError(f"{key} must name at least one of {', '.join(sorted(choices))}")
        for value in settings[key]:
            require_choice(key, value, sorted(choices))
    for key, values in (("batches", settings["batches"]), ("step.batch", [settings["step"]["batch"]])):
        for value in values:
            if type(value) is not int or value < 1:
                raise ConfigError(f"{key} must be at least 1, not {value!r}")
    if settings["step"]["size"] < 32:
        raise ConfigError(f"step.size must be at least 32 pixels, not {settings['step']['size']}")
    quality = settings["quality"]
    for key in ("minutes", "ours_minutes"):
        if not quality[key] > 0:
            raise ConfigError(f"quality.{key} must be above 0, not {quality[key]}")
    if quality["points"] < 1:
        raise ConfigError(f"quality.points must be at least 1, not {quality['points']}")
    loader = settings["loader"]
    for key, least in (("size", 32), ("batch", 1)):
        if loader[key] < least:
            raise ConfigError(f"loader.{key} must be at least {least}, not {loader[key]}")
    if not loader["seconds"] > 0:
        raise ConfigError(f"loader.seconds must be above 0, not {loader['seconds']}")
    sizes = [_size(size) for size in settings["sizes"]]
    side = settings["step"]["size"]
    pictures = [Case("stylize", *size, batch) for size in sizes for batch in settings["batches"]]
    cases = [Case("step", side, side, settings["step"]["batch"])]
    cases += sorted(dict.fromkeys(pictures), key=lambda case: case.load)
    cases += [Case("startup", 512, 512, 1), Case("loader", loader["size"], loader["size"], loader["batch"])]
    cases += [Case("quality", side, side, settings["step"]["batch"])]
    # Which goes through cases of its own.
    cases += [Case("scale", side, side, 1)]
    wanted = [case for case in cases if case.part in settings["parts"]]
    if not wanted:
        raise ConfigError("sizes and batches must not be empty: there is nothing to measure")
    return wanted


def effort_of(settings: dict[str, Any]) -> Effort:
    """Return how much is to be measured.

    Raises:
        ConfigError: if a setting is out of range.
    """
    for key, least in (("rounds", 1), ("warmup", 0), ("matmul", 1), ("threads", 1)):
        value = settings[key]
        if value is not None and (type(value) is not int or value < least):
            raise ConfigError(f"{key} must be at least {least}, not {value}")
    if not settings["min_seconds"] >= 0:
        raise ConfigError(f"min_seconds must not be negative, not {settings['min_seconds']}")
    for key in ("max_seconds", "max_memory"):
        if not settings[key] > 0:
            raise ConfigError(f"{key} must be above 0, not {settings[key]}")
    names = ("rounds", "warmup", "min_seconds", "max_seconds")
    return Effort(**{name: settings[name] for name in names}, max_memory=1e9 * settings["max_memory"])


def _size(size: Any) -> tuple[int, int]:
    """Return width and height of what is written 1280x720, or 256 for a square."""
    found = re.fullmatch(r"(\d+)(?:x(\d+))?", str(size))
    width, height = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
    if not 32 <= min(width, height) <= max(width, height) <= 65_535:
        raise ConfigError(f"sizes must be such as 1280x720 or 512, from 32 to 65535 pixels, not {size}")
    return width, height
