"""Thousands of pictures, from folders and archives: read, stylized and written at the same time."""

from typing import TYPE_CHECKING

from fast_style.system.lazy import lazy_names

if TYPE_CHECKING:
    from fast_style.batch.jobs import Job, Member, Report, folder_jobs, pictures_in
    from fast_style.batch.stylize_files import stylize_files
    from fast_style.batch.work import FolderWork
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "jobs": "Job Member Report folder_jobs pictures_in",
            "stylize_files": "stylize_files",
            "work": "FolderWork",
        },
    )

__all__ = ["FolderWork", "Job", "Member", "Report", "folder_jobs", "pictures_in", "stylize_files"]
