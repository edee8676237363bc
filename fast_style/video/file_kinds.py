"""Tells videos and pictures apart by a file's content rather than its suffix."""

import importlib.util
from pathlib import Path

from fast_style.errors import VideoError
from fast_style.images.opening import picture_format
from fast_style.system.input_limits import open_regular_file

#: Suffixes of videos: FFmpeg's own list for the formats in `opening.FORMATS` (a test compares them) and other common
#: ones. Left out: suffixes such as .ogg and .m4a, which often hold only sound or a picture; their content decides.
_NAMES = """
    mp4 m4v mov mkv webm avi mpg mpeg ts mts m2ts wmv flv 3gp ogv mxf 264 265 266 3g2 amv apv asf avc avs avs2
    avs3 cavs cpk dav dif divx dnxhd dnxhr drc dv dvd evc evo f4v flc fli gxf h261 h263 h264 h265 h266 h26l hevc
    ipu ism ismv ivf kux m1v m2p m2t m2v mj2 mjpeg mjpg mk3d mod mpe mpv nsv nut nuv obu ogm psp pva qt rcv rm
    rmvb roq svcd swf thp tod tp trp ty ty+ vc1 vc2 vcd viv vob vro vvc wtv xvid y4m
"""
VIDEO_SUFFIXES = tuple(f".{name}" for name in _NAMES.split())
# Brands of ISO media files that hold pictures: HEIF, AVIF and Canon's raw.
_STILL = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1", b"avif", b"avis", b"crx ")


def kind_of(path: Path) -> str | None:
    """Return `video` or `picture` by a file's content; None for sound, text and the unknown.

    The suffix decides only what may be either: a sequence of JPEG pictures.
    """
    named_video = path.suffix.lower() in VIDEO_SUFFIXES
    if named_video and holds_video(path):
        return "video"
    if picture_format(path) is not None:
        return "picture"
    return "video" if not named_video and holds_video(path) else None


def holds_video(path: Path) -> bool:
    """Return whether a file opens as a video and has a video stream."""
    if importlib.util.find_spec("av") is None:
        return False
    from fast_style.video.opening import moving_pictures, open_video

    try:
        with open_regular_file(path, float("inf")) as file:
            head = file.read(12)
        if head[4:8] == b"ftyp" and head[8:12] in _STILL:
            return False
        with open_video(path) as container:
            stream = moving_pictures(path, container)
            return bool(stream.width and stream.height and stream.codec_context.name)
    except (OSError, ValueError, VideoError):
        return False


def is_moving_picture(path: Path) -> bool:
    """Return whether a file is a GIF, PNG or WebP, formats that may be animated, by its first bytes."""
    try:
        with open_regular_file(path, float("inf")) as file:
            head = file.read(12)
    except OSError:
        return False
    return head.startswith((b"GIF8", b"\x89PNG")) or (head.startswith(b"RIFF") and head[8:] == b"WEBP")
