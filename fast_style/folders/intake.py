"""Which picture is next, whether it can be read and its copy be written, and how much memory that takes."""

import errno
import math
import os
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from fast_style.errors import ImageError
from fast_style.files import sweep
from fast_style.folders.jobs import Job, Member
from fast_style.images.copies import Original, read_original, size_in_header
from fast_style.images.large import picture_size
from fast_style.images.picture import BinaryFile

# Of formats that do not tell their size before they are read whole.
_PIXELS_OF_BYTE = 8


@dataclass(frozen=True)
class Opened:
    """A picture that is next.

    Attributes:
        job: what is to be done.
        file: its path, or its content if it is in an archive.
        pixels: how many it has or, if that is more, its copy.
    """

    job: Job
    file: Path | BinaryFile
    pixels: int

    def read(self, size: int | None) -> Original:
        """Read it. See `read_original`.

        Raises:
            ImageError: if it is not a readable picture.
        """
        return read_original(self.file, self.job.target, size, str(self.job.source))


class Intake:
    """Hands out pictures in their order, to any thread.

    Args:
        jobs: the pictures.
        size: long side of the copies, if it is set.
        overwrite: whether copies may replace files.
    """

    def __init__(self, jobs: Iterable[Job], size: int | None, overwrite: bool) -> None:
        jobs = list(jobs)
        self._jobs = iter(jobs)
        self._size, self._overwrite = size, overwrite
        self._inputs = {job.source.resolve() for job in jobs if isinstance(job.source, Path)} if overwrite else set()
        self._targets: set[Path] = set()
        self._turn = threading.Lock()
        for folder in {job.target.parent for job in jobs}:
            # What was left by runs that were killed; younger ones may be at work.
            sweep(folder, older_than=3600)

    def next(self) -> Opened | tuple[Job, ImageError] | None:
        """Return the next picture, or what is wrong with it; None: there is none."""
        # One after the other, because a compressed archive is fast only in its order.
        with self._turn:
            job = next(self._jobs, None)
            if job is None:
                return None
            try:
                file = job.source if isinstance(job.source, Path) else job.source.open()
                self._prepare(job.target)
            except ImageError as error:
                return job, error
        return Opened(job, file, self._pixels(file, str(job.source)))

    def require_free(self, target: Path) -> None:
        """Make sure that a copy replaces no file that it must not.

        Raises:
            ImageError: if it would.
        """
        # A link that leads nowhere is a name that exists, too.
        if not self._overwrite and os.path.lexists(target):
            raise ImageError(f"{target}: exists already; choose overwrite or resume, or give another output")

    def _prepare(self, target: Path) -> None:
        """Make sure, before the work and not after it, that a copy can be written."""
        if target in self._targets:
            raise ImageError(f"{target}: is the copy of another picture; take them into folders of their own")
        self._targets.add(target)
        if target.resolve() in self._inputs:
            raise ImageError(f"{target}: is one of the inputs; give another output")
        self.require_free(target)
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


def is_made(job: Job) -> bool | None:
    """Return whether there is a copy: True, or False if it was written before its picture; None: there is none."""
    if isinstance(job.source, Member) and job.source.refused:
        return None
    try:
        written = job.target.stat().st_mtime
        source = job.source.path if isinstance(job.source, Member) else job.source
        return written >= source.stat().st_mtime
    except OSError:  # What is wrong is said when it is read or written.
        return None
