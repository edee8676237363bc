"""Thousands of pictures, from folders and archives: read, stylized and written at the same time."""

from fast_style.batch.jobs import Job, Member, Report, folder_jobs, pictures_in
from fast_style.batch.stylize_files import stylize_files
from fast_style.batch.work import FolderWork

__all__ = ["FolderWork", "Job", "Member", "Report", "folder_jobs", "pictures_in", "stylize_files"]
