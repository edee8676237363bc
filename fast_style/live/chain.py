"""Threads for camera and network: the network always gets the newest frame, however slow it is."""

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

#: Longest wait of a thread before it checks for changes, in seconds.
_PATIENCE = 0.02
#: How long `stop` waits for the camera's driver, in seconds.
_FAREWELL = 1.0


@dataclass(frozen=True)
class Painted:
    """A stylized frame, RGB, of shape (height, width, 3).

    `taken` is when the camera took it, in seconds; None: the picture is frozen.
    """

    pixels: Bytes
    taken: float | None


class Chain:
    """Stylizes the newest frames of a camera.

    There is no queue: frames that arrive while the network is busy are dropped, and so are stylized frames that are
    not taken before the next.
    """

    def __init__(
        self, camera: Camera, painter: StylizesFrames, look: Look, pace: AdaptiveSize, meter: Meter, clock: Clock
    ) -> None:
        self._camera, self._painter, self._pace, self._meter, self._clock = camera, painter, pace, meter, clock
        self.look = look  # of the next frames; may be replaced at any time
        self.frozen = False  # whether the picture is frozen, so that only its look can change
        self.recorder: Recorder | None = None  # gets each stylized frame, in order
        self.heard = clock()  # when the camera's last frame arrived
        self._captured: Latest[tuple[int, CameraFrame]] = Latest()
        self._painted: Latest[Painted] = Latest()
        self._stop = threading.Event()
        self._captured_all, self._painted_all = threading.Event(), threading.Event()

    def start(self) -> None:
        """Start both threads."""
        threading.Thread(target=_run, args=(self._capture, self._captured, self._captured_all), daemon=True).start()
        threading.Thread(target=_run, args=(self._paint, self._painted, self._painted_all), daemon=True).start()

    def take(self) -> Painted | None:
        """Return the newest stylized frame, once; None: there is none after a short wait.

        Raises:
            BaseException: the error that stopped the camera or the network, after the last frame.
        """
        return self._painted.take(_PATIENCE)

    @property
    def ended(self) -> bool:
        """Whether there will be no more frames."""
        return self._painted.ended

    def stop(self) -> None:
        """Stop both threads after the current frame."""
        self._stop.set()
        self._painted_all.wait()
        # With a limit: a call of a driver cannot be interrupted.
        self._captured_all.wait(_FAREWELL)

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
            # Also when frozen, to notice when the camera is gone.
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
    except BaseException as failure:  # Any: `Latest.take` raises it.
        error = failure
    slot.close(error)
    ended.set()
