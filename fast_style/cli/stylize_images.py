"""What stylize.py does with pictures: one; or those of folders and archives, of a glob, or of a list of all these."""

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
    """Return what is to be stylized, in the order in which it is named.

    Args:
        found: what `find_inputs` has found.
        output: a folder, which gets the tree of a folder, an archive or a glob; for one picture, a file; None: beside
            the pictures, and for an archive a folder beside it.
        name: what the names of results beside their pictures get.
        overwrite: whether results may replace other files.
        resume: whether results may be there, so that they are not made again.

    Raises:
        ConfigError: if there is no picture, two results would have one name, or one would replace what it must not.
    """
    found = _without_videos(found)
    folder = output is None or is_folder(output, len(found))
    if folder:
        jobs = results(found, output, name, lambda source, path: path.with_suffix(copy_suffix(found[source])))
    else:
        jobs = [Job(source, Path(str(output))) for source in found]
    sure = [job for job in jobs if not (isinstance(job.source, Member) and job.source.refused)]
    files = [job.source if isinstance(job.source, Path) else None for job in sure]
    several = "resume=true to make only what is missing, " if len(jobs) > 1 else ""
    otherwise = f"{several}or give another output"
    require_outputs(files, [job.target for job in sure], overwrite=overwrite or resume, otherwise=otherwise)
    if output is not None:
        # Now, and not once for each picture, if that is not allowed.
        require_writable(Path(output) if folder else Path(output).parent, "output")
    return jobs


def stylize_picture(
    stylizer: Stylizer, job: Job, controls: Controls, size: int | None, overwrite: bool, as_json: bool
) -> None:
    """Stylize one picture, and say what became of it.

    Args:
        stylizer: what stylizes.
        job: what `picture_jobs` gives.
        controls: how.
        size: the long side, in pixels; None: that of the picture.
        overwrite: whether the result may replace another file.
        as_json: whether standard output gets a line of JSON, and not the name of the result.

    Raises:
        ImageError: if it has failed.
    """
    assert isinstance(job.source, Path)
    # What runs that were killed have left; younger ones may be at work.
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
    """Stylize pictures, and say how it goes; one that fails does not stop the others.

    Args:
        stylizer: what stylizes.
        jobs: what `picture_jobs` gives.
        controls: how.
        size: the long side, in pixels; None: that of each picture.
        settings: `batch`, `overwrite` and `resume`, as for `FolderWork`.
        as_json: whether standard output gets a line of JSON for each picture, and not the names of results.

    Raises:
        ImageError: if one has failed.
        KeyboardInterrupt: if it is stopped; the message says how far it has come.
    """
    # Here: a single picture need not wait for it.
    from fast_style.batch.folder_work import FolderWork

    several = len(jobs) > 1
    # On one terminal, a bar takes the place of the names, among which one would not see what has failed.
    one_terminal = sys.stdout.isatty() and sys.stderr.isatty()
    output: Output = "json" if as_json else None if several and one_terminal else "name"
    with contextlib.ExitStack() as held:
        work = held.enter_context(FolderWork(stylizer, jobs, controls, size=size, **settings))
        known: Counter[str] = Counter()
        held.callback(say_how_many, known)
        bar = held.enter_context(ProgressBar("pictures", aside=True))

        def show(report: Report | None = None) -> None:
            if report is not None:
                say_report(report, output, several, known=known)
            if several and not (as_json and one_terminal):
                bar.update("stylizing", work.done + work.failed, max(1, work.total))

        show()
        follow(work, show, "pictures", len(jobs), ImageError, held)


def _without_videos(found: Found) -> Found:
    """Return the pictures alone, and say what is left out.

    Raises:
        ConfigError: if there are none.
    """
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
