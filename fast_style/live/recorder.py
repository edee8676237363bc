"""Recordings of live sessions: videos in which each frame lasts as long as it was shown."""

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

#: The longest queue before the encoder; when it is full, new frames are left out and the session goes on.
_ROOM = 16
#: The time base, in seconds, which most containers support.
_TICK = Fraction(1, 90_000)
_SETTINGS = {".webm": {"deadline": "realtime"}}
#: In seconds.
_ASKED = 0.1


@dataclass(frozen=True)
class Recording:
    """A finished video.

    Attributes:
        path: where it is.
        frames: how many are in it.
        seconds: how long it is.
        left_out: frames for which the encoder had no time.
    """

    path: Path
    frames: int
    seconds: float
    left_out: int


class Recorder:
    """Writes a video while its frames come in, in a thread of its own.

    Until it is whole it is NAME.part.SUFFIX, which can be played if the program is killed.

    Args:
        path: the video; it is replaced if it is there.
        width: of it, in pixels; frames of another size are brought to it.
        height: likewise.
        rate: frames a second, about: by it, places are chosen to which players can jump.
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
        """Append a frame shown at a time, in seconds; it is left out if the encoder is too far behind."""
        if self._waiting.qsize() >= _ROOM:
            self._left_out += 1
        else:
            self._began = time if self._began is None else self._began
            self._waiting.put((pixels, time))

    def end(self, time: float) -> None:
        """End the last frame at a time, and finish the video in the background."""
        self._waiting.put((None, time))

    def seconds(self, now: float) -> float:
        """Return the seconds recorded so far."""
        return 0.0 if self._began is None else max(0.0, now - self._began)

    def result(self, wait: float = 0.0) -> Recording | None:
        """Return the video once it is finished; None: it is not, after some seconds of waiting.

        Raises:
            VideoError: if it cannot be written; the message says what there is of it.
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
        except Exception as error:  # Any: it is raised where it is asked for.
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
                # Two frames at one time: the second follows by one tick.
                ends = max(Fraction(round((time - began) / _TICK)) * _TICK, begins + _TICK)
                picture = resized(pixels, self._shape.width, self._shape.height)
                writer.write(Frame(picture, begins, ends - begins))
                self._frames, self._length = self._frames + 1, ends
                pixels, begins = following, ends
        finally:
            # After an error as well, so that the frames until then can be played.
            writer.finish()


class Recordings:
    """A sequence of recordings; one may still be finished while the next one runs.

    Attributes:
        present: the one that runs; None: none.
    """

    def __init__(self) -> None:
        self.present: Recorder | None = None
        self._finishing: list[Recorder] = []

    def end(self, time: float) -> None:
        """End the one that runs, if there is one, at a time."""
        if self.present is not None:
            self.present.end(time)
            self._finishing.append(self.present)
            self.present = None

    def news(self, wait: bool = False) -> Iterator[Recording | FastStyleError]:
        """Yield each recording that has been finished, or its error, once.

        Args:
            wait: whether to wait for those that are being finished.
        """
        for recorder in [*self._finishing, *([self.present] if self.present else [])]:
            try:
                # Not all at once: a signal must get through.
                while (recording := recorder.result(_ASKED if wait else 0.0)) is None and wait:
                    pass
            except FastStyleError as error:
                news: Recording | FastStyleError = error
            else:
                if recording is None:
                    continue
                news = recording
            if recorder is self.present:
                self.present = None
            else:
                self._finishing.remove(recorder)
            yield news


def check_recording(path: Path, overwrite: bool) -> None:
    """Make sure that a recording may go to a file, before it begins, and make its folder.

    Raises:
        ConfigError: if it is of a kind that cannot be written, or exists.
        VideoError: if the folder cannot be made.
    """
    if path.suffix.lower() not in CONTAINERS:
        raise ConfigError(f"{path}: no kind of video that can be recorded; end it in one of {', '.join(CONTAINERS)}")
    if path.exists() and not overwrite:
        raise ConfigError(f"{path}: exists already; add overwrite=True to replace it, or give another name")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise VideoError(f"{path}: cannot be written ({error.strerror or error})") from None
