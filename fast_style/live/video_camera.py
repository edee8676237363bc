"""A video in the place of a camera: to try out how it looks, and how fast it is."""

import time
from collections.abc import Callable, Generator
from pathlib import Path

from fast_style.live.camera import Captured, Clock
from fast_style.video.reader import VideoReader

#: In seconds: a video that is later than this does not hurry, but goes on from there.
_LATE = 0.25
#: In seconds: a picture that stands for longer is given again, as a camera would; silence would mean that it is dead.
_STILL = 1.0


class VideoCamera:
    """A video that is played in real time, over and over.

    Args:
        path: the video.
        long_side: of the pictures, in pixels; None: as they are, but no larger than `largest`.
        largest: see `long_side`.
        clock: which tells the time.
        sleep: waits for some seconds of it.

    Attributes:
        width: see Camera.
        height: see Camera.
        rate: see Camera.

    Raises:
        VideoError: if it cannot be read.
    """

    def __init__(
        self,
        path: Path,
        long_side: int | None,
        largest: int,
        clock: Clock = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._path, self._clock, self._sleep = path, clock, sleep
        self._reader = VideoReader(path, long_side=long_side)
        own = max(self._reader.shape.width, self._reader.shape.height)
        self._long_side = long_side or min(largest, own)
        if own > self._long_side:
            self._reader.close()
            self._reader = VideoReader(path, long_side=self._long_side)
        shape = self._reader.shape
        self.width, self.height, self.rate = shape.width, shape.height, float(shape.rate)

    def frames(self) -> Generator[Captured, None, None]:
        """See Camera."""
        began, shown = self._clock(), None
        while True:
            length, zero = 0.0, None
            try:
                for frame in self._reader.frames():
                    # Nobody waits for pictures that begin behind the sound.
                    zero = frame.time if zero is None else zero
                    time = float(frame.time - zero)
                    length = time + float(frame.duration or 1 / self._reader.shape.rate)
                    late = self._clock() - (began + time)
                    if late > _LATE:
                        began += late
                    while (left := began + time - self._clock()) > 0:
                        self._sleep(min(left, _STILL))
                        if left > _STILL and shown is not None:
                            yield Captured(shown, self._clock())
                    shown = frame.pixels
                    yield Captured(shown, self._clock())
            finally:
                self._reader.close()
            began += length
            self._reader = VideoReader(self._path, long_side=self._long_side)
