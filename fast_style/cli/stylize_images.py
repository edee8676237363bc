"""The part of the command stylize for pictures: one, or those of folders, archives, globs and lists."""

import contextlib
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from fast_style.archives import Member
from fast_style.cli import command_name
from fast_style.cli.hydra_app import is_folder, require_outputs, require_writable
from fast_style.cli.inputs import Found, is_video, results
from fast_style.cli.outcomes import Output, follow, say_how_many, say_report, tell_stopped
from fast_style.cli.progress import ProgressBar
from fast_style.errors import ConfigError, ImageError
from fast_style.images.formats import copy_suffix
from fast_style.images.picture import require_folder
from fast_style.stylizing.controls import Controls
from fast_style.stylizing.jobs import Job, Report
from fast_style.stylizing.stylizer import Stylizer
from fast_style.system.files import remove_leftovers


def picture_jobs(found: Found, output: str | None, name: str, *, overwrite: bool, resume: bool) -> list[Job]:
    """Return a job for each picture that `find_inputs` has found, in order; videos are left out with a message.

    `output` is a folder, which gets the inputs' tree; for one picture, a file; None: beside the pictures with the
    suffix `name`, and for an archive a folder beside it. ConfigError if there is no picture, two results share a name,
    or a file would be replaced without `overwrite` or `resume`.
    """
    found = _without_videos(found)
    if output is None or is_folder(output, len(found)):
        folder = None if output is None else Path(output)
        jobs = results(found, output, name, lambda source, path: path.with_suffix(copy_suffix(found[source])))
    else:
        folder = Path(output).parent
        jobs = [Job(source, Path(output)) for source in found]
    readable = [job for job in jobs if not (isinstance(job.source, Member) and job.source.refused)]
    files = [job.source if isinstance(job.source, Path) else None for job in readable]
    several = "resume=true to make only what is missing, " if len(jobs) > 1 else ""
    otherwise = f"{several}or give another output"
    require_outputs(files, [job.target for job in readable], overwrite=overwrite or resume, otherwise=otherwise)
    if folder is not None:
        require_writable(folder, "output")
    return jobs


def stylize_picture(
    stylizer: Stylizer, job: Job, controls: Controls, size: int | None, overwrite: bool, as_json: bool
) -> None:
    """Stylize one picture, `size` pixels on its long side, and print its report; ImageError if it fails."""
    assert isinstance(job.source, Path)
    # Temporary files of killed runs; younger ones may be in use.
    remove_leftovers(job.target.parent, older_than=3600)
    try:
        require_folder(job.target)
        report = stylizer.stylize_file(job.source, job.target, size=size, overwrite=overwrite, controls=controls)
    except ImageError as error:
        report = Report.failed(job, error)
    except SystemExit as stopped:
        tell_stopped(stopped)
        raise
    say_report(report, "json" if as_json else "name")
    if report.error:
        raise ImageError(report.error)


def stylize_pictures(
    stylizer: Stylizer, jobs: list[Job], controls: Controls, size: int | None, settings: dict[str, Any], as_json: bool
) -> None:
    """Stylize pictures with a progress bar; see `follow`.

    `settings`: `batch`, `overwrite` and `resume` of `FolderWork`. `size`: long side in pixels; None: unchanged.
    """
    # Imported lazily: slow, and a single picture does not need it.
    from fast_style.batch.folder_work import FolderWork

    several = len(jobs) > 1
    # If both streams are one terminal, show a bar instead of names, among which errors would be lost.
    one_terminal = sys.stdout.isatty() and sys.stderr.isatty()
    output: Output = "json" if as_json else None if several and one_terminal else "name"
    with contextlib.ExitStack() as stack:
        work = stack.enter_context(FolderWork(stylizer, jobs, controls, size=size, **settings))
        known: Counter[str] = Counter()
        stack.callback(say_how_many, known)
        bar = stack.enter_context(ProgressBar("pictures", aside=True))

        def show(report: Report | None = None) -> None:
            if report is not None:
                say_report(report, output, several, known=known)
            if several and not (as_json and one_terminal):
                bar.update("stylizing", work.done + work.failed, max(1, work.total))

        show()
        follow(work, show, "pictures", len(jobs), ImageError, stack)


def _without_videos(found: Found) -> Found:
    """Return the pictures alone, and report what is left out; ConfigError if nothing remains."""
    videos = [source for source, place in found.items() if is_video(place)]
    if not videos:
        return found
    first = videos[0]
    name, reason = first, f"is a video, and here pictures are stylized; take {command_name('stylize.py')}"
    if isinstance(first, Member):
        name, reason = first.path, "videos in an archive cannot be read in place; unpack it, and give the folder"
    if len(videos) == len(found):
        raise ConfigError(f"{name}: {reason}")
    print(f"{len(videos):,} videos are left out: {name}: {reason}", file=sys.stderr)
    return {source: place for source, place in found.items() if not is_video(place)}
