"""Stylization of videos, animations and folders of frames."""

from typing import TYPE_CHECKING

from fast_style.system.lazy import lazy_names

if TYPE_CHECKING:
    from fast_style.stylizing.jobs import Report
    from fast_style.video.file_kinds import VIDEO_SUFFIXES
    from fast_style.video.stylize import stylize_video
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {"fast_style.stylizing.jobs": "Report", "file_kinds": "VIDEO_SUFFIXES", "stylize": "stylize_video"},
    )

__all__ = ["VIDEO_SUFFIXES", "Report", "stylize_video"]
