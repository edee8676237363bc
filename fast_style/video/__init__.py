"""Videos, animated pictures and folders of frames: read, stylized one frame after the other, and written."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fast_style.stylizing.jobs import Report
    from fast_style.video.file_kinds import VIDEO_SUFFIXES
    from fast_style.video.stylize import stylize_video

__all__ = ["VIDEO_SUFFIXES", "Report", "stylize_video"]

_HOMES = {
    "VIDEO_SUFFIXES": "fast_style.video.file_kinds",
    "Report": "fast_style.stylizing.jobs",
    "stylize_video": "fast_style.video.stylize",
}


def __getattr__(name: str) -> Any:
    # Only here, because what a name says of a file need not wait for what stylizes it.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
