"""What stylize.py does with videos: one after the other, and says what becomes of each."""

import contextlib
import sys
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from fast_style.batch import Job as FileJob
from fast_style.batch import Member
from fast_style.batch.intake import is_made
from fast_style.cli.hydra_app import duration
from fast_style.cli.outcomes import as_json as json_line
from fast_style.cli.outcomes import follow
from fast_style.cli.video_jobs import Job
from fast_style.errors import ConfigError, FastStyleError, VideoError
from fast_style.stylizing.controls import Controls
from fast_style.stylizing.stylizer import Stylizer
from fast_style.system.file_locks import FileLocks
from fast_style.system.files import DISK_FULL
from fast_style.system.text import printable
from fast_style.video import VideoReport, stylize_video

#: The settings that only videos have.
SETTINGS = ("temporal", "codec", "crf", "start", "end", "fps", "audio", "subtitles")
#: What is told of a video that was not made.
_NOTHING: dict[str, Any] = {"frames": None, "notes": [], "warning": None}


def stylize_videos(
    stylizer: Stylizer,
    jobs: list[Job],
    controls: Controls,
    size: int | None,
    settings: dict[str, Any],
    resume: bool = False,
    as_json: bool = False,
) -> None:
    """Stylize videos, and say how it went; one that fails does not stop the others.

    Args:
        stylizer: what paints.
        jobs: what `video_jobs` gives.
        controls: how.
        size: the long side, in pixels; None: that of each video.
        settings: of all SETTINGS, the values.
        resume: whether videos are skipped whose results are there. Results are only ever there whole.
        as_json: whether standard output gets a line of JSON for each video, and not the names of results.

    Raises:
        FastStyleError: if one has failed, or settings do not fit.
        KeyboardInterrupt: if it is stopped; the message says how far it has come.
    """
    # Here: a single picture need not wait for it.
    from fast_style.cli.progress import Amount

    def make(source: Path | list[Path], target: Path) -> VideoReport:
        if isinstance(source, list):
            first, last = printable(str(source[0])), printable(str(source[-1]))
            print(f"{len(source):,} pictures, in this order: {first} to {last}", file=sys.stderr, flush=True)
        with Amount("frames", aside=True) as amount:

            def progress(done: int, total: int) -> None:
                amount.update(printable(str(target)), done, total or None)

            options = {**settings, "size": size, "progress": progress}
            return stylize_video(stylizer, source, target, controls=controls, **options)

    def say(outcome: _Outcome) -> None:
        source, target = outcome.job
        if as_json:
            names = [str(each) for each in source] if isinstance(source, list) else str(source)
            film = outcome.film
            more = {"frames": film.frames, "notes": [*film.notes], "warning": film.warning} if film else _NOTHING
            print(json_line(names, str(target), outcome, **more), flush=True)
        elif outcome.film:
            print(printable(str(target)), flush=True)
        if outcome.error and len(jobs) > 1:
            print(outcome.error, file=sys.stderr, flush=True)
        if outcome.film:
            print(_pace(outcome.film), file=sys.stderr)
            if outcome.film.warning:
                print(outcome.film.warning, file=sys.stderr)
            for note in outcome.film.notes:
                name = target if isinstance(source, list) else source
                print(printable(f"{name}: {note}"), file=sys.stderr)

    follow(_Videos(jobs, make, resume), say, "videos", len(jobs), VideoError, contextlib.ExitStack())


@dataclass(frozen=True)
class _Outcome:
    """What became of a video."""

    job: Job
    status: Literal["done", "failed", "skipped"]
    seconds: float = 0.0
    error: str | None = None
    film: VideoReport | None = None

    @property
    def size(self) -> tuple[int, int] | None:
        return self.film.size if self.film else None


class _Videos:
    """The work on videos, one after the other."""

    def __init__(self, jobs: list[Job], make: Callable[[Path | list[Path], Path], VideoReport], resume: bool) -> None:
        self._make = make
        made = [_is_made(job) if resume else None for job in jobs]
        self._there = [job for job, is_there in zip(jobs, made, strict=True) if is_there is not None]
        self._left = [job for job, is_there in zip(jobs, made, strict=True) if is_there is None]
        self.done, self.failed, self.disk_full = 0, 0, False
        self.skipped, self.older = len(self._there), made.count(False)
        # Others may be making the same videos.
        self._claims = FileLocks() if resume else None
        self._outcomes = self._work()

    def __iter__(self) -> Iterator[_Outcome]:
        return self._outcomes

    def stop(self) -> None:
        self._outcomes.close()

    def _work(self) -> Generator[_Outcome, None, None]:
        for job in self._there:
            yield _Outcome(job, "skipped")
        for job in self._in_turn():
            try:
                outcome = self._outcome(job)
            finally:
                if self._claims is not None:
                    self._claims.give(job[1])
            yield outcome
            if self.disk_full:
                return

    def _in_turn(self) -> Iterator[Job]:
        """Yield what is to be made, and last what other processes are at: in vain, perhaps."""
        left, refused = deque(self._left), 0
        while left:
            job = left.popleft()
            if self._claims is None:
                yield job
                continue
            with contextlib.suppress(OSError):  # What is wrong is said when it is written.
                job[1].parent.mkdir(parents=True, exist_ok=True)
            if not self._claims.take(job[1]):
                left.append(job)
                refused += 1
                if refused == len(left):
                    print(printable(f"{job[1]}: another process is making it; waiting for that"), file=sys.stderr)
                if refused >= len(left):
                    time.sleep(1)
                continue
            refused = 0
            yield job

    def _outcome(self, job: Job) -> _Outcome:
        if self._claims is not None and _is_made(job) is not None:
            # By another process, since the work began.
            self.skipped += 1
            return _Outcome(job, "skipped")
        began = time.monotonic()
        try:
            film = self._one(*job)
        except FastStyleError as error:
            # What is wrong with the settings is wrong with all videos, unless some could be made.
            if isinstance(error, ConfigError) and not self.done:
                raise
            self.failed += 1
            self.disk_full = _is_full(error)
            return _Outcome(job, "failed", time.monotonic() - began, printable(str(error)))
        self.done += 1
        return _Outcome(job, "done", film.seconds, film=film)

    def _one(self, source: Path | Member | list[Path], target: Path) -> VideoReport:
        if isinstance(source, Member):
            raise VideoError(f"{source}: {source.refused}")
        return self._make(source, target)


def _is_made(job: Job) -> bool | None:
    """Return whether there is a result: True, or False if it is older than what it is made of; None: there is none."""
    source, target = job
    made = [is_made(FileJob(each, target)) for each in (source if isinstance(source, list) else [source])]
    return None if None in made else all(made)


def _is_full(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, OSError) and error.errno in DISK_FULL:
            return True
        error = error.__context__
    return False


def _pace(report: VideoReport) -> str:
    busy = ", ".join(f"{name} {share:.0%}" for name, share in report.busy.items())
    rate = report.frames / report.seconds
    return f"{report.frames} frames in {duration(report.seconds)}, {rate:.1f}/s; busy: {busy}"
