"""Cameras: a video played as one, FFmpeg's test device read as one of the system's, and those that cannot be used."""

import contextlib
import errno
import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from small_cameras import Clock
from small_messages import raises
from small_videos import picture, write_video

from fast_style.errors import CameraError
from fast_style.live.camera import DeviceCamera, VideoCamera, open_camera


def test_a_video_is_played_in_real_time_and_over_again(tmp_path: Path) -> None:
    times = [0, 1, 5, 6]
    video = write_video(tmp_path / "clip.mp4", [picture(index) for index in range(4)], times, sound=True)
    clock = Clock()
    camera = VideoCamera(video, 32, 960, clock, clock.sleep)
    assert (camera.width, camera.height) == (32, 24)
    frames = list(itertools.islice(camera.frames(), 8))
    played = [0, 0.04, 0.2, 0.24]
    assert [frame.time for frame in frames] == pytest.approx([*played, *(time + 0.28 for time in played)])
    assert all(np.array_equal(one.pixels, other.pixels) for one, other in zip(frames[:4], frames[4:], strict=True))


def test_a_video_that_was_held_up_does_not_hurry(tmp_path: Path) -> None:
    video = write_video(tmp_path / "clip.mp4", [picture(index) for index in range(4)])
    clock = Clock()
    camera = VideoCamera(video, None, 960, clock, clock.sleep)
    frames = camera.frames()
    next(frames)
    clock.now = 7.0
    assert [next(frames).time for _ in range(3)] == pytest.approx([7.0, 7.04, 7.08])


def test_a_picture_that_stands_for_long_is_given_again_now_and_then(tmp_path: Path) -> None:
    video = write_video(tmp_path / "clip.mp4", [picture(index) for index in range(3)], [0, 1, 91])
    clock = Clock()
    frames = list(itertools.islice(VideoCamera(video, None, 960, clock, clock.sleep).frames(), 6))
    assert [frame.time for frame in frames] == pytest.approx([0, 0.04, 1.04, 2.04, 3.04, 3.64])
    same = [np.array_equal(frame.pixels, frames[1].pixels) for frame in frames]
    assert same == [False, True, True, True, True, False]


@pytest.mark.parametrize(("long_side", "size"), [(None, (120, 90)), (80, (80, 60)), (240, (240, 180))])
def test_the_size_of_a_video_is_its_own_or_what_one_says(
    tmp_path: Path, long_side: int | None, size: tuple[int, int]
) -> None:
    video = write_video(tmp_path / "clip.mp4", [picture(0, 160, 120)])
    camera = open_camera(str(video), long_side, largest=120)
    assert (camera.width, camera.height) == size


def test_a_device_of_ffmpegs_is_read_as_one_of_the_system() -> None:
    clock = Clock(1000.0)
    camera = DeviceCamera("color=red:size=320x240:rate=10", "lavfi", None, 160, 30, clock)
    assert (camera.width, camera.height, camera.rate) == (160, 120, 10)
    with contextlib.closing(camera.frames()) as frames:
        one = next(frames)
        clock.now = 1001.0
        other = next(frames)
    assert one.pixels.shape == (120, 160, 3)
    assert np.abs(one.pixels.astype(int) - [255, 0, 0]).max() <= 3
    assert (one.time, other.time) == (1000.0, 1001.0)  # its own clock begins at 0, and is not ours


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        (
            "99",
            "/dev/video99 camera No such file or directory camera=clip.mp4",
        ),
        ("/dev/null", "/dev/null camera Inappropriate ioctl for device"),
    ],
)
def test_a_camera_that_is_none_gets_one_line(name: str, answer: str) -> None:
    with raises(CameraError, answer) as failure:
        DeviceCamera(name, "v4l2", None, 640, 30)
    assert "\n" not in str(failure.value)


@pytest.mark.parametrize(
    ("number", "answer"),
    [
        (errno.EBUSY, "Device or resource busy close"),
        (errno.EACCES, "Permission denied 'sudo usermod -aG video $USER'"),
    ],
)
def test_a_camera_that_may_not_be_used_is_asked_once(monkeypatch: pytest.MonkeyPatch, number: int, answer: str) -> None:
    asked = []

    def refuse(address: str, **options: Any) -> None:
        asked.append(options)
        raise OSError(number, os.strerror(number), address)

    monkeypatch.setattr(av, "open", refuse)
    with raises(CameraError, f"/dev/video0 camera {answer}"):
        DeviceCamera("0", "v4l2", 1280, 960, 30)
    wanted = {"video_size": "1280x720", "framerate": "30", "input_format": "mjpeg"}
    assert [options["container_options"] for options in asked] == [wanted]


def test_a_camera_is_asked_for_less_until_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    opened = av.open

    def choosy(address: str, **options: Any) -> Any:
        asked.append(options.pop("container_options"))
        if asked[-1]:
            raise OSError(errno.EINVAL, "Invalid argument", address)
        return opened("color=red:size=320x240", **options)

    monkeypatch.setattr(av, "open", choosy)
    camera = DeviceCamera("0", "lavfi", 500, 960, 15)
    assert asked == [
        {"video_size": "640x360", "framerate": "15"},
        {"video_size": "640x480", "framerate": "15"},
        {"framerate": "15"},
        {},
    ]
    assert (camera.width, camera.height) == (500, 375)


def test_a_camera_that_is_unplugged_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    camera = DeviceCamera("color=red:size=64x48", "lavfi", None, 64, 30)
    frames = camera.frames()
    next(frames)

    class Gone:
        def demux(self, stream: object) -> Iterator[object]:
            raise OSError(errno.ENODEV, "No such device")

        def close(self) -> None:
            pass

    monkeypatch.setattr(camera, "_container", Gone())
    with raises(CameraError, "gone No such device plug"):
        next(frames)


def test_a_few_damaged_pictures_are_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    class Packet:
        def __init__(self, size: int, frames: list[object] | None) -> None:
            self.size, self._frames = size, frames

        def decode(self) -> list[object]:
            if self._frames is None:
                raise av.error.InvalidDataError(errno.EINVAL, "Invalid data")
            return self._frames

    camera = DeviceCamera("color=red:size=64x48", "lavfi", None, 64, 30)
    good = next(camera._pictures)[0]
    packets = iter([Packet(9, None), Packet(0, [good]), Packet(9, None), Packet(9, [good]), *[Packet(9, None)] * 99])

    class Cable:
        def demux(self, stream: object) -> Iterator[object]:
            return packets

        def close(self) -> None:
            pass

    monkeypatch.setattr(camera, "_container", Cable())
    frames = camera.frames()
    assert next(frames).pixels.shape == (48, 64, 3)
    with raises(CameraError, "decoded cable"):
        next(frames)
