"""Videos, animated pictures and folders of frames: read, stylized one frame after the other, and written."""

from typing import TYPE_CHECKING

from fast_style.system.lazy import lazy_names

if TYPE_CHECKING:
    from fast_style.video.kinds import VIDEO_SUFFIXES
    from fast_style.video.stylize import stylize_video
    from fast_style.video.work import VideoReport
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "kinds": "VIDEO_SUFFIXES",
            "stylize": "stylize_video",
            "work": "VideoReport",
        },
    )

__all__ = ["VIDEO_SUFFIXES", "VideoReport", "stylize_video"]
