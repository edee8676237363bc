"""What stylize.py does with pictures: one, those of folders and archives, of a glob, or of a list of all these."""

import contextlib
import glob
import itertools
import json
import sys
import time
from pathlib import Path
from typing import Any

from command_line import beside, duration, find_pictures, is_folder, require_outputs, safe
from omegaconf import ListConfig

from fast_style.controls import Controls
from fast_style.data.sources import printable
from fast_style.errors import ConfigError, ImageError
from fast_style.folders import FolderWork, Job, Member, Report, pictures_in
from fast_style.folders.jobs import ARCHIVE_SUFFIXES, is_archive
from fast_style.images.formats import PICTURE_SUFFIXES, copy_suffix
from fast_style.stylizer import Stylizer

#: The settings that only pictures have.
SETTINGS = ("batch", "overwrite", "resume")


def picture_jobs(inputs: Any, output: str | None, name: str, *, overwrite: bool, resume: bool) -> list[Job]:
    """Return what is to be stylised, in the order in which it is named.

    Args:
        inputs: a picture, a folder of any depth, an archive, a glob, or a list of them.
        output: a folder, which gets the tree of a folder, an archive or a glob; for one picture, a file; None: beside
            the pictures, and for an archive a folder beside it.
        name: what the names of results beside their pictures get.
        overwrite: whether results may replace other files.
        resume: whether results may be there, so that they are not made again.

    Raises:
        ConfigError: if there is no picture, two results would have one name, or one would replace what it must not.
        DataError: if an archive is damaged.
    """
    found: dict[Path | Member, Path] = {}
    for each in map(str, inputs if isinstance(inputs, list | ListConfig) else [inputs]):
        for source, place in _found(each, output).items():
            found.setdefault(source, place)
    if output is None:
        jobs = [Job(source, _default(source, place, name)) for source, place in found.items()]
        # What an earlier run over the same folder made is not stylised again.
        targets = {job.target for job in jobs}
        jobs = [job for job in jobs if job.source not in targets]
    elif is_folder(output, len(found)):
        jobs = [Job(source, Path(output) / place.with_suffix(copy_suffix(place))) for source, place in found.items()]
    else:
        jobs = [Job(source, Path(output)) for source in found]
    sure = [job for job in jobs if not (isinstance(job.source, Member) and job.source.refused)]
    files = [job.source if isinstance(job.source, Path) else None for job in sure]
    several = "resume=true to make only what is missing, " if len(jobs) > 1 else ""
    otherwise = f"{several}or give another output"
    require_outputs(files, [job.target for job in sure], overwrite=overwrite or resume, otherwise=otherwise)
    if output is not None:
        # Now, and not once for each picture, if that is not allowed.
        (Path(output) if is_folder(output, len(found)) else Path(output).parent).mkdir(parents=True, exist_ok=True)
    return jobs


def stylize_pictures(
    stylizer: Stylizer, jobs: list[Job], controls: Controls, size: int | None, settings: dict[str, Any], as_json: bool
) -> None:
    """Stylise pictures, and say how it goes; one that fails does not stop the others.

    Args:
        stylizer: what stylises.
        jobs: what `picture_jobs` gives.
        controls: how.
        size: the long side, in pixels; None: that of each picture.
        settings: of all SETTINGS, the values.
        as_json: whether standard output gets a line of JSON for each picture, and not the names of results.

    Raises:
        ImageError: if one has failed.
        KeyboardInterrupt: if it is stopped; the message says how far it has come.
    """
    began = time.monotonic()
    with contextlib.ExitStack() as held:
        work = held.enter_context(FolderWork(stylizer, jobs, controls, size=size, **settings))
        say = _Said(work, as_json, len(jobs) > 1, held)
        try:
            for report in work:
                say(report)
        except BaseException as error:  # Any: it comes from without, as Ctrl-C does. A second one ends it at once.
            work.stop()
            for report in work:
                with contextlib.suppress(BrokenPipeError):
                    say(report)
            if isinstance(error, KeyboardInterrupt) and len(jobs) > 1:
                raise KeyboardInterrupt(f"interrupted; {_so_far(work, jobs)}") from None
            if isinstance(error, SystemExit):
                print(f"stopped; {_so_far(work, jobs)}", file=sys.stderr)
            raise
    if say.error and len(jobs) == 1:
        raise ImageError(say.error)
    if work.disk_full:
        raise ImageError(f"the disk is full; {_so_far(work, jobs)}")
    skipped = f"; {work.skipped:,} there already" if work.skipped else ""
    if work.older:
        skipped += f", {work.older:,} of them older than their pictures: overwrite=true makes them again"
    if work.failed:
        raise ImageError(f"{work.failed} of {len(jobs)} pictures failed; the others are done{skipped}")
    if len(jobs) > 1:
        seconds = time.monotonic() - began
        rate = f", {work.done / seconds:,.1f}/s" if work.done else ""
        print(f"{work.done:,} pictures in {duration(seconds)}{rate}{skipped}", file=sys.stderr)


class _Said:
    """Says what becomes of each picture, and of several shows how many are done."""

    def __init__(self, work: FolderWork, as_json: bool, several: bool, held: contextlib.ExitStack) -> None:
        self._work, self._as_json, self._several = work, as_json, several
        self._amount = None
        self.error: str | None = None
        # On one terminal, a bar takes the place of the names, among which one would not see what has failed.
        one_terminal = sys.stdout.isatty() and sys.stderr.isatty()
        self._names = not (as_json or (several and one_terminal))
        if several and not (as_json and one_terminal):
            # Here: a single picture need not wait for it.
            from progress import Amount

            self._amount = held.enter_context(Amount("pictures", aside=True))
            self._amount.update("stylising", 0, max(1, work.total))

    def __call__(self, report: Report) -> None:
        if self._as_json:
            print(_as_json(report), flush=True)
        elif report.status == "done" and self._names:
            print(printable(str(report.job.target)), flush=True)
        if report.error:
            self.error = report.error
            if self._several:
                print(report.error, file=sys.stderr, flush=True)
        if self._amount is not None:
            self._amount.update("stylising", self._work.done + self._work.failed, max(1, self._work.total))


def _as_json(report: Report) -> str:
    width, height = report.size or (None, None)
    said = {
        "input": str(report.job.source),
        "output": None if report.error else str(report.job.target),
        "status": report.status,
        "width": width,
        "height": height,
        "seconds": round(report.seconds, 4),
        "error": report.error,
    }
    return json.dumps(said)


def _so_far(work: FolderWork, jobs: list[Job]) -> str:
    there = f", {work.skipped:,} were there already" if work.skipped else ""
    return f"{work.done:,} of {len(jobs):,} pictures are done{there}; resume=true goes on with the others"


def _found(name: str, output: str | None) -> dict[Path | Member, Path]:
    """Return the pictures that a name stands for, and the place of each below the folder that it names."""
    path = Path(name)
    if path.is_dir() or (is_archive(path) and path.is_file()):
        found = {source: place for place, source in pictures_in(path).items()}
        root = path
        if not found:
            kind = "folder" if path.is_dir() else "archive"
            raise ConfigError(f"{name}: no picture in this {kind} ({', '.join(PICTURE_SUFFIXES)})")
    else:
        # Of a glob, what comes before the first part that has a pattern.
        fixed = itertools.takewhile(lambda part: not glob.has_magic(part), path.parts)
        root = path.parent if path.exists() else Path(*fixed)
        found = {file: file.relative_to(root) for file in find_pictures(name)}
    # Results of an earlier run are no pictures to begin with.
    made = Path(output).resolve() if output is not None else None
    if made is None or root.resolve() not in made.parents:
        return found
    return {source: place for source, place in found.items() if made not in (root.resolve() / place).parents}


def _default(source: Path | Member, place: Path, name: str) -> Path:
    if isinstance(source, Path):
        return beside(source, name)
    # Without all of .tar.gz.
    archive = next(source.path.name[: -len(end)] for end in ARCHIVE_SUFFIXES if source.path.name.lower().endswith(end))
    return source.path.with_name(f"{archive}_{safe(name)}") / place.with_suffix(copy_suffix(place))
