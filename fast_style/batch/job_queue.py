"""Which picture is next, whether it can be read and its copy be written, and how much memory that takes."""

import errno
import math
import os
import threading
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from fast_style.archives import Member
from fast_style.errors import ImageError
from fast_style.images.deep import Deep
from fast_style.images.opening import Contents, contents_of, picture_size, size_in_header
from fast_style.images.picture import Picture, require_free
from fast_style.stylizing.jobs import Job
from fast_style.system.file_locks import FileLocks, remove_stale_locks
from fast_style.system.files import BinaryFile, remove_leftovers

# Of formats that do not tell their size before they are read whole.
_PIXELS_OF_BYTE = 8
# How long to wait for what other processes are at, in seconds, until it is looked at again.
_LOOKS_AGAIN = 0.2


@dataclass
class Opened:
    """A picture under way: opened, then read, then stylized.

    Attributes:
        job: what is to be done.
        file: its path, or its content if it is in an archive.
        pixels: how many it has or, if that is more, its copy.
        contents: what pictures there are in the file.
        taken: what it has of the PixelBudget.
        picture: once it is read; None also if it is worked on beside no other.
        stylized: once it is made.
        seconds: how long it has been worked on.
        notes: what there is to say of it as it was read.
    """

    job: Job
    file: Path | BinaryFile
    pixels: int
    contents: Contents
    taken: int = 0
    picture: Picture | None = None
    stylized: Image.Image | Deep | None = None
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)

    @property
    def shape(self) -> Hashable:
        """What pictures that go through the network together have alike."""
        if self.picture is None or self.picture.deep is not None:
            return self.job  # Nothing else has it.
        return self.picture.size


class JobQueue:
    """Hands out pictures in their order, to any thread.

    Args:
        jobs: the pictures.
        size: long side of the copies, if it is set.
        overwrite: whether copies may replace files.
        stopped: when it is set, nothing is waited for.
        resume: whether other processes may be making the same copies. What one of them is at comes last, and is made
            here only if it has come to nothing there.
    """

    def __init__(
        self, jobs: Iterable[Job], size: int | None, overwrite: bool, stopped: threading.Event, resume: bool = False
    ) -> None:
        jobs = list(jobs)
        self._jobs, self._later = iter(jobs), list[Job]()
        self._size, self._overwrite, self._stopped = size, overwrite, stopped
        self._claims = FileLocks() if resume else None
        self._inputs = {job.source.resolve() for job in jobs if isinstance(job.source, Path)} if overwrite else set()
        self._targets: dict[Path, Job] = {}
        self._turn = threading.Lock()

    def next(self) -> Opened | tuple[Job, ImageError | None] | None:
        """Return the next picture, or what is wrong with it, or that it has a copy by now; None: there is none."""
        # One after the other, because a compressed archive is fast only in its order.
        with self._turn:
            while True:
                job = self._next_job()
                if job is None:
                    return None
                try:
                    self._prepare(job)
                    if self._claims is not None and not self._claims.take(job.target):
                        self._later.append(job)
                        continue
                    if self.appeared(job):
                        return job, None
                    self.require_free(job.target)
                    assert isinstance(job.source, Path | Member)
                    file = job.source if isinstance(job.source, Path) else job.source.open()
                except ImageError as error:
                    return job, error
                break
        name = str(job.source)
        return Opened(job, file, self._pixels(file, name), contents_of(file, name))

    def done_with(self, job: Job) -> None:
        """Let others make a picture, whatever has become of it."""
        if self._claims is not None:
            self._claims.give(job.target)

    def appeared(self, job: Job) -> bool:
        """Return whether a copy was made by another process since the work began."""
        return self._claims is not None and is_made(job) is not None

    def _next_job(self) -> Job | None:
        """Return the next, of those that others were at when there is no other."""
        job = next(self._jobs, None)
        while job is None and self._later and not self._stopped.wait(_LOOKS_AGAIN):
            self._jobs, self._later = iter(self._later), []
            job = next(self._jobs, None)
        return job

    def require_free(self, target: Path) -> None:
        """Make sure that a copy replaces no file that it must not.

        Raises:
            ImageError: if it would.
        """
        if not self._overwrite:
            require_free(target)

    def _prepare(self, job: Job) -> None:
        """Make sure, before the work and not after it, that a copy can be written."""
        target = job.target
        if self._targets.setdefault(target, job) is not job:
            raise ImageError(f"{target}: is the copy of another picture; take them into folders of their own")
        if target.resolve() in self._inputs:
            raise ImageError(f"{target}: is one of the inputs; give another output")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            if not os.access(target.parent, os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        except OSError as error:
            raise ImageError(f"{target}: cannot be written ({error.strerror})") from error

    def _pixels(self, file: Path | BinaryFile, name: str) -> int:
        size = picture_size(file) if isinstance(file, Path) else size_in_header(file, name)
        if size is not None:
            scale = (self._size or 0) / max(size)
            return math.ceil(size[0] * size[1] * max(1, scale) ** 2)
        try:
            if isinstance(file, Path):
                return _PIXELS_OF_BYTE * file.stat().st_size
            length = file.seek(0, os.SEEK_END)
            file.seek(0)
            return _PIXELS_OF_BYTE * length
        except OSError:  # What is wrong with it is said when it is read.
            return 0


def tidy(jobs: Iterable[Job]) -> None:
    """Remove what runs that were killed have left where copies go; younger ones may be at work."""
    for folder in {job.target.parent for job in jobs}:
        remove_leftovers(folder, older_than=3600)
        remove_stale_locks(folder)


def is_made(job: Job) -> bool | None:
    """Return whether there is a copy: True, or False if it was written before its picture; None: there is none."""
    if isinstance(job.source, Member) and job.source.refused:
        return None
    try:
        written = job.target.stat().st_mtime
        sources = [job.source] if isinstance(job.source, Path | Member) else job.source
        return all(
            written >= (source.path if isinstance(source, Member) else source).stat().st_mtime for source in sources
        )
    except OSError:  # What is wrong is said when it is read or written.
        return None
