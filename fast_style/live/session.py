"""A live session: frames on the screen, keys, snapshots and recordings."""

import logging
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from itertools import chain, count
from pathlib import Path
from typing import Protocol

from PIL import Image

from fast_style.errors import CameraError, FastStyleError
from fast_style.images.picture import write_image
from fast_style.live.camera import Camera, Clock
from fast_style.live.chain import Chain
from fast_style.live.keys import Action
from fast_style.live.recorder import Recorder, Recordings
from fast_style.live.status import Meter, Status
from fast_style.live.stylizer import AdaptiveSize, Look, StylizesFrames
from fast_style.video.frames import Bytes

_log = logging.getLogger(__name__)

#: A camera hangs if no frame comes for this many seconds and this many frame intervals.
_SILENCE, _MISSED = 10.0, 20
#: Time for which a message is shown, and interval between redraws of the text, in seconds.
_READING, _REDRAWN = 4.0, 0.1


class Screen(Protocol):
    """Shows frames and reports key presses."""

    def actions(self) -> list[Action]:
        """Return the actions of the keys pressed since the last call."""

    def show(self, pixels: Bytes | None, status: Status) -> None:
        """Show a frame of shape (height, width, 3); None: the last one again."""


class Sink(Protocol):
    """Receives the stylized frames."""

    def send(self, pixels: Bytes) -> None:
        """Send a frame of shape (height, width, 3)."""


class Session:
    """Stylizes a camera and shows the result with as little delay as possible.

    Args:
        camera: the camera.
        stylizer: stylizes the frames.
        look: the first look; None: the first style at full strength.
        pace: the size of the frames; None: the camera's.
        screen: shows the frames; None: no window.
        sinks: further receivers of the frames.
        folder: folder for recordings and snapshots made by keys.
        clock: the session's clock, which the camera uses, too.
        say: prints lasting messages, such as the name of a recording; by default, logs them.
    """

    def __init__(
        self,
        camera: Camera,
        stylizer: StylizesFrames,
        look: Look | None = None,
        pace: AdaptiveSize | None = None,
        screen: Screen | None = None,
        sinks: Sequence[Sink] = (),
        folder: Path = Path(),
        clock: Clock = time.monotonic,
        say: Callable[[str], None] = _log.info,
    ) -> None:
        self._camera, self._styles, self._screen, self._sinks = camera, stylizer.styles, screen, sinks
        self._folder, self._clock, self._say = folder, clock, say
        self._pace = pace or AdaptiveSize(max(camera.width, camera.height))
        self._meter = Meter()
        self._chain = Chain(camera, stylizer, look or Look(), self._pace, self._meter, clock)
        self._recordings = Recordings()
        self._failure: FastStyleError | None = None
        self._pixels: Bytes | None = None
        self._message, self._until = "", 0.0
        self._used_paths: set[Path] = set()
        self._info, self._help = True, False

    def record(self, path: Path) -> None:
        """Start a recording, at the current size of the stylized frames."""
        width, height = self._pace.size(self._camera.width, self._camera.height)
        self._recordings.present = self._chain.recorder = Recorder(path, width, height, self._camera.rate)

    def run(self, seconds: float | None = None) -> str:
        """Run until the user quits, the camera ends or `seconds` are over; return a summary in one line.

        Recordings are finished in every case.

        Raises:
            CameraError: if the camera stops, hangs or is unplugged.
            VideoError: if a recording could not be written.
        """
        began = self._clock()
        self._chain.start()
        try:
            self._loop(seconds)
        except BaseException:  # Any, also from signals.
            self._finish()
            if self._failure is not None:
                self._say(str(self._failure))
            raise
        summary = self._meter.summary(self._clock() - began)
        self._finish()
        if self._failure is not None:
            raise self._failure
        return summary

    def _loop(self, seconds: float | None) -> None:
        first = drawn = None
        while True:
            stylized = self._chain.take()
            now = self._clock()
            if stylized is not None:
                self._pixels = stylized.pixels
                first = now if first is None else first
                for sink in self._sinks:
                    sink.send(stylized.pixels)
            elif self._chain.ended:
                return
            silence = max(_SILENCE, _MISSED / max(self._camera.rate, 1e-3))
            if now - self._chain.heard > silence:
                remedy = "plug it in anew, and start again"
                raise CameraError(f"the camera has given no picture for {silence:.0f} s; {remedy}")
            self._report()
            if self._failure is not None and self._screen is None and not self._sinks:
                return
            if self._screen is not None:
                actions = self._screen.actions()
                if Action.QUIT in actions:
                    return
                for action in actions:
                    self._act(action)
                if stylized is not None or actions or drawn is None or now - drawn > _REDRAWN:
                    self._screen.show(None if stylized is None else stylized.pixels, self._status(now))
                    drawn = now
            if stylized is not None:
                self._meter.shown(self._clock(), stylized.taken)
            if seconds is not None and first is not None and now - first >= seconds:
                return

    def _act(self, action: Action) -> None:
        if action is Action.FREEZE:
            self._chain.frozen = not self._chain.frozen
        elif action is Action.INFO:
            self._info = not self._info
        elif action is Action.HELP:
            self._help = not self._help
        elif action is Action.SNAPSHOT:
            self._save()
        elif action is Action.RECORD and self._recordings.present is None:
            self.record(self._new_path(".mp4"))
        elif action is Action.RECORD:
            self._recordings.end(self._clock())
        else:
            self._chain.look = self._chain.look.after(action, len(self._styles))

    def _save(self) -> None:
        if self._pixels is None:
            return
        path = self._new_path(".png")
        try:
            write_image(Image.fromarray(self._pixels), path)
        except FastStyleError as error:
            self._set_message(str(error))
        else:
            self._say(str(path))
            self._set_message(f"saved {path}")

    def _report(self, wait: bool = False) -> None:
        """Report finished recordings, and remember a failed one."""
        for news in self._recordings.news(wait):
            if isinstance(news, FastStyleError):
                self._failure = news
                self._set_message(str(news))
            elif news.frames:
                left_out = f"; {news.left_out} more came too fast for the encoder" if news.left_out else ""
                self._say(f"{news.path}: {news.frames} frames, {news.seconds:.1f} s{left_out}")
                self._set_message(f"recorded {news.path}")
            else:
                self._set_message("recorded nothing: no picture came in that time")
        self._chain.recorder = self._recordings.present

    def _finish(self) -> None:
        self._chain.stop()
        self._recordings.end(self._clock())
        self._report(wait=True)

    def _set_message(self, message: str) -> None:
        self._message, self._until = message, self._clock() + _READING

    def _new_path(self, suffix: str) -> Path:
        """Return a path that does not exist and was not returned before."""
        stem = f"webcam_{datetime.now():%Y-%m-%d_%H-%M-%S}"
        ends = chain([""], (f"_{number}" for number in count(2)))
        paths = (self._folder / f"{stem}{end}{suffix}" for end in ends)
        # A recording does not exist under its name until it is complete.
        fresh = next(path for path in paths if path not in self._used_paths and not path.exists())
        self._used_paths.add(fresh)
        return fresh

    def _status(self, now: float) -> Status:
        look, present = self._chain.look, self._recordings.present
        return Status(
            style=self._styles[look.style],
            place=look.style + 1,
            styles=len(self._styles),
            strength=look.strength,
            preserve_color=look.preserve_color,
            figures=self._meter.figures(now),
            frozen=self._chain.frozen,
            recording=None if present is None else present.seconds(now),
            message=self._message if now < self._until else None,
            info=self._info,
            help=self._help,
        )
