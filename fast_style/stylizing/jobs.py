"""Jobs (input and output files) and the reports on them, for images, videos and clusters."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from fast_style.errors import FastStyleError
from fast_style.system.text import printable

if TYPE_CHECKING:
    from fast_style.archives import Member


@dataclass(frozen=True)
class Job:
    """A file to stylize.

    Attributes:
        source: an image or a video; or the images of a video, in order.
        target: path of the result. Missing folders are created.
    """

    source: "Path | Member | Sequence[Path]"
    target: Path

    def __post_init__(self) -> None:
        """Take paths as text, too."""
        if isinstance(self.source, str):
            object.__setattr__(self, "source", Path(self.source))
        object.__setattr__(self, "target", Path(self.target))


@dataclass(frozen=True)
class Report:
    """The result of a job.

    Attributes:
        status: `skipped` if the target existed.
        size: width and height of the result in pixels, if it was made.
        seconds: time spent; for a batch, the job's share.
        error: the error, in one line that names the source.
        notes: short descriptions of what the result loses.
        warning: one line on parts that could not be read.
        frames: number of frames written of a video; otherwise 0.
        length: duration of a video in seconds.
        busy: for a video, the fraction of time each stage was busy, by name.
        worker: in a cluster, the process that did the job, as `HOST:PID`.
    """

    job: Job
    status: Literal["done", "failed", "skipped"]
    size: tuple[int, int] | None = None
    seconds: float = 0.0
    error: str | None = None
    notes: Sequence[str] = ()
    warning: str | None = None
    frames: int = 0
    length: Fraction = Fraction(0)
    busy: Mapping[str, float] = field(default_factory=dict)
    worker: str = ""

    @classmethod
    def failed(cls, job: Job, error: Exception, seconds: float = 0.0) -> "Report":
        """Report an error."""
        return cls(job, "failed", None, seconds, one_line(error))


def one_line(error: BaseException) -> str:
    """Format an error in one printable line."""
    # Our messages are one line, except for odd file names, which stay visible.
    text = str(error) if isinstance(error, FastStyleError) else " ".join(str(error).split())
    return printable(text) or type(error).__name__
