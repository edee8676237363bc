"""Stylizes many pictures on one machine: reading, network and writing run in parallel."""

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
from fast_style.stylizing.controls import Controls, Settings, StyleChoice, chosen_controls
from fast_style.stylizing.jobs import Job, Report
from fast_style.stylizing.stylizer import Stylizer
from fast_style.system.files import DISK_FULL
from fast_style.system.memory import free_memory, is_out_of_memory
from fast_style.system.pipeline import Inbox, Pipeline
from fast_style.video.work import StoppedError, stylize_animation

# Maximum size of an automatic batch.
_MOST_AT_ONCE = 32
# Bytes per pixel of a picture in progress, and the limit for all pictures as a share of free memory and in bytes.
_BYTES_PER_PIXEL, _MEMORY_SHARE, _MOST_BYTES = 16, 1 / 8, 2**30
_MOST_IN_PROGRESS = 64
_MOST_THREADS = 8


class FolderWork:
    """Stylizes many pictures; iterates over their Reports in the order in which they finish.

    A failure is reported and the others continue, except that a full disk stops the work. The pictures in progress use
    at most an eighth of the free memory and 1 GiB; a larger picture is processed alone.

    Args:
        stylizer: stylizes the pictures.
        jobs: the pictures and their targets.
        controls: settings for all pictures.
        size: long side of the copies in pixels; None: that of each picture.
        batch: pictures of one shape per batch, or `auto`: as many as are faster, which are few on a CPU, and one for
            networks compiled for each shape.
        overwrite: whether copies replace existing files; otherwise an existing file is an error.
        resume: whether to skip pictures that have a copy. Copies are always complete. Several processes may resume the
            same jobs at a time: each picture is stylized by one of them and skipped by the others.
        temporal: reduction of flicker in animations; see `stylize_video`.

    Attributes:
        total: number of pictures to stylize, without the skipped ones.
        done: number of pictures stylized.
        failed: number of pictures that failed.
        skipped: number of pictures that had a copy.
        older: number of those whose copy is older than the picture.
        disk_full: whether a full disk has stopped the work.

    Raises:
        ConfigError: if a setting is wrong.
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
        copies = {job: is_made(job) for job in jobs} if resume else {}
        for job in copies:
            if copies[job] is not None:
                self._pipeline.emit(Report(job, "skipped"))
        left = [job for job in jobs if copies.get(job) is None]
        self.total, self.done, self.failed, self.disk_full = len(left), 0, 0, False
        self.skipped, self.older = len(jobs) - len(left), list(copies.values()).count(False)

        self._lock = threading.Lock()
        memory = stylizer.budget.limit or free_memory()
        pixels = int(min(_MOST_BYTES, memory * _MEMORY_SHARE)) // _BYTES_PER_PIXEL
        self._budget = PixelBudget(pixels, _MOST_IN_PROGRESS)
        tidy(jobs)
        self._jobs = JobQueue(left, size, overwrite, self._stopped, resume)
        threads = max(1, min(_MOST_THREADS, (os.cpu_count() or 2) // 2))
        self._pipeline.stage("read", self._read, threads)
        self._pipeline.stage("network", self._stylize)
        self._pipeline.stage("write", self._write, threads)

    def __iter__(self) -> "FolderWork":
        return self

    def __next__(self) -> Report:
        return next(self._pipeline)

    def __enter__(self) -> "FolderWork":
        return self

    def __exit__(self, *error: object) -> None:
        # After `stop`, the caller iterates over the last reports, or does not want to wait.
        if not self._stopped.is_set():
            self.stop()
            self._pipeline.wait()

    def stop(self) -> None:
        """Begin no more pictures. The current batch is finished and still reported."""
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
                if not (too_large or _holds_several(opened)):
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
            # All pictures that have arrived; if there are none, wait for one.
            arrived = inbox.ready()
            if not (arrived or waiting):
                arrived = [opened for opened in [next(inbox, None)] if opened is not None]
                more = bool(arrived)
            for opened in arrived:
                waiting.add(opened.shape, opened)
            if self._stopped.is_set():
                for opened in waiting.clear():
                    self._drop(opened)
            if waiting:
                yield from self._stylized(waiting.take(self._batch_size))

    def _batch_size(self, shape: Hashable) -> int:
        if not isinstance(shape, tuple):
            return 1
        if isinstance(self._batch, int):
            return self._batch
        width, height = shape
        useful: int = self._stylizer.backend.batch_pixels // (width * height)
        return max(1, min(_MOST_AT_ONCE, useful))

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
        for opened, result in zip(batch, stylized, strict=True):
            opened.stylized, opened.seconds = result, opened.seconds + each
            yield opened

    def _stylize_alone(self, opened: Opened, began: float) -> None:
        """Stylize a file outside of batches: a large picture, an animation or several pages."""
        job, source, name = opened.job, opened.file, str(opened.job.source)
        if self._jobs.appeared(job):
            self._skip(job, opened.taken)
            return
        self._jobs.require_free(job.target)
        match _holds_several(opened):
            case "frames":
                options: dict[str, Any] = {"size": self._size, "temporal": self._temporal, "stopped": self._stopped}
                report = stylize_animation(self._stylizer, source, job.target, self._controls, name=name, **options)
                warning = [report.warning.removeprefix(f"{name}: ")] if report.warning else []
                report = replace(report, notes=[*report.notes, *warning], warning=None)
            case "pages":
                options = {"size": self._size, "name": name, "stop": self._raise_if_stopped}
                with gathered() as logged:
                    notes = self._stylizer.stylize_pages(source, job.target, opened.contents, self._controls, **options)
                report = Report(job, "done", size_in_header(job.target), notes=[*notes, *logged])
            case None:
                assert isinstance(source, Path)
                report = self._stylizer.stylize_file(source, job.target, size=self._size, controls=self._controls)
        seconds = opened.seconds + time.perf_counter() - began
        self._report(replace(report, job=job, seconds=seconds), opened.taken)

    def _raise_if_stopped(self) -> None:
        if self._stopped.is_set():
            raise StoppedError

    def _write(self, inbox: Inbox[Opened]) -> Iterator[Report]:
        for opened in inbox:
            if self.disk_full:
                self._drop(opened)
                continue
            assert opened.picture is not None
            assert opened.stylized is not None
            job, began = opened.job, time.perf_counter()
            try:
                if self._jobs.appeared(job):
                    self._skip(job, opened.taken)
                    continue
                self._jobs.require_free(job.target)
                with gathered() as logged:
                    opened.picture.write_copy(opened.stylized, job.target)
            except ImageError as error:
                self._fail(job, error, opened.seconds + time.perf_counter() - began, opened.taken)
                continue
            seconds = opened.seconds + time.perf_counter() - began
            notes = [*opened.contents.left_out(job.target), *opened.notes, *logged]
            self._report(Report(job, "done", opened.picture.size, seconds, notes=notes), opened.taken)
        yield from ()  # A generator without items: all stages report through `_report`.

    def _skip(self, job: Job, taken: int = 0) -> None:
        with self._lock:
            self.skipped += 1
            self.total -= 1
        self._report(Report(job, "skipped"), taken)

    def _drop(self, opened: Opened) -> None:
        self._budget.give(opened.taken)
        self._jobs.done_with(opened.job)

    def _fail(self, job: Job, error: FastStyleError, seconds: float, taken: int = 0) -> None:
        # On a full disk, all others would fail after all their work.
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
    style: StyleChoice | None = None,
    *,
    size: int | None = None,
    batch: int | str = "auto",
    overwrite: bool = False,
    resume: bool = False,
    controls: Controls | None = None,
    **settings: Unpack[Settings],
) -> FolderWork:
    """Stylize many files, and iterate over the reports.

    In a `with` block, leaving the loop early, such as by an error, stops the work; otherwise it continues.

    Args:
        stylizer: stylizes the pictures.
        jobs: the pictures; `folder_jobs` lists those of a folder or an archive.
        style: as for a call of `stylizer`.
        size: as for `FolderWork`.
        batch: as for `FolderWork`.
        overwrite: as for `FolderWork`.
        resume: as for `FolderWork`.
        controls: as for a call of `stylizer`.
        settings: as for a call of `stylizer`.

    Returns:
        An iterator of a report for each job, in the order in which they finish.

    Raises:
        ConfigError: if a setting is wrong.
        ImageError: if a mask cannot be read.

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


def _holds_several(opened: Opened) -> Literal["frames", "pages"] | None:
    """Return how the copy holds all pictures of a file with several; None: it holds only one."""
    source, target = Path(str(opened.job.source)), opened.job.target
    if opened.contents.kind == "frame" and target.suffix.lower() in ANIMATIONS:
        return "frames"
    return "pages" if is_paged(source, target, opened.contents) else None
