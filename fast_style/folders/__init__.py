"""Thousands of pictures, from folders and archives: read, stylised and written at the same time."""

from fast_style.folders.jobs import Job, Member, Report, folder_jobs, pictures_in
from fast_style.folders.stylize import stylize_files
from fast_style.folders.work import FolderWork

__all__ = ["FolderWork", "Job", "Member", "Report", "folder_jobs", "pictures_in", "stylize_files"]
