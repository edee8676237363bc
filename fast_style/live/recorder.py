"""Recordings of live sessions: each frame lasts as long as it was shown."""

import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from fast_style.errors import ConfigError, FastStyleError, VideoError
from fast_style.live.stylizer import resized
from fast_style.system.file_locks import locked_part_file
from fast_style.system.files import append_to_name, replace_file
from fast_style.video.frames import CONTAINERS, Bytes, Frame, Shape
from fast_style.video.writer import VideoWriter

#: Frames that may wait for the encoder; when the queue is full, new frames are left out.
_ROOM = 16
#: Time base in seconds, which most containers support.
_TICK = Fraction(1, 90_000)
_SETTINGS = {".webm": {"deadline": "realtime"}}
#: Interval between checks whether a recording is finished, in seconds.
_POLL = 0.1


@dataclass(frozen=True)
class Recording:
    """A finished recording, and how many frames were left out because the encoder was too slow."""

    path: Path
    frames: int
    seconds: float
    left_out: int


class Recorder:
    """Writes a video in a background thread while its frames arrive.

    The file is NAME.part.SUFFIX until it is complete, and can be played if the program is killed.

    Args:
        path: the video; an existing file is replaced.
        width: width of the video in pixels; other frames are resized.
        height: height of the video in pixels.
        rate: approximate frames per second, for the interval of key frames.
    """

    def __init__(self, path: Path, width: int, height: int, rate: float) -> None:
        self.path = path
        self._shape = Shape(width, height, _TICK, Fraction(max(1.0, rate)).limit_denominator(1001))
        self._waiting: queue.Queue[tuple[Bytes | None, float]] = queue.Queue()
        self._ended = threading.Event()
        self._began: float | None = None
        self._left_out = self._frames = 0
        self._length = Fraction(0)
        self._error: Exception | None = None
        threading.Thread(target=self._work, daemon=True).start()

    def take(self, pixels: Bytes, time: float) -> None:
        """Append a frame shown at `time`, in seconds; it is left out if the queue is full."""
        if self._waiting.qsize() >= _ROOM:
            self._left_out += 1
        else:
            self._began = time if self._began is None else self._began
            self._waiting.put((pixels, time))

    def end(self, time: float) -> None:
        """End the last frame at `time`, in seconds, and finish the video in the background."""
        self._waiting.put((None, time))

    def seconds(self, now: float) -> float:
        """Return the seconds recorded so far."""
        return 0.0 if self._began is None else max(0.0, now - self._began)

    def result(self, wait: float = 0.0) -> Recording | None:
        """Return the recording if it is finished within `wait` seconds; None: it is not.

        Raises:
            VideoError: if it cannot be written; the message names the part that remains.
            ConfigError: if it cannot be encoded here.
        """
        if not self._ended.wait(wait):
            return None
        if self._error is not None:
            raise self._error
        return Recording(self.path, self._frames, float(self._length), self._left_out)

    def _work(self) -> None:
        part = self.path.with_name(append_to_name(self.path.stem, f".part{self.path.suffix}"))
        try:
            with locked_part_file(self.path):
                self._write(part)
                if self._frames:
                    replace_file(part, self.path)
        except OSError as error:
            self._error = VideoError(f"{self.path}: cannot be written ({error.strerror or error})")
        except Exception as error:  # Any: `result` raises it.
            self._error = error
        if self._error is not None and self._frames:
            self._error = VideoError(f"{self._error}; {part} holds what was written until then")
        self._ended.set()

    def _write(self, part: Path) -> None:
        pixels, time = self._waiting.get()
        if pixels is None:
            return
        try:
            writer = VideoWriter(self.path, part, self._shape, more=_SETTINGS.get(self.path.suffix.lower()))
        except FastStyleError:
            part.unlink(missing_ok=True)
            raise
        try:
            began, begins = time, Fraction(0)
            while pixels is not None:
                following, time = self._waiting.get()
                # Of two frames at the same time, the second follows by one tick.
                ends = max(Fraction(round((time - began) / _TICK)) * _TICK, begins + _TICK)
                picture = resized(pixels, self._shape.width, self._shape.height)
                writer.write(Frame(picture, begins, ends - begins))
                self._frames, self._length = self._frames + 1, ends
                pixels, begins = following, ends
        finally:
            # Also after an error, so that the frames so far can be played.
            writer.finish()


class Recordings:
    """A sequence of recordings: one may still be finishing while the next, `present`, runs."""

    def __init__(self) -> None:
        self.present: Recorder | None = None
        self._finishing: list[Recorder] = []

    def end(self, time: float) -> None:
        """End the running recording, if any, at `time`, in seconds."""
        if self.present is not None:
            self.present.end(time)
            self._finishing.append(self.present)
            self.present = None

    def news(self, wait: bool = False) -> Iterator[Recording | FastStyleError]:
        """Yield each newly finished recording, or its error.

        Args:
            wait: whether to wait for those that are still finishing.
        """
        for recorder in [*self._finishing, *([self.present] if self.present else [])]:
            news: Recording | FastStyleError | None
            try:
                # In short waits, so that signals are handled.
                while (news := recorder.result(_POLL if wait else 0.0)) is None and wait:
                    pass
            except FastStyleError as error:
                news = error
            if news is None:
                continue
            if recorder is self.present:
                self.present = None
            else:
                self._finishing.remove(recorder)
            yield news


def check_recording(path: Path, overwrite: bool) -> None:
    """Check the path of a recording before it begins, and create its folder.

    Args:
        path: the video.
        overwrite: whether an existing file may be replaced.

    Raises:
        ConfigError: if the suffix is not supported, or the file exists.
        VideoError: if the folder cannot be created.
    """
    if path.suffix.lower() not in CONTAINERS:
        raise ConfigError(f"{path}: no kind of video that can be recorded; end it in one of {', '.join(CONTAINERS)}")
    if path.exists() and not overwrite:
        raise ConfigError(f"{path}: exists already; add overwrite=True to replace it, or give another name")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise VideoError(f"{path}: cannot be written ({error.strerror or error})") from None
