"""The times of videos, whose clock need not begin at zero, may start again in the middle, or mislead."""

from collections.abc import Callable, Container, Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Any

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from fast_style.video.frames import USUAL_RATE, Frame

#: Who falls back by so many seconds has begun anew; by less, they are only badly written.
_BACK = Fraction(1, 10)
#: Who jumps ahead by so many seconds has, too, where that can be: FFmpeg's own limit.
_AHEAD = 10
#: So many packets without a key frame are no sign that one comes.
_MOST_HELD = 1000


def origin_of(container: InputContainer) -> Fraction:
    """Return what a video's clock shows when it begins, in seconds: with its sound or its pictures, as in FFmpeg."""
    if container.start_time is None:
        return Fraction(0)
    # That is rounded to microseconds; what begins there knows better.
    rounded = Fraction(container.start_time, av.time_base)
    begins = [each.start_time * each.time_base for each in container.streams if each.start_time and each.time_base]
    return next((each for each in begins if abs(each - rounded) * av.time_base <= 1), rounded)


def length_of(container: InputContainer, origin: Fraction) -> Fraction:
    """Return how long a video is, about, in seconds; 0: unknown."""
    length = Fraction(container.duration or 0, av.time_base)
    # What Matroska says counts from zero, and not from where its clock begins.
    return max(Fraction(0), length - origin) if container.format.name.startswith("matroska") else length


def rate_of(stream: VideoStream, timeless: bool) -> Fraction:
    """Return the frames a second of a video, on average; of one without times, those that it asks for."""
    average, guessed = stream.average_rate, stream.guessed_rate
    # FFmpeg takes fields for frames (GXF), or nothing but the unit (DV).
    doubtful = timeless or not average or (guessed and average > guessed * 3 / 2)
    return (guessed if doubtful else average) or average or USUAL_RATE


def from_key_frame(
    packets: "Iterator[Any]", pictures: int, start: Fraction, moment_of: Callable[[Any], Fraction | None]
) -> "Iterator[Any]":
    """Leave out the pictures that are not needed to decode those from `start` on; all else is yielded.

    Args:
        packets: of a video, from its beginning.
        pictures: the index of the stream that holds them.
        start: in seconds.
        moment_of: tells when a packet is shown.
    """
    held: list[Any] = []
    first = True
    for packet in packets:
        # From the first picture, decoders learn which encoder's faults to make up for.
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
    """Moves the times of packets on, so that what begins anew follows what was there: pictures and sound alike.

    Args:
        jumps: whether what is far ahead has begun anew as well.
        sparse: streams in which nothing may come for long, such as subtitles, and which go by what the others do.
    """

    def __init__(self, jumps: bool = False, sparse: Container[int] = ()) -> None:
        self._ahead, self._sparse = _AHEAD if jumps else None, sparse
        # By the number of times that a stream has begun anew, what to add to its times.
        self._shifts = [Fraction(0)]
        self._begun: dict[int, int] = {}
        self._last: dict[int, Fraction] = {}

    def __call__(self, packet: Any) -> None:
        """Change the times of a packet of any stream."""
        stream = packet.stream_index
        number = self._begun.get(stream, 0)
        # Those that Matroska begins with may have no time of decoding, and that of showing goes back and forth.
        if packet.dts is not None:
            number = self._number(packet, stream, packet.dts * packet.time_base)
        if shift := round(self._shifts[number] / packet.time_base):
            packet.pts = None if packet.pts is None else packet.pts + shift
            packet.dts = None if packet.dts is None else packet.dts + shift

    def _number(self, packet: Any, stream: int, moment: Fraction) -> int:
        """Return how often a stream has begun anew with a packet that is decoded at a moment."""
        number = self._begun.get(stream, 0)
        if self._ahead is not None and stream in self._sparse:
            now = max(self._last.values(), default=moment)
            return min(range(len(self._shifts)), key=lambda number: abs(moment + self._shifts[number] - now))
        if stream in self._last and self._is_new(stream, moment + self._shifts[number]):
            number = self._begun[stream] = number + 1
            if number == len(self._shifts):
                # The first stream to begin anew says for all where that is: behind the last that was there.
                length = (packet.duration or 0) * packet.time_base
                self._shifts.append(max(self._last.values()) + length - moment)
        self._last[stream] = moment + self._shifts[number]
        return number

    def _is_new(self, stream: int, moment: Fraction) -> bool:
        if moment < self._last[stream] - _BACK:
            return True
        return self._ahead is not None and moment > max(self._last.values()) + self._ahead


def until_next(frames: Iterator[Frame], of_last: Callable[[Frame], Fraction]) -> Iterator[Frame]:
    """Let each frame stay until the next appears, and the last for as long as is said of it.

    What an MP4 says of each is how long it takes until the next one is decoded, which need not be the next to be seen.
    """
    held = next(frames, None)
    for frame in frames:
        assert held is not None
        yield replace(held, duration=frame.time - held.time)
        held = frame
    if held is not None:
        yield replace(held, duration=of_last(held))
