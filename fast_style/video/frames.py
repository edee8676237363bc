"""Pictures that follow one another in time, whatever they are read from and written to."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fast_style.errors import ConfigError

Bytes: TypeAlias = NDArray[np.uint8]

#: Of pictures without any sign of when they are to be shown, in frames a second.
USUAL_RATE = Fraction(25)

#: How the names of video files end that can be written: the format, and the codec unless another is chosen.
CONTAINERS = {
    ".mp4": ("mp4", "h264"),
    ".m4v": ("mp4", "h264"),
    ".mov": ("mov", "h264"),
    ".mkv": ("matroska", "h264"),
    ".webm": ("webm", "vp9"),
}
#: What can become of sound and subtitles.
WAYS = ("auto", "copy", "convert", "none")


@dataclass(frozen=True)
class StreamModes:
    """What becomes of what a video has beside its pictures.

    Attributes:
        audio: `copy`, bit for bit; `convert`, to AAC, or to Opus in a .webm; `none`: without; `auto`: copied where the
            format can hold it, else converted.
        subtitles: likewise; text is converted to that of MP4 or to WebVTT, and pictures are left out.

    Raises:
        ConfigError: if it is none of these.
    """

    audio: str = "auto"
    subtitles: str = "auto"

    def __post_init__(self) -> None:
        for name in ("audio", "subtitles"):
            if (value := getattr(self, name)) not in WAYS:
                raise ConfigError(f"{name} must be one of {', '.join(WAYS)}, not {value!r}")

    def how(self, kind: str) -> str:
        """Return what becomes of a kind of stream, as FFmpeg calls it."""
        return {"audio": self.audio, "subtitle": self.subtitles}.get(kind, "auto")


AS_USUAL = StreamModes()


@dataclass(frozen=True)
class Frame:
    """One picture of a video.

    Attributes:
        pixels: RGB, upright, of shape (height, width, 3).
        time: when it appears, in seconds.
        duration: how long it is meant to stay, in seconds; 0: nobody says.
        alpha: the opacity, of shape (height, width), or None.
        packets: sound, subtitles and data that stood before it in the file, still packed.
    """

    pixels: Bytes
    time: Fraction
    duration: Fraction = Fraction(0)
    alpha: Bytes | None = None
    packets: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Colors:
    """What the three numbers of a video's pixel stand for, as the standards number it (ITU-T H.273).

    Attributes:
        matrix: how YUV is made of RGB.
        primaries: the colors of R, G and B; 2: not said.
        transfer: from light to numbers; 2: not said.
    """

    matrix: int = 1
    primaries: int = 1
    transfer: int = 1


@dataclass(frozen=True)
class Shape:
    """What all frames of a video have in common.

    Attributes:
        width: in pixels.
        height: in pixels.
        time_base: the unit that every time is a multiple of, in seconds.
        rate: frames a second, on average.
        count: how many frames there will be, about; 0: unknown.
        aspect: width of a pixel by its height.
        colors: what a video that is made of them shall be tagged with.
        loop: how often an animation is played; 0: without end.
        alpha: whether frames may have an opacity.
    """

    width: int
    height: int
    time_base: Fraction
    rate: Fraction
    count: int = 0
    aspect: Fraction = Fraction(1)
    colors: Colors = Colors()
    loop: int = 0
    alpha: bool = False


class Reader(Protocol):
    """Where frames come from."""

    @property
    def shape(self) -> Shape:
        """What they have in common."""

    @property
    def damage(self) -> str | None:
        """What could not be read so far, in a line."""

    @property
    def notes(self) -> Sequence[str]:
        """What its frames have lost on the way, each in a few words."""

    def frames(self) -> Iterator[Frame]:
        """Yield each frame once, in order; times grow."""

    def rest(self) -> tuple[Any, ...]:
        """Return the packets behind the last frame."""

    def close(self) -> None:
        """Give back what is held open."""


class Writer(Protocol):
    """Where frames go."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of what is written, in pixels."""

    @property
    def notes(self) -> Sequence[str]:
        """What it cannot hold, each in a few words."""

    def write(self, frame: Frame) -> None:
        """Take the next frame."""

    def finish(self, rest: tuple[Any, ...]) -> None:
        """Write what is still missing, and these packets, so that what was taken can be played."""


def flat(frame: Frame) -> Bytes:
    """Return the pixels of a frame as they look on white."""
    if frame.alpha is None:
        return frame.pixels
    alpha = frame.alpha[:, :, None].astype(np.uint16)
    mixed = (frame.pixels * alpha + 255 * (255 - alpha) + 127) // 255
    return mixed.astype(np.uint8)
