"""What a camera is to the rest: pictures, one after the other, each with the time at which it was taken."""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from fast_style.video.frames import Bytes

#: Seconds, from any point on.
Clock: TypeAlias = Callable[[], float]


@dataclass(frozen=True)
class Captured:
    """A picture from a camera.

    Attributes:
        pixels: RGB, upright, of shape (height, width, 3).
        time: when it was taken, in seconds of the session's clock.
    """

    pixels: Bytes
    time: float


class Camera(Protocol):
    """Where live pictures come from, all of one size."""

    @property
    def width(self) -> int:
        """Of the pictures, in pixels."""

    @property
    def height(self) -> int:
        """Of the pictures, in pixels."""

    @property
    def rate(self) -> float:
        """Pictures a second, about."""

    def frames(self) -> Generator[Captured, None, None]:
        """Yield each picture when it has been taken, for as long as there are any.

        Raises:
            CameraError: if the camera is unplugged, or the like.
            VideoError: if a video cannot be read any more.
        """
