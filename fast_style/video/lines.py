"""Subtitles as MP4 has them: one after the other, without a gap, and nothing where nothing is said."""

from fractions import Fraction
from typing import Any

import av

#: In seconds. FFmpeg compares the times of subtitles with those of other streams as if all had one unit, and where its
#: own guess ends a line that lasts, the program ends. In one finer than theirs it never guesses.
UNIT = Fraction(1, 1_000_000)
_MOMENT = 1000
_NOTHING = b"\0\0"


class Lines:
    """Puts an empty line wherever there is none, and lets the last end where the video does."""

    def __init__(self) -> None:
        self._held: Any = None
        self._reached = 0

    def __call__(self, packet: Any) -> list[Any]:
        """Return what is complete once this line is there; it is held until the next."""
        begins, ends = (round(each * packet.time_base / UNIT) for each in (packet.pts, packet.pts + packet.duration))
        begins = max(begins, 0)
        ready = self._until(begins)
        packet.time_base = UNIT
        packet.pts = packet.dts = max(begins, self._reached)
        packet.duration = max(ends - packet.pts, 1)
        self._held = packet
        return ready

    def finish(self, length: Fraction) -> list[Any]:
        """Return what is left of a video of some seconds."""
        # Behind the last, FFmpeg puts an empty line as long as the one before it.
        last = round(length / UNIT) - 2 * _MOMENT
        if self._held is None and not self._reached:
            return []
        ready = self._until(max(last, self._begun + 1))
        return [*ready, self._nothing(self._reached, self._reached + _MOMENT)]

    @property
    def _begun(self) -> int:
        return self._reached if self._held is None else int(self._held.pts)

    def _until(self, moment: int) -> list[Any]:
        """Return what is seen until a moment."""
        ready = []
        if self._held is not None:
            held, self._held = self._held, None
            held.duration = max(1, min(held.duration, moment - held.pts))
            self._reached = held.pts + held.duration
            ready.append(held)
        if moment > self._reached:
            ready.append(self._nothing(self._reached, moment))
            self._reached = moment
        return ready

    @staticmethod
    def _nothing(begins: int, ends: int) -> Any:
        packet: Any = av.Packet(_NOTHING)
        packet.time_base = UNIT
        packet.pts = packet.dts = begins
        packet.duration = ends - begins
        return packet
