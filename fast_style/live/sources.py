"""Which of the kinds of camera a person means."""

import sys
import time
from pathlib import Path

from fast_style.errors import ConfigError
from fast_style.live.camera import Camera, Clock
from fast_style.live.device import SYSTEMS, DeviceCamera
from fast_style.live.video_camera import VideoCamera
from fast_style.video import VIDEO_SUFFIXES

#: Pictures a second that are asked of a camera.
USUAL_FPS = 30.0


def open_camera(
    name: str | int,
    long_side: int | None,
    largest: int,
    fps: float | None = None,
    clock: Clock = time.monotonic,
) -> Camera:
    """Open a camera, or a video in the place of one.

    Args:
        name: the number of a camera from 0 on, its device such as /dev/video0, or the path of a video.
        long_side: of the pictures, in pixels; None: as they are, but no larger than `largest`.
        largest: see `long_side`.
        fps: pictures a second to ask of a camera; None: 30.
        clock: which tells when pictures are taken.

    Raises:
        CameraError: if there is no such camera, it is in use, may not be used, or gives no picture.
        VideoError: if the video cannot be read.
        ConfigError: if `fps` is given for a video, or FFmpeg knows no cameras on this system.
    """
    path = Path(str(name))
    if path.suffix.lower() in VIDEO_SUFFIXES or path.is_file():
        if fps is not None:
            raise ConfigError(f"fps is what to ask a camera for, and {path} is a video; leave it out")
        return VideoCamera(path, long_side, largest, clock)
    format = next((format for system, format in SYSTEMS.items() if sys.platform.startswith(system)), None)
    if format is None:
        raise ConfigError(f"camera: there is no way to cameras on {sys.platform}; camera=clip.mp4 plays a video as one")
    return DeviceCamera(str(name), format, long_side, largest, fps or USUAL_FPS, clock)
