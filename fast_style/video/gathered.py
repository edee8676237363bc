"""Packets of sound, subtitles and data that stand between the pictures of a video."""

from fractions import Fraction
from typing import Any

#: In seconds. What is heard before a cut, so that a decoder has begun when it is reached.
_PREROLL = Fraction(1)


class Gathered:
    """Keeps packets until the next frame takes them along.

    Args:
        start: where the part begins that is wanted, in seconds from the video's beginning.
        end: where it ends; None: with the video.
        origin: what the video's clock shows when it begins, in seconds.
    """

    def __init__(self, start: Fraction, end: Fraction | None, origin: Fraction) -> None:
        self._start, self._end, self._origin = start, end, origin
        self._packets: list[Any] = []

    def add(self, packet: Any, moment: Fraction) -> None:
        """Keep a packet, if it may be wanted: what is before, a decoder may need, or it may last.

        Args:
            packet: of any stream.
            moment: when it begins, in seconds from the video's beginning.
        """
        lasts = max((packet.duration or 0) * packet.time_base, _PREROLL)
        begun = not self._start or moment + lasts >= self._start
        if begun and (self._end is None or moment < self._end):
            self._packets.append(packet)

    def take(self, zero: Fraction | None) -> tuple[Any, ...]:
        """Return what has been kept, counted from the first frame that is wanted; None: that is still to come."""
        if zero is None:
            return ()
        kept, self._packets = self._packets, []
        for packet in kept:
            if shift := round((self._origin + zero) / packet.time_base):
                packet.pts = None if packet.pts is None else packet.pts - shift
                packet.dts = None if packet.dts is None else packet.dts - shift
        return tuple(kept)
