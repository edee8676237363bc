"""Many files stylized into others, with a style and settings as a Stylizer takes them."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Unpack

from fast_style.batch.jobs import Job
from fast_style.batch.work import FolderWork
from fast_style.stylizing.controls import Controls, Settings, Style
from fast_style.stylizing.stylizer import Stylizer


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
        with stylize_files(stylizer, folder_jobs("photos", "stylized"), "great_wave", resume=True) as reports:
            for report in reports:
                print(report.job.target, report.error or report.status)
    """
    given: Any = settings if style is None else {"style": style, **settings}
    chosen = replace(controls or Controls(), **given) if given else controls
    return FolderWork(stylizer, jobs, chosen, size=size, batch=batch, overwrite=overwrite, resume=resume)
