"""Videos that are woven, joined, badly written or broken, and places where none should be written."""

import itertools
import shutil
import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.stream import Disposition
from av.video.frame import VideoFrame
from PIL import Image
from small_messages import assert_each, assert_names, raises
from small_videos import Pixels, packets_of, picture, pixels_of, times_of, write_video

from fast_style.cli import stylize_videos as videos
from fast_style.errors import ConfigError, FastStyleError, VideoError
from fast_style.stylizing.controls import Controls
from fast_style.stylizing.jobs import Job
from fast_style.video import Report, stylize_video
from fast_style.video import writer as video_writer
from fast_style.video.reader import VideoReader
from fast_style.video.timeline import Timeline

Copy = Callable[..., Report]

#: What the script hands over.
SETTINGS: dict[str, Any] = {"temporal": 0, "codec": None, "crf": None, "start": 0, "end": None, "fps": None}


class Same:
    """A Stylizer that leaves pictures as they are."""

    styles = ("day",)

    def __call__(self, image: Image.Image, controls: object) -> Image.Image:
        return image


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    def copy(source: Any, target: str, **settings: Any) -> Report:
        return stylize_video(Same(), source, tmp_path / target, temporal=0, **settings)  # type: ignore[arg-type]

    return copy


def woven(index: int) -> Pixels:
    """A bar that moves by 8 pixels a frame; the odd rows were filmed half a frame later."""
    early, late = (np.full((96, 128, 3), 60, np.uint8) for _ in range(2))
    early[:, 8 * index : 8 * index + 30] = late[:, 8 * index + 4 : 8 * index + 34] = 220
    early[1::2] = late[1::2]
    return early


def torn(pixels: Pixels) -> float:
    """How much rows differ from the mean of their neighbors."""
    rows = pixels.astype(float)
    return float(np.abs(2 * rows[1:-1] - rows[:-2] - rows[2:]).mean())


def test_two_fields_become_one_whole_frame(copy: Copy, tmp_path: Path) -> None:
    options = {"preset": "ultrafast", "x264-params": "tff=1"}
    source = write_video(tmp_path / "a.mp4", [woven(index) for index in range(10)], options=options)
    report = copy(source, "b.mkv", codec="ffv1")
    assert times_of(tmp_path / "b.mkv") == times_of(source)
    assert_each(report.notes, "interlaced")
    for before, after in zip(pixels_of(source), pixels_of(tmp_path / "b.mkv"), strict=True):
        assert torn(before) > 15
        assert torn(after) < 2
    # One of the fields is what it was, and the other is made to go with it.
    before, after = pixels_of(source)[5].astype(int), pixels_of(tmp_path / "b.mkv")[5]
    assert min(np.abs(before[first::2] - after[first::2]).mean() for first in (0, 1)) < 1


def test_what_is_not_woven_is_left_as_it_is_and_needs_no_word(copy: Copy, tmp_path: Path) -> None:
    source = write_video(tmp_path / "a.mkv", [woven(index) for index in range(4)], codec="ffv1", options={})
    assert copy(source, "b.mkv", codec="ffv1").notes == []
    for before, after in zip(pixels_of(source), pixels_of(tmp_path / "b.mkv"), strict=True):
        assert np.abs(before.astype(int) - after).max() <= 3


def test_a_video_that_changes_its_size_keeps_the_first(copy: Copy, tmp_path: Path) -> None:
    small = write_video(tmp_path / "a.h264", [picture(index) for index in range(10)])
    large = write_video(tmp_path / "b.h264", [picture(index, 128, 96) for index in range(10)])
    (tmp_path / "ab.h264").write_bytes(small.read_bytes() + large.read_bytes())
    report = copy(tmp_path / "ab.h264", "c.mp4")
    assert report.frames == 20
    assert_each(report.notes, "128x96 0.4 s size first")
    shapes = {frame.shape for frame in pixels_of(tmp_path / "c.mp4")}
    assert shapes == {(48, 64, 3)}


def test_what_8_bits_cannot_hold_is_said(copy: Copy, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    deep = write_video(tmp_path / "a.mkv", [picture(0)] * 2, codec="ffv1", options={}, pix_fmt="yuv420p10le")
    assert_each(copy(deep, "b.mp4").notes, "8 bits")
    videos.stylize_videos(Same(), [Job(deep, tmp_path / "c.mp4")], Controls(), None, SETTINGS)  # type: ignore[arg-type]
    assert_each(capsys.readouterr().err.splitlines()[1:], f"{deep} 8 bits")


def with_extras(path: Path) -> Path:
    """A video with what videos seldom have, of which each format holds a part."""
    with av.open(str(path), "w", format="matroska" if path.suffix == ".mkv" else "mp4") as container:
        streams: list[Any] = [container.add_stream("libx264", rate=25) for _ in range(2)]
        for stream in streams:
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        streams[0].metadata["timecode"] = "01:00:00:05"
        data: Any = None
        if path.suffix == ".mkv":
            container.add_attachment("letters.ttf", "font/ttf", b"letters")
        else:
            data = container.add_data_stream("bin_data")
            data.time_base = Fraction(1, 1000)
        named = [(0, 480, "one"), (480, 1000, "two")]
        container.set_chapters(
            [
                {"id": start, "start": start, "end": end, "time_base": Fraction(1, 1000), "metadata": {"title": title}}
                for start, end, title in named
            ]
        )
        for index in range(25):
            for stream in streams:
                container.mux(stream.encode(VideoFrame.from_ndarray(picture(index), "rgb24")))
            if data:
                packet: Any = av.Packet(b"place %d" % index)
                packet.stream, packet.time_base, packet.duration = data, Fraction(1, 1000), 40
                packet.pts = packet.dts = 40 * index
                container.mux(packet)
        for stream in streams:
            container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(
    ("source", "target", "left_out"),
    [
        ("a.mkv", "b.mkv", ""),
        ("a.mkv", "b.webm", "attachment letters.ttf .webm"),
        ("a.mkv", "b.mov", "attachment letters.ttf .mov"),
        ("a.mp4", "b.mp4", ""),
        ("a.mp4", "b.mkv", "data GoPro MET .mkv"),
    ],
)
def test_what_else_a_video_has_is_kept_or_named(
    copy: Copy, tmp_path: Path, source: str, target: str, left_out: str
) -> None:
    before = with_extras(tmp_path / source)
    (note,) = copy(before, target).notes
    assert_names(note, f"left out another video {left_out}")
    assert ("," in note) == bool(left_out)
    with av.open(str(before)) as one, av.open(str(tmp_path / target)) as other:
        (pictures,) = other.streams.video
        assert {key.lower(): value for key, value in pictures.metadata.items()}["timecode"] == "01:00:00:05"
        for chapter, copied in zip(one.chapters(), other.chapters(), strict=True):
            assert copied["metadata"] == chapter["metadata"]
            for key in ("start", "end"):
                assert copied[key] * copied["time_base"] == chapter[key] * chapter["time_base"]  # type: ignore[operator]
        files = [(each.name, each.data) for each in one.streams.attachments]
        assert [(each.name, each.data) for each in other.streams.attachments] == ([] if left_out else files)
    if (source, target) == ("a.mp4", "b.mp4"):
        # The chapters and the time code, as MP4 holds them, and what the camera said.
        assert sorted(packets_of(tmp_path / target, "data")) == sorted(packets_of(before, "data"))
        assert len(packets_of(before, "data")) == 26


def test_a_part_has_its_chapters_and_no_time_code_of_the_whole(copy: Copy, tmp_path: Path) -> None:
    report = copy(with_extras(tmp_path / "a.mkv"), "b.mkv", start=0.4, end=0.6)
    assert_each(report.notes, "left out time code another video")
    with av.open(str(tmp_path / "b.mkv")) as container:
        chapters: list[Any] = list(container.chapters())
        assert [
            (each["metadata"]["title"], each["start"] * each["time_base"], each["end"] * each["time_base"])
            for each in chapters
        ] == [("one", 0, Fraction(8, 100)), ("two", Fraction(8, 100), Fraction(2, 10))]


@pytest.mark.parametrize(
    ("target", "codec"),
    [("b.webm", None), ("b.mkv", "ffv1"), ("b.mov", "prores_ks"), ("f_*.png", None), ("b.mp4", None)],
)
@pytest.mark.parametrize("source", ["a.webm", "a.mkv"])
def test_opacity_is_kept_or_laid_on_white(
    copy: Copy, tmp_path: Path, source: str, target: str, codec: str | None
) -> None:
    see_through = np.full((48, 64, 4), (200, 40, 60, 255), np.uint8)
    see_through[:, 32:, 3] = 100
    kinds: dict[str, tuple[str, dict[str, str]]] = {
        "a.webm": ("libvpx-vp9", {"auto-alt-ref": "0", "crf": "10", "b": "0", "cpu-used": "5"}),
        "a.mkv": ("ffv1", {}),
    }
    kind, options = kinds[source]
    frames = [VideoFrame.from_ndarray(see_through, "rgba").reformat(format="yuva420p") for _ in range(3)]
    film = write_video(tmp_path / source, frames, codec=kind, options=options, pix_fmt="yuva420p")
    report = copy(film, target, codec=codec)
    kept = target != "b.mp4"
    assert_each(report.notes, *([] if kept else ["transparent white .webm"]))
    if target == "f_*.png":
        with Image.open(tmp_path / "f_000003.png") as image:
            pixels = np.asarray(image)
    else:
        reader = VideoReader(tmp_path / target)
        last = list(reader.frames())[-1]
        reader.close()
        pixels = last.pixels if last.alpha is None else np.dstack([last.pixels, last.alpha])
    # On white, 100 of 255.
    right = [200, 40, 60, 100] if kept else [233, 171, 178]
    for part, color in ((pixels[8:40, 4:28], [200, 40, 60, 255][: len(right)]), (pixels[8:40, 36:60], right)):
        assert np.abs(part.astype(int) - color).max() <= 8


@pytest.mark.parametrize("suffix", ["mp4", "mov"])
def test_a_video_is_as_long_as_it_was_though_its_last_frame_is_not_the_last_to_be_decoded(
    copy: Copy, tmp_path: Path, suffix: str
) -> None:
    times = [0, 1, 2, 5, 6, 10, 11, 12, 40]
    options = {"x264-params": "b-adapt=0:bframes=3:b-pyramid=0:scenecut=0"}
    source = write_video(tmp_path / f"a.{suffix}", [picture(index) for index in times], times, options=options)
    with av.open(str(source)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        shown_last = max(packets, key=lambda packet: packet.pts or 0)
        assert shown_last is not packets[-1]
        # What MP4 says of it is how long it takes until the next one is decoded.
        assert (shown_last.duration or 0) * shown_last.time_base == Fraction(4, 25)
    assert copy(source, f"b.{suffix}").length == Fraction(41, 25)
    for name in ("a", "b"):
        with av.open(str(tmp_path / f"{name}.{suffix}")) as container:
            stream = container.streams.video[0]
            assert (stream.duration or 0) * (stream.time_base or 0) == Fraction(41, 25)


def broadcast(path: Path, size: tuple[int, int] = (64, 48)) -> Path:
    return write_video(path, [picture(index, *size) for index in range(24)], sound=True)


def test_the_sound_of_a_broadcast_gets_what_an_mp4_asks_for(copy: Copy, tmp_path: Path) -> None:
    source = broadcast(tmp_path / "a.ts")
    copy(source, "b.mp4")
    before, after = packets_of(source, "audio"), packets_of(tmp_path / "b.mp4", "audio")
    # Seven bytes before each say what the file now says once.
    assert [packet for _, packet in after] == [packet[7:] for _, packet in before]
    with av.open(str(tmp_path / "b.mp4")) as container:
        assert len(list(container.decode(audio=0))) == len(before)
        assert container.streams.audio[0].codec_context.extradata


def test_recordings_that_were_joined_go_on_where_the_first_ends(copy: Copy, tmp_path: Path) -> None:
    one, other = broadcast(tmp_path / "a.ts"), broadcast(tmp_path / "b.ts")
    (tmp_path / "ab.ts").write_bytes(one.read_bytes() + other.read_bytes())
    report = copy(tmp_path / "ab.ts", "c.mp4")
    times = times_of(tmp_path / "c.mp4")
    assert report.frames == len(times) == 48
    steps = [after - before for before, after in itertools.pairwise(times)]
    # At the seam, pictures wait for the sound of the first.
    assert [step for index, step in enumerate(steps) if index != 23] == [Fraction(1, 25)] * 46
    assert Fraction(1, 25) <= steps[23] < Fraction(1, 5)
    assert len(packets_of(tmp_path / "c.mp4", "audio")) == 2 * len(packets_of(one, "audio"))


class Packet:
    """What a Timeline looks at."""

    def __init__(self, stream: int, time: int) -> None:
        self.stream_index, self.pts, self.dts, self.duration, self.time_base = stream, time, time, 10, Fraction(1, 100)


def test_all_streams_begin_anew_at_one_moment() -> None:
    def moved(*packets: tuple[int, int]) -> list[int]:
        timeline, changed = Timeline(), [Packet(*each) for each in packets]
        for packet in changed:
            timeline(packet)
        return [packet.dts for packet in changed]

    assert moved((0, 0), (0, 100), (1, 90), (0, 200)) == [0, 100, 90, 200]
    # Sound is the first to begin anew; pictures, later, at the same shift.
    assert moved((0, 0), (1, 50), (0, 100), (1, 0), (0, 110), (0, 5)) == [0, 50, 100, 110, 110, 115]
    # A little out of order is no new beginning.
    assert moved((0, 100), (0, 95), (0, 105)) == [100, 95, 105]


def test_frames_out_of_order_are_no_new_beginning(copy: Copy, tmp_path: Path) -> None:
    frames = [picture(index) for index in range(24)]
    source = write_video(tmp_path / "a.mkv", frames, sound=True, options={"bf": "3", "b_strategy": "0"})
    # More than the tenth of a second by which a clock may fall back.
    assert packets_of(source, "video")[1][0] > Fraction(1, 10)
    copy(source, "b.mkv")
    assert times_of(tmp_path / "b.mkv") == times_of(source)
    assert packets_of(tmp_path / "b.mkv", "audio") == packets_of(source, "audio")


def test_sound_that_is_badly_timed_is_kept(copy: Copy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_video(tmp_path / "a.mkv", [picture(index) for index in range(24)], sound=True)
    write = video_writer.VideoWriter.write

    def late(self: Any, frame: Any) -> None:
        for packet in frame.packets:
            packet.pts = packet.dts = packet.dts // 40 * 40
        write(self, frame)

    monkeypatch.setattr(video_writer.VideoWriter, "write", late)
    copy(source, "b.mp4")
    before, after = packets_of(source, "audio"), packets_of(tmp_path / "b.mp4", "audio")
    assert [packet for _, packet in after] == [packet for _, packet in before]
    assert sorted(time for time, _ in after) == [time for time, _ in after]


def music_with_a_cover(path: Path) -> Path:
    with av.open(str(path), "w", format="mp4") as container:
        sound: Any = container.add_stream("aac", rate=16_000)
        cover: Any = container.add_stream("png")
        cover.width, cover.height, cover.pix_fmt, cover.disposition = 32, 32, "rgb24", Disposition.attached_pic
        container.mux(cover.encode(VideoFrame.from_ndarray(picture(0, 32, 32), "rgb24")))
        container.mux(cover.encode(None))
        silence = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), "fltp", "stereo")
        silence.sample_rate = 16_000
        container.mux(sound.encode(silence))
        container.mux(sound.encode(None))
    return path


def gif(size: tuple[int, int], frames: int, end: bytes = b";") -> bytes:
    shape = struct.pack("<HH", *size)
    frame = b"!\xf9\x04\0\x0a\0\0\0,\0\0\0\0" + b"\1\0\1\0" + b"\0\2\2D\1\0"
    return b"GIF89a" + shape + b"\x80\0\0\0\0\0\xff\xff\xff" + frames * frame + end


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("cover.m4a", "cover.m4a video"),
        ("unknown.mp4", "unknown.mp4 video"),
        ("bomb.gif", "bomb.gif readable animation 200,000,000"),
        ("empty.gif", "empty.gif readable animation"),
    ],
)
def test_what_is_no_video_gets_one_line(copy: Copy, tmp_path: Path, name: str, answer: str) -> None:
    music_with_a_cover(tmp_path / "cover.m4a")
    known = write_video(tmp_path / "known.mp4", [picture(0)] * 2).read_bytes()
    (tmp_path / "unknown.mp4").write_bytes(known.replace(b"avc1", b"zzzz"))
    (tmp_path / "bomb.gif").write_bytes(gif((65_535, 65_535), 50))
    (tmp_path / "empty.gif").touch()
    with pytest.raises(VideoError) as error:
        copy(tmp_path / name, "b.mp4")
    assert_names(error.value, f"{tmp_path}/{answer}")
    assert not list(tmp_path.glob("b.*"))


def test_what_can_be_read_of_a_gif_that_breaks_off_is_kept(copy: Copy, tmp_path: Path) -> None:
    (tmp_path / "cut.gif").write_bytes(gif((20, 20), 5, end=b"!\xf9\x04\0\x0a"))
    report = copy(tmp_path / "cut.gif", "b.mp4")
    assert report.frames == len(times_of(tmp_path / "b.mp4")) == 5
    assert_names(report.warning or "", f"{tmp_path}/cut.gif damaged 5 frames")


def test_frames_that_cannot_be_read_are_left_out_the_first_as_well(copy: Copy, tmp_path: Path) -> None:
    files = [tmp_path / f"{index}.png" for index in range(6)]
    for index, file in enumerate(files):
        Image.fromarray(picture(index)).save(file)
    files[0].write_bytes(b"")
    files[3].write_bytes(files[3].read_bytes()[:100])
    report = copy(files, "b.mkv", codec="ffv1")
    assert times_of(tmp_path / "b.mkv") == [Fraction(index, 25) for index in (1, 2, 4, 5)]
    assert_names(report.warning or "", "2 6 left")
    with raises(FastStyleError, "0.png readable empty"):
        copy(files[:1], "c.mkv")


@pytest.mark.parametrize(("width", "height"), [(64, 48), (63, 47), (3, 1)])
def test_a_video_of_one_frame_is_one(copy: Copy, tmp_path: Path, width: int, height: int) -> None:
    options: dict[str, Any] = {"codec": "libx264rgb", "options": {"qp": "0"}, "pix_fmt": "rgb24"}
    source = write_video(tmp_path / "a.mkv", [picture(0, width, height)], **options)
    assert copy(source, "b.mp4").frames == 1
    (frame,) = pixels_of(tmp_path / "b.mp4")
    assert frame.shape == (height + height % 2, width + width % 2, 3)


def test_an_encoder_that_cannot_begin_is_named(copy: Copy, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    options: dict[str, Any] = {"codec": "libx264rgb", "options": {"qp": "0"}, "pix_fmt": "rgb24"}
    source = write_video(tmp_path / "a.mkv", [picture(0, 2, 2)] * 2, **options)
    with raises(VideoError, "b.mkv libsvtav1 2x2 codec"):
        copy(source, "b.mkv", codec="av1")
    assert capfd.readouterr() == ("", "")


def files_in(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.mark.parametrize(
    ("source", "target", "answer"),
    [
        ("a.mp4", "a.mp4", "a.mp4 input itself output"),
        # What a stopped run has left, under the name that the next one writes to.
        ("c.part.mp4", "c.mp4", "c.part.mp4 input itself output"),
        ("link.mp4", "a.mp4", "a.mp4 input itself output"),
        ("a.mp4", "folder.mp4", "folder.mp4 folder file"),
    ],
)
def test_no_video_is_written_over_what_is_read(
    copy: Copy, tmp_path: Path, source: str, target: str, answer: str
) -> None:
    write_video(tmp_path / "a.mp4", [picture(0)] * 2)
    shutil.copy(tmp_path / "a.mp4", tmp_path / "c.part.mp4")
    (tmp_path / "link.mp4").symlink_to(tmp_path / "a.mp4")
    (tmp_path / "folder.mp4").mkdir()
    before = files_in(tmp_path)
    with raises(ConfigError, f"{tmp_path}/{answer}"):
        copy(tmp_path / source, target)
    assert files_in(tmp_path) == before


def test_no_frames_are_written_over_those_that_are_read(copy: Copy, tmp_path: Path) -> None:
    files = [tmp_path / f"{index:06d}.png" for index in range(3)]
    for file in files:
        Image.fromarray(picture(0)).save(file)
    with raises(ConfigError, "*.png replace 000000.png"):
        copy(files, "*.png")
    assert copy(files, "new_*.png").frames == 3


def test_a_mistake_takes_nothing_of_what_an_earlier_run_has_left(copy: Copy, tmp_path: Path) -> None:
    source = write_video(tmp_path / "a.mp4", [picture(0)] * 2)
    (tmp_path / "b.part.mp4").write_bytes(b"an hour of work")
    with pytest.raises(ConfigError):
        copy(source, "b.mp4", codec="h267")
    assert (tmp_path / "b.part.mp4").read_bytes() == b"an hour of work"


@pytest.mark.parametrize("target", ["b.mkv", "b.gif", "f_*.png"])
def test_a_full_disk_is_told_whatever_is_written(
    copy: Copy, small_disk: Callable[[str], Path], tmp_path: Path, target: str
) -> None:
    noise = np.random.default_rng(0)
    frames = [noise.integers(0, 256, (96, 128, 3), np.uint8) for _ in range(20)]
    source = write_video(tmp_path / "a.mkv", frames, codec="ffv1", options={})
    place = small_disk("128k") / target
    with raises(FastStyleError, "written No space left on device"):
        copy(source, str(place))
    assert not place.exists()


def test_a_folder_that_cannot_be_written_to_is_told_at_once(
    copy: Copy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_video(tmp_path / "a.mp4", [picture(0)] * 2)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("filelock.FileLock.acquire", refuse)
    with raises(VideoError, "b.mp4 written Permission denied"):
        copy(source, "b.mp4")


def test_ctrl_c_before_the_first_frame_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_video(tmp_path / "a.mp4", [picture(0)] * 2)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("fast_style.video.work.VideoWork.run", interrupted)
    with pytest.raises(KeyboardInterrupt, match=r"^interrupted$"):
        stylize_video(Same(), source, tmp_path / "b.mp4", temporal=0)  # type: ignore[arg-type]
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def test_a_video_that_fails_does_not_stop_the_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "empty.mp4").touch()
    write_video(tmp_path / "loud.mp4", [picture(0)] * 3, sound=True)
    write_video(tmp_path / "good.mp4", [picture(0)] * 3)
    settings = {**SETTINGS, "audio": "copy"}
    names = ("text.mp4", "empty.mp4", "loud.mp4", "good.mp4")
    jobs = [Job(tmp_path / name, (tmp_path / name).with_suffix(".webm")) for name in names]
    with raises(VideoError, "3 4 videos failed"):
        videos.stylize_videos(Same(), jobs, Controls(), None, settings)  # type: ignore[arg-type]
    out, errors = capsys.readouterr()
    assert out.splitlines() == [f"{tmp_path}/good.webm"]
    assert [line.split(": ")[0] for line in errors.splitlines()[:3]] == [
        f"{tmp_path}/text.mp4",
        f"{tmp_path}/empty.mp4",
        f"{tmp_path}/loud.webm",
    ]
    assert {path.name for path in tmp_path.iterdir()} == {*names, "good.webm"}


def test_ctrl_c_among_videos_says_what_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs: list[Job] = [
        Job(write_video(tmp_path / f"{name}.mp4", [picture(0)]), tmp_path / f"{name}.mkv") for name in "abc"
    ]

    def stopped(stylizer: Any, source: Path, *arguments: Any, **settings: Any) -> Report:
        if source.name == "b.mp4":
            raise KeyboardInterrupt("interrupted; b.part.mkv holds the first 7 frames")
        return stylize_video(stylizer, source, *arguments, **settings)

    monkeypatch.setattr(videos, "stylize_video", stopped)
    with raises(KeyboardInterrupt, "interrupted b.part.mkv 7 frames 1 3 videos resume=true"):
        videos.stylize_videos(Same(), jobs, Controls(), None, SETTINGS)  # type: ignore[arg-type]


def test_a_full_disk_ends_the_work_on_all_videos(tmp_path: Path, small_disk: Callable[[str], Path]) -> None:
    noise = np.random.default_rng(0)
    frames = [noise.integers(0, 256, (96, 128, 3), np.uint8) for _ in range(20)]
    source = write_video(tmp_path / "a.mkv", frames, codec="ffv1", options={})
    disk = small_disk("128k")
    jobs = [Job(source, disk / f"{name}.mkv") for name in "bc"]
    with raises(VideoError, "full 0 2 videos resume=true"):
        videos.stylize_videos(Same(), jobs, Controls(), None, SETTINGS)  # type: ignore[arg-type]


def test_a_video_whose_sound_does_not_fit_is_no_mistake_in_the_settings(copy: Copy, tmp_path: Path) -> None:
    source = write_video(tmp_path / "a.mp4", [picture(0)] * 3, sound=True)
    # So that the others of a batch go on.
    with raises(VideoError, "b.webm audio a.mp4 (aac)"):
        copy(source, "b.webm", audio="copy")
