"""The cameras of the system, through FFmpeg."""

import contextlib
import errno
import time
from collections.abc import Generator, Iterator
from typing import Any

import av
from av.container import InputContainer
from av.video.frame import VideoFrame

from fast_style.errors import CameraError
from fast_style.live.camera import Captured, Clock
from fast_style.video.opening import reason
from fast_style.video.pixels import Picturer

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

    def frames(self) -> Generator[Captured, None, None]:
        """See Camera."""
        try:
            for frame, taken in self._pictures:
                yield Captured(self._picture(frame), taken)
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
