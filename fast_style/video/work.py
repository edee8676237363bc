"""The pipeline for one video or animation: decode, stylize, smooth, encode."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from PIL import Image

from fast_style.errors import VideoError
from fast_style.stylizing.controls import Controls
from fast_style.stylizing.jobs import Job, Report
from fast_style.system.files import BinaryFile, replace_file, temporary_path
from fast_style.system.pipeline import Inbox, Pipeline
from fast_style.video.animations import AnimationReader, AnimationWriter
from fast_style.video.frames import Bytes, Frame, Reader, Writer
from fast_style.video.temporal import make_smoother

if TYPE_CHECKING:
    from fast_style.stylizing.stylizer import Stylizer

#: Stylizes the pixels of a frame, given its number from 0 on.
Paint: TypeAlias = Callable[[Bytes, int], Bytes]
#: Smooths a stylized frame, given its pixels before and after stylization.
Smooth: TypeAlias = Callable[[Bytes, Bytes], Bytes]

#: Frames that may wait between two stages: enough to even out their varying times.
_ROOM = 2


class StoppedError(Exception):
    """The work was stopped by the caller; no output remains."""


class VideoWork:
    """Reads, stylizes, smooths and writes frames in parallel.

    Args:
        job: source and target, for the report.
        reader: source of the frames.
        paint: stylizes a frame.
        smooth: smooths a frame; None: no smoothing.
        writer: destination of the frames.

    Attributes:
        frames: number of frames written.
        length: when the last written frame ends, in seconds.
    """

    def __init__(self, job: Job, reader: Reader, paint: Paint, smooth: Smooth | None, writer: Writer) -> None:
        self._job, self._reader, self._paint, self._writer = job, reader, paint, writer
        self._pipeline: Pipeline[Frame] = Pipeline(_ROOM)
        self._pipeline.stage("decode", lambda nothing: reader.frames())
        self._pipeline.stage("network", self._paint_all)
        if smooth is not None:
            self._pipeline.stage("smooth", lambda pairs: (_smoothed(smooth, *pair) for pair in pairs))
        self._pipeline.stage("encode", self._write_all)
        self.frames, self.length = 0, Fraction(0)

    def run(self, progress: Callable[[int, int], None] | None = None) -> Report:
        """Process all frames. An error or an interrupt is raised after the output so far is finished and playable.

        Args:
            progress: called now and then with the frames done and the approximate total; 0: unknown.

        Returns:
            What was done, with warnings and notes.
        """
        # This thread only waits: it receives signals, which must not interrupt the writing of a frame.
        began = time.perf_counter()
        self._pipeline.start()
        try:
            while not self._pipeline.wait(0.1):
                if progress is not None:
                    count = self._reader.shape.count
                    progress(self.frames, max(count, self.frames) if count else 0)
        except BaseException:  # Any, such as Ctrl-C. A second Ctrl-C stops at once.
            self._pipeline.stop()
            self._pipeline.wait()
            raise
        self._pipeline.raise_error()
        seconds = time.perf_counter() - began
        if progress is not None:
            progress(self.frames, self.frames)
        return Report(
            self._job,
            "done",
            self._writer.size,
            seconds,
            notes=[*self._reader.notes, *self._writer.notes],
            warning=self._reader.damage,
            frames=self.frames,
            length=self.length,
            busy={name: spent / seconds for name, spent in self._pipeline.busy.items()},
        )

    def _paint_all(self, frames: Inbox[Frame]) -> Iterator[tuple[Bytes, Frame]]:
        for number, frame in enumerate(frames):
            if self._pipeline.stopped.is_set():
                return
            yield frame.pixels, replace(frame, pixels=self._paint(frame.pixels, number))

    def _write_all(self, pairs: Inbox[tuple[Bytes, Frame]]) -> Iterator[Frame]:
        try:
            for _, frame in pairs:
                self._writer.write(frame)
                self.frames += 1
                self.length = frame.time + frame.duration
        except BaseException:
            # The first error matters, not one that follows from it.
            with contextlib.suppress(Exception):
                self._finish()
            raise
        self._finish()
        yield from ()  # A generator without items: this is the last stage.

    def _finish(self) -> None:
        """Finish the file, also after a failure, so that its beginning can be played."""
        if self.frames:
            self._writer.finish()


def _smoothed(smooth: Smooth, original: Bytes, frame: Frame) -> tuple[Bytes, Frame]:
    return original, replace(frame, pixels=smooth(original, frame.pixels))


def painter(stylizer: "Stylizer", controls: Controls) -> Paint:
    """Return a function that stylizes a frame's pixels; the frame number seeds the grain."""

    def paint(pixels: Bytes, number: int) -> Bytes:
        frame = replace(controls, seed=(controls.seed + number) % 2**64) if controls.grain else controls
        return np.asarray(stylizer(Image.fromarray(pixels), controls=frame), np.uint8)

    return paint


def stylize_animation(
    stylizer: "Stylizer",
    source: Path | BinaryFile,
    target: Path,
    controls: Controls,
    *,
    size: int | None = None,
    temporal: float | None = None,
    stopped: threading.Event | None = None,
    name: str = "",
) -> Report:
    """Stylize an animation into another, as `stylize_video` does, but leave no part if stopped.

    Args:
        stylizer: stylizes the frames.
        source: the file, or its content.
        target: the output, with a suffix of ANIMATIONS. An existing file is replaced.
        controls: as for `stylize_video`.
        size: as for `stylize_video`.
        temporal: as for `stylize_video`.
        stopped: when set, the work ends after the current frame.
        name: name of the source for messages; by default its path.

    Returns:
        What was done, with warnings and notes.

    Raises:
        VideoError: if the animation cannot be read or written.
        StoppedError: if `stopped` was set.
    """
    part = temporary_path(target)
    reader = AnimationReader(source, long_side=size, name=name)
    paint_frame = painter(stylizer, controls)

    def paint(pixels: Bytes, number: int) -> Bytes:
        if stopped is not None and stopped.is_set():
            raise StoppedError
        return paint_frame(pixels, number)

    try:
        writer = AnimationWriter(target, part, reader.shape.loop)
        job = Job(Path(name) if name or not isinstance(source, Path) else source, target)
        report = VideoWork(job, reader, paint, make_smoother(temporal), writer).run()
        replace_file(part, target)
    except OSError as error:
        raise VideoError(f"{target}: cannot be written ({error.strerror or error})") from error
    finally:
        reader.close()
        part.unlink(missing_ok=True)
    return report
