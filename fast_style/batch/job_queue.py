"""Queue of pictures to stylize: checks each job, opens its file and estimates its pixels."""

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

# Pixels per byte of files whose size is unknown until they are decoded.
_PIXELS_OF_BYTE = 8
# Seconds between looks at pictures that other processes are working on.
_LOOKS_AGAIN = 0.2


@dataclass
class Opened:
    """A picture in work: opened, then read, then stylized."""

    job: Job
    file: Path | BinaryFile  # its path, or its content if it is in an archive
    pixels: int  # of the picture or its copy, whichever is larger
    contents: Contents
    taken: int = 0  # its share of the PixelBudget, in pixels
    picture: Picture | None = None  # set once read; stays None if it is processed alone
    stylized: Image.Image | Deep | None = None  # set once stylized
    seconds: float = 0.0  # spent on it
    notes: list[str] = field(default_factory=list)  # from reading

    @property
    def shape(self) -> Hashable:
        """Key of pictures that go through the network together."""
        if self.picture is None or self.picture.deep is not None:
            return self.job  # unique: processed alone
        return self.picture.size


class JobQueue:
    """Thread-safe queue of pictures, in order.

    Args:
        jobs: the pictures.
        size: long side of the copies in pixels; None: unchanged.
        overwrite: whether copies may replace files.
        stopped: event that ends all waiting.
        resume: whether other processes may be making the same copies. Pictures that one of them works on come last, and
            are made here only if it fails there.
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
        """Return the next picture, or a job with its error (None: its copy exists by now); None: no picture is left."""
        # One at a time: a compressed archive is fast only in its order.
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
        """Release the claim on a picture, whatever its result."""
        if self._claims is not None:
            self._claims.give(job.target)

    def appeared(self, job: Job) -> bool:
        """Return whether another process has made the copy since the work began."""
        return self._claims is not None and is_made(job) is not None

    def _next_job(self) -> Job | None:
        """Return the next job, at the end one of those left to other processes."""
        job = next(self._jobs, None)
        while job is None and self._later and not self._stopped.wait(_LOOKS_AGAIN):
            self._jobs, self._later = iter(self._later), []
            job = next(self._jobs, None)
        return job

    def require_free(self, target: Path) -> None:
        """Check that a copy replaces no file without `overwrite`.

        Raises:
            ImageError: if it would.
        """
        if not self._overwrite:
            require_free(target)

    def _prepare(self, job: Job) -> None:
        """Check, before the work, that the copy can be written."""
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
        except OSError:  # reading it reports the error
            return 0


def tidy(jobs: Iterable[Job]) -> None:
    """Remove temporary files of killed runs beside the copies; younger ones may be in use."""
    for folder in {job.target.parent for job in jobs}:
        remove_leftovers(folder, older_than=3600)
        remove_stale_locks(folder)


def is_made(job: Job) -> bool | None:
    """Return whether a copy exists: True, False if it is older than its picture, None if there is none."""
    if isinstance(job.source, Member) and job.source.refused:
        return None
    try:
        written = job.target.stat().st_mtime
        sources = [job.source] if isinstance(job.source, Path | Member) else job.source
        return all(
            written >= (source.path if isinstance(source, Member) else source).stat().st_mtime for source in sources
        )
    except OSError:  # reading or writing reports the error
        return None
