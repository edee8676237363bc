"""The work on many pictures: reading, network and writing overlap, and a picture that fails is told and no more."""

import os
import queue
import threading
import time
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fast_style.batch.alone import Alone, StoppedError, holds_all, left_out
from fast_style.batch.intake import Intake, Opened, is_made, tidy
from fast_style.batch.jobs import Job, Report
from fast_style.batch.waiting import Room, Waiting
from fast_style.batch.workers import Crew
from fast_style.errors import ConfigError, FastStyleError, ImageError, VideoError
from fast_style.images.copies import Original, require_size, size_in_header
from fast_style.stylizing.controls import Controls
from fast_style.stylizing.stylizer import Stylizer
from fast_style.system.files import DISK_FULL
from fast_style.system.memory import free_memory, is_out_of_memory
from fast_style.system.text import printable

# Of a batch, unless a number is set.
_MOST_AT_ONCE = 32
# What a pixel takes in memory while it is read, waits and is written; and how much of the memory all may take.
_BYTES_OF_PIXEL, _PART, _MOST_BYTES = 16, 1 / 8, 2**30
_MOST_UNDER_WAY = 64
_MOST_THREADS = 8


@dataclass(frozen=True)
class _Picture:
    """One under way. Without an original it is too large to be so beside others, or several in one file."""

    job: Job
    room: int
    original: Original | None
    seconds: float
    opened: Opened
    stylized: Any = None

    @property
    def shape(self) -> Hashable:
        if self.original is None or self.original.picture.deep is not None:
            return self.job  # Nothing else has it.
        return self.original.size


class FolderWork:
    """Stylizes many pictures, and is an iterator of a Report for each, in the order in which they are finished.

    A picture that fails is reported, and the others go on; but a full disk stops the work. Of the memory, what is under
    way takes an eighth at the most, and no more than 1 GiB; a picture that does not fit is under way alone.

    Args:
        stylizer: what stylizes.
        jobs: the pictures.
        controls: how.
        size: long side of the copies in pixels; nothing: that of each picture.
        batch: how many pictures of one shape the network makes at once, or `auto`: as many as pay, which are few on a
            processor, and one with what is compiled for each shape.
        overwrite: whether copies replace files; otherwise a file that is there is an error.
        resume: whether pictures are skipped that have a copy. Copies are only ever there whole. Several processes may
            do that with the same pictures at a time: each is made by one of them, and skipped by the others.
        temporal: of animations, how much of the flicker to take away; see `Smoother`.

    Attributes:
        total: how many pictures are to be made: all but those that are skipped.
        done: how many are.
        failed: how many cannot be.
        skipped: how many were there.
        older: how many of those were written before their pictures.
        disk_full: whether a full disk has stopped the work.

    Raises:
        ConfigError: if a setting does not fit.
    """

    def __init__(
        self,
        stylizer: Stylizer,
        jobs: Sequence[Job],
        controls: Controls | None = None,
        *,
        size: int | None = None,
        batch: int | str = "auto",
        overwrite: bool = False,
        resume: bool = False,
        temporal: float = 0.5,
    ) -> None:
        if batch != "auto" and (type(batch) is not int or batch < 1):
            raise ConfigError(f"batch must be auto or a whole number of pictures, such as 8, not {batch!r}")
        if overwrite and resume:
            raise ConfigError("resume keeps the copies that are there, and overwrite replaces them: give one of them")
        require_size(size)
        self._stylizer, self._controls = stylizer, controls or Controls()
        self._controls.rows(stylizer.styles)
        self._size, self._batch = size, batch
        self._reports: queue.SimpleQueue[Report | None] = queue.SimpleQueue()
        made = {job: is_made(job) for job in jobs} if resume else {}
        for job in made:
            if made[job] is not None:
                self._reports.put(Report(job, "skipped"))
        left = [job for job in jobs if made.get(job) is None]
        self.total, self.done, self.failed, self.disk_full = len(left), 0, 0, False
        self.skipped, self.older = len(jobs) - len(left), list(made.values()).count(False)

        memory = stylizer.giants.memory or free_memory()
        self._room = Room(int(min(_MOST_BYTES, memory * _PART)) // _BYTES_OF_PIXEL, _MOST_UNDER_WAY)
        tidy(jobs)
        self._stopped = threading.Event()
        self._intake = Intake(left, size, overwrite, self._stopped, resume)
        self._alone = Alone(stylizer, self._controls, size, temporal, self._stopped)
        self._read: queue.SimpleQueue[_Picture | None] = queue.SimpleQueue()
        self._made: queue.SimpleQueue[_Picture | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._crew = Crew(self._reports, self.stop)
        self._begun = False

    def __iter__(self) -> "FolderWork":
        return self

    def __next__(self) -> Report:
        if not self._begun:
            self._begin()
        return next(self._crew)

    def __enter__(self) -> "FolderWork":
        return self

    def __exit__(self, *error: object) -> None:
        # Who has stopped it waits for the reports, or does not want to wait.
        if not self._stopped.is_set():
            self.stop()
            self._crew.join()

    def stop(self) -> None:
        """Begin nothing new. What the network has begun is finished, and reported to whoever goes on iterating."""
        self._stopped.set()
        self._room.wake()

    def _begin(self) -> None:
        self._begun = True
        number = max(1, min(_MOST_THREADS, (os.cpu_count() or 2) // 2))
        self._crew.add(self._read_pictures, number, self._read, 1)
        self._crew.add(self._stylize_pictures, 1, self._made, number)
        self._crew.add(self._write_pictures, number, self._reports, 1)

    def _read_pictures(self) -> None:
        while not self._stopped.is_set():
            began = time.perf_counter()
            opened = self._intake.next()
            if opened is None:
                return
            if not isinstance(opened, Opened):
                job, wrong = opened
                if wrong is None:
                    self._skip(job)
                else:
                    self._fail(job, wrong, time.perf_counter() - began)
                continue
            began -= time.perf_counter()
            room = self._room.take(opened.pixels, self._stopped)
            if self._stopped.is_set():
                self._intake.done_with(opened.job)
                return
            began += time.perf_counter()
            alone = opened.pixels > self._room.pixels and isinstance(opened.file, Path)
            alone |= holds_all(opened) is not None
            try:
                original = None if alone else opened.read(self._size)
            except ImageError as error:
                self._fail(opened.job, error, time.perf_counter() - began, room)
                continue
            self._read.put(_Picture(opened.job, room, original, time.perf_counter() - began, opened))

    def _stylize_pictures(self) -> None:
        waiting: Waiting[_Picture] = Waiting()
        more = True
        while more or waiting:
            # All that have come by now; if none has, until one does.
            while more and not (waiting and self._read.empty()):
                picture = self._read.get()
                more = picture is not None
                if picture is not None:
                    waiting.add(picture.shape, picture)
            if self._stopped.is_set():
                for dropped in waiting.clear():
                    self._drop(dropped)
            if waiting:
                self._stylize(waiting.take(self._most))

    def _most(self, shape: Hashable) -> int:
        """Return how many pictures of a shape are a batch."""
        if not isinstance(shape, tuple):
            return 1
        if isinstance(self._batch, int):
            return self._batch
        width, height = shape
        pay: int = self._stylizer.backend.batch_pixels // (width * height)
        return max(1, min(_MOST_AT_ONCE, pay))

    def _stylize(self, pictures: list[_Picture]) -> None:
        began = time.perf_counter()
        originals = [picture.original for picture in pictures if picture.original is not None]
        job, room = pictures[0].job, pictures[0].room
        try:
            if not originals:
                if self._intake.appeared(job):
                    self._skip(job, room)
                    return
                self._intake.require_free(job.target)
                notes = self._alone(pictures[0].opened)
                seconds = pictures[0].seconds + time.perf_counter() - began
                self._report(Report(job, "done", size_in_header(job.target), seconds, notes=notes), room)
                return
            stylized = self._stylizer.stylize_originals(originals, self._controls)
        except StoppedError:
            self._drop(pictures[0])
            return
        except (ImageError, VideoError, MemoryError, RuntimeError) as error:
            if len(pictures) > 1:
                for picture in pictures:
                    self._stylize([picture])
                return
            if not isinstance(error, ImageError | VideoError):
                if not is_out_of_memory(error):
                    raise
                error = ImageError("not enough memory; try a smaller size")
            if originals:
                error = ImageError(f"{job.source}: {error}")
            self._fail(job, error, pictures[0].seconds + time.perf_counter() - began, room)
            return
        each = (time.perf_counter() - began) / len(pictures)
        for picture, copy in zip(pictures, stylized, strict=True):
            self._made.put(replace(picture, stylized=copy, seconds=picture.seconds + each))

    def _write_pictures(self) -> None:
        while (picture := self._made.get()) is not None:
            if self.disk_full:
                self._drop(picture)
                continue
            assert picture.original is not None
            began = time.perf_counter()
            try:
                if self._intake.appeared(picture.job):
                    self._skip(picture.job, picture.room)
                    continue
                self._intake.require_free(picture.job.target)
                picture.original.write(picture.stylized, picture.job.target)
            except ImageError as error:
                self._fail(picture.job, error, picture.seconds + time.perf_counter() - began, picture.room)
                continue
            seconds = picture.seconds + time.perf_counter() - began
            notes = left_out(picture.opened)
            self._report(Report(picture.job, "done", picture.original.size, seconds, notes=notes), picture.room)

    def _skip(self, job: Job, room: int = 0) -> None:
        with self._lock:
            self.skipped += 1
            self.total -= 1
        self._report(Report(job, "skipped"), room)

    def _drop(self, picture: _Picture) -> None:
        self._room.give(picture.room)
        self._intake.done_with(picture.job)

    def _fail(self, job: Job, error: FastStyleError, seconds: float, room: int = 0) -> None:
        # What follows would fail likewise, each after all its work.
        if isinstance(error.__cause__, OSError) and error.__cause__.errno in DISK_FULL:
            self.disk_full = True
            self.stop()
        self._report(Report(job, "failed", None, seconds, printable(str(error))), room)

    def _report(self, report: Report, room: int) -> None:
        self._room.give(room)
        self._intake.done_with(report.job)
        with self._lock:
            self.done += report.status == "done"
            self.failed += report.error is not None
        self._reports.put(report)
