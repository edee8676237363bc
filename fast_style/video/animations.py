"""Reader and writer for animated GIF, WebP, AVIF and PNG."""

import contextlib
import io
import itertools
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fast_style.errors import VideoError
from fast_style.images.boxes import find
from fast_style.images.formats import ANIMATIONS
from fast_style.images.opening import STILL_LEFT_OUT, decoder_reason
from fast_style.images.picture import Picture
from fast_style.system.files import BinaryFile, atomic_write
from fast_style.system.input_limits import open_regular_file, pillow_limits
from fast_style.video.file_kinds import VIDEO_SUFFIXES
from fast_style.video.frames import Bytes, Frame, Shape
from fast_style.video.stills import to_frame

# WebP and AVIF last: Pillow loads all its plugins for them, which takes 0.1 s.
_FORMATS = ("PNG", "GIF", "WEBP", "AVIF")
_MILLISECOND = Fraction(1, 1000)
# In seconds, as in browsers: the duration of frames without one, and the shortest duration shown as stated.
_DEFAULT_DURATION = Fraction(1, 10)
_SHORTEST_IN_GIF = Fraction(2, 100)
#: Longest duration of a frame in each format, in seconds.
_LONGEST = {"GIF": Fraction(65_535, 100), "PNG": Fraction(65_535, 1000), "WEBP": Fraction(2**24 - 1, 1000)}
_LONGEST["AVIF"] = Fraction(2**32 - 1, 1000)
#: Index of the transparent color in a GIF's palette.
_CLEAR = 255
#: Duration of an AVIF that repeats forever.
_ENDLESS = 2**64 - 1
#: Pillow needs all frames of an animation in memory: their limit in bytes.
_MAX_BYTES = 2_000_000_000


def is_animation(path: Path) -> bool:
    """Return whether a file holds an animation and its suffix is one of animations or videos."""
    if path.suffix.lower() not in (*ANIMATIONS, *VIDEO_SUFFIXES):
        return False
    try:
        with open_regular_file(path) as file, pillow_limits(), Image.open(file, formats=_FORMATS) as image:
            return bool(getattr(image, "is_animated", False))
    except Exception:  # Any: opening it as a picture reports what is wrong.
        return False


def avif_loop(file: BinaryFile) -> int:
    """Return how often an animated AVIF is played; 0: forever, or not stated.

    Args:
        file: the AVIF; its position is kept.
    """
    place = file.tell()
    try:
        once, whole = _avif_durations(file)
        return 0 if whole == _ENDLESS else max(1, -(-whole // once))
    except (ValueError, LookupError, ArithmeticError):
        return 0
    finally:
        file.seek(place)


def limit_avif(file: Any, loop: int) -> None:
    """Set the number of repeats of an animated AVIF that libavif wrote to repeat forever.

    Args:
        file: the AVIF, changed in place.
        loop: how often it is played, at least 1.
    """
    once, _ = _avif_durations(file)
    start, end = find(file, b"moov")
    file.seek(start)
    header = file.read(end - start).replace(_ENDLESS.to_bytes(8), (loop * once).to_bytes(8))
    file.seek(start)
    file.write(header)


def _avif_durations(file: Any) -> tuple[int, int]:
    """Return the durations of an animated AVIF, of one loop and of all loops (ISO 14496-12, 8.3.2 and 8.6.6)."""
    found = []
    for box, short, long in ((b"tkhd", 20, 28), (b"edts", 16, 16)):
        start, _ = find(file, b"moov", b"trak", box)
        file.seek(start)
        header = file.read(36)
        # The box's version decides between 32 and 64 bits; "edts" only wraps one box.
        is_long = header[8 if box == b"edts" else 0] == 1
        place, size = (long, 8) if is_long else (short, 4)
        number = int.from_bytes(header[place : place + size])
        found.append(_ENDLESS if number == 2 ** (8 * size) - 1 else number)
    whole, once = found
    return once, whole if header[11] & 1 else once


class AnimationReader:
    """Reads an animation frame by frame; a `Reader`.

    Args:
        source: the file, or its content.
        start, end, long_side: as for VideoReader.
        name: name for messages; by default the path.

    Raises:
        VideoError: if it is not a readable animation, or has no frame between start and end.
    """

    def __init__(
        self,
        source: Path | BinaryFile,
        start: float = 0,
        end: float | None = None,
        long_side: int | None = None,
        name: str = "",
    ) -> None:
        path = self.path = Path(name) if name or not isinstance(source, Path) else source
        self._start, self._end = Fraction(str(start)), None if end is None else Fraction(str(end))
        self._long_side = long_side
        self._open = contextlib.ExitStack()
        try:
            file = self._open.enter_context(open_regular_file(source)) if isinstance(source, Path) else source
            self._open.enter_context(pillow_limits())
            self._image = self._open.enter_context(Image.open(file, formats=_FORMATS))
            count = self._count_frames()
            # Pillow does not report the loop of an AVIF.
            loop = avif_loop(file) if self._image.format == "AVIF" else self._image.info.get("loop", 1)
        except Exception as error:  # Any: on damaged files, decoders raise whatever comes up.
            self._open.close()
            raise VideoError(f"{path}: not a readable animation ({decoder_reason(error)})") from None
        self.damage: str | None = None
        self.notes = (STILL_LEFT_OUT,) * bool(getattr(self._image, "default_image", False))
        frames = self._read(count)
        first = next(frames, None)
        if first is None:
            self.close()
            raise VideoError(self.damage or f"{path}: no frame from {start:g} s on")
        self._frames = itertools.chain([first], frames)
        height, width = first.pixels.shape[:2]
        rate = 1 / first.duration
        loop = loop if isinstance(loop, int) else 0
        self.shape = Shape(width, height, _MILLISECOND, rate, count, loop=loop, alpha=first.alpha is not None)

    def frames(self) -> Iterator[Frame]:
        """See Reader."""
        return self._frames

    def close(self) -> None:
        """See Reader."""
        self._open.close()

    def _count_frames(self) -> int:
        """Return the number of frames; 0: unknown, since the file is damaged."""
        try:
            return int(getattr(self._image, "n_frames", 1))
        except Exception:  # Any: as above.
            self._image.seek(0)
            return 0

    def _read(self, count: int) -> Iterator[Frame]:
        moment, zero = Fraction(0), None
        # A PNG may begin with a still picture for programs without animation.
        start = bool(getattr(self._image, "default_image", False))
        for index in range(start, count) if count else itertools.count(start):
            try:
                self._image.seek(index)
                picture = Picture.of(self._image)
            except Exception as error:  # Any: see above.
                read = f"{index} of {count}" if count else str(index)
                self.damage = f"{self.path}: damaged: it breaks off after {read} frames ({decoder_reason(error)})"
                return
            duration = Fraction(round(self._image.info.get("duration") or 0), 1000) or _DEFAULT_DURATION
            if self._end is not None and moment >= self._end:
                return
            if moment >= self._start:
                zero = moment if zero is None else zero
                yield to_frame(picture, moment - zero, duration, self._long_side)
            moment += duration


class AnimationWriter:
    """Writes an animation; a `Writer`.

    Args:
        path: name for messages; its suffix decides the format.
        part: the file to write.
        loop: how often it is played; 0: forever.
    """

    def __init__(self, path: Path, part: Path, loop: int = 0) -> None:
        self.path, self._part, self._loop = path, part, loop
        self._format = ANIMATIONS[path.suffix.lower()]
        self._unit = Fraction(1, 100) if self._format == "GIF" else _MILLISECOND
        self._shortest = _SHORTEST_IN_GIF if self._format == "GIF" else self._unit
        self._pictures: list[Image.Image] = []
        self._times: list[Fraction] = []
        self._last, self._bytes, self._clear = _DEFAULT_DURATION, 0, False
        self.notes: tuple[str, ...] = ()

    @property
    def size(self) -> tuple[int, int]:
        """See Writer."""
        return self._pictures[0].size

    def write(self, frame: Frame) -> None:
        """See Writer.

        Raises:
            VideoError: if the animation becomes too large, or a frame lasts longer than the format can store.
        """
        time = round(frame.time / self._unit) * self._unit
        stands = max(frame.duration, time - self._times[-1] if self._times else 0)
        if stands > (longest := _LONGEST[self._format]):
            most = f"{self._format} has {float(longest):,.0f} s at most for each"
            raise VideoError(f"{self.path}: a frame stands for {float(stands):,.0f} s, and {most}; write an .mp4")
        if self._times and time - self._times[-1] < self._shortest:
            return
        picture = Image.fromarray(frame.pixels)
        self._clear |= frame.alpha is not None
        if self._format == "GIF":
            picture = _to_palette(picture, frame.alpha)
        elif frame.alpha is not None:
            picture.putalpha(Image.fromarray(frame.alpha))
        self._bytes += picture.width * picture.height * len(picture.getbands())
        if self._bytes > _MAX_BYTES:
            raise VideoError(f"{self.path}: too large for an animation; give size=480 or end=..., or write an .mp4")
        self._pictures.append(picture)
        self._times.append(time)
        self._last = frame.duration or self._last

    def finish(self) -> None:
        """See Writer."""
        ends = [*self._times[1:], self._times[-1] + max(round(self._last / self._unit) * self._unit, self._shortest)]
        durations = [round((end - begin) * 1000) for begin, end in zip(self._times, ends, strict=True)]
        options: dict[str, Any] = {"quality": 90} if self._format == "WEBP" else {}
        if self._format == "WEBP" and self._clear:
            # Only key frames: libwebp loses the opacity of others where it is lossy (seen with 1.6.0).
            options |= {"kmin": 1, "kmax": 1}
        if self._format == "GIF":
            # Disposal 2 clears each frame: transparent pixels would otherwise show the frame before.
            options |= {"disposal": 2, "transparency": _CLEAR, "optimize": False} if self._clear else {"disposal": 1}
        elif self._clear:
            # All frames: Pillow takes the mode from the first.
            self._pictures = [picture.convert("RGBA") for picture in self._pictures]
        # A GIF without a loop count is played once; there is no count for once.
        if self._format != "GIF" or self._loop != 1:
            options["loop"] = self._loop
        first, *others = self._pictures
        try:
            encoded = io.BytesIO()
            first.save(encoded, self._format, save_all=True, append_images=others, duration=durations, **options)
            if self._format == "AVIF" and self._loop:
                limit_avif(encoded, self._loop)
            with atomic_write(self._part) as file:
                file.write(encoded.getbuffer())
        except (OSError, ValueError) as error:
            raise VideoError(f"{self.path}: cannot be written ({getattr(error, 'strerror', None) or error})") from None


def _to_palette(picture: Image.Image, alpha: Bytes | None) -> Image.Image:
    """Return a picture with a palette; pixels more than half transparent get the transparent index."""
    # Pillow's own conversion loses the opacity of frames after an opaque one.
    indexed = picture.quantize(_CLEAR)
    if alpha is None:
        return indexed
    places = np.where(alpha < 128, np.uint8(_CLEAR), np.asarray(indexed))
    clear = Image.fromarray(places)
    colors = indexed.getpalette() or []
    clear.putpalette(colors + [0] * (3 * (_CLEAR + 1) - len(colors)))
    return clear
