"""Opens video files with FFmpeg: which formats, which stream and which decoder."""

import os
import re
import stat
from pathlib import Path
from typing import Any

import av
from av.codec.context import CodecContext
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from fast_style.errors import VideoError
from fast_style.system.input_limits import MAX_PIXELS, open_regular_file

#: FFmpeg's names of the formats that may be opened, single files with moving pictures. All others are refused:
#: playlists refer to other files and addresses, and FFmpeg renders text as pictures of letters.
FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,asf,flv,ogg,nut,dv,mxf,h264,hevc,ivf,obu,av1,"
    "apv,avs2,avs3,cavsvideo,dhav,dirac,dnxhd,evc,video_cpk,flic,gxf,h261,h263,hxvs,ipu,kux,live_flv,lmlm4,lxf,m4v,"
    "mjpeg,mjpeg_2000,mtv,nsv,nuv,pva,rm,roq,smjpeg,swf,thp,ty,vc1,vc1test,vivo,vvc,wtv,yuv4mpegpipe"
)

# FFmpeg's own decoders ignore the opacity in WebM.
_WITH_OPACITY = {"vp8": "libvpx", "vp9": "libvpx-vp9"}

_JPEG, _END_OF_JPEG = b"\xff\xd8\xff", re.compile(rb"\xff\xd9[\0\xff]*?\xff\xd8\xff")
# Longer than any frame, in bytes.
_MAX_FRAME_BYTES = 2**25


def open_video(path: Path) -> InputContainer:
    """Open a video to read.

    Raises:
        VideoError: if the file is missing, empty, not a regular file or not a video.
    """
    try:
        found = os.stat(path)
        if not stat.S_ISREG(found.st_mode):
            raise OSError("a folder" if stat.S_ISDIR(found.st_mode) else "no regular file")
        if not found.st_size:
            raise OSError("the file is empty")
        options = {"format_whitelist": FORMATS, "protocol_whitelist": "file"}
        # FFmpeg takes some sequences of JPEG for a single picture, depending on their frames.
        format = "mjpeg" if is_row_of_jpegs(path) else None
        # With "file:", since FFmpeg takes a name with a colon for an address.
        address = f"file:{path.resolve()}"
        return av.open(address, "r", format, container_options=options, metadata_errors="replace")
    except (OSError, ValueError, av.FFmpegError) as error:
        remedy = "; check the path" if isinstance(error, FileNotFoundError) else ""
        raise VideoError(f"{path}: not a readable video ({reason(error)}){remedy}") from None


def is_row_of_jpegs(path: Path) -> bool:
    """Return whether a file is a bare sequence of JPEG pictures (Motion JPEG)."""
    with open_regular_file(path, float("inf")) as file:
        if file.read(3) != _JPEG:
            return False
        head = _JPEG + file.read(_MAX_FRAME_BYTES)
    place = 2
    # Skip the segments of the header by their length: a preview in them is a JPEG, too.
    while place + 4 <= len(head) and head[place] == 0xFF and head[place + 1] != 0xDA:
        filling = head[place + 1] == 0xFF
        place += 1 if filling else 2 + int.from_bytes(head[place + 2 : place + 4], "big")
    return _END_OF_JPEG.search(head, place) is not None


def moving_pictures(path: Path, container: InputContainer) -> VideoStream:
    """Return the video stream that a player would show.

    Raises:
        VideoError: if there is none, or FFmpeg cannot decode it.
    """
    # The cover picture of a music file is a video stream, too.
    streams = [each for each in container.streams.video if not each.disposition & Disposition.attached_pic]
    best = container.streams.best("video")
    stream = best if best in streams else next(iter(streams), None)
    if not isinstance(stream, VideoStream) or not getattr(stream, "codec_context", None):
        raise VideoError(f"{path}: no video in it that can be read")
    return stream


def decoder_of(stream: VideoStream) -> Any:
    """Return the decoder of a video stream, with opacity where there is one."""
    decoder: Any = stream.codec_context
    if stream.metadata.get("alpha_mode") == "1" and decoder.name in _WITH_OPACITY:
        header = decoder.extradata
        decoder = CodecContext.create(_WITH_OPACITY[decoder.name], "r")
        decoder.extradata = header
    decoder.thread_type = "AUTO"
    decoder.options = {"max_pixels": str(MAX_PIXELS)}
    return decoder


def reason(error: Exception) -> str:
    """Return FFmpeg's error message in one line."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split())
