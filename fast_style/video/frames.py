"""Frames of a video, and the interfaces of their readers and writers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fast_style.errors import ConfigError

Bytes: TypeAlias = NDArray[np.uint8]

#: Frame rate of pictures without times, in frames per second.
USUAL_RATE = Fraction(25)

#: Container format and default codec for each suffix of videos that can be written.
CONTAINERS = {
    ".mp4": ("mp4", "h264"),
    ".m4v": ("mp4", "h264"),
    ".mov": ("mov", "h264"),
    ".mkv": ("matroska", "h264"),
    ".webm": ("webm", "vp9"),
}
#: Values of `StreamModes`.
WAYS = ("auto", "copy", "convert", "none")


@dataclass(frozen=True)
class StreamModes:
    """How a video's sound and subtitles are treated.

    Attributes:
        audio: `copy`: bit-exact; `convert`: to AAC, or to Opus in a .webm; `none`: left out; `auto`: copied where the
            format can hold it, else converted.
        subtitles: likewise; text is converted to MP4's text or to WebVTT, bitmap subtitles are left out.

    Raises:
        ConfigError: if a value is none of these.
    """

    audio: str = "auto"
    subtitles: str = "auto"

    def __post_init__(self) -> None:
        for name in ("audio", "subtitles"):
            if (value := getattr(self, name)) not in WAYS:
                raise ConfigError(f"{name} must be one of {', '.join(WAYS)}, not {value!r}")

    def how(self, kind: str) -> str:
        """Return the mode for a kind of stream, by FFmpeg's name."""
        return {"audio": self.audio, "subtitle": self.subtitles}.get(kind, "auto")


AS_USUAL = StreamModes()


@dataclass(frozen=True)
class Frame:
    """One picture of a video."""

    pixels: Bytes  #: RGB, upright, of shape (height, width, 3)
    time: Fraction  #: when it appears, in seconds
    duration: Fraction = Fraction(0)  #: how long it is shown, in seconds; 0: unknown
    alpha: Bytes | None = None  #: the opacity, of shape (height, width), or None
    packets: tuple[Any, ...] = ()  #: undecoded packets of sound, subtitles and data that precede it in the file


@dataclass(frozen=True)
class Colors:
    """Color space of a video, in the code points of ITU-T H.273."""

    matrix: int = 1  #: RGB to YUV matrix
    primaries: int = 1  #: colors of R, G and B; 2: not specified
    transfer: int = 1  #: transfer function; 2: not specified


@dataclass(frozen=True)
class Shape:
    """Properties shared by all frames of a video."""

    width: int  #: in pixels
    height: int  #: in pixels
    time_base: Fraction  #: unit of all times, in seconds
    rate: Fraction  #: average frames per second
    count: int = 0  #: approximate number of frames; 0: unknown
    aspect: Fraction = Fraction(1)  #: pixel aspect ratio, width / height
    colors: Colors = Colors()  #: color tags for a video written from the frames
    loop: int = 0  #: how often an animation is played; 0: forever
    alpha: bool = False  #: whether frames may have an opacity


class Reader(Protocol):
    """A source of frames."""

    @property
    def shape(self) -> Shape:
        """Properties shared by all frames."""

    @property
    def damage(self) -> str | None:
        """What could not be read so far, in one line; None: nothing."""

    @property
    def notes(self) -> Sequence[str]:
        """What the frames lost in reading, each in a few words."""

    def frames(self) -> Iterator[Frame]:
        """Yield each frame once, at increasing times."""

    def close(self) -> None:
        """Close the source."""


class Writer(Protocol):
    """A destination of frames."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the output, in pixels."""

    @property
    def notes(self) -> Sequence[str]:
        """What the format cannot hold, each in a few words."""

    def write(self, frame: Frame) -> None:
        """Write the next frame."""

    def finish(self) -> None:
        """Write held frames, so that the output can be played."""


def flat(frame: Frame) -> Bytes:
    """Return the pixels of a frame blended onto white, of shape (height, width, 3)."""
    if frame.alpha is None:
        return frame.pixels
    alpha = frame.alpha[:, :, None].astype(np.uint16)
    mixed = (frame.pixels * alpha + 255 * (255 - alpha) + 127) // 255
    return mixed.astype(np.uint8)
