"""Live pictures before a person: the window, the keys, the camera for other programs, and the script as a whole."""

import os
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import forked
import hydra
import numpy as np
import pytest
import pyvirtualcam  # type: ignore[import-untyped]
from PIL import Image
from small_cameras import (
    HEIGHT,
    WIDTH,
    Injected,
    Tint,
    endless,
    flat,
    ticking,
)
from small_messages import raises
from small_runs import ROOT
from small_videos import Pixels, picture, pixels_of, times_of, write_video

from fast_style.cli import webcam
from fast_style.cli.hydra_app import register_resolvers
from fast_style.cli.overrides import CONFIGS, read_arguments
from fast_style.errors import CameraError, ConfigError, VideoError
from fast_style.live.keys import KEYS, Action, help_lines
from fast_style.live.session import Session
from fast_style.live.status import Figures, Status
from fast_style.live.stylizer import Look
from fast_style.live.virtual_camera import VirtualCamera
from fast_style.video.frames import Frame
from fast_style.video.writer import VideoWriter
from fast_style.zoo import shipped_networks

os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")

import pygame

from fast_style.live.window import Window

NOTHING = Figures(0, 0, None, None, 0)
PLAIN = Status("waves", 1, 1, 1.0, "none", NOTHING, info=False)


class Pressing:
    """A screen before which somebody presses one key at each picture, and then quits."""

    def __init__(self, window: Window, *keys: str) -> None:
        self._window, self.keys, self._fresh = window, [*keys, "q"], False
        self.shown: list[tuple[Pixels | None, Status]] = []

    def actions(self) -> list[Action]:
        if self._fresh:
            pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=pygame.key.key_code(self.keys.pop(0))))
        self._fresh = False
        return self._window.actions()

    def show(self, pixels: Pixels | None, status: Status) -> None:
        self._fresh = pixels is not None or status.frozen
        self.shown.append((pixels, status))
        self._window.show(pixels, status)


@pytest.fixture
def window(monkeypatch: pytest.MonkeyPatch) -> Iterator[Window]:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    window = Window(WIDTH, HEIGHT)
    yield window
    window.close()


def seen() -> Pixels:
    """What is on the screen, of shape (height, width, 3)."""
    surface = pygame.display.get_surface()
    assert surface is not None
    return np.frombuffer(pygame.image.tobytes(surface, "RGB"), np.uint8).reshape(*surface.get_size()[::-1], 3)


def two_colors() -> Pixels:
    halves = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    halves[:, : WIDTH // 2, 0] = 200
    halves[:, WIDTH // 2 :, 2] = 100
    return halves


def test_a_picture_is_seen_as_it_is(window: Window) -> None:
    window.show(two_colors(), PLAIN)
    screen = seen()
    height, width = screen.shape[:2]
    assert width / height == pytest.approx(WIDTH / HEIGHT, abs=0.01)
    assert screen[height // 2, width // 4].tolist() == [200, 0, 0]
    assert screen[height // 2, 3 * width // 4].tolist() == [0, 0, 100]


def test_in_a_mirror_left_is_left_and_others_see_it_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    sent: list[Pixels] = []

    class Sink:
        def send(self, pixels: Pixels) -> None:
            sent.append(pixels)

    class Halves(Tint):
        def __call__(self, pixels: Pixels, look: Look) -> Pixels:
            return two_colors()

    window = Window(WIDTH, HEIGHT, mirror=True)
    camera, clock = Injected(ticking()), ticking()
    endless(camera)
    Session(camera, Halves(), screen=Pressing(window, "i", "i"), sinks=[Sink()], clock=clock).run()
    height, width = seen().shape[:2]
    assert seen()[height // 2, width // 4].tolist() == [0, 0, 100]
    assert np.array_equal(sent[-1], two_colors())
    window.close()


def test_the_window_may_have_any_shape_and_the_picture_keeps_its_own(window: Window) -> None:
    pygame.display.set_mode((400, 700), pygame.RESIZABLE)
    window.show(two_colors() + np.uint8(50), PLAIN)
    rows = np.flatnonzero(seen()[:, 100].any(axis=1))
    assert (rows[0], rows[-1]) == (200, 499)  # 400 wide, hence 300 high, in the middle


def test_all_there_is_to_know_can_be_read_and_hidden(window: Window) -> None:
    figures = Figures(30, 12, 0.0811, 0.1234, 45)
    status = Status("waves", 2, 14, 0.7, "luminance", figures, recording=75.0, message="saved a.png")
    assert status.lines() == [
        "waves  2/14   strength 70%   colors kept by luminance",
        "camera 30 fps   network 12 fps (81 ms)   delay 123 ms   dropped 45",
        "saved a.png",
    ]
    assert status.clock() == "REC 1:15"
    assert replace(status, frozen=True).lines()[1].endswith("frozen   dropped 45")
    assert replace(status, info=False, message=None, recording=None).lines() == []
    window.show(flat(90), PLAIN)
    assert (seen() == 90).all()
    window.show(None, status)
    left, right = np.split(seen(), 2, axis=1)
    assert (left == 255).any()
    assert (right[:, :, 0] > right[:, :, 1].astype(int) + 100).any()  # the red sign
    window.show(None, replace(PLAIN, help=True))
    assert (seen() == 255).any()


def test_keys_do_what_the_help_says(window: Window, tmp_path: Path) -> None:
    looks = ["n", "right", "p", "left", "left", "down", "down", "up", "c"]
    others = ["i", "h", "s", "space", "space", "r", "i", "i", "i", "i", "r"]
    camera = Injected(ticking())
    said: list[str] = []
    endless(camera)
    screen = Pressing(window, *looks, *others)
    session = Session(camera, Tint(), screen=screen, folder=tmp_path, clock=ticking(), say=said.append)
    assert "frames in" in session.run()
    statuses = [status for _, status in screen.shown]
    changes = [status for status, before in zip(statuses[1:], statuses, strict=False) if status.style != before.style]
    assert [status.style for status in changes] == ["hundred", "two hundred", "hundred", "none", "two hundred"]
    assert sorted({status.strength for status in statuses}) == [0.8, 0.9, 1.0]
    last = statuses[-1]
    assert (last.strength, last.preserve_color, last.info, last.help) == (0.9, "histogram", False, True)
    assert any(status.frozen for status in statuses)
    assert not last.frozen
    (snapshot,) = tmp_path.glob("webcam_*.png")
    with Image.open(snapshot) as saved:
        assert (saved.size, saved.mode) == ((WIDTH, HEIGHT), "RGB")
    (film,) = tmp_path.glob("webcam_*.mp4")
    assert any(status.recording is not None for status in statuses)
    assert len(times_of(film)) >= 1
    assert [line.partition(":")[0] for line in said] == [str(snapshot), str(film)]


def test_networks_of_one_name_are_all_loaded(tmp_path: Path) -> None:
    names = [tmp_path / folder / "my.v2.safetensors" for folder in ("a", "b")]
    for name, shipped in zip(names, ("starry_night", "great_wave"), strict=True):
        name.parent.mkdir()
        shutil.copy(shipped_networks()[shipped], name)
    loaded = webcam._load({"backend": "torch", "precision": "fp32", "ckpt": [str(name) for name in names]})
    found = {name: stylizer.styles for name, stylizer in loaded.items()}
    assert found == {"my.v2": ["starry_night"], "my.v2 (2)": ["great_wave"]}


def test_recordings_that_begin_in_one_second_are_videos_of_their_own(window: Window, tmp_path: Path) -> None:
    camera = Injected(ticking())
    endless(camera)
    screen = Pressing(window, *["r", "i", "i", "i", "i"] * 4)
    Session(camera, Tint(), screen=screen, folder=tmp_path, clock=ticking()).run()
    videos = list(tmp_path.glob("webcam_*.mp4"))
    assert len(videos) == 2
    assert not any(".part" in film.name for film in videos)


def test_a_recording_that_fails_is_said_and_the_show_goes_on(
    window: Window, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full(VideoWriter):
        def write(self, frame: Frame) -> None:
            raise VideoError(f"{self.path.name}: cannot be written (No space left on device)")

    class Reading(Pressing):
        """Somebody who goes on until there is something to read."""

        def show(self, pixels: Pixels | None, status: Status) -> None:
            super().show(pixels, status)
            self.keys = ["q"] if status.message else [key for key in self.keys if key != "q"] + ["i"]

    monkeypatch.setattr("fast_style.live.recorder.VideoWriter", Full)
    camera = Injected(ticking())
    endless(camera)
    screen = Reading(window, "r")
    session = Session(camera, Tint(), screen=screen, folder=tmp_path, clock=ticking())
    with pytest.raises(VideoError, match="No space left on device"):
        session.run()
    assert "No space left on device" in str(screen.shown[-1][1].message)
    assert screen.shown[-1][1].recording is None


def test_closing_the_window_is_to_quit(window: Window) -> None:
    pygame.event.post(pygame.event.Event(pygame.QUIT))
    assert window.actions() == [Action.QUIT]
    pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=pygame.K_x))
    assert window.actions() == []


def test_every_action_has_a_key_that_sdl_knows(window: Window) -> None:
    assert set(KEYS.values()) == set(Action)
    assert all(pygame.key.name(pygame.key.key_code(key)) == key for key in KEYS)
    assert ("q, escape", "quit") in help_lines()


def test_without_a_screen_one_line_says_what_works_without(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    with raises(CameraError, "window screen window=false record=out.mp4"):
        Window(WIDTH, HEIGHT)


class Loopback:
    """A virtual camera of the system, as the library wants it."""

    sent: list[Pixels]

    def __init__(self, *, width: int, height: int, **others: object) -> None:
        self._shape = height, width, 3
        type(self).sent = []

    def send(self, frame: Pixels) -> None:
        self.sent.append(frame.reshape(self._shape).copy())

    def device(self) -> str:
        return "/dev/video42"

    def native_fourcc(self) -> None:
        return None

    def close(self) -> None:
        pass


def test_another_program_sees_the_pictures_in_one_even_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pyvirtualcam.camera, "BACKENDS", {"loopback": Loopback})
    virtual = VirtualCamera(41, 31, 25)
    virtual.send(flat(9))
    virtual.send(picture(0, 40, 30))
    virtual.close()
    assert virtual.device == "/dev/video42"
    assert [frame.shape for frame in Loopback.sent] == [(30, 40, 3)] * 2
    assert np.array_equal(Loopback.sent[0], np.full((30, 40, 3), 9))
    assert np.array_equal(Loopback.sent[1], picture(0, 40, 30))  # R, G and B in their places


def test_where_there_is_no_virtual_camera_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    class Missing(Loopback):
        def __init__(self, **settings: object) -> None:
            raise RuntimeError("No v4l2 loopback device found\nDid you run 'modprobe v4l2loopback'?")

    monkeypatch.setattr(pyvirtualcam.camera, "BACKENDS", {"one": Missing, "other": Missing})
    with raises(CameraError, "virtual_camera OBS v4l2loopback") as failure:
        VirtualCamera(64, 48, 25)
    assert "\n" not in str(failure.value)


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        ("size=12", "size auto 64 4096 12"),
        ("fps=0", "fps 1 1000 30 0"),
        ("seconds=soon", "seconds 0 1e+09 30 'soon'"),
        ("window=false", "window=false record=out.mp4 virtual_camera=true"),
        ("record=out.avi", "out.avi video"),
        ("strength=2", "strength 0 1 2"),
        ("camera=nowhere.mp4", "nowhere.mp4 readable video"),
    ],
)
def test_a_mistake_gets_one_line_before_anything_is_opened(arguments: str, answer: str) -> None:
    register_resolvers()
    with hydra.initialize_config_dir(str(CONFIGS), version_base="1.3"):
        config = hydra.compose("webcam", overrides=read_arguments(["ckpt=starry_night", arguments]))
    with raises((ConfigError, VideoError), answer):
        webcam.main(config)


def test_stopped_by_ctrl_c_the_script_leaves_a_whole_video(tmp_path: Path) -> None:
    write_video(tmp_path / "clip.mp4", [picture(index, 96, 64) for index in range(10)])
    settings = ("ckpt=starry_night", "camera=clip.mp4", "backend=torch", "record=out.mp4", "size=96")
    output, errors = tmp_path / "output", tmp_path / "errors"
    program = str(ROOT / "scripts" / "webcam.py")
    script = forked.start(tmp_path, *settings, output=output, errors=errors, program=program, SDL_VIDEODRIVER="dummy")
    try:
        while not (tmp_path / "out.part.mp4").exists():
            assert script.exitcode is None
            time.sleep(0.05)
        os.kill(script.pid or 0, signal.SIGINT)
        script.join(120)
    finally:
        script.kill()
    assert (script.exitcode, errors.read_text()) == (130, "webcam.py: interrupted\n")
    assert output.read_text().startswith("out.mp4: ")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["clip.mp4", "errors", "out.mp4", "output"]
    times = times_of(tmp_path / "out.mp4")
    assert times[0] == 0
    assert times == sorted(set(times))
    assert pixels_of(tmp_path / "out.mp4")[0].shape == (64, 96, 3)
