"""What videos hold beside pictures, sound and subtitles: chapters, titles, time codes, attachments and data."""

import io
import re
import struct
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.bitstream import BitStreamFilterContext
from av.container import InputContainer, OutputContainer
from av.stream import Discard, Disposition
from av.video.stream import VideoStream

from fast_style.errors import VideoError
from fast_style.system.text import printable
from fast_style.video.frames import AS_USUAL, CONTAINERS, StreamModes
from fast_style.video.opening import open_video

# In which order they are tried, where nobody has chosen.
_CHOICE = (".mp4", ".mkv", ".mov")
# What describes a file itself, and not the video in it.
_OWN = ("major_brand", "minor_version", "compatible_brands", "encoder", "timecode")
#: Samples as they are, in an order that only discs have: a .mkv has them in the usual one.
UNCOMPRESSED = ("pcm_dvd", "pcm_bluray")
# Of one sample: 16 bits, mono.
_WAV = b"RIFF&\0\0\0WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 8000, 16000, 2, 16) + b"data\2\0\0\0\0\0"
_TIMECODE = re.compile(r"\d\d:\d\d:\d\d([:;.])\d\d")


class ContainerInfo:
    """What a video holds modes.

    Args:
        container: the video.
        stream: its pictures.
        start: where the part begins that is wanted, in seconds.

    Attributes:
        data: streams of which nobody but their maker may know what they are, such as where a camera was.
        attachments: files in the video, such as fonts.
        metadata: title, date and the like.
        timecode: the hours, minutes, seconds and frames at which the first frame was taken; None: unknown.
        left_out: what no copy gets, each in a few words.
    """

    def __init__(self, container: InputContainer, stream: VideoStream, start: Fraction) -> None:
        self._container = container
        self.attachments = [other for other in container.streams if other.type == "attachment"]
        # Chapters may be a stream, too, which FFmpeg hides; and time codes, of one packet, which it makes itself.
        self.data = [
            other
            for other in container.streams
            if other.type == "data" and other.discard != Discard.all and not _timecode(other.metadata)
        ]
        self.metadata = {key: value for key, value in container.metadata.items() if key.lower() not in _OWN}
        timecode = _timecode(stream.metadata) or _timecode(container.metadata)
        self.timecode = None if start else timecode
        self.left_out = ["the time code, which counts from the beginning"] if start and timecode else []
        others = [other for other in container.streams.video if other.index != stream.index]
        covers = sum(bool(other.disposition & Disposition.attached_pic) for other in others)
        for count, name in ((covers, "the picture on the cover"), (len(others) - covers, "another video")):
            self.left_out += [name if count == 1 else f"{name} ({count} times)"] * bool(count)

    def chapters(self, begin: Fraction, end: Fraction | None, origin: Fraction, length: Fraction) -> list[Any]:
        """Return the chapters of a part of the video, by the times of that part.

        Args:
            begin: the part's, in seconds from the video's beginning.
            end: likewise; None: that of the video.
            origin: what the video's clock shows when it begins, in seconds.
            length: of the video, in seconds; 0: unknown.
        """
        kept: list[Any] = []
        chapters: list[Any] = list(self._container.chapters())
        behind = max((chapter["end"] * chapter["time_base"] for chapter in chapters), default=origin)
        # Who moved the clock may have left the chapters; they are meant to end where the video does.
        if not length or abs(behind - origin - length) <= abs(behind - length):
            begin, end = begin + origin, None if end is None else end + origin
        for chapter in chapters:
            unit = chapter["time_base"]
            first, last = max(begin, chapter["start"] * unit), chapter["end"] * unit
            last = last if end is None else min(end, last)
            if first < last:
                times = {"start": round((first - begin) / unit), "end": round((last - begin) / unit)}
                kept.append({**chapter, **times})
        return kept


def fits_rate(timecode: str, rate: Fraction) -> bool:
    """Return whether a video of so many frames a second can have a time code; some leave out numbers, by their rate."""
    match = _TIMECODE.fullmatch(timecode)
    return match is not None and round(rate) > 0 and (match[1] == ":" or round(rate) % 30 == 0)


def can_hold(container: str, stream: Any) -> bool:
    """Return whether videos of a format, as FFmpeg calls it, can hold a stream as it is."""
    if stream.type == "attachment":
        # WebM takes them, and does not write them.
        return container == "matroska"
    # Of samples as they are, it says only with the header whether MP4 has a name for them.
    options = {"movflags": "empty_moov"} if codec_of(stream).startswith("pcm_") else {}
    try:
        with av.open(io.BytesIO(), "w", format=container, container_options=options) as trial:
            add_copy(trial, stream)
            trial.start_encoding()
    except (OSError, ValueError, AttributeError, av.FFmpegError):
        return False
    return True


def add_copy(container: OutputContainer, stream: Any) -> Any:
    """Return a new stream of a video for the packets of another, as they are.

    Raises:
        ValueError: if the video cannot hold them.
    """
    try:
        return container.add_stream_from_template(stream, opaque=True)
    except ValueError:
        if container.format.name != "matroska" or stream.type != "audio":
            raise
    # All that a WAV can hold, but PyAV believes the list of those that have a name of their own. So it gets one of
    # them, and then the parameters of the other; the header is refused if there is no number for it either.
    with av.open(io.BytesIO(_WAV)) as usual:
        copy: Any = container.add_stream_from_template(usual.streams.audio[0], opaque=True)
    BitStreamFilterContext("null", stream, copy)
    copy.codec_context.codec_tag, copy.time_base = "\0\0\0\0", stream.time_base
    return copy


def fitting_suffix(path: Path, modes: StreamModes = AS_USUAL) -> str:
    """Return how the name of a copy of a video should end, so that it can hold the sound and subtitles of that video.

    That is as its own, .mp4, .mkv or .mov, whichever is the first to hold all that is to be copied, or else the most.
    """
    own = path.suffix.lower()
    suffixes = list(dict.fromkeys([*([own] if own in CONTAINERS else []), *_CHOICE]))
    try:
        with open_video(path) as container:
            others = [each for each in container.streams if modes.how(each.type) in ("auto", "copy")]
            others = [each for each in others if each.type in ("audio", "subtitle")]
            held = {suffix: sum(_suits(suffix, each) for each in others) for suffix in suffixes}
    except VideoError:  # What is wrong with it is said when it is read.
        return suffixes[0]
    return max(held, key=lambda suffix: held[suffix])


def _suits(suffix: str, stream: Any) -> bool:
    # Few players know samples as they are in MP4, which has them since 2021.
    unusual = suffix in (".mp4", ".m4v") and codec_of(stream).startswith("pcm_")
    lossless = suffix == ".mkv" and codec_of(stream) in UNCOMPRESSED
    return lossless or (not unusual and can_hold(CONTAINERS[suffix][0], stream))


def codec_of(stream: Any) -> str:
    """Return FFmpeg's name for what a stream is packed with."""
    context = getattr(stream, "codec_context", None)
    return context.codec.canonical_name if context else "unknown"


def name_of(stream: Any) -> str:
    """Return what to call a stream of data or an attachment in a message."""
    said = stream.metadata.get("handler_name") if stream.type == "data" else None
    return printable(" ".join(filter(None, [stream.type, said or stream.name])))


def _timecode(metadata: dict[str, str]) -> str | None:
    return next((value for key, value in metadata.items() if key.lower() == "timecode"), None)
