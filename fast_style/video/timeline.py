"""Timestamps of videos: clocks that do not begin at zero, restart in the middle, or are wrong."""

from collections.abc import Callable, Container, Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Any

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from fast_style.video.frames import USUAL_RATE, Frame

#: A clock that goes back by more than this many seconds has restarted; smaller steps are faulty timestamps.
_BACK = Fraction(1, 10)
#: So has one that jumps ahead by this many seconds, in formats with restarts; FFmpeg's own limit.
_AHEAD = 10
#: Maximum number of packets to hold while waiting for a key frame.
_MOST_HELD = 1000


def origin_of(container: InputContainer) -> Fraction:
    """Return the start time of a video's clock in seconds: of its earliest stream, as in FFmpeg."""
    if container.start_time is None:
        return Fraction(0)
    # Rounded to microseconds; the stream that begins there has the exact time.
    rounded = Fraction(container.start_time, av.time_base)
    begins = [each.start_time * each.time_base for each in container.streams if each.start_time and each.time_base]
    return next((each for each in begins if abs(each - rounded) * av.time_base <= 1), rounded)


def length_of(container: InputContainer, origin: Fraction) -> Fraction:
    """Return the approximate length of a video in seconds; 0: unknown."""
    length = Fraction(container.duration or 0, av.time_base)
    # Matroska's duration counts from zero, not from the start time.
    return max(Fraction(0), length - origin) if container.format.name.startswith("matroska") else length


def rate_of(stream: VideoStream, timeless: bool) -> Fraction:
    """Return the average frame rate of a video in frames per second; without timestamps, the stated rate."""
    average, guessed = stream.average_rate, stream.guessed_rate
    # FFmpeg's average may count fields (GXF) or repeat the time base (DV).
    doubtful = timeless or not average or (guessed and average > guessed * 3 / 2)
    return (guessed if doubtful else average) or average or USUAL_RATE


def from_key_frame(
    packets: "Iterator[Any]", pictures: int, start: Fraction, moment_of: Callable[[Any], Fraction | None]
) -> "Iterator[Any]":
    """Skip the video packets before the last key frame up to `start`; yield all others.

    Args:
        packets: packets of a video, from its beginning; None flushes the decoder.
        pictures: index of the video stream.
        start: in seconds.
        moment_of: returns when a packet is shown, in seconds.
    """
    held: list[Any] = []
    first = True
    for packet in packets:
        # The first picture tells decoders which encoder's bugs to work around.
        if packet is not None and (first or packet.stream_index != pictures):
            first = first and packet.stream_index != pictures
            yield packet
            continue
        moment = start if packet is None else moment_of(packet)
        if packet is not None and packet.is_keyframe and moment is not None and moment <= start:
            held.clear()
        held.append(packet)
        if len(held) > _MOST_HELD or (moment is not None and moment >= start):
            break
    yield from held
    yield from packets


class Timeline:
    """Shifts packet times so that they go on increasing after the clock restarts, by the same amount in all streams.

    Args:
        jumps: whether a jump ahead counts as a restart, too.
        sparse: indices of streams with long gaps, such as subtitles; they follow the other streams.
    """

    def __init__(self, jumps: bool = False, sparse: Container[int] = ()) -> None:
        self._ahead, self._sparse = _AHEAD if jumps else None, sparse
        # The shift in seconds after each restart, and the number of restarts of each stream.
        self._shifts = [Fraction(0)]
        self._restarts: dict[int, int] = {}
        self._last: dict[int, Fraction] = {}

    def __call__(self, packet: Any) -> None:
        """Change the times of a packet of any stream."""
        stream = packet.stream_index
        number = self._restarts.get(stream, 0)
        # Decoding times only: presentation times are not monotonic. Matroska's first packets may have none.
        if packet.dts is not None:
            number = self._number(packet, stream, number, packet.dts * packet.time_base)
        if shift := round(self._shifts[number] / packet.time_base):
            packet.pts = None if packet.pts is None else packet.pts + shift
            packet.dts = None if packet.dts is None else packet.dts + shift

    def _number(self, packet: Any, stream: int, number: int, moment: Fraction) -> int:
        """Return the number of restarts of a stream, so far `number`, by the decoding time of its next packet."""
        if self._ahead is not None and stream in self._sparse:
            now = max(self._last.values(), default=moment)
            return min(range(len(self._shifts)), key=lambda number: abs(moment + self._shifts[number] - now))
        if stream in self._last and self._is_new(stream, moment + self._shifts[number]):
            number = self._restarts[stream] = number + 1
            if number == len(self._shifts):
                # The first stream to restart sets the shift for all: after the last packet so far.
                length = (packet.duration or 0) * packet.time_base
                self._shifts.append(max(self._last.values()) + length - moment)
        self._last[stream] = moment + self._shifts[number]
        return number

    def _is_new(self, stream: int, moment: Fraction) -> bool:
        if moment < self._last[stream] - _BACK:
            return True
        return self._ahead is not None and moment > max(self._last.values()) + self._ahead


def until_next(frames: Iterator[Frame], of_last: Callable[[Frame], Fraction]) -> Iterator[Frame]:
    """Set each frame's duration to last until the next frame, and the last one's to `of_last(frame)`.

    MP4 stores the time until the next frame is decoded, which need not be the next one shown.
    """
    held = next(frames, None)
    for frame in frames:
        assert held is not None
        yield replace(held, duration=frame.time - held.time)
        held = frame
    if held is not None:
        yield replace(held, duration=of_last(held))
