"""The work on one video: its stages, what stops them, and what is there by then."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TypeAlias

from fast_style.system.pipeline import Stages
from fast_style.video.frames import Bytes, Frame, Reader, Writer

#: Stylizes the pixels of a frame, given its number from 0 on.
Paint: TypeAlias = Callable[[Bytes, int], Bytes]
#: Makes a stylized frame steady, given its pixels as they were filmed and as they were painted.
Smooth: TypeAlias = Callable[[Bytes, Bytes], Bytes]


@dataclass(frozen=True)
class VideoReport:
    """What has been done.

    Attributes:
        frames: how many were written.
        length: when the last of them ends, in seconds.
        seconds: how long it took.
        busy: the share of that time in which each stage worked, by its name.
        warning: what could not be read, in a line; None: nothing.
        notes: what has been lost on the way, each in a few words.
        size: width and height of what was written, in pixels.
    """

    frames: int
    length: Fraction
    seconds: float
    busy: Mapping[str, float]
    warning: str | None
    notes: Sequence[str] = ()
    size: tuple[int, int] = (0, 0)


class VideoWork:
    """Reads, paints, smooths and writes frames, all at the same time.

    Args:
        reader: where they come from.
        paint: what the network does.
        smooth: what is done about flicker; None: nothing.
        writer: where they go.

    Attributes:
        frames: how many have been written.
        length: when the last of them ends, in seconds.
    """

    def __init__(self, reader: Reader, paint: Paint, smooth: Smooth | None, writer: Writer) -> None:
        self._reader, self._paint, self._smooth, self._writer = reader, paint, smooth, writer
        self._stages = Stages()
        self._painted = 0
        self._error: BaseException | None = None
        self._ended = threading.Event()
        self.frames, self.length = 0, Fraction(0)

    def run(self, progress: Callable[[int, int], None] | None = None) -> VideoReport:
        """Do all of it. What stops it is raised when what was painted by then is written, so that it can be played.

        Args:
            progress: is told now and then how many frames are done, and how many there are, about; 0: nobody knows.
        """
        # Not in this thread, in which signals arrive: one would fall between a frame and its writing.
        began = time.perf_counter()
        threading.Thread(target=self._work, daemon=True).start()
        try:
            # Not join(): interrupted, Python 3.11 takes the thread for ended.
            while not self._ended.wait(0.1):
                if progress is not None:
                    count = self._reader.shape.count
                    progress(self.frames, max(count, self.frames) if count else 0)
        except BaseException:  # Any: it comes from without, as Ctrl-C does. A second one ends it at once.
            self._stages.stop()
            self._ended.wait()
            raise
        if self._error is not None:
            raise self._error
        seconds = time.perf_counter() - began
        if progress is not None:
            progress(self.frames, self.frames)
        busy = {name: spent / seconds for name, spent in self._stages.busy.items()}
        notes = [*self._reader.notes, *self._writer.notes]
        return VideoReport(self.frames, self.length, seconds, busy, self._reader.damage, notes, self._writer.size)

    def _work(self) -> None:
        try:
            for frame in self._chain():
                self.frames += 1
                self.length = frame.time + frame.duration
        except BaseException as error:  # Any: it is raised where it is waited for.
            self._error = error
        try:
            if self.frames:
                self._writer.finish(self._reader.rest())
        except Exception as error:  # Any: likewise; what came first is what one wants to know.
            self._error = self._error or error
        finally:
            self._ended.set()

    def _chain(self) -> Iterator[Frame]:
        stages = self._stages
        pairs = stages.then("network", self._paint_one, stages.first("decode", self._reader.frames()), stoppable=True)
        if self._smooth is not None:
            pairs = stages.then("smooth", self._smooth_one, pairs)
        return stages.then("encode", self._write_one, pairs)

    def _paint_one(self, frame: Frame) -> tuple[Bytes, Frame]:
        self._painted += 1
        return frame.pixels, replace(frame, pixels=self._paint(frame.pixels, self._painted - 1))

    def _smooth_one(self, pair: tuple[Bytes, Frame]) -> tuple[Bytes, Frame]:
        assert self._smooth is not None
        filmed, frame = pair
        return filmed, replace(frame, pixels=self._smooth(filmed, frame.pixels))

    def _write_one(self, pair: tuple[Bytes, Frame]) -> Frame:
        self._writer.write(pair[1])
        return pair[1]
