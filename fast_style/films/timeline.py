"""The times of films, where their clock starts again in the middle, as in recordings that were joined, or misleads."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Any

from fast_style.films.frames import Frame

#: Who falls back by so many seconds has begun anew; by less, they are only badly written.
_BACK = Fraction(1, 10)


class Timeline:
    """Moves the times of packets on, so that what begins anew follows what was there: pictures and sound alike."""

    def __init__(self) -> None:
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
        if stream in self._last and moment + self._shifts[number] < self._last[stream] - _BACK:
            number = self._begun[stream] = number + 1
            if number == len(self._shifts):
                # The first stream to begin anew says for all where that is: behind the last that was there.
                length = (packet.duration or 0) * packet.time_base
                self._shifts.append(max(self._last.values()) + length - moment)
        self._last[stream] = moment + self._shifts[number]
        return number


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
