"""Copies sound, subtitles, data and attachments from one video to another, converted where needed."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.bitstream import BitStreamFilterContext
from av.container import OutputContainer

from fast_style.errors import VideoError
from fast_style.video.container_info import add_copy, can_hold, codec_of, name_of
from fast_style.video.converted_streams import ConvertedSound, ConvertedText, refusal
from fast_style.video.frames import AS_USUAL, CONTAINERS, StreamModes
from fast_style.video.reader import VideoReader

#: Time base of MP4 subtitles, in seconds. FFmpeg compares subtitle times with those of other streams as if all had one
#: time base, and aborts the program where its guess ends a line too early. With a finer one it never guesses.
UNIT = Fraction(1, 1_000_000)
_MILLISECOND = 1000
_EMPTY_LINE = b"\0\0"


class Mp4Subtitles:
    """Fills gaps between subtitles with empty lines, and ends the last where the video ends."""

    def __init__(self) -> None:
        self._held: Any = None
        self._reached = 0

    def __call__(self, packet: Any) -> list[Any]:
        """Take the next line, hold it, and return the lines that are complete."""
        begins, ends = (round(each * packet.time_base / UNIT) for each in (packet.pts, packet.pts + packet.duration))
        begins = max(begins, 0)
        ready = self._until(begins)
        packet.time_base = UNIT
        packet.pts = packet.dts = max(begins, self._reached)
        packet.duration = max(ends - packet.pts, 1)
        self._held = packet
        return ready

    def finish(self, length: Fraction) -> list[Any]:
        """Return the remaining lines; `length` is the video's, in seconds."""
        # After the last line, FFmpeg adds an empty one as long as the one before it.
        last = round(length / UNIT) - 2 * _MILLISECOND
        if self._held is None and not self._reached:
            return []
        begun = self._reached if self._held is None else int(self._held.pts)
        ready = self._until(max(last, begun + 1))
        return [*ready, self._empty(self._reached, self._reached + _MILLISECOND)]

    def _until(self, moment: int) -> list[Any]:
        """Return the lines shown until a moment."""
        ready = []
        if self._held is not None:
            held, self._held = self._held, None
            held.duration = max(1, min(held.duration, moment - held.pts))
            self._reached = held.pts + held.duration
            ready.append(held)
        if moment > self._reached:
            ready.append(self._empty(self._reached, moment))
            self._reached = moment
        return ready

    @staticmethod
    def _empty(begins: int, ends: int) -> Any:
        packet: Any = av.Packet(_EMPTY_LINE)
        packet.time_base = UNIT
        packet.pts = packet.dts = begins
        packet.duration = ends - begins
        return packet


_CONVERT: dict[str, type[ConvertedSound | ConvertedText]] = {"audio": ConvertedSound, "subtitle": ConvertedText}


class CopiedStreams:
    """Copies all streams but the pictures from one video to another: bit-exact unless converted.

    Args:
        path: name of the written video for messages.
        container: the written video.
        source: the video to copy from.
        modes: how to treat sound and subtitles.

    Attributes:
        left_out: what the format cannot hold, each in a few words.
        notes: what was converted because of that, each in a few words.

    Raises:
        VideoError: if the format cannot hold sound or subtitles that are to be copied.
    """

    def __init__(
        self, path: Path, container: OutputContainer, source: VideoReader, modes: StreamModes = AS_USUAL
    ) -> None:
        self._path, self._container, self._source, self._modes = path, container, source, modes
        # What a packet goes through on its way: a conversion, or a filter of bits.
        self._steps: dict[int, Callable[[Any], list[Any]]] = {}
        self._latest: dict[int, int] = {}
        self.left_out: list[str] = []
        self.notes: list[str] = []
        self._copies: dict[int, Any] = {}
        self._subtitles: dict[int, Mp4Subtitles] = {}
        self._converted: dict[int, ConvertedSound | ConvertedText] = {}
        for other in (*source.others, *source.info.attachments):
            self._take(other)
        for index, copy in self._copies.items():
            if container.format.name in ("mp4", "mov") and codec_of(copy) == "mov_text":
                copy.time_base = UNIT
                self._subtitles[index] = Mp4Subtitles()

    def __call__(self, packets: tuple[Any, ...]) -> None:
        """Write packets of the source."""
        for packet in packets:
            index = packet.stream_index
            sound = index in self._converted and packet.stream.type == "audio"
            if index not in self._copies or not (sound or self._cut(packet)):
                continue
            # Faulty videos have decoding times that go back, which no format takes.
            if packet.dts is not None:
                packet.dts = max(packet.dts, self._latest.get(index, packet.dts - 1) + 1)
                packet.pts = None if packet.pts is None else max(packet.pts, packet.dts)
                self._latest[index] = packet.dts
            ready = self._steps[index](packet) if index in self._steps else [packet]
            if index in self._subtitles:
                ready = [each for line in ready for each in self._subtitles[index](line)]
            self._mux(index, ready)

    def finish(self, length: Fraction) -> None:
        """Write the source's packets after its last frame, and what is held; `length` is the video's, in seconds."""
        self(self._source.rest())
        for index, convert in self._converted.items():
            self._mux(index, convert(None))
        for index, lines in self._subtitles.items():
            self._mux(index, lines.finish(length))

    def _mux(self, index: int, packets: list[Any]) -> None:
        for each in packets:
            each.stream = self._copies[index]
            self._container.mux(each)

    def _cut(self, packet: Any) -> bool:
        """Return whether a packet belongs to the wanted part; a subtitle that crosses a cut is shortened."""
        begins, length = self._source.part
        moment = packet.pts * packet.time_base
        if length is not None and moment >= length:
            return False
        if packet.stream.type == "subtitle" and packet.duration and (begins or length is not None):
            ends = moment + packet.duration * packet.time_base
            ends = ends if length is None else min(ends, length)
            moment = max(moment, Fraction(0)) if begins else moment
            if ends > moment:
                packet.pts = packet.dts = round(moment / packet.time_base)
                packet.duration = max(1, round((ends - moment) / packet.time_base))
        return not begins or moment >= 0

    def _take(self, other: Any) -> None:
        """Copy, convert or leave out a stream."""
        holds = can_hold(self._container.format.name, other)
        how = self._modes.how(other.type)
        if how == "none":
            return
        why = refusal(other) if other.type in _CONVERT else None
        if holds and (how != "convert" or why):
            self._copies[other.index] = self._add(other)
        elif other.type not in _CONVERT:
            self.left_out.append(f"{name_of(other)}, which a {self._path.suffix} cannot hold")
        elif how == "copy":
            setting = "audio" if other.type == "audio" else "subtitles"
            refused = f"such a file cannot hold the {other.type} of {self._source.path} ({codec_of(other)})"
            raise VideoError(f"{self._path}: {refused}; {_remedy(other)}{setting}=convert")
        elif why:
            self.left_out.append(f"the {other.type} {codec_of(other)} ({why})")
        else:
            self._convert(other, because=f", since a {self._path.suffix} cannot hold it" if how == "auto" else "")

    def _convert(self, other: Any, because: str) -> None:
        try:
            convert = _CONVERT[other.type](self._container, other, self._source.part)
        except (ValueError, av.FFmpegError):
            self.left_out.append(f"the {other.type} {codec_of(other)} (which cannot be converted)")
            return
        self._converted[other.index] = self._steps[other.index] = convert
        self._copies[other.index] = convert.copy
        convert.copy.metadata.update(_without_codec_keys(other))
        convert.copy.disposition = other.disposition
        note = f"{other.type}: {codec_of(other)} became {convert.name}{because}"
        if because and note not in self.notes:
            self.notes.append(note)

    def _add(self, other: Any) -> Any:
        copy = add_copy(self._container, other)
        adts = codec_of(other) == "aac" and not other.codec_context.extradata
        if adts and self._container.format.name in ("mp4", "mov"):
            # Broadcasts repeat the AAC header in each packet; MP4 stores it once.
            self._steps[other.index] = BitStreamFilterContext("aac_adtstoasc", other).filter
        copy.metadata.update(other.metadata)
        copy.disposition = other.disposition
        return copy


def _remedy(other: Any) -> str:
    """Return which suffixes can hold a stream, for a message."""
    kinds = [suffix for suffix, (name, _) in CONTAINERS.items() if suffix != ".m4v" and can_hold(name, other)]
    return f"end it in {' or '.join(kinds[:2])}, or give " if kinds else "give "


def _without_codec_keys(stream: Any) -> dict[str, str]:
    """Return a stream's metadata without that of its codec."""
    of_codec = ("ENCODER", "BPS", "DURATION", "NUMBER_OF_FRAMES", "NUMBER_OF_BYTES", "_STATISTICS")
    return {key: value for key, value in stream.metadata.items() if not key.upper().startswith(of_codec)}
