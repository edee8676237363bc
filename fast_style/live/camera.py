"""Cameras: those of the system, through FFmpeg, and videos played in the place of one."""

import contextlib
import errno
import sys
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import av
from av.container import InputContainer
from av.video.frame import VideoFrame

from fast_style.errors import CameraError, ConfigError
from fast_style.video import VIDEO_SUFFIXES
from fast_style.video.frames import Bytes
from fast_style.video.opening import reason
from fast_style.video.pixels import Picturer
from fast_style.video.reader import VideoReader

#: Seconds, from any point on.
Clock: TypeAlias = Callable[[], float]
#: FFmpeg's name for the cameras of a system, by how Python's name for it begins.
SYSTEMS = {"linux": "v4l2", "darwin": "avfoundation", "win32": "dshow"}
#: Widths that cameras have.
_WIDTHS = (640, 1280, 1920)
#: So many pictures, one after the other, may be damaged: a bad cable damages a few.
_MOST_DAMAGED = 60
#: In seconds: a driver's time that is older than that is not of our clock.
_PLAUSIBLE = 1.0
#: Where asking for less does not help, and what does; None: to know what cameras there are.
_REMEDIES: dict[int, str | None] = {
    errno.ENOENT: None,
    errno.ENODEV: None,
    errno.ENXIO: None,
    errno.EBUSY: "close the other program that uses it",
    errno.EACCES: "allow it, on Linux by 'sudo usermod -aG video $USER' and a new login",
    errno.EPERM: "allow it, in the system's settings under privacy",
}
#: In seconds: a video that is later than this does not hurry, but goes on from there.
_LATE = 0.25
#: In seconds: a picture that stands for longer is given again, as a camera would; silence would mean that it is dead.
_STILL = 1.0
#: Pictures a second that are asked of a camera.
USUAL_FPS = 30.0


@dataclass(frozen=True)
class CameraFrame:
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

    def frames(self) -> Generator[CameraFrame, None, None]:
        """Yield each picture when it has been taken, for as long as there are any.

        Raises:
            CameraError: if the camera is unplugged, or the like.
            VideoError: if a video cannot be read any more.
        """


class DeviceCamera:
    """A camera of the system.

    Args:
        name: its number from 0 on, or what the system calls it, such as /dev/video0.
        format: FFmpeg's name for such devices, of SYSTEMS.
        long_side: of the pictures, in pixels; None: as it has them, but no larger than `largest`.
        largest: see `long_side`.
        fps: pictures a second to ask for; what one gets is the camera's to say.
        clock: a driver's own times are taken over if they are of this clock.

    Attributes:
        width: see Camera.
        height: see Camera.
        rate: see Camera.

    Raises:
        CameraError: if there is no such camera, it is in use, may not be used, or gives no picture.
    """

    def __init__(
        self, name: str, format: str, long_side: int | None, largest: int, fps: float, clock: Clock = time.monotonic
    ) -> None:
        self._address, self._clock = _address(name, format), clock
        self._container = _open(self._address, format, long_side or largest, fps)
        try:
            self._stream = self._container.streams.video[0]
            self._pictures = self._decoded()
            frame, _ = next(self._pictures)
        except BaseException:
            self._container.close()
            raise
        self._picture = Picturer(frame, long_side or min(largest, max(frame.width, frame.height)))
        self.height, self.width = self._picture(frame).shape[:2]
        self.rate = float(self._stream.average_rate or fps)

    def frames(self) -> Generator[CameraFrame, None, None]:
        """See Camera."""
        try:
            for frame, taken in self._pictures:
                yield CameraFrame(self._picture(frame), taken)
        finally:
            self._container.close()

    def _decoded(self) -> Iterator[tuple[VideoFrame, float]]:
        damaged = 0
        while damaged <= _MOST_DAMAGED:
            try:
                # A packet without a byte is a damaged picture, too, and would flush the decoder.
                packet = next(packet for packet in self._container.demux(self._stream) if packet.size)
            except BlockingIOError:
                # As macOS says that there is nothing new yet.
                time.sleep(0.002)
                continue
            except (StopIteration, OSError, av.FFmpegError) as error:
                why = "no more pictures" if isinstance(error, StopIteration) else reason(error)
                raise CameraError(f"{self._address}: the camera is gone ({why}); plug it in and start again") from None
            try:
                pictures = packet.decode()
                damaged = 0
            except av.FFmpegError:
                damaged += 1
                continue
            for frame in pictures:
                yield frame, self._taken(frame)
        raise CameraError(f"{self._address}: its pictures cannot be decoded; try another cable, or another size")

    def _taken(self, frame: VideoFrame) -> float:
        """Return when a picture was taken; by the driver's word, which counts how long it lay in a queue."""
        now = self._clock()
        taken = now if frame.time is None else frame.time
        return taken if 0 <= now - taken <= _PLAUSIBLE else now


def _address(name: str, format: str) -> str:
    """Return what FFmpeg calls a camera."""
    if format == "v4l2":
        return f"/dev/video{name}" if name.isdecimal() else name
    if format == "avfoundation":
        # Behind the colon stands which microphone.
        return f"{name}:none"
    if format == "dshow" and name.isdecimal():
        devices = _devices(format)
        if int(name) >= len(devices):
            raise CameraError(f"camera {name}: there is no such camera; {_choice(format)}")
        name = devices[int(name)].name
    return f"video={name}" if format == "dshow" else name


def _open(address: str, format: str, side: int, fps: float) -> InputContainer:
    """Open a camera, in the least width that it may have and is enough, or else in any."""
    width = next((width for width in _WIDTHS if width >= side), _WIDTHS[-1])
    rate = {"framerate": f"{fps:g}"}
    sizes = [{"video_size": f"{width}x{width * rows // 16}", **rate} for rows in (9, 12)]
    # Raw, larger pictures are more than USB 2 can carry at 30 a second.
    packed = [{"input_format": "mjpeg", **sizes[0]}] if format == "v4l2" and width > _WIDTHS[0] else []
    refusal: Exception | None = None
    for options in (*packed, *sizes, rate, {}):
        try:
            return av.open(address, format=format, container_options=options)
        except (OSError, ValueError, av.FFmpegError) as error:
            refusal = error
            if getattr(error, "errno", None) in _REMEDIES:
                break
    assert refusal is not None
    remedy = _REMEDIES.get(getattr(refusal, "errno", 0) or 0) or _choice(format)
    raise CameraError(f"{address}: no camera that can be used ({reason(refusal)}); {remedy}")


def _choice(format: str) -> str:
    names = [f"{device.name} ({device.description})" for device in _devices(format)]
    return f"there is {', '.join(names) or 'none'}; camera=clip.mp4 plays a video as one"


def _devices(format: str) -> list[Any]:
    # Not every kind of device can be listed.
    with contextlib.suppress(OSError, ValueError, av.FFmpegError):
        return [device for device in av.enumerate_input_devices(format) if "audio" not in device.media_types]
    return []


class VideoCamera:
    """A video that is played in real time, over and over.

    Args:
        path: the video.
        long_side: of the pictures, in pixels; None: as they are, but no larger than `largest`.
        largest: see `long_side`.
        clock: which tells the time.
        sleep: waits for some seconds of it.

    Attributes:
        width: see Camera.
        height: see Camera.
        rate: see Camera.

    Raises:
        VideoError: if it cannot be read.
    """

    def __init__(
        self,
        path: Path,
        long_side: int | None,
        largest: int,
        clock: Clock = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._path, self._clock, self._sleep = path, clock, sleep
        self._reader = VideoReader(path, long_side=long_side)
        own = max(self._reader.shape.width, self._reader.shape.height)
        self._long_side = long_side or min(largest, own)
        if own > self._long_side:
            self._reader.close()
            self._reader = VideoReader(path, long_side=self._long_side)
        shape = self._reader.shape
        self.width, self.height, self.rate = shape.width, shape.height, float(shape.rate)

    def frames(self) -> Generator[CameraFrame, None, None]:
        """See Camera."""
        began, shown = self._clock(), None
        while True:
            length, zero = 0.0, None
            try:
                for frame in self._reader.frames():
                    # Nobody waits for pictures that begin behind the sound.
                    zero = frame.time if zero is None else zero
                    time = float(frame.time - zero)
                    length = time + float(frame.duration or 1 / self._reader.shape.rate)
                    late = self._clock() - (began + time)
                    if late > _LATE:
                        began += late
                    while (left := began + time - self._clock()) > 0:
                        self._sleep(min(left, _STILL))
                        if left > _STILL and shown is not None:
                            yield CameraFrame(shown, self._clock())
                    shown = frame.pixels
                    yield CameraFrame(shown, self._clock())
            finally:
                self._reader.close()
            began += length
            self._reader = VideoReader(self._path, long_side=self._long_side)


def open_camera(
    name: str | int,
    long_side: int | None,
    largest: int,
    fps: float | None = None,
    clock: Clock = time.monotonic,
) -> Camera:
    """Open a camera, or a video in the place of one.

    Args:
        name: the number of a camera from 0 on, its device such as /dev/video0, or the path of a video.
        long_side: of the pictures, in pixels; None: as they are, but no larger than `largest`.
        largest: see `long_side`.
        fps: pictures a second to ask of a camera; None: 30.
        clock: which tells when pictures are taken.

    Raises:
        CameraError: if there is no such camera, it is in use, may not be used, or gives no picture.
        VideoError: if the video cannot be read.
        ConfigError: if `fps` is given for a video, or FFmpeg knows no cameras on this system.
    """
    path = Path(str(name))
    if path.suffix.lower() in VIDEO_SUFFIXES or path.is_file():
        if fps is not None:
            raise ConfigError(f"fps is what to ask a camera for, and {path} is a video; leave it out")
        return VideoCamera(path, long_side, largest, clock)
    format = next((format for system, format in SYSTEMS.items() if sys.platform.startswith(system)), None)
    if format is None:
        raise ConfigError(f"camera: there is no way to cameras on {sys.platform}; camera=clip.mp4 plays a video as one")
    return DeviceCamera(str(name), format, long_side, largest, fps or USUAL_FPS, clock)
