"""Cameras: devices of the system, read by FFmpeg, and videos played as cameras."""

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

#: Returns seconds since an arbitrary start.
Clock: TypeAlias = Callable[[], float]
#: FFmpeg's input format for cameras, by the start of sys.platform.
SYSTEMS = {"linux": "v4l2", "darwin": "avfoundation", "win32": "dshow"}
#: Usual widths of cameras, in pixels.
_WIDTHS = (640, 1280, 1920)
#: Consecutive damaged frames to skip: a bad cable damages a few.
_MOST_DAMAGED = 60
#: In seconds: a driver's time further back than this is from another clock.
_PLAUSIBLE = 1.0
#: Errors that another size does not fix, with the remedy; None: a list of the cameras.
_REMEDIES: dict[int, str | None] = {
    errno.ENOENT: None,
    errno.ENODEV: None,
    errno.ENXIO: None,
    errno.EBUSY: "close the other program that uses it",
    errno.EACCES: "allow it, on Linux by 'sudo usermod -aG video $USER' and a new login",
    errno.EPERM: "allow it, in the system's settings under privacy",
}
#: In seconds: a video with a larger delay does not catch up but shifts its schedule.
_LATE = 0.25
#: In seconds: a frame that lasts longer is repeated, since a silent camera counts as broken.
_STILL = 1.0
#: The default frame rate requested from cameras, in frames per second.
USUAL_FPS = 30.0


@dataclass(frozen=True)
class CameraFrame:
    """A frame of a camera, RGB and upright, of shape (height, width, 3); `time` is when the camera took it.

    The time is in seconds of the session's clock.
    """

    pixels: Bytes
    time: float


class Camera(Protocol):
    """A source of live frames, all of one size."""

    width: int  # in pixels
    height: int
    rate: float  # approximate frames per second

    def frames(self) -> Generator[CameraFrame, None, None]:
        """Yield each frame as soon as it is taken.

        Raises:
            CameraError: if the camera stops, such as when it is unplugged.
            VideoError: if a video can no longer be read.
        """


class DeviceCamera:
    """A camera device of the system; a `Camera`.

    Args:
        name: its number from 0 on, or the system's name, such as /dev/video0.
        format: FFmpeg's input format, a value of SYSTEMS.
        long_side: of the frames, in pixels; None: the camera's, but at most `largest`.
        largest: see `long_side`.
        fps: the frame rate to request; the camera decides.
        clock: the session's clock; the driver's times are used if they are from this clock.

    Raises:
        CameraError: if there is no such camera, or it is in use, not permitted or yields no frame.
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
                # Skip empty packets: they are damaged frames and would flush the decoder.
                packet = next(packet for packet in self._container.demux(self._stream) if packet.size)
            except BlockingIOError:
                # On macOS: no new frame yet.
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
                # When it was taken by the driver's time, if plausible: frames may have waited in a queue.
                now = self._clock()
                taken = now if frame.time is None else frame.time
                yield frame, taken if 0 <= now - taken <= _PLAUSIBLE else now
        raise CameraError(f"{self._address}: its pictures cannot be decoded; try another cable, or another size")


def _address(name: str, format: str) -> str:
    """Return FFmpeg's name of a camera."""
    if format == "v4l2":
        return f"/dev/video{name}" if name.isdecimal() else name
    if format == "avfoundation":
        # The microphone follows the colon.
        return f"{name}:none"
    if format == "dshow" and name.isdecimal():
        devices = _devices(format)
        if int(name) >= len(devices):
            raise CameraError(f"camera {name}: there is no such camera; {_list_cameras(format)}")
        name = devices[int(name)].name
    return f"video={name}" if format == "dshow" else name


def _open(address: str, format: str, side: int, fps: float) -> InputContainer:
    """Open a camera at the smallest usual width that suffices, or else at any size."""
    width = next((width for width in _WIDTHS if width >= side), _WIDTHS[-1])
    rate = {"framerate": f"{fps:g}"}
    sizes = [{"video_size": f"{width}x{width * rows // 16}", **rate} for rows in (9, 12)]
    # USB 2 is too slow for larger raw frames at 30 fps.
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
    remedy = _REMEDIES.get(getattr(refusal, "errno", 0) or 0) or _list_cameras(format)
    raise CameraError(f"{address}: no camera that can be used ({reason(refusal)}); {remedy}")


def _list_cameras(format: str) -> str:
    names = [f"{device.name} ({device.description})" for device in _devices(format)]
    return f"there is {', '.join(names) or 'none'}; camera=clip.mp4 plays a video as one"


def _devices(format: str) -> list[Any]:
    # Not every kind of device can be listed.
    with contextlib.suppress(OSError, ValueError, av.FFmpegError):
        return [device for device in av.enumerate_input_devices(format) if "audio" not in device.media_types]
    return []


class VideoCamera:
    """A video played in real time, in a loop; a `Camera`.

    Args:
        path: the video.
        long_side: of the frames, in pixels; None: the video's, but at most `largest`.
        largest: see `long_side`.
        clock: the session's clock.
        sleep: waits for a number of seconds.

    Raises:
        VideoError: if the video cannot be read.
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
                    # The first frame may come later than the sound.
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
    name: str | int, long_side: int | None, largest: int, fps: float | None = None, clock: Clock = time.monotonic
) -> Camera:
    """Open a camera, or a video played as one.

    Args:
        name: a camera's number from 0 on, its device such as /dev/video0, or the path of a video.
        long_side: of the frames, in pixels; None: the camera's, but at most `largest`.
        largest: see `long_side`.
        fps: the frame rate to request from a camera; None: 30.
        clock: the session's clock.

    Raises:
        CameraError: if there is no such camera, or it is in use, not permitted or yields no frame.
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
