"""Thousands of pictures, from folders and archives: read, stylized and written at the same time."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fast_style.archives.member import Member
    from fast_style.batch.folder_work import FolderWork, stylize_files
    from fast_style.batch.jobs import folder_jobs, pictures_in
    from fast_style.stylizing.jobs import Job, Report

__all__ = ["FolderWork", "Job", "Member", "Report", "folder_jobs", "pictures_in", "stylize_files"]

_HOMES = {
    "FolderWork": "fast_style.batch.folder_work",
    "Job": "fast_style.stylizing.jobs",
    "Member": "fast_style.archives.member",
    "Report": "fast_style.stylizing.jobs",
    "folder_jobs": "fast_style.batch.jobs",
    "pictures_in": "fast_style.batch.jobs",
    "stylize_files": "fast_style.batch.folder_work",
}


def __getattr__(name: str) -> Any:
    # Only here, because who wants to know what is in a folder need not wait for what stylizes it.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
