"""Camera and network, each in a thread of its own: the network gets the newest picture, however slow it is."""

import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fast_style.live.camera import Camera, CameraFrame, Clock
from fast_style.live.latest import Latest
from fast_style.live.recorder import Recorder
from fast_style.live.status import Meter
from fast_style.live.stylizer import AdaptiveSize, Look, StylizesFrames, resized
from fast_style.video.frames import Bytes

#: In seconds: how long the threads may overlook that something has changed.
_PATIENCE = 0.02
#: In seconds: a camera that does not answer is left behind.
_FAREWELL = 1.0


@dataclass(frozen=True)
class Painted:
    """A picture to be shown.

    Attributes:
        pixels: RGB, of shape (height, width, 3).
        taken: when the camera took what it was made of; None: it stands still, and that does not matter.
    """

    pixels: Bytes
    taken: float | None


class Chain:
    """Takes pictures from a camera and paints them.

    Nothing waits in a queue: a picture that the network has not begun with when the next comes is dropped, and so is a
    painted one that has not been taken.

    Args:
        camera: where they come from.
        painter: what paints them.
        look: how, at first.
        pace: at which size.
        meter: is told what happens, and when.
        clock: of which the camera's times are, too.

    Attributes:
        look: how to paint; may be replaced at any time.
        frozen: whether the picture stands still, and only its look can change.
        recorder: gets each painted picture, in order; None: nobody does.
        heard: when the camera last gave a picture.
    """

    def __init__(
        self, camera: Camera, painter: StylizesFrames, look: Look, pace: AdaptiveSize, meter: Meter, clock: Clock
    ) -> None:
        self._camera, self._painter, self._pace, self._meter, self._clock = camera, painter, pace, meter, clock
        self.look, self.frozen = look, False
        self.recorder: Recorder | None = None
        self.heard = clock()
        self._captured: Latest[tuple[int, CameraFrame]] = Latest()
        self._painted: Latest[Painted] = Latest()
        self._stop = threading.Event()
        self._deaf, self._done = threading.Event(), threading.Event()

    def start(self) -> None:
        """Begin."""
        threading.Thread(target=_run, args=(self._capture, self._captured, self._deaf), daemon=True).start()
        threading.Thread(target=_run, args=(self._paint, self._painted, self._done), daemon=True).start()

    def take(self) -> Painted | None:
        """Return the newest picture, once; None: there is none, after a moment.

        Raises:
            BaseException: what has stopped the camera or the network, behind the last picture.
        """
        return self._painted.take(_PATIENCE)

    @property
    def ended(self) -> bool:
        """Whether there will be no more pictures."""
        return self._painted.ended

    def stop(self) -> None:
        """End; a picture that is being painted is painted to its end."""
        self._stop.set()
        self._done.wait()
        # Within a driver nothing can be interrupted.
        self._deaf.wait(_FAREWELL)

    def _capture(self) -> None:
        with contextlib.closing(self._camera.frames()) as frames:
            for number, captured in enumerate(frames):
                self.heard = self._clock()
                self._meter.captured(self.heard)
                self._captured.put((number, captured))
                if self._stop.is_set():
                    return

    def _paint(self) -> None:
        kept: CameraFrame | None = None
        seen, painted = -1, None
        while not self._stop.is_set():
            # Also when frozen: who does not listen does not hear that the camera is gone.
            new = self._captured.take(_PATIENCE)
            if new is None and self._captured.ended:
                return
            look, frozen, dropped = self.look, self.frozen and kept is not None, 0
            if new is not None:
                number, captured = new
                dropped, seen = number - seen - 1, number
                kept = kept if frozen else captured
            if kept is None or (look == painted if frozen else new is None):
                continue
            began = self._clock()
            pixels = self._painter(
                resized(kept.pixels, *self._pace.size(self._camera.width, self._camera.height)), look
            )
            now, painted = self._clock(), look
            self._pace.took(now - began)
            self._meter.painted(now, now - began, 0 if frozen else dropped)
            if (recorder := self.recorder) is not None:
                recorder.take(pixels, now if frozen else kept.time)
            self._painted.put(Painted(pixels, None if frozen else kept.time))


def _run(work: Callable[[], None], slot: Latest[Any], ended: threading.Event) -> None:
    error: BaseException | None = None
    try:
        work()
    except BaseException as failure:  # Any: it is raised where the pictures are waited for.
        error = failure
    slot.close(error)
    ended.set()
