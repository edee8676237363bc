"""A job: what is read and what is written; and the report on what became of it. Of pictures, videos and clusters."""

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
    """A file to be stylized into another.

    Attributes:
        source: a picture or a video; or the pictures that are to become a video, in order.
        target: where the result goes. Folders that are missing are made.
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
    """What became of a job.

    Attributes:
        job: the job.
        status: `skipped`, if there was a result.
        size: width and height of the result in pixels, if it was made.
        seconds: how long it was worked on; of a batch, its share.
        error: what is wrong, in one line that names the source.
        notes: what the result does not hold of the source, each in a few words.
        warning: what could not be read of it, in a line.
        frames: of a video, how many were written; 0: it is none, or was not made.
        length: of a video, when the last of them ends, in seconds.
        busy: of a video, the share of the time in which each stage worked, by its name.
        worker: of a cluster, the process that did it, as `HOST:PID`.
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
    """Return what an error says, on one line that any terminal and file takes."""
    # Ours are one line, but for what is strange in names of files, which is to be seen.
    text = str(error) if isinstance(error, FastStyleError) else " ".join(str(error).split())
    return printable(text) or type(error).__name__
