"""What can go wrong through no fault of the program.

    FastStyleError
    ├── ConfigError      a setting that does not fit, as ValueError: the message names its parameter
    ├── ImageError       a picture that cannot be read or written
    │   └── ArrayError   an array or a tensor that is no picture, as ValueError
    ├── VideoError       a video that cannot be read or written
    ├── CameraError      a camera, or what its pictures are to be shown on, that cannot be used
    ├── DataError        a source of content pictures with nothing usable in it
    ├── CheckpointError  a network's or a run's file that is missing, damaged or foreign
    ├── WeightsError     weights of the loss network that cannot be had
    └── TrainingError    a run that cannot go on

Each message is one line: the thing, the reason and the remedy. The command line puts the key of its
configuration before it, prints it without a traceback and exits with status 1.

`Interrupted` stands apart: nothing is wrong when someone stops a run.
"""

import signal
from collections.abc import Sequence


class FastStyleError(Exception):
    """The base of every error that this package raises on purpose."""


class ConfigError(FastStyleError, ValueError):
    """A setting has the wrong type, range or name. Also a ValueError."""


class ImageError(FastStyleError):
    """A picture cannot be read or written."""


class ArrayError(ImageError, ValueError):
    """An array or a tensor is no picture: its shape, type or values do not fit. Also a ValueError."""


class VideoError(FastStyleError):
    """A video cannot be read or written."""


class CameraError(FastStyleError):
    """A camera, or what its pictures are to be shown on, cannot be used."""


class DataError(FastStyleError):
    """A source of content pictures cannot be used."""


class CheckpointError(FastStyleError):
    """A network file, or what a run goes on from, is missing, damaged, or not one of ours."""


class WeightsError(FastStyleError):
    """Weights of the loss network cannot be had, or are not what they claim to be."""


class TrainingError(FastStyleError):
    """A run cannot go on, for instance because a loss is no longer finite."""


class Interrupted(BaseException):
    """A signal has stopped a run. Like KeyboardInterrupt no Exception: only the program's end should catch it.

    Attributes:
        signal: which.
        step: the last step that was saved, None if there is none.
    """

    def __init__(self, number: int, step: int | None) -> None:
        self.signal = signal.Signals(number)
        self.step = step
        saved = "nothing saved" if step is None else f"step {step} saved"
        super().__init__(f"stopped by {self.signal.name}, {saved}")

    @property
    def status(self) -> int:
        """The exit status that shells expect: 143 for SIGTERM, 130 for SIGINT."""
        return 128 + self.signal


def require_choice(name: str, value: object, choices: Sequence[object]) -> None:
    """Make sure that a setting is one of its choices.

    Raises:
        ConfigError: if it is not; the message lists them.
    """
    if value not in choices:
        raise ConfigError(f"{name} must be one of {', '.join(map(str, choices))}, not {value!r}")
