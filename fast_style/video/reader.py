"""Reader of videos: upright RGB frames with their times, and undecoded packets of sound and subtitles."""

import contextlib
import itertools
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.packet import Packet
from av.stream import Stream
from av.video.frame import VideoFrame

from fast_style.errors import VideoError
from fast_style.video.container_info import ContainerInfo
from fast_style.video.fields import Fields
from fast_style.video.frames import Frame, Shape
from fast_style.video.opening import decoder_of, moving_pictures, open_video, reason
from fast_style.video.pixels import Picturer
from fast_style.video.timeline import Timeline, from_key_frame, length_of, origin_of, rate_of, until_next

# FFmpeg's format flags AVFMT_TS_DISCONT (the clock may restart) and AVFMT_NOTIMESTAMPS (times follow from the rate).
_RESTARTS, _NO_TIMES = 0x0200, 0x0080
# Formats in which FFmpeg seeks reliably. The others are read from the beginning, without decoding.
_SEEKABLE = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "avi", "asf", "mxf", "dv")
#: How far after the last wanted frame its sound may be in the file, in seconds.
_INTERLEAVING = 10
#: The same for subtitles, in seconds: they are sparse, so nothing shows that all have been read.
_LAG = 2
#: Sound kept before a cut so that its decoder is ready at the cut, in seconds.
_PREROLL = Fraction(1)


class VideoReader:
    """Reads a video frame by frame; a `Reader`.

    Args:
        path: the video.
        start: where to begin, in seconds; the first frame kept gets time 0.
        end: where to end, in seconds; None: with the video.
        long_side: of the frames, in pixels; None: that of the video.

    Attributes:
        others: streams of sound, subtitles and data, whose packets come with the frames.
        info: metadata, attachments and the like.
        chapters: chapters between start and end.

    Raises:
        VideoError: if the file is missing or not a video, or has no readable frame.
    """

    def __init__(self, path: Path, start: float = 0, end: float | None = None, long_side: int | None = None) -> None:
        self.path = path
        self._container = open_video(path)
        try:
            self._prepare(start, end, long_side)
        except BaseException:
            self._container.close()
            raise

    def _prepare(self, start: float, end: float | None, long_side: int | None) -> None:
        container = self._container
        stream = self._stream = moving_pictures(self.path, container)
        self._decoder = decoder_of(stream)
        self._timeless, self._restarts = (bool(container.format.flags & each) for each in (_NO_TIMES, _RESTARTS))
        self._rate = rate_of(stream, self._timeless)
        self._tick = 1 / self._rate if self._timeless else stream.time_base or Fraction(1, 90_000)
        self._origin = origin_of(container)
        # Exact decimals as written, not the nearest binary floats.
        self._start, self._end = Fraction(str(start)), None if end is None else Fraction(str(end))
        self.info = ContainerInfo(container, stream, self._start)
        self.others: list[Stream] = [other for other in container.streams if other.type in ("audio", "subtitle")]
        self.others += self.info.data
        # Times of the first frame after the end, and of the first wanted frame, which becomes 0.
        self._after_end: Fraction | None = None
        self._zero = None if start else Fraction(0)
        self._packet_queue = PacketQueue(self._start, self._end, self._origin)
        self._undecodable = self._incomplete = self._frame_count = 0
        self._fields = Fields(self._tick)
        self._resized: str | None = None
        self._broken: str | None = None
        if start and container.format.name in _SEEKABLE:
            # A file in which seeking fails is read from the beginning.
            with contextlib.suppress(av.FFmpegError):
                # The first packet tells decoders which encoder's bugs to work around (x264's in 4:4:4, for example).
                self._decode(next(container.demux(stream), None))
                container.seek(int((self._start + self._origin) * av.time_base))
        frames = until_next(self._read(long_side), self._last_duration)
        first = next(frames, None)
        if first is None:
            reason = f"no frame from {start:g} s on" if start else "no frame in it can be read"
            raise VideoError(f"{self.path}: {reason}{f' ({self._broken})' if self._broken else ''}")
        self._frames = itertools.chain([first], frames)
        height, width = first.pixels.shape[:2]
        whole = length_of(container, self._origin)
        length = whole if self._end is None else min(self._end, whole or self._end)
        count = (not start and end is None and stream.frames) or max(0, round((length - self._start) * self._rate))
        aspect = (stream.sample_aspect_ratio or Fraction(1)) ** (-1 if self._picture.swapped else 1)
        alpha, colors = self._picture.alpha, self._picture.colors
        self.shape = Shape(width, height, self._tick, self._rate, count, aspect, colors, alpha=alpha)
        self.chapters = self.info.chapters(self._zero or Fraction(0), self._end, self._origin, whole)

    @property
    def damage(self) -> str | None:
        """See Reader."""
        signs = [f"{self._undecodable} packets cannot be decoded"] if self._undecodable else []
        signs += [f"{self._incomplete} frames are incomplete"] if self._incomplete else []
        signs += [f"it breaks off ({self._broken})"] if self._broken else []
        return f"{self.path}: damaged: {', '.join(signs)}; {self._frame_count} frames were read" if signs else None

    @property
    def notes(self) -> list[str]:
        """See Reader."""
        notes = ["interlaced: of each two fields one whole frame was made"] if self._fields.found else []
        notes += [self._picture.note] if self._picture.note else []
        return notes + ([self._resized] if self._resized else [])

    def frames(self) -> Iterator[Frame]:
        """See Reader."""
        return self._frames

    def rest(self) -> tuple[Any, ...]:
        """Return the packets after the last frame."""
        return self._packet_queue.take(self._zero)

    def close(self) -> None:
        """See Reader."""
        self._container.close()

    def _read(self, long_side: int | None) -> Iterator[Frame]:
        for frame, moment in self._decoded():
            if moment < self._start:
                continue
            if self._zero is None:
                self._zero = moment
            if not self._frame_count:
                self._picture = Picturer(frame, long_side, opacity=True)
            if self._resized is None and not self._picture.fits(frame):
                size = f"{frame.width}x{frame.height} pixels from {float(moment - self._zero):.1f} s on"
                self._resized = f"{size}: brought to the size of the first"
            self._frame_count += 1
            self._incomplete += frame.is_corrupt
            duration = (frame.duration or 0) * (frame.time_base or self._tick)
            duration = 1 / self._rate if self._timeless else duration
            pixels, alpha = self._picture(frame), None
            if self._picture.alpha:
                pixels, alpha = np.ascontiguousarray(pixels[:, :, :3]), np.ascontiguousarray(pixels[:, :, 3])
            yield Frame(pixels, moment - self._zero, duration, alpha, self._packet_queue.take(self._zero))

    def _last_duration(self, frame: Frame) -> Fraction:
        begin, stream = frame.time + (self._zero or 0), self._stream
        if self._after_end is not None and self._end is not None:
            return min(self._after_end, self._end) - begin
        # Not for fragmented MP4, whose duration counts from the first decoding time.
        said = self._container.format.name.startswith("mov") and stream.frames and stream.duration
        rest = ((stream.start_time or 0) + said) * self._tick - self._origin - begin if said else Fraction(0)
        return rest if rest > 0 and self.damage is None else frame.duration or 1 / self._rate

    def _decoded(self) -> Iterator[tuple[VideoFrame, Fraction]]:
        """Yield the frames before the end, with their times, and gather the packets of the other streams."""
        reached = {stream.index: Fraction(0) for stream in self.others if stream.type == "audio"}
        last: Fraction | None = None
        lag = _LAG if any(other.type == "subtitle" for other in self.others) else 0
        packets = self._packets()
        if self._start and not self._timeless and self._container.format.name not in _SEEKABLE:
            packets = from_key_frame(packets, self._stream.index, self._start, self._moment)
        for packet in packets:
            moment = self._moment(packet)
            if packet is None or packet.stream_index == self._stream.index:
                frames = [*self._decode(packet), *([None] if packet is None else [])]
                for frame in itertools.chain.from_iterable(map(self._fields, frames)):
                    last = self._time(frame, last)
                    if self._end is not None and last >= self._end:
                        self._after_end = last if self._after_end is None else self._after_end
                        break
                    yield frame, last
            elif moment is not None:
                self._packet_queue.add(packet, moment)
                reached[packet.stream_index] = moment
            if self._end is None or last is None or last < self._end:
                continue
            # Sound up to the end may come after the last frame in the file.
            behind = Fraction(0) if moment is None else moment - self._end
            if behind > _INTERLEAVING or (behind >= lag and all(each >= self._end for each in reached.values())):
                return

    def _packets(self) -> "Iterator[Packet[Any] | None]":
        """Yield all packets, then None to flush the decoder."""
        count = ends = 0
        sparse = [other.index for other in self.others if other.type != "audio"]
        timeline = Timeline(jumps=self._restarts, sparse=sparse)
        try:
            for packet in self._container.demux(self._stream, *self.others):
                # Empty packets would flush the decoders.
                if packet.size:
                    if packet.stream_index == self._stream.index:
                        count += 1
                        ends = max(ends, (packet.pts or 0) + (packet.duration or 0))
                    timeline(packet)
                    yield packet
            # FFmpeg reports no error for a truncated file, but some formats store the number of frames.
            if not self._start and count < self._stream.frames and not self._has_edit_list(ends):
                self._broken = f"{self._stream.frames - count} of {self._stream.frames} frames are missing"
        except (av.FFmpegError, ValueError) as error:
            self._broken = reason(error)
        yield None

    def _has_edit_list(self, ends: int) -> bool:
        """Return whether an edit list leaves frames out: the last frame then ends at the video's length."""
        length = self._stream.duration
        return length is not None and ends + 1 / self._rate / self._tick >= length

    def _decode(self, packet: "Packet[Any] | None") -> list[VideoFrame]:
        try:
            frames: list[VideoFrame] = self._decoder.decode(packet)
            return frames
        except (av.FFmpegError, ValueError):
            self._undecodable += packet is not None
            return []

    def _time(self, frame: VideoFrame, last: Fraction | None) -> Fraction:
        """Return the time of a frame, always after the last one's, even in a damaged file."""
        moment = self._moment(frame)
        if moment is None:
            moment = Fraction(0) if last is None else last + 1 / self._rate
        return moment if last is None or moment > last else last + self._tick

    def _moment(self, item: Any) -> Fraction | None:
        if item is None or item.pts is None or self._timeless:
            return None
        # Frames flushed at the end have no time base.
        return Fraction(item.pts * (item.time_base or self._tick) - self._origin)

    @property
    def part(self) -> tuple[bool, Fraction | None]:
        """Whether the video's beginning is cut off, and the maximum length in seconds; None: to the video's end."""
        return bool(self._start), None if self._end is None else self._end - (self._zero or 0)


class PacketQueue:
    """Keeps packets until the next frame takes them.

    Args:
        start: where the wanted part begins, in seconds from the video's beginning.
        end: where it ends, likewise; None: with the video.
        origin: start time of the video's clock, in seconds.
    """

    def __init__(self, start: Fraction, end: Fraction | None, origin: Fraction) -> None:
        self._start, self._end, self._origin = start, end, origin
        self._packets: list[Any] = []

    def add(self, packet: Any, moment: Fraction) -> None:
        """Keep a packet if it may be needed: also before the start, for decoders and for subtitles still shown then.

        Args:
            packet: of any stream.
            moment: when it begins, in seconds from the video's beginning.
        """
        lasts = max((packet.duration or 0) * packet.time_base, _PREROLL)
        begun = not self._start or moment + lasts >= self._start
        if begun and (self._end is None or moment < self._end):
            self._packets.append(packet)

    def take(self, zero: Fraction | None) -> tuple[Any, ...]:
        """Return the kept packets with times counted from `zero`, the first wanted frame; None: not reached yet."""
        if zero is None:
            return ()
        kept, self._packets = self._packets, []
        for packet in kept:
            if shift := round((self._origin + zero) / packet.time_base):
                packet.pts = None if packet.pts is None else packet.pts - shift
                packet.dts = None if packet.dts is None else packet.dts - shift
        return tuple(kept)
