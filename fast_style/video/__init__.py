"""Videos, animated pictures and folders of frames: read, stylized one frame after the other, and written."""

from fast_style.video.kinds import VIDEO_SUFFIXES
from fast_style.video.stylize import stylize_video
from fast_style.video.work import VideoReport

__all__ = ["VIDEO_SUFFIXES", "VideoReport", "stylize_video"]
