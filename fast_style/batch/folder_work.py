"""Many pictures stylized: reading, network and writing overlap, and one that fails is reported and no more."""

import os
import threading
import time
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Unpack

from fast_style.batch.job_queue import JobQueue, Opened, is_made, tidy
from fast_style.batch.queues import PixelBudget, ShapeQueue
from fast_style.errors import ConfigError, FastStyleError, ImageError, VideoError
from fast_style.images.formats import ANIMATIONS
from fast_style.images.notes import gathered
from fast_style.images.opening import is_paged, size_in_header
from fast_style.images.picture import read_original, require_size
from fast_style.stylizing.controls import Controls, Settings, Style, chosen_controls
from fast_style.stylizing.jobs import Job, Report
from fast_style.stylizing.stylizer import Stylizer
from fast_style.system.files import DISK_FULL
from fast_style.system.memory import free_memory, is_out_of_memory
from fast_style.system.pipeline import Inbox, Pipeline
from fast_style.video.work import StoppedError, stylize_animation

# Of a batch, unless a number is set.
_MOST_AT_ONCE = 32
# What a pixel takes in memory while it is read, waits and is written; and how much of the memory all may take.
_BYTES_OF_PIXEL, _PART, _MOST_BYTES = 16, 1 / 8, 2**30
_MOST_UNDER_WAY = 64
_MOST_THREADS = 8


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
        temporal: of animations, how much of the flicker to take away; see `stylize_video`.

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
        temporal: float | None = None,
    ) -> None:
        if batch != "auto" and (type(batch) is not int or batch < 1):
            raise ConfigError(f"batch must be auto or a whole number of pictures, such as 8, not {batch!r}")
        if overwrite and resume:
            raise ConfigError("resume keeps the copies that are there, and overwrite replaces them: give one of them")
        require_size(size)
        self._stylizer, self._controls = stylizer, controls or Controls()
        self._controls.rows(stylizer.styles)
        self._size, self._batch, self._temporal = size, batch, temporal
        self._pipeline: Pipeline[Report] = Pipeline(on_error=self.stop)
        self._stopped = self._pipeline.stopped
        made = {job: is_made(job) for job in jobs} if resume else {}
        for job in made:
            if made[job] is not None:
                self._pipeline.emit(Report(job, "skipped"))
        left = [job for job in jobs if made.get(job) is None]
        self.total, self.done, self.failed, self.disk_full = len(left), 0, 0, False
        self.skipped, self.older = len(jobs) - len(left), list(made.values()).count(False)

        self._lock = threading.Lock()
        memory = stylizer.budget.limit or free_memory()
        self._budget = PixelBudget(int(min(_MOST_BYTES, memory * _PART)) // _BYTES_OF_PIXEL, _MOST_UNDER_WAY)
        tidy(jobs)
        self._jobs = JobQueue(left, size, overwrite, self._stopped, resume)
        number = max(1, min(_MOST_THREADS, (os.cpu_count() or 2) // 2))
        self._pipeline.stage("read", self._read, number)
        self._pipeline.stage("network", self._stylize)
        self._pipeline.stage("write", self._write, number)

    def __iter__(self) -> "FolderWork":
        return self

    def __next__(self) -> Report:
        return next(self._pipeline)

    def __enter__(self) -> "FolderWork":
        return self

    def __exit__(self, *error: object) -> None:
        # Who has stopped it waits for the reports, or does not want to wait.
        if not self._stopped.is_set():
            self.stop()
            self._pipeline.wait()

    def stop(self) -> None:
        """Begin nothing new. What the network has begun is finished, and reported to whoever goes on iterating."""
        self._pipeline.stop()
        self._budget.wake()

    def _read(self, nothing: Inbox[Any]) -> Iterator[Opened]:
        while not self._stopped.is_set():
            began = time.perf_counter()
            opened = self._jobs.next()
            if opened is None:
                return
            if not isinstance(opened, Opened):
                job, wrong = opened
                if wrong is None:
                    self._skip(job)
                else:
                    self._fail(job, wrong, time.perf_counter() - began)
                continue
            opened.seconds += time.perf_counter() - began
            opened.taken = self._budget.take(opened.pixels, self._stopped)
            if self._stopped.is_set():
                self._jobs.done_with(opened.job)
                return
            began = time.perf_counter()
            too_large = opened.pixels > self._budget.pixels and isinstance(opened.file, Path)
            try:
                if not (too_large or _holds_all(opened)):
                    name = str(opened.job.source)
                    with gathered() as opened.notes:
                        opened.picture = read_original(opened.file, opened.job.target, self._size, name)
            except ImageError as error:
                self._fail(opened.job, error, opened.seconds + time.perf_counter() - began, opened.taken)
                continue
            opened.seconds += time.perf_counter() - began
            yield opened

    def _stylize(self, inbox: Inbox[Opened]) -> Iterator[Opened]:
        waiting: ShapeQueue[Opened] = ShapeQueue()
        more = True
        while more or waiting:
            # All that have come by now; if none has, until one does.
            come = inbox.ready()
            if not (come or waiting):
                come = [opened for opened in [next(inbox, None)] if opened is not None]
                more = bool(come)
            for opened in come:
                waiting.add(opened.shape, opened)
            if self._stopped.is_set():
                for opened in waiting.clear():
                    self._drop(opened)
            if waiting:
                yield from self._stylized(waiting.take(self._most))

    def _most(self, shape: Hashable) -> int:
        """Return how many pictures of a shape are a batch."""
        if not isinstance(shape, tuple):
            return 1
        if isinstance(self._batch, int):
            return self._batch
        width, height = shape
        pay: int = self._stylizer.backend.batch_pixels // (width * height)
        return max(1, min(_MOST_AT_ONCE, pay))

    def _stylized(self, batch: list[Opened]) -> Iterator[Opened]:
        began = time.perf_counter()
        pictures = [opened.picture for opened in batch if opened.picture is not None]
        first = batch[0]
        try:
            if not pictures:
                self._stylize_alone(first, began)
                return
            stylized = self._stylizer.stylize_pictures(pictures, self._controls)
        except StoppedError:
            self._drop(first)
            return
        except (ImageError, VideoError, MemoryError, RuntimeError) as error:
            if len(batch) > 1:
                for opened in batch:
                    yield from self._stylized([opened])
                return
            if not isinstance(error, ImageError | VideoError):
                if not is_out_of_memory(error):
                    raise
                error = ImageError("not enough memory; try a smaller size")
            if pictures:
                error = ImageError(f"{first.job.source}: {error}")
            self._fail(first.job, error, first.seconds + time.perf_counter() - began, first.taken)
            return
        each = (time.perf_counter() - began) / len(batch)
        for opened, made in zip(batch, stylized, strict=True):
            opened.stylized, opened.seconds = made, opened.seconds + each
            yield opened

    def _stylize_alone(self, opened: Opened, began: float) -> None:
        """Make the copy of a picture that is worked on beside no other: too large for that, or several in one file.

        Raises:
            ImageError: if it cannot be read or written.
            VideoError: likewise, of an animation.
            StoppedError: if it was stopped.
        """
        job, source, name = opened.job, opened.file, str(opened.job.source)
        if self._jobs.appeared(job):
            self._skip(job, opened.taken)
            return
        self._jobs.require_free(job.target)
        match _holds_all(opened):
            case "frames":
                how: dict[str, Any] = {"size": self._size, "temporal": self._temporal, "stopped": self._stopped}
                made = stylize_animation(self._stylizer, source, job.target, self._controls, name=name, **how)
                warning = [made.warning.removeprefix(f"{name}: ")] if made.warning else []
                made = replace(made, notes=[*made.notes, *warning], warning=None)
            case "pages":
                how = {"size": self._size, "name": name, "stop": self._require_going_on}
                with gathered() as told:
                    notes = self._stylizer.stylize_pages(source, job.target, opened.contents, self._controls, **how)
                made = Report(job, "done", size_in_header(job.target), notes=[*notes, *told])
            case None:
                assert isinstance(source, Path)
                made = self._stylizer.stylize_file(source, job.target, size=self._size, controls=self._controls)
        seconds = opened.seconds + time.perf_counter() - began
        self._report(replace(made, job=job, seconds=seconds), opened.taken)

    def _require_going_on(self) -> None:
        if self._stopped.is_set():
            raise StoppedError

    def _write(self, inbox: Inbox[Opened]) -> Iterator[Report]:
        for opened in inbox:
            self._write_one(opened)
        yield from ()  # Reports go out by themselves, as those of the other stages.

    def _write_one(self, opened: Opened) -> None:
        if self.disk_full:
            self._drop(opened)
            return
        assert opened.picture is not None
        assert opened.stylized is not None
        job, began = opened.job, time.perf_counter()
        try:
            if self._jobs.appeared(job):
                self._skip(job, opened.taken)
                return
            self._jobs.require_free(job.target)
            with gathered() as told:
                opened.picture.write_copy(opened.stylized, job.target)
        except ImageError as error:
            self._fail(job, error, opened.seconds + time.perf_counter() - began, opened.taken)
            return
        seconds = opened.seconds + time.perf_counter() - began
        notes = [*opened.contents.left_out(job.target), *opened.notes, *told]
        self._report(Report(job, "done", opened.picture.size, seconds, notes=notes), opened.taken)

    def _skip(self, job: Job, taken: int = 0) -> None:
        with self._lock:
            self.skipped += 1
            self.total -= 1
        self._report(Report(job, "skipped"), taken)

    def _drop(self, opened: Opened) -> None:
        self._budget.give(opened.taken)
        self._jobs.done_with(opened.job)

    def _fail(self, job: Job, error: FastStyleError, seconds: float, taken: int = 0) -> None:
        # What follows would fail likewise, each after all its work.
        if isinstance(error.__cause__, OSError) and error.__cause__.errno in DISK_FULL:
            self.disk_full = True
            self.stop()
        self._report(Report.failed(job, error, seconds), taken)

    def _report(self, report: Report, taken: int) -> None:
        self._budget.give(taken)
        self._jobs.done_with(report.job)
        with self._lock:
            self.done += report.status == "done"
            self.failed += report.error is not None
        self._pipeline.emit(report)


def stylize_files(
    stylizer: Stylizer,
    jobs: Sequence[Job],
    style: Style | None = None,
    *,
    size: int | None = None,
    batch: int | str = "auto",
    overwrite: bool = False,
    resume: bool = False,
    controls: Controls | None = None,
    **settings: Unpack[Settings],
) -> FolderWork:
    """Stylize many files into others, and iterate over what becomes of them.

    With `with`, the work stops where the loop is left before its end, as by an error; without it all is made.

    Args:
        stylizer: what stylizes.
        jobs: the pictures; `folder_jobs` makes them of a folder or an archive.
        style: as for a call of `stylizer`.
        size: as for `FolderWork`, which see for those that follow.
        batch: likewise.
        overwrite: likewise.
        resume: likewise.
        controls: as for a call of `stylizer`.
        settings: likewise.

    Returns:
        What yields a report for each job, in the order in which they end.

    Raises:
        ConfigError: if a setting does not fit.
        ImageError: if that of a mask is not a readable picture.

    Example:
        >>> from fast_style.batch import folder_jobs
        >>> stylizer = fast_style.load("great_wave", device="cpu")
        >>> with stylize_files(stylizer, folder_jobs("photos", "stylized"), "great_wave") as reports:
        ...     for report in reports:
        ...         print(report.job.target, report.error or report.status)
        stylized/a.jpg done
    """
    if wrong := next((job for job in jobs if not isinstance(job, Job)), None):
        raise ConfigError(f"jobs must be Job(source, target), such as folder_jobs makes, not {wrong!r}")
    chosen = chosen_controls(style, controls, settings)
    return FolderWork(stylizer, jobs, chosen, size=size, batch=batch, overwrite=overwrite, resume=resume)


def _holds_all(opened: Opened) -> Literal["frames", "pages"] | None:
    """Return as what the copy holds all of several pictures; None: it holds one, or there is no more."""
    source, target = Path(str(opened.job.source)), opened.job.target
    if opened.contents.kind == "frame" and target.suffix.lower() in ANIMATIONS:
        return "frames"
    return "pages" if is_paged(source, target, opened.contents) else None
