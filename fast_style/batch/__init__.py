"""Stylization of many pictures from folders and archives, in parallel."""

from typing import TYPE_CHECKING

from fast_style.system.lazy import lazy_names

if TYPE_CHECKING:
    from fast_style.archives import Member
    from fast_style.batch.folder_work import FolderWork, stylize_files
    from fast_style.batch.jobs import folder_jobs, pictures_in
    from fast_style.stylizing.jobs import Job, Report
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "fast_style.archives": "Member",
            "fast_style.stylizing.jobs": "Job Report",
            "folder_work": "FolderWork stylize_files",
            "jobs": "folder_jobs pictures_in",
        },
    )

__all__ = ["FolderWork", "Job", "Member", "Report", "folder_jobs", "pictures_in", "stylize_files"]
