"""The part of the command stylize for videos, animations and sequences of pictures."""

import contextlib
import glob
import importlib.util
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from fast_style.archives import Member
from fast_style.batch.job_queue import is_made
from fast_style.cli.hydra_app import find_pictures, require_writable
from fast_style.cli.inputs import Found, is_video, results
from fast_style.cli.outcomes import follow, say_report
from fast_style.cli.progress import ProgressBar
from fast_style.errors import ConfigError, FastStyleError, VideoError
from fast_style.images.formats import ANIMATIONS, PICTURE_SUFFIXES
from fast_style.stylizing.controls import Controls
from fast_style.stylizing.jobs import Job, Report
from fast_style.stylizing.stylizer import Stylizer
from fast_style.system.file_locks import FileLocks
from fast_style.system.files import DISK_FULL, natural_sort_key
from fast_style.system.text import printable
from fast_style.video import stylize_video
from fast_style.video.animations import is_animation
from fast_style.video.frames import AS_USUAL, CONTAINERS, StreamModes
from fast_style.video.stylize import part_of


def video_jobs(
    found: Found,
    inputs: Any,
    output: str | None,
    name: str,
    *,
    overwrite: bool,
    resume: bool,
    container: str | None = None,
    modes: StreamModes = AS_USUAL,
) -> list[Job]:
    """Return the jobs that read or write a video; empty: pictures become pictures.

    Args:
        found: result of `find_inputs`.
        inputs: the setting `input`.
        output: as for `picture_jobs`; or a video or animation of all pictures, or 'FOLDER/*.png' for a video's frames.
        name: suffix of the names of results beside their videos.
        overwrite: whether existing files may be replaced.
        resume: whether existing results are kept and skipped.
        container: format of the video, such as mkv, if `output` names none; None: one that holds sound and subtitles.
        modes: handling of sound and subtitles.

    Raises:
        ConfigError: if videos and pictures are mixed, an output does not fit, or a file would be replaced.
    """
    # Archives hold pictures only. A refused member of a folder, such as an unreadable subfolder, is reported.
    members = [source for source in found if isinstance(source, Member)]
    closed: Found = {source: found[source] for source in members if source.refused and source.path.is_dir()}
    archives = [source.path for source in members if source not in closed]
    videos: Found = {source: place for source, place in found.items() if isinstance(source, Path) and is_video(place)}
    pictures = [source for source in found if isinstance(source, Path) and source not in videos]
    if videos and (pictures or archives):
        still = len(found) - len(videos) - len(closed)
        counts = f"{len(videos)} video{'s' * (len(videos) != 1)} and {still} picture{'s' * (still != 1)}"
        raise ConfigError(f"input: {counts}; take them one after the other, such as input='clips/**/*.mp4'")
    # An animation among still pictures counts as its first frame.
    if pictures and not archives and all(map(is_animation, pictures)):
        videos = {source: found[source] for source in pictures}
    folder = output is None or output.endswith("/") or Path(output).is_dir() or not Path(output).suffix
    target = Path(str(output))
    suffix = "" if folder else target.suffix.lower()
    frames = not folder and "*" in target.name
    wanted = _suffix(container)
    if wanted and not folder and wanted != suffix:
        raise ConfigError(f"container={container}: and {output} is another kind of video; leave one of them out")
    if not videos:
        if frames and not archives:
            raise ConfigError(f"{output}: is for the frames of a video, and input has none; give {target.parent}/")
        # One .png is a picture, never an animation.
        if not (suffix in CONTAINERS or (suffix in ANIMATIONS and suffix != ".png" and len(pictures) > 1)):
            return []
        if archives:
            raise ConfigError(f"{archives[0]}: a video is made of pictures in a folder; unpack it, and give that")
        # A folder's own pictures: those in subfolders may belong to another video.
        ours = find_pictures(inputs)
        if left := len({source.resolve() for source in pictures} - {each.resolve() for each in ours}):
            are = "1 picture in a folder below is" if left == 1 else f"{left:,} pictures in folders below are"
            print(f"{are} left out; name that folder as input, or give a glob, such as '**/*.png'", file=sys.stderr)
        return _checked([Job(ours, target)], overwrite, resume)
    if folder:

        def rename(source: Path | Member, path: Path) -> Path:
            if wanted:
                return path.with_suffix(wanted)
            if not (isinstance(source, Path) and is_video(videos[source])):
                return path if path.suffix.lower() in (*CONTAINERS, *ANIMATIONS) else path.with_suffix(".mp4")
            if importlib.util.find_spec("av") is None:
                return path.with_suffix(".mp4")  # reading the video reports the missing package
            from fast_style.video.container_info import fitting_suffix

            return path.with_suffix(fitting_suffix(source, modes))

        jobs = results(videos | closed, output, name, rename)
        # Unfinished videos of an earlier run are not inputs.
        parts = {part_of(job.target) for job in jobs} if output is None else set()
        jobs = [job for job in jobs if job.source not in parts]
        _checked(jobs, overwrite, resume)
        if output is not None:
            # Checked once, before the work.
            require_writable(target, "output")
        return jobs
    if len(videos) > 1:
        raise ConfigError(f"{output}: cannot take {len(videos)} videos; give a folder as output")
    (video,) = videos
    if suffix in PICTURE_SUFFIXES and suffix not in ANIMATIONS and not frames:
        if not is_video(videos[video]):
            return []
        raise ConfigError(f"{output}: one picture cannot take a video; end it in .mp4, or in /*{suffix} for its frames")
    return _checked([Job(video, target)], overwrite, resume)


def _checked(jobs: list[Job], overwrite: bool, resume: bool) -> list[Job]:
    if overwrite and resume:
        raise ConfigError("resume keeps the videos that are there, and overwrite replaces them: give one of them")
    several = "resume=true to make only what is missing, " if len(jobs) > 1 else ""
    sources = [each for job in jobs for each in (job.source if isinstance(job.source, Sequence) else [job.source])]
    inputs = {path.resolve() for path in sources if isinstance(path, Path)}
    seen: set[Path] = set()
    for target in (job.target for job in jobs if not isinstance(job.source, Member)):
        if target in seen:
            raise ConfigError(f"{target}: two of the videos would have this name; take them one at a time")
        seen.add(target)
        if target.resolve() in inputs:
            name = "the input itself" if len(inputs) == 1 else "one of the inputs"
            raise ConfigError(f"{target}: is {name}; give another output")
        if "*" in target.name:
            frames = target.parent.glob(glob.escape(target.name).replace("[*]", "*"))
            if not overwrite and (first := min(frames, key=natural_sort_key, default=None)):
                unsure = ", since nobody can tell whether all frames are there" if resume else ""
                again = f"add overwrite=true to replace it{unsure}, or give another output"
                raise ConfigError(f"{first}: exists already; {again}")
        # lexists: a dangling link occupies the name too.
        elif os.path.lexists(target) and not (overwrite or (resume and target.exists())):
            otherwise = f"{several}or give another output"
            raise ConfigError(f"{target}: exists already; add overwrite=true to replace it, {otherwise}")
    return jobs


def _suffix(container: str | None) -> str | None:
    """Return the file suffix of a container; None: not given."""
    if container is None:
        return None
    suffix = f".{str(container).lower().removeprefix('.')}"
    if suffix not in CONTAINERS:
        kinds = ", ".join(each.removeprefix(".") for each in CONTAINERS)
        raise ConfigError(f"container must be one of {kinds}, not {container!r}")
    return suffix


def stylize_videos(
    stylizer: Stylizer,
    jobs: list[Job],
    controls: Controls,
    size: int | None,
    settings: dict[str, Any],
    resume: bool = False,
    as_json: bool = False,
) -> None:
    """Stylize videos one after another; a failure does not stop the others.

    `settings`: the `VIDEO_SETTINGS` of stylize.py. `size`: long side in pixels; None: unchanged. `resume`: skip videos
    with a result; results are written atomically.

    Raises:
        FastStyleError: if a video failed, or settings do not fit.
        KeyboardInterrupt: if interrupted; the message says how many are done.
    """

    def make(job: Job) -> Report:
        assert not isinstance(job.source, Member)
        if isinstance(job.source, Sequence):
            first, last = (printable(str(job.source[index])) for index in (0, -1))
            count = len(job.source)
            order = f"{count:,} pictures, in this order: {first} to {last}" if count > 1 else f"1 picture: {first}"
            print(order, file=sys.stderr, flush=True)
        with ProgressBar("frames", aside=True) as bar:

            def progress(done: int, total: int) -> None:
                bar.update(printable(str(job.target)), done, total or None)

            options = {**settings, "size": size, "progress": progress}
            return stylize_video(stylizer, job.source, job.target, controls=controls, **options)

    def say(report: Report) -> None:
        say_report(report, "json" if as_json else "name", several=len(jobs) > 1, video=True)

    follow(VideosWork(jobs, make, resume), say, "videos", len(jobs), VideoError, contextlib.ExitStack())


class VideosWork:
    """The work on videos, one after another; see `outcomes.Work`."""

    def __init__(self, jobs: list[Job], make: Callable[[Job], Report], resume: bool) -> None:
        self._make = make
        made = [(job, is_made(job) if resume else None) for job in jobs]
        self._there = [job for job, newer in made if newer is not None]
        self._left = [job for job, newer in made if newer is None]
        self.done, self.failed, self.disk_full = 0, 0, False
        self.skipped, self.older = len(self._there), sum(newer is False for _, newer in made)
        # Other processes may be making the same videos.
        self._claims = FileLocks() if resume else None
        self._reports = self._work()

    def __iter__(self) -> Iterator[Report]:
        return self._reports

    def stop(self) -> None:
        """Start nothing new."""
        self._reports.close()

    def _work(self) -> Generator[Report, None, None]:
        for job in self._there:
            yield Report(job, "skipped")
        for job in self._in_turn():
            try:
                report = self._report(job)
            finally:
                if self._claims is not None:
                    self._claims.give(job.target)
            yield report
            if self.disk_full:
                return

    def _in_turn(self) -> Iterator[Job]:
        """Yield the jobs; those that other processes work on come last, in case they fail there."""
        left, refused = deque(self._left), 0
        while left:
            job = left.popleft()
            if self._claims is not None:
                with contextlib.suppress(OSError):  # writing it reports the error
                    job.target.parent.mkdir(parents=True, exist_ok=True)
            if self._claims is None or self._claims.take(job.target):
                refused = 0
                yield job
                continue
            left.append(job)
            refused += 1
            if refused == len(left):
                print(printable(f"{job.target}: another process is making it; waiting for that"), file=sys.stderr)
            if refused >= len(left):
                time.sleep(1)

    def _report(self, job: Job) -> Report:
        if self._claims is not None and is_made(job) is not None:
            # Made by another process since the work began.
            self.skipped += 1
            return Report(job, "skipped")
        began = time.monotonic()
        try:
            if isinstance(job.source, Member):
                raise VideoError(f"{job.source}: {job.source.refused}")
            report = replace(self._make(job), job=job)
        except FastStyleError as error:
            # Wrong settings fail every video, unless one has been made.
            if isinstance(error, ConfigError) and not self.done:
                raise
            self.failed += 1
            cause: BaseException | None = error
            while cause is not None and not (isinstance(cause, OSError) and cause.errno in DISK_FULL):
                cause = cause.__context__
            self.disk_full = cause is not None
            return Report.failed(job, error, time.monotonic() - began)
        self.done += 1
        return report
