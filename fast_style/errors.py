"""Errors that this package raises on purpose.

    FastStyleError
    ├── ConfigError      an invalid setting, also a ValueError: the message names the parameter
    ├── ImageError       a picture that cannot be read or written
    │   └── ArrayError   an array or tensor that is no picture, also a ValueError
    ├── VideoError       a video that cannot be read or written
    ├── CameraError      a camera, or an output for its images, that cannot be used
    ├── DataError        a source of training images without usable images
    ├── CheckpointError  a network file or checkpoint that is missing, damaged or foreign
    ├── WeightsError     weights of the loss network that are missing or wrong
    └── TrainingError    a run that cannot go on

Each message is one line: subject, reason and remedy. The command line puts the configuration key before it, prints it
without a traceback and exits with status 1.

`Interrupted` is separate: stopping a run is no error.
"""

import signal
from collections.abc import Sequence


class FastStyleError(Exception):
    """Base class of all errors that this package raises on purpose."""


class ConfigError(FastStyleError, ValueError):
    """A setting has an invalid type, range or name. Also a ValueError."""


class ImageError(FastStyleError):
    """A picture cannot be read or written."""


class ArrayError(ImageError, ValueError):
    """An array or tensor is no picture: invalid shape, type or values. Also a ValueError."""


class VideoError(FastStyleError):
    """A video cannot be read or written."""


class CameraError(FastStyleError):
    """A camera, or an output for its images, cannot be used."""


class DataError(FastStyleError):
    """A source of training images cannot be used."""


class CheckpointError(FastStyleError):
    """A network file or a checkpoint is missing, damaged, or was not written by this package."""


class WeightsError(FastStyleError):
    """Weights of the loss network are missing, or are not those of its architecture."""


class TrainingError(FastStyleError):
    """A run cannot go on, for instance because a loss is not finite."""


class Interrupted(BaseException):
    """A signal stopped a run. Like KeyboardInterrupt no Exception: only the program's end should catch it.

    Attributes:
        signal: the signal.
        step: the last saved step; None: nothing saved.
    """

    def __init__(self, number: int, step: int | None) -> None:
        self.signal = signal.Signals(number)
        self.step = step
        saved = "nothing saved" if step is None else f"step {step} saved"
        super().__init__(f"stopped by {self.signal.name}, {saved}")

    @property
    def status(self) -> int:
        """Exit status by the shells' convention: 143 for SIGTERM, 130 for SIGINT."""
        return 128 + self.signal


def require_choice(name: str, value: object, choices: Sequence[object]) -> None:
    """Check that a setting is one of its choices.

    Raises:
        ConfigError: if not; the message lists them.
    """
    if value not in choices:
        raise ConfigError(f"{name} must be one of {', '.join(map(str, choices))}, not {value!r}")
