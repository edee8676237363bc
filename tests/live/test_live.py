"""Camera, network and recording, each at its own pace: the newest picture wins, and nothing is lost."""

import itertools
import threading
from collections.abc import Generator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest
from PIL import Image
from small_cameras import (
    HEIGHT,
    WIDTH,
    Clock,
    Injected,
    Lockstep,
    Tint,
    endless,
    flat,
    make_chain,
    next_of,
    number_in,
    ticking,
)
from small_messages import raises
from small_videos import Pixels, picture, pixels_of, times_of

from fast_style.errors import CameraError, ConfigError, VideoError
from fast_style.live.camera import CameraFrame
from fast_style.live.keys import Action
from fast_style.live.latest import Latest
from fast_style.live.recorder import Recorder, check_recording
from fast_style.live.session import Session
from fast_style.live.status import Meter
from fast_style.live.stylizer import LEAST, AdaptiveSize, LiveStylizer, Look
from fast_style.stylizing.controls import Controls
from fast_style.video.frames import Frame
from fast_style.video.writer import VideoWriter


def test_who_takes_gets_the_newest_once() -> None:
    slot: Latest[int] = Latest()
    for item in (1, 2, 3):
        slot.put(item)
    assert (slot.take(1), slot.take(0)) == (3, None)
    slot.put(4)
    slot.close()
    assert not slot.ended
    assert (slot.take(1), slot.ended) == (4, True)
    assert slot.take(60) is None  # at once: nobody will come


def test_an_error_comes_behind_the_last_picture_and_is_not_missed() -> None:
    slot: Latest[int] = Latest()
    slot.put(1)
    slot.close(CameraError("unplugged"))
    assert slot.take(1) == 1
    assert not slot.ended
    with pytest.raises(CameraError, match="unplugged"):
        slot.take(1)


def test_however_slow_the_network_the_delay_is_its_time_and_at_most_a_frame_more() -> None:
    clock, meter = Clock(), Meter()
    camera = Injected(clock)
    given = itertools.count(1)
    newest = [0]

    def camera_goes_on() -> None:
        """0.3 s of a camera that gives a picture every 0.04 s."""
        begun = clock.now
        while (due := 0.04 * (newest[0] + 1)) <= begun + 0.3:
            clock.now = due
            newest[0] = next(given)
            camera.give(newest[0])
        clock.now = begun + 0.3

    network = Lockstep(camera_goes_on)
    chain = make_chain(camera, network, clock, meter)
    chain.start()
    camera.give(0)
    delays, wanted = [], [0]
    for _ in range(20):
        network.allowed.release()
        painted = next_of(chain)
        assert painted.taken is not None
        delays.append(clock.now - painted.taken)
        wanted.append(newest[0])
    network.meanwhile = lambda: None
    network.allowed.release()
    camera.end()
    next_of(chain)
    chain.stop()
    assert network.taken == wanted  # at each time of taking the newest there was, hence in order
    assert delays[0] == pytest.approx(0.3)
    assert max(delays) <= 0.34 + 1e-9
    assert meter.figures(clock.now).dropped == wanted[-1] + 1 - len(wanted)


def test_what_is_frozen_can_still_be_painted_anew_and_drops_nothing() -> None:
    clock, meter = Clock(), Meter()
    camera = Injected(clock)
    chain = make_chain(camera, Tint(), clock, meter)
    chain.start()
    camera.give(7)
    assert number_in(next_of(chain).pixels) == 7
    chain.frozen = True
    for number in (8, 9, 10):
        camera.give(number)
    chain.look = replace(chain.look, style=2)
    painted = next_of(chain)
    assert (number_in(painted.pixels), painted.taken) == (207, None)
    camera.give(11)
    assert chain.take() is None  # nothing has changed
    assert meter.figures(0).dropped == 0
    chain.frozen = False
    camera.give(12)
    assert number_in(next_of(chain).pixels) == 212
    camera.end(CameraError("unplugged"))
    with pytest.raises(CameraError, match="unplugged"):
        next_of(chain)
    chain.stop()


def test_who_is_frozen_hears_that_the_camera_is_gone() -> None:
    camera = Injected(Clock())
    chain = make_chain(camera, Tint(), Clock())
    chain.start()
    camera.give(1)
    next_of(chain)
    chain.frozen = True
    camera.end(CameraError("unplugged"))
    with pytest.raises(CameraError, match="unplugged"):
        next_of(chain)


def test_what_the_network_raises_is_raised_where_one_waits_for_it() -> None:
    class Broken(Tint):
        def __call__(self, pixels: Pixels, look: Look) -> Pixels:
            raise VideoError("out of paint")

    camera = Injected(Clock())
    camera._given.put(1)
    with pytest.raises(VideoError, match="out of paint"):
        Session(camera, Broken(), clock=Clock()).run()


def test_a_camera_that_hangs_is_not_waited_for() -> None:
    class Hanging(Injected):
        def frames(self) -> Generator[CameraFrame, None, None]:
            threading.Event().wait(2)
            yield from ()

    with raises(CameraError, "camera 10 s"):
        Session(Hanging(Clock()), Tint(), clock=ticking(1.0)).run()


def test_figures_are_of_the_last_second() -> None:
    meter = Meter()
    for index in range(40):
        meter.captured(0.05 * index)
        if index % 4 == 0:
            meter.painted(0.05 * index, 0.2, dropped=3 if index else 0)
            meter.shown(0.05 * index, 0.05 * index - (0.25 if index > 20 else 9))
    figures = meter.figures(1.96)
    assert (figures.camera, figures.network, figures.dropped) == (20, 5, 27)
    assert figures.seconds == 0.2
    assert figures.delay == pytest.approx(0.25)
    later = meter.figures(60)
    assert (later.camera, later.network) == (0, 0)
    assert (later.seconds, later.delay) == (figures.seconds, figures.delay)  # of what is slow, the last is known
    assert meter.summary(2) == "10 frames in 2.0 s, 5.0/s, delay 9000 ms, 27 of the camera's dropped"


def test_the_size_is_lowered_until_the_network_keeps_up_and_never_raised() -> None:
    pace = AdaptiveSize(960, rate=30)

    def seconds(side: int) -> float:
        return 0.2 * (side / 960) ** 2

    sizes = []
    for _ in range(40):
        pace.took(seconds(pace.long_side))
        sizes.append(pace.long_side)
    assert seconds(sizes[-1]) <= 1 / 30 < seconds(sizes[-1] + 64)
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[3] == 960  # not by one frame, which may have waited for something
    assert pace.size(1920, 1080) == (sizes[-1], round(sizes[-1] * 9 / 16))
    for _ in range(40):
        pace.took(0.001)
    assert pace.long_side == sizes[-1]


def test_it_has_a_least_size_and_may_be_fixed() -> None:
    slow, fixed = AdaptiveSize(960, rate=30), AdaptiveSize(960)
    for _ in range(99):
        slow.took(10.0)
        fixed.took(10.0)
    assert (slow.long_side, fixed.long_side) == (LEAST, 960)
    assert fixed.size(640, 360) == (640, 360)  # never enlarged


def test_keys_change_the_look() -> None:
    look = Look(style=0, strength=0.95)
    assert look.after(Action.PREVIOUS, 3).style == 2
    assert look.after(Action.NEXT, 3).after(Action.NEXT, 3).after(Action.NEXT, 3) == look
    assert look.after(Action.STRONGER, 3).strength == 1.0
    strengths = [look := look.after(Action.WEAKER, 3) for _ in range(12)][-1].strength
    assert strengths == 0.0
    kept = [look := look.after(Action.COLOR, 3) for _ in range(3)]
    assert [each.preserve_color for each in kept] == ["histogram", "luminance", "none"]
    assert look.after(Action.HELP, 3) is look


class Named:
    """What a painter knows of a stylizer; each call is noted."""

    def __init__(self, *styles: str) -> None:
        self.styles = list(styles)
        self.calls: list[Controls] = []

    def __call__(self, image: Image.Image, controls: Controls) -> Image.Image:
        self.calls.append(controls)
        return image.point(lambda level: 255 - level)


def test_the_styles_of_several_networks_are_one_list() -> None:
    one, other = Named("waves", "stars"), Named("stars")
    networks: Any = {"one": one, "stars": other}
    painter = LiveStylizer(networks, Controls(brush=1.5, grain=0.5, seed=3))
    assert painter.styles == ["waves", "stars (one)", "stars"]
    assert [painter.find(name) for name in (None, "stars (one)", "stars")] == [0, 1, 2]
    with raises(ConfigError, "'dots' waves stars one"):
        painter.find("dots")
    painted = painter(flat(5), Look(style=0, strength=0.4, preserve_color="luminance"))
    assert number_in(painted) == 250
    painter(flat(5), Look(style=2))
    assert one.calls == [Controls("waves", 0.4, None, None, "luminance", 1.5, grain=0.5, seed=3)]
    assert other.calls == [Controls("stars", brush=1.5, grain=0.5, seed=4)]  # other grain in each picture


def test_what_was_painted_in_another_look_does_not_shine_through() -> None:
    class Noisy(Named):
        def __call__(self, image: Image.Image, controls: Controls) -> Image.Image:
            super().__call__(image, controls)
            return image.point(lambda level: 40 * len(self.calls))

    networks: Any = {"one": Noisy("waves")}
    painter = LiveStylizer(networks, temporal=1.0)
    waves = picture(0, WIDTH, HEIGHT)
    assert number_in(painter(waves, Look())) == 40
    assert number_in(painter(waves, Look())) < 60  # steadied
    assert number_in(painter(waves, Look(strength=0.5))) == 120
    assert number_in(painter(waves[:40], Look(strength=0.5))) == 160


def test_a_recording_has_each_picture_at_the_time_at_which_it_was_taken(tmp_path: Path) -> None:
    clock = Clock()
    camera, path = Injected(clock), tmp_path / "out.mp4"
    chain = make_chain(camera, Tint(), clock)
    chain.recorder = recorder = Recorder(path, WIDTH, HEIGHT, 25)
    chain.start()
    for index, clock.now in enumerate([20.0, 20.04, 20.2, 21.0, 21.01]):
        camera.give(40 * index)
        next_of(chain)
    camera.end()
    chain.stop()
    recorder.end(21.5)
    recording = recorder.result(20)
    assert recording is not None
    assert (recording.path, recording.frames, recording.seconds, recording.left_out) == (path, 5, 1.5, 0)
    wanted = [Fraction(text) for text in ("0", "0.04", "0.2", "1", "1.01")]
    assert times_of(path) == wanted
    assert [number_in(pixels) for pixels in pixels_of(path)] == pytest.approx([0, 40, 80, 120, 160], abs=3)
    with av.open(str(path)) as container:
        assert [stream.type for stream in container.streams] == ["video"]
        assert Fraction(container.duration or 0, av.time_base) == pytest.approx(1.5, abs=0.01)
        stream = container.streams.video[0]
        assert (stream.duration or 0) * (stream.time_base or 0) == Fraction(3, 2)
    assert [file.name for file in tmp_path.iterdir()] == ["out.mp4"]


def test_pictures_that_come_too_fast_for_the_encoder_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = threading.Event()

    class Slow(VideoWriter):
        def write(self, frame: Frame) -> None:
            assert free.wait(20)
            super().write(frame)

    monkeypatch.setattr("fast_style.live.recorder.VideoWriter", Slow)
    recorder = Recorder(tmp_path / "out.mkv", WIDTH, HEIGHT, 25)
    for index in range(100):
        recorder.take(flat(index), index / 25)
        assert recorder._waiting.qsize() <= 16
    free.set()
    recorder.end(4.0)
    recording = recorder.result(20)
    assert recording is not None
    assert recording.left_out >= 80
    assert recording.frames + recording.left_out == 100
    assert recording.seconds == 4.0
    assert len(times_of(recording.path)) == recording.frames


def test_a_recording_of_nothing_leaves_nothing(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "out.mp4", WIDTH, HEIGHT, 25)
    recorder.end(1.0)
    recording = recorder.result(20)
    assert recording is not None
    assert recording.frames == 0
    assert list(tmp_path.iterdir()) == []


def test_when_the_camera_is_unplugged_the_recording_is_whole(tmp_path: Path) -> None:
    clock = Clock()
    camera = Injected(clock)
    said: list[str] = []
    session = Session(camera, Tint(), clock=clock, say=said.append)
    session.record(tmp_path / "out.mp4")

    def somebody() -> None:
        for number in (10, 20, 30):
            camera.give(number)
            clock.now += 0.1
        camera.end(CameraError("unplugged"))

    threading.Thread(target=somebody, daemon=True).start()
    with pytest.raises(CameraError, match="unplugged"):
        session.run()
    assert number_in(pixels_of(tmp_path / "out.mp4")[-1]) == pytest.approx(30, abs=3)
    assert len(said) == 1
    assert said[0].startswith(f"{tmp_path}/out.mp4: ")


def test_a_recording_that_cannot_be_written_ends_what_is_for_nothing_else(tmp_path: Path) -> None:
    camera = Injected(ticking())
    session = Session(camera, Tint(), clock=ticking())
    (tmp_path / "file").touch()
    session.record(tmp_path / "file" / "out.mp4")
    endless(camera)
    with raises(VideoError, "file/out.mp4 written"):
        session.run()


def test_where_a_recording_may_not_go_is_said_before_it_begins(tmp_path: Path) -> None:
    (tmp_path / "there.mp4").touch()
    with raises(ConfigError, "exists overwrite=True"):
        check_recording(tmp_path / "there.mp4", overwrite=False)
    check_recording(tmp_path / "there.mp4", overwrite=True)
    with raises(ConfigError, "out.gif video .mp4"):
        check_recording(tmp_path / "out.gif", overwrite=True)
    check_recording(tmp_path / "new" / "out.mp4", overwrite=False)
    assert (tmp_path / "new").is_dir()
    with raises(VideoError, "there.mp4/out.mp4 written"):
        check_recording(tmp_path / "there.mp4" / "out.mp4", overwrite=True)
