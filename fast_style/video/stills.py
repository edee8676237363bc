"""Reader and writer of numbered pictures, one for each frame."""

import contextlib
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image

from fast_style.errors import ImageError, VideoError
from fast_style.images.opening import contents_of, open_image, peek
from fast_style.images.picture import Picture, open_picture, write_image
from fast_style.system.files import BinaryFile
from fast_style.video.frames import USUAL_RATE, Frame, Shape


class PicturesReader:
    """Reads pictures, in order, as the frames of a video; a `Reader`.

    Args:
        files: the pictures, all of one size.
        rate: frames per second; None: 25.
        long_side: of the frames, in pixels; None: that of the pictures.

    Raises:
        ImageError: if none can be read.
    """

    def __init__(self, files: Sequence[Path], rate: Fraction | None = None, long_side: int | None = None) -> None:
        self._files, self._long_side, self._rate = files, long_side, rate or USUAL_RATE
        self.damage: str | None = None
        self.notes: tuple[str, ...] = ()
        first = self._read_first()
        height, width = first.pixels.shape[:2]
        alpha = first.alpha is not None or any(peek(path, _has_opacity) for path in files)
        self.shape = Shape(width, height, 1 / self._rate, self._rate, len(files), alpha=alpha)

    def frames(self) -> Iterator[Frame]:
        """See Reader.

        Raises:
            VideoError: if a picture differs in size from the first.
        """
        unreadable = several = 0
        for index, path in enumerate(self._files):
            try:
                frame = self._read(index)
            except ImageError as error:
                unreadable += 1
                self.damage = f"{error}; {unreadable} of {len(self._files)} pictures are left out"
                continue
            if contents_of(path).count > 1:
                several += 1
                held = f"{several} of {len(self._files)} pictures hold several"
                self.notes = (f"{held}: only the first of each is taken",)
            height, width = frame.pixels.shape[:2]
            if (width, height) != (self.shape.width, self.shape.height):
                sizes = f"{width}x{height} pixels, and the first {self.shape.width}x{self.shape.height}"
                raise VideoError(f"{path}: has {sizes}; a video needs pictures of one size")
            yield frame

    def close(self) -> None:
        """See Reader."""

    def _read_first(self) -> Frame:
        for index in range(len(self._files) - 1):
            with contextlib.suppress(ImageError):
                return self._read(index)
        return self._read(len(self._files) - 1)

    def _read(self, index: int) -> Frame:
        return to_frame(open_picture(self._files[index]), index / self._rate, 1 / self._rate, self._long_side)


class PicturesWriter:
    """Writes each frame as a picture; a `Writer`.

    Args:
        pattern: path of the pictures, with one * for their number, from 000001 on.
    """

    def __init__(self, pattern: Path) -> None:
        self._pattern, self._count = pattern, 0
        self.size = (0, 0)
        self.notes: tuple[str, ...] = ()

    def write(self, frame: Frame) -> None:
        """See Writer.

        Raises:
            ImageError: if the disk is full, or the like.
        """
        self._count += 1
        self.size = frame.pixels.shape[1], frame.pixels.shape[0]
        path = self._pattern.with_name(self._pattern.name.replace("*", f"{self._count:06d}"))
        write_image(Image.fromarray(frame.pixels), path, None if frame.alpha is None else Image.fromarray(frame.alpha))

    def finish(self) -> None:
        """See Writer."""


def _has_opacity(file: BinaryFile) -> bool:
    return open_image(file).has_transparency_data


def to_frame(picture: Picture, time: Fraction, duration: Fraction, long_side: int | None) -> Frame:
    """Return a picture as a frame; `long_side` in pixels resizes it."""
    picture = picture if long_side is None else picture.resized(long_side)
    alpha = None if picture.alpha is None else np.array(picture.alpha)
    return Frame(np.array(picture.rgb), time, duration, alpha)
