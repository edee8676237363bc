"""Videos whose clock does not begin at zero, whose sound or subtitles do not fit, and whose names do not say it."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image
from small_cameras import Clock
from small_messages import assert_each, assert_says, raises
from small_videos import picture, times_of, write_video

from fast_style.errors import ConfigError, VideoError
from fast_style.live.camera import VideoCamera
from fast_style.video import VIDEO_SUFFIXES, Report, stylize_video
from fast_style.video.container_info import fitting_suffix
from fast_style.video.file_kinds import kind_of
from fast_style.video.opening import FORMATS
from fast_style.video.reader import VideoReader
from fast_style.video.timeline import Timeline

Copy = Callable[..., Report]
_MS = Fraction(1, 1000)


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


def moved(source: Path, path: Path, seconds: float) -> Path:
    """The same packets, but for their times."""
    with av.open(str(source)) as one, av.open(str(path), "w") as other:
        copies = {stream.index: other.add_stream_from_template(stream) for stream in one.streams}
        if path.suffix == ".mkv":
            other.set_chapters(one.chapters())
        for packet in one.demux():
            if packet.dts is not None and packet.pts is not None:
                shift = round(Fraction(str(seconds)) / packet.time_base)
                packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                packet.stream = copies[packet.stream.index]
                other.mux(packet)
    return path


def lengths(path: Path) -> dict[str, tuple[float, float]]:
    """When each kind of stream begins and ends, in seconds."""
    with av.open(str(path)) as container:
        found: dict[str, tuple[float, float]] = {}
        packets: list[Any] = [packet for packet in container.demux() if packet.size and packet.pts is not None]
        for packet in packets:
            begins, ends = (float(each * packet.time_base) for each in (packet.pts, packet.pts + packet.duration))
            first, last = found.get(packet.stream.type, (begins, ends))
            found[packet.stream.type] = min(first, begins), max(last, ends)
        return found


def loud(path: Path, codec: str = "aac", rate: int = 16_000, subtitles: bool = False, **more: Any) -> Path:
    """Two seconds: a tone of 440 Hz from 1 s on, and a line from 0.5 s to 1.5 s."""
    with av.open(str(path), "w", **more) as container:
        # Of frames in another order, Matroska does not say when all are decoded.
        plain = {"bf": "0"} if path.suffix == ".mkv" else {}
        video: Any = container.add_stream("libx264" if path.suffix != ".avi" else "mpeg4", rate=10, options=plain)
        video.width, video.height, video.gop_size = 64, 48, 5
        sound: Any = container.add_stream(codec, rate=rate, layout="mono")
        if codec.startswith("wma"):
            sound.bit_rate = 64_000
        written: Any = container.add_mux_stream("subrip") if subtitles else None
        chapters = [(0, 800, "one"), (800, 2000, "two")]
        if path.suffix == ".mkv":
            container.set_chapters(
                [
                    {"id": begin, "start": begin, "end": end, "time_base": _MS, "metadata": {"title": title}}
                    for begin, end, title in chapters
                ]
            )
        tone = np.sin(2 * np.pi * 440 * np.arange(2 * rate) / rate) * (np.arange(2 * rate) >= rate) * 0.5
        for index in range(20):
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture(index), "rgb24")))
            part = tone[index * rate // 10 : (index + 1) * rate // 10].astype(np.float32)[None]
            frame = av.AudioFrame.from_ndarray(part, "fltp", "mono")
            frame.sample_rate, frame.pts, frame.time_base = rate, index * rate // 10, Fraction(1, rate)
            container.mux(sound.encode(frame))
            if written and index == 5:
                line: Any = av.Packet(b"<i>a line</i>")
                line.stream, line.time_base, line.pts, line.dts, line.duration = written, _MS, 500, 500, 1000
                container.mux(line)
        container.mux(video.encode(None))
        container.mux(sound.encode(None))
    return path


def heard(path: Path, track: int = 0) -> tuple[float, float]:
    """When a tone begins, in seconds, and how high it is."""
    with av.open(str(path)) as container:
        frames: list[Any] = list(container.decode(container.streams.audio[track]))
        rate, zero = frames[0].sample_rate, float(frames[0].pts * frames[0].time_base)
        samples = np.concatenate([frame.to_ndarray() for frame in frames], axis=-1)[0].astype(float)
    samples = samples - 128 if frames[0].format.name.startswith("u8") else samples
    begins = int(np.flatnonzero(np.abs(samples) > 0.3 * np.abs(samples).max())[0])
    spectrum = np.abs(np.fft.rfft(samples[begins : begins + rate // 4]))
    return zero + begins / rate, float(4 * spectrum.argmax())


# 2**33 ticks of 1/90000 s are 95443.72 s: there, the clocks of broadcasts begin again.
@pytest.mark.parametrize(
    ("name", "seconds"), [("b.ts", 36_000), ("b.ts", 95_442.8), ("b.mkv", 100), ("b.flv", 500), ("b.mov", 50)]
)
def test_seconds_count_from_where_the_clock_begins(copy: Copy, tmp_path: Path, name: str, seconds: float) -> None:
    source = moved(loud(tmp_path / "a.mp4"), tmp_path / name, seconds)
    for target in ("c.mp4", "c.mkv"):
        report = copy(source, target)
        assert (report.frames, report.warning) == (20, None)
        ends = lengths(tmp_path / target)
        # Sound begins before the pictures, by the 1024 samples that an encoder needs, and they stay together.
        assert max(begins for begins, _ in ends.values()) < 0.07
        assert [end for _, end in ends.values()] == pytest.approx([2, 2], abs=0.15)
        begins, _ = heard(tmp_path / target)
        assert begins - ends["video"][0] == pytest.approx(1, abs=0.02)
    part = copy(source, "d.mp4", start=0.5, end=1.5)
    assert part.frames == 10
    begins, _ = heard(tmp_path / "d.mp4")
    # The first frame from 0.5 s on; the moment counts from where the sound begins.
    assert begins - lengths(tmp_path / "d.mp4")["video"][0] == pytest.approx(0.5, abs=0.1)
    assert len(list(tmp_path.glob("*.part.*"))) == 0


def test_a_jump_of_the_clock_is_no_pause_and_can_be_cut(copy: Copy, tmp_path: Path) -> None:
    one = moved(loud(tmp_path / "a.mp4"), tmp_path / "a.ts", 5)
    (tmp_path / "ab.ts").write_bytes(one.read_bytes() + moved(one, tmp_path / "b.ts", 36_000).read_bytes())
    report = copy(tmp_path / "ab.ts", "c.mp4")
    assert report.frames == 40
    # At the seam, pictures wait for the sound of the first.
    assert float(report.length) == pytest.approx(4, abs=0.4)
    # Behind the seam, which no seeking would find.
    part = VideoReader(tmp_path / "ab.ts", start=2.6, end=3.1)
    assert len([*part.frames()]) == 5
    part.close()


def test_subtitles_and_chapters_move_along(copy: Copy, tmp_path: Path) -> None:
    source = loud(tmp_path / "a.mkv", subtitles=True)
    # The chapters stay where they were, as FFmpeg leaves them, and are meant to be moved.
    copy(moved(source, tmp_path / "b.mkv", 100), "c.mkv")
    with av.open(str(source)) as one, av.open(str(tmp_path / "c.mkv")) as other:
        times = [[(each["start"], each["end"]) for each in film.chapters()] for film in (one, other)]
        assert [round(value / 1e6) for pair in times[1] for value in pair] == [
            round(value / 1e6) for pair in times[0] for value in pair
        ]
    lines, pictures = lengths(tmp_path / "c.mkv")["subtitle"], lengths(tmp_path / "c.mkv")["video"]
    assert lines[0] - pictures[0] == pytest.approx(0.5, abs=0.1)
    assert lines[1] - lines[0] == pytest.approx(1)


def test_a_broadcast_is_played_as_a_camera(tmp_path: Path) -> None:
    source = moved(loud(tmp_path / "a.mp4"), tmp_path / "b.ts", 36_000)
    clock = Clock()
    frames = VideoCamera(source, None, 960, clock, clock.sleep).frames()
    times = [next(frames).time for _ in range(25)]
    frames.close()
    # Ten pictures a second, and over again behind the twentieth.
    assert times == pytest.approx([index / 10 for index in range(25)], abs=1e-3)


def test_a_line_of_subtitles_goes_by_the_time_of_the_others() -> None:
    class Packet:
        def __init__(self, stream: int, time: int) -> None:
            self.stream_index, self.pts, self.dts, self.duration, self.time_base = stream, time, time, 0, Fraction(1)

    timeline = Timeline(jumps=True, sparse=(1,))
    changed = [Packet(*each) for each in ((0, 0), (0, 5), (1, 5), (0, 500), (1, 502), (0, 503), (1, 540))]
    for packet in changed:
        timeline(packet)
    # At 500 the clock has jumped; what is 37 s ahead of the pictures by then is only late.
    assert [packet.dts for packet in changed] == [0, 5, 5, 5, 7, 8, 45]


@pytest.mark.parametrize(
    ("name", "codec", "rate", "suffix"),
    [
        ("a.avi", "pcm_u8", 11_025, ".mkv"),
        ("a.flv", "nellymoser", 22_050, ".mov"),
        ("a.avi", "adpcm_ms", 22_050, ".mkv"),
        ("a.avi", "adpcm_ima_wav", 22_050, ".mkv"),
        ("a.avi", "adpcm_yamaha", 22_050, ".mkv"),
        ("a.avi", "wmav1", 22_050, ".mkv"),
        ("a.avi", "wmav2", 22_050, ".mkv"),
    ],
)
def test_sound_is_kept_or_converted(copy: Copy, tmp_path: Path, name: str, codec: str, rate: int, suffix: str) -> None:
    source = loud(tmp_path / name, codec, rate)
    assert fitting_suffix(source) == suffix
    for target, (become, called) in {"b.mp4": ("aac", "AAC"), "b.webm": ("opus", "Opus")}.items():
        report = copy(source, target)
        assert_each(report.notes, f"audio {codec} {called} .{target[2:]}")
        assert report.frames == 20
        begins, pitch = heard(tmp_path / target)
        # 1024 samples of WMA are the delay of its encoder, which no file tells.
        late = 0.05 if codec.startswith("wma") else 0
        assert begins - lengths(tmp_path / target)["video"][0] == pytest.approx(1 + late, abs=0.03)
        assert pitch == pytest.approx(440, abs=4)
        with av.open(str(tmp_path / target)) as container:
            assert container.streams.audio[0].codec_context.codec.canonical_name == become
    assert copy(source, f"c{suffix}").notes == []
    with av.open(str(tmp_path / f"c{suffix}")) as container:
        assert container.streams.audio[0].codec_context.codec.canonical_name == codec
    packed = [sound_of(path) for path in (source, tmp_path / f"c{suffix}")]
    assert packed[0][0] == packed[1][0]
    assert np.array_equal(packed[0][1], packed[1][1])


def sound_of(path: Path) -> tuple[list[bytes], np.ndarray[Any, Any]]:
    """The packets of sound, and what is heard."""
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(audio=0) if packet.size]
        frames: list[Any] = [frame for packet in packets for frame in packet.decode()]
        return [bytes(packet) for packet in packets], np.concatenate([frame.to_ndarray() for frame in frames], 1)


def test_uncompressed_sound_of_discs_stays_uncompressed(copy: Copy, tmp_path: Path) -> None:
    times = np.arange(96_000) / 48_000
    samples = np.rint(8000 * np.sin(2 * np.pi * 440 * times)).astype(np.int16)
    with av.open(str(tmp_path / "a.vob"), "w", format="vob") as container:
        video: Any = container.add_stream("mpeg2video", rate=25)
        video.width, video.height = 64, 48
        sound: Any = container.add_stream("pcm_dvd", rate=48_000, layout="stereo")
        for index in range(50):
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture(index), "rgb24")))
            part = np.repeat(samples[1920 * index : 1920 * (index + 1)], 2)[None]
            frame = av.AudioFrame.from_ndarray(part, "s16", "stereo")
            frame.sample_rate, frame.pts = 48_000, 1920 * index
            container.mux(sound.encode(frame))
        container.mux(video.encode(None))
        container.mux(sound.encode(None))
    assert fitting_suffix(tmp_path / "a.vob") == ".mkv"
    notes = copy(tmp_path / "a.vob", "b.mkv").notes
    assert_each(notes, "audio pcm_dvd pcm_s16le .mkv")
    wanted, found = (sound_of(tmp_path / name)[1] for name in ("a.vob", "b.mkv"))
    assert np.array_equal(wanted[:, : found.shape[1]], found)
    assert found.shape[1] > 2 * 90_000


def test_a_part_is_heard_to_the_sample_if_its_sound_is_converted(copy: Copy, tmp_path: Path) -> None:
    source = loud(tmp_path / "a.mkv", "flac")
    assert copy(source, "b.mp4", start=0.6, end=1.4, audio="convert").notes == []
    begins, _ = heard(tmp_path / "b.mp4")
    assert begins == pytest.approx(0.4, abs=0.01)
    assert lengths(tmp_path / "b.mp4")["audio"][1] == pytest.approx(0.8, abs=0.07)
    assert "audio" not in lengths_of(copy, source, tmp_path / "c.mp4", audio="none")
    with raises(ConfigError, "audio auto copy convert none 'mp3'"):
        copy(source, "d.mp4", audio="mp3")
    with raises(VideoError, "subtitle (subrip) .mkv subtitles=convert"):
        copy(loud(tmp_path / "e.mkv", subtitles=True), "e.mp4", subtitles="copy")


def lengths_of(copy: Copy, source: Path, target: Path, **settings: Any) -> dict[str, tuple[float, float]]:
    copy(source, target.name, **settings)
    return lengths(target)


@pytest.mark.parametrize(("target", "codec"), [("b.mp4", "mov_text"), ("b.webm", "webvtt")])
def test_lines_are_converted_and_what_is_drawn_is_named(copy: Copy, tmp_path: Path, target: str, codec: str) -> None:
    source = loud(tmp_path / "a.mkv", subtitles=True)
    called = {"mov_text": "MP4's text", "webvtt": "WebVTT"}[codec]
    assert_says(copy(source, target).notes, f"subrip {called} .{target[2:]}")
    with av.open(str(tmp_path / target)) as container:
        stream = container.streams.subtitles[0]
        assert stream.codec_context.codec.canonical_name == codec
        packets: list[Any] = [packet for packet in container.demux(stream) if packet.size > 2]
        shown = [(float(each.pts * each.time_base), float(each.duration * each.time_base)) for each in packets]
        assert len(shown) == 1
        assert b"a line" in bytes(packets[0])
    assert shown[0][0] == pytest.approx(0.5 + lengths(tmp_path / target)["video"][0], abs=0.07)
    assert shown[0][1] == pytest.approx(1, abs=0.002)
    # Neither the line nor the nothing behind it makes the video longer.
    assert max(end for _, end in lengths(tmp_path / target).values()) < 2.2
    drawn = tmp_path / "c.mkv"
    with av.open(str(drawn), "w") as container:
        video: Any = container.add_stream("libx264", rate=10)
        video.width, video.height = 64, 48
        container.add_mux_stream("dvb_subtitle")
        container.mux(video.encode(av.VideoFrame.from_ndarray(picture(0), "rgb24")))
        container.mux(video.encode(None))
    assert fitting_suffix(drawn) == ".mkv"
    assert_each(copy(drawn, f"d{target[1:]}").notes, "left out dvb_subtitle")


def test_lines_in_mp4_follow_one_another(copy: Copy, tmp_path: Path) -> None:
    source = tmp_path / "a.mkv"
    with av.open(str(source), "w") as container:
        video: Any = container.add_stream("libx264", rate=10, options={"preset": "ultrafast"})
        video.width, video.height = 64, 48
        written: Any = container.add_mux_stream("subrip")
        # FFmpeg would guess how long nothing lasts, and end the program where it guesses wrong.
        times = {0: 3500, 45: 500, 105: 500}
        for index in range(120):
            if index in times:
                line: Any = av.Packet(b"line %d" % index)
                line.stream, line.time_base, line.duration = written, _MS, times[index]
                line.pts = line.dts = 100 * index
                container.mux(line)
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture(index), "rgb24")))
        container.mux(video.encode(None))
    copy(source, "b.mp4")
    copy(tmp_path / "b.mp4", "c.mp4", start=1, end=11)
    for name, first, end in (("b.mp4", 0, 12), ("c.mp4", 1, 11)):
        with av.open(str(tmp_path / name)) as container:
            packets: list[Any] = [each for each in container.demux(subtitles=0) if each.size > 2]
            shown = [(each.pts * each.time_base + first, each.duration * each.time_base) for each in packets]
            right = [(max(Fraction(index, 10), Fraction(first)), index) for index in times]
            assert [begin for begin, _ in shown] == [begin for begin, _ in right]
            ends = [min(Fraction(index, 10) + times[index] * _MS, Fraction(end)) for index in times]
            assert [float(begin + lasts) for begin, lasts in shown] == pytest.approx(
                [float(e) for e in ends], abs=0.003
            )
            assert (container.duration or 0) / av.time_base == pytest.approx(end - first, abs=0.01)


@pytest.mark.parametrize(
    ("name", "codec", "format", "rate"),
    [
        ("a.h264", "libx264", None, 10),
        ("a.y4m", "wrapped_avframe", "yuv4mpegpipe", 10),
        ("a.ivf", "libvpx", None, 10),
        ("a.m2v", "mpeg2video", None, 25),
        # It does not say it: FFmpeg's own rate.
        ("a.mjpeg", "mjpeg", None, 25),
        ("a.3g2", "mpeg4", None, 10),
        ("a.f4v", "libx264", None, 10),
        ("a.vob", "mpeg2video", None, 25),
    ],
)
def test_videos_of_other_names_are_read_at_their_rate(
    copy: Copy, tmp_path: Path, name: str, codec: str, format: str | None, rate: int
) -> None:
    with av.open(str(tmp_path / name), "w", format=format) as container:
        stream: Any = container.add_stream(codec, rate=25 if rate == 25 else 10)
        stream.width, stream.height = 64, 48
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for index in range(12):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(index), "rgb24")))
        container.mux(stream.encode(None))
    assert Path(name).suffix in VIDEO_SUFFIXES
    # Whatever it is called.
    unnamed = tmp_path / "unnamed"
    unnamed.write_bytes((tmp_path / name).read_bytes())
    assert (kind_of(tmp_path / name), kind_of(unnamed)) == ("video", "picture" if codec == "mjpeg" else "video")
    assert copy(tmp_path / name, "b.mkv").frames == 12
    times = times_of(tmp_path / "b.mkv")
    assert [float(each - times[0]) for each in times] == pytest.approx([index / rate for index in range(12)], abs=1e-3)
    # 0.2 s are two frames, or five; of raw streams, too, the first is at 0.
    part = VideoReader(tmp_path / name, start=0.2)
    assert len([*part.frames()]) == 12 - round(0.2 * rate)
    part.close()


def test_the_names_of_videos_are_those_that_ffmpeg_knows() -> None:
    # Many of these hold only sound or a picture, or lead elsewhere: what is in them decides.
    doubtful = {"avif", "heic", "heif", "m4a", "m4b", "mka", "mks", "isma", "ogg", "ra", "mpo", "j2k", "wma", "mpd"}
    names = set()
    for format in FORMATS.split(","):
        for way in ("r", "w"):
            try:
                names |= set(av.ContainerFormat(format, way).extensions)
            except ValueError:
                continue
    assert {f".{name}" for name in names - doubtful} <= set(VIDEO_SUFFIXES)


def test_content_decides_what_is_a_video(copy: Copy, tmp_path: Path) -> None:
    film = write_video(tmp_path / "a.mp4", [picture(index) for index in range(3)])
    still = tmp_path / "a.jpg"
    Image.fromarray(picture(0)).save(still)
    moving = tmp_path / "a.gif"
    Image.fromarray(picture(0)).save(moving, save_all=True, append_images=[Image.fromarray(picture(5))], duration=100)
    kinds = {film: "video", still: "picture", moving: "picture"}
    for path, kind in kinds.items():
        for name in ("x", "x.mp4", "x.jpg", "x.gif", "x.dat"):
            (tmp_path / name).write_bytes(path.read_bytes())
            assert kind_of(tmp_path / name) == kind
    (tmp_path / "video.gif").write_bytes(film.read_bytes())
    (tmp_path / "moving.mp4").write_bytes(moving.read_bytes())
    assert (copy(tmp_path / "video.gif", "b.mkv").frames, copy(tmp_path / "moving.mp4", "c.mkv").frames) == (3, 2)
    # What leads elsewhere is not followed, whatever it is called, nor does text become pictures of letters.
    texts = {
        "list.m3u8": f"#EXTM3U\n#EXTINF:1,\n{film}\n#EXT-X-ENDLIST\n",
        "list.ffconcat": f"ffconcat version 1.0\nfile {film}\n",
        "call.sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n",
        "notes.txt": "hello\n" * 100,
        "art.nfo": "\x1b[31mred\n",
    }
    for text in texts.values():
        for name in (*texts, "x.mp4", "x.mkv", "x"):
            (tmp_path / name).write_text(text)
            assert kind_of(tmp_path / name) is None
            with raises(VideoError, "readable video"):
                VideoReader(tmp_path / name)


@pytest.mark.parametrize(("width", "height"), [(64, 48), (96, 64), (320, 240)])
def test_jpegs_one_behind_the_other_are_a_video_if_they_are_called_so(tmp_path: Path, width: int, height: int) -> None:
    pictures = [np.full((height, width, 3), 20 * index, np.uint8) for index in range(10)]
    files = []
    for pixels in pictures:
        Image.fromarray(pixels).save(tmp_path / "one.jpg", exif=b"Exif\0\0" + b"\xff\xd9\xff\xd8\xff")
        files.append((tmp_path / "one.jpg").read_bytes())
    for name in ("a.mjpeg", "a.mjpg", "a.jpg", "a.jpeg"):
        (tmp_path / name).write_bytes(b"".join(files))
        # Such as a preview behind a photograph.
        assert kind_of(tmp_path / name) == ("video" if name[2] == "m" else "picture")
    for name in ("one.mjpeg", "one.mjpg"):
        (tmp_path / name).write_bytes(files[0])
        assert kind_of(tmp_path / name) == "picture"
    reader = VideoReader(tmp_path / "a.mjpg")
    levels = [int(frame.pixels.mean().round()) for frame in reader.frames()]
    reader.close()
    assert levels == pytest.approx([20 * index for index in range(10)], abs=2)
