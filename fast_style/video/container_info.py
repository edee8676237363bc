"""Container contents beyond the streams: chapters, metadata, time codes, attachments and data."""

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

# Suffixes to try, best first.
_CHOICE = (".mp4", ".mkv", ".mov")
# Metadata that describes the file, not the video in it.
_FILE_METADATA = ("major_brand", "minor_version", "compatible_brands", "encoder", "timecode")
#: Uncompressed sound in a byte order that only discs use; Matroska stores it as ordinary PCM.
UNCOMPRESSED = ("pcm_dvd", "pcm_bluray")
# A WAV file of one sample: 16 bits, mono.
_WAV = b"RIFF&\0\0\0WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 8000, 16000, 2, 16) + b"data\2\0\0\0\0\0"
_TIMECODE = re.compile(r"\d\d:\d\d:\d\d([:;.])\d\d")


class ContainerInfo:
    """What a video holds beyond pictures, sound and subtitles.

    Args:
        container: the video.
        stream: its pictures.
        start: where the wanted part begins, in seconds.

    Attributes:
        data: data streams, often in a vendor's own format, such as a camera's positions.
        attachments: files in the video, such as fonts.
        metadata: title, date and the like.
        timecode: time code of the first frame (hh:mm:ss:ff); None: unknown.
        left_out: what no copy gets, each in a few words.
    """

    def __init__(self, container: InputContainer, stream: VideoStream, start: Fraction) -> None:
        self._container = container
        self.attachments = [other for other in container.streams if other.type == "attachment"]
        # Chapters may also be a stream, which FFmpeg discards; FFmpeg writes the time code stream itself.
        data = [other for other in container.streams if other.type == "data" and other.discard != Discard.all]
        self.data = [other for other in data if not _timecode(other.metadata)]
        self.metadata = {key: value for key, value in container.metadata.items() if key.lower() not in _FILE_METADATA}
        timecode = _timecode(stream.metadata) or _timecode(container.metadata)
        self.timecode = None if start else timecode
        self.left_out = ["the time code, which counts from the beginning"] if start and timecode else []
        others = [other for other in container.streams.video if other.index != stream.index]
        covers = sum(bool(other.disposition & Disposition.attached_pic) for other in others)
        for count, name in ((covers, "the picture on the cover"), (len(others) - covers, "another video")):
            self.left_out += [name if count == 1 else f"{name} ({count} times)"] * bool(count)

    def chapters(self, begin: Fraction, end: Fraction | None, origin: Fraction, length: Fraction) -> list[Any]:
        """Return the chapters of a part of the video, with times counted from the part's beginning.

        Args:
            begin: where the part begins, in seconds from the video's beginning.
            end: where the part ends, likewise; None: with the video.
            origin: start time of the video's clock, in seconds.
            length: length of the video in seconds; 0: unknown.

        Returns:
            Chapters as PyAV's `set_chapters` takes them.
        """
        kept: list[Any] = []
        chapters: list[Any] = list(self._container.chapters())
        last_end = max((chapter["end"] * chapter["time_base"] for chapter in chapters), default=origin)
        # A tool that moved the clock may not have moved the chapters: they should end where the video does.
        if not length or abs(last_end - origin - length) <= abs(last_end - length):
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
    """Return whether a time code is valid at a rate in frames per second; drop-frame codes need multiples of 30."""
    match = _TIMECODE.fullmatch(timecode)
    return match is not None and round(rate) > 0 and (match[1] == ":" or round(rate) % 30 == 0)


def can_hold(container: str, stream: Any) -> bool:
    """Return whether a container format, by FFmpeg's name, can hold a stream unchanged."""
    if stream.type == "attachment":
        # WebM accepts attachments but does not write them.
        return container == "matroska"
    # Whether MP4 has a tag for PCM shows only when the header is written.
    options = {"movflags": "empty_moov"} if codec_of(stream).startswith("pcm_") else {}
    try:
        with av.open(io.BytesIO(), "w", format=container, container_options=options) as trial:
            add_copy(trial, stream)
            trial.start_encoding()
    except (OSError, ValueError, AttributeError, av.FFmpegError):
        return False
    return True


def add_copy(container: OutputContainer, stream: Any) -> Any:
    """Add a stream to a container for the unchanged packets of another.

    Args:
        container: the video that is written.
        stream: the stream to copy.

    Returns:
        The new stream.

    Raises:
        ValueError: if the container cannot hold it.
    """
    try:
        return container.add_stream_from_template(stream, opaque=True)
    except ValueError:
        if container.format.name != "matroska" or stream.type != "audio":
            raise
    # Matroska holds any sound that a WAV can, but PyAV accepts only codecs with a Matroska name. So it gets one of
    # those, then the parameters of the other; writing the header fails if a WAV cannot hold the codec either.
    with av.open(io.BytesIO(_WAV)) as usual:
        copy: Any = container.add_stream_from_template(usual.streams.audio[0], opaque=True)
    BitStreamFilterContext("null", stream, copy)
    copy.codec_context.codec_tag, copy.time_base = "\0\0\0\0", stream.time_base
    return copy


def fitting_suffix(path: Path, modes: StreamModes = AS_USUAL) -> str:
    """Return the suffix for a copy of a video that can hold its sound and subtitles.

    It is the first of the video's own suffix, .mp4, .mkv and .mov that holds the most streams to be copied.
    """
    own = path.suffix.lower()
    suffixes = list(dict.fromkeys([*([own] if own in CONTAINERS else []), *_CHOICE]))
    try:
        with open_video(path) as container:
            others = [each for each in container.streams if each.type in ("audio", "subtitle")]
            others = [each for each in others if modes.how(each.type) in ("auto", "copy")]
            held = {suffix: sum(_suits(suffix, each) for each in others) for suffix in suffixes}
    except VideoError:  # Reading the video reports what is wrong.
        return suffixes[0]
    return max(held, key=lambda suffix: held[suffix])


def _suits(suffix: str, stream: Any) -> bool:
    # Few players support PCM in MP4, which was added in 2021.
    unusual = suffix in (".mp4", ".m4v") and codec_of(stream).startswith("pcm_")
    lossless = suffix == ".mkv" and codec_of(stream) in UNCOMPRESSED
    return lossless or (not unusual and can_hold(CONTAINERS[suffix][0], stream))


def codec_of(stream: Any) -> str:
    """Return FFmpeg's name for a stream's codec, or `unknown`."""
    context = getattr(stream, "codec_context", None)
    return context.codec.canonical_name if context else "unknown"


def name_of(stream: Any) -> str:
    """Return the name of a data stream or an attachment for messages."""
    said = stream.metadata.get("handler_name") if stream.type == "data" else None
    return printable(" ".join(filter(None, [stream.type, said or stream.name])))


def _timecode(metadata: dict[str, str]) -> str | None:
    return next((value for key, value in metadata.items() if key.lower() == "timecode"), None)
