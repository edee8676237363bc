"""Animations among pictures: each frame at its time, in a file that is there only when it is whole."""

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from fast_style.errors import VideoError
from fast_style.stylizing.controls import Controls
from fast_style.system.files import BinaryFile, replace_file, temporary_path
from fast_style.video.animations import AnimationReader, AnimationWriter
from fast_style.video.frames import Bytes
from fast_style.video.temporal import Smoother
from fast_style.video.work import VideoReport, VideoWork

if TYPE_CHECKING:
    from fast_style.stylizing.stylizer import Stylizer


class StoppedError(Exception):
    """The work was stopped from without, and has left nothing."""


def painter(stylizer: "Stylizer", controls: Controls) -> Callable[[Bytes, int], Bytes]:
    """Return what stylizes the pixels of a frame, given its number: each with grain of its own."""

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
    temporal: float = 0.5,
    stopped: threading.Event | None = None,
    name: str = "",
) -> VideoReport:
    """Stylize an animation into another, as `stylize_video` does; but if that is stopped, nothing of it is there.

    Args:
        stylizer: what paints the frames.
        source: the file, or its content.
        target: where the copy goes; its suffix is one of ANIMATIONS. It is replaced if it is there.
        controls: as for `stylize_video`.
        size: likewise.
        temporal: likewise.
        stopped: when it is set, the work ends after the frame that is being made.
        name: what the source is called; by default its path.

    Raises:
        VideoError: if it cannot be read or written.
        StoppedError: if it was.
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
        report = VideoWork(reader, paint, Smoother(temporal) if temporal else None, writer).run()
        replace_file(part, target)
    except OSError as error:
        raise VideoError(f"{target}: cannot be written ({error.strerror or error})") from error
    finally:
        reader.close()
        part.unlink(missing_ok=True)
    return report
