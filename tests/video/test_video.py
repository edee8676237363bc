"""Videos through a Stylizer: times, sound, colors, directions and sizes are kept, and nothing is lost."""

import itertools
import json
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import forked
import numpy as np
import pytest
import torch
from av.video.frame import VideoFrame
from PIL import Image
from small_messages import assert_each, assert_names, assert_says, raises
from small_videos import Pixels, packets_of, picture, pixels_of, times_of, write_video

from fast_style.cli import stylize
from fast_style.cli.hydra_app import run
from fast_style.errors import ConfigError, FastStyleError, VideoError
from fast_style.networks import LightNet
from fast_style.stylizing.stylizer import Stylizer, load
from fast_style.video import Report, stylize_video
from fast_style.video.frames import Frame, Shape
from fast_style.video.reader import VideoReader
from fast_style.video.writer import VideoWriter
from fast_style.zoo.saving import Metadata, save_network

#: Times that no constant rate has, in 25ths of a second: both in milliseconds and in any video's unit.
UNEVEN = [0, 1, 2, 5, 6, 10, 11, 12, 20, 21, 22, 40, 41, 43]


@pytest.fixture
def network(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    path = tmp_path / "tiny.safetensors"
    save_network(path, LightNet(styles=1, width=4, blocks=1), Metadata({"day": {}}))
    return path


@pytest.fixture
def stylizer(network: Path) -> Stylizer:
    return load(network, device="cpu", precision="fp32")


@pytest.fixture
def copy(stylizer: Stylizer) -> Callable[..., Report]:
    """Everything but the painting: with a strength of 0, a frame is left as it was to the last bit."""

    def copy(source: Any, target: Path, **settings: Any) -> Report:
        return stylize_video(stylizer, source, target, strength=0, temporal=0, **settings)

    return copy


class Slow:
    """A Stylizer that takes its time, and leaves pictures as they are."""

    styles = ("day",)

    def __call__(self, image: Image.Image, controls: object) -> Image.Image:
        time.sleep(0.01)
        return image


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv", "webm"])
def test_every_frame_keeps_its_time(copy: Callable[..., Report], tmp_path: Path, suffix: str) -> None:
    frames = [picture(index) for index in range(len(UNEVEN))]
    source = write_video(tmp_path / "a.mp4", frames, [3600 * time for time in UNEVEN], Fraction(1, 90_000))
    report = copy(source, tmp_path / f"b.{suffix}")
    assert times_of(tmp_path / f"b.{suffix}") == times_of(source) == [Fraction(time, 25) for time in UNEVEN]
    assert (report.frames, report.warning) == (len(UNEVEN), None)
    assert {path.name for path in tmp_path.iterdir()} == {"a.mp4", f"b.{suffix}", "tiny.safetensors"}


@pytest.mark.parametrize("steps", [[1, 2, 1, 4, 2, 1, 3, 2, 40], [40, 1, 2, 1, 3, 4, 1, 1, 9], [2] * 9, [7]])
@pytest.mark.parametrize(
    ("suffix", "codec"), [*itertools.product(["mp4", "mov", "mkv"], ["h264", "hevc"]), ("mp4", "av1")]
)
def test_the_last_frame_stays_as_long_as_it_should(tmp_path: Path, suffix: str, codec: str, steps: list[int]) -> None:
    path, unit = tmp_path / f"a.{suffix}", Fraction(1, 25)
    writer = VideoWriter(path, path, Shape(64, 64, Fraction(1, 90_000), Fraction(25)), codec)
    times = [unit * sum(steps[:index]) for index in range(len(steps) + 1)]
    for index, (begin, end) in enumerate(itertools.pairwise(times)):
        writer.write(Frame(picture(index, 64, 64), begin, end - begin))
    writer.finish()
    assert times_of(path) == times[:-1]
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.time_base is not None
        # Matroska has no length of its streams.
        assert suffix == "mkv" or (stream.duration or 0) * stream.time_base == times[-1]
        assert Fraction(container.duration or 0, av.time_base) == pytest.approx(times[-1], abs=0.001)
        packets = [packet for packet in container.demux(stream) if packet.size]
        shown = [packet.pts or 0 for packet in packets]
        # Frames are out of order, or nothing is shown by this; in AV1, those that come early are hidden in others.
        assert len(steps) == 1 or codec == "av1" or sorted(shown) != shown
        last = packets[shown.index(max(shown))]
        assert (last.duration or 0) * stream.time_base == unit * steps[-1]
    # What has been read is written again as it was.
    stylize_video(Slow(), path, tmp_path / f"b.{suffix}", codec=codec, temporal=0)  # type: ignore[arg-type]
    with av.open(str(tmp_path / f"b.{suffix}")) as container:
        assert Fraction(container.duration or 0, av.time_base) == pytest.approx(times[-1], abs=0.001)


def test_frames_are_what_the_stylizer_makes_of_them(stylizer: Stylizer, tmp_path: Path) -> None:
    files = [tmp_path / f"{index}.png" for index in range(3)]
    for index, file in enumerate(files):
        Image.fromarray(picture(index)).save(file)
    stylize_video(stylizer, files, tmp_path / "f_*.png", temporal=0)
    for index, file in enumerate(files, start=1):
        with Image.open(tmp_path / f"f_{index:06d}.png") as painted:
            assert np.asarray(painted).tobytes() == np.asarray(stylizer(file)).tobytes()


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_sound_is_copied_bit_for_bit(copy: Callable[..., Report], tmp_path: Path, suffix: str) -> None:
    source = write_video(tmp_path / "a.mp4", [picture(index) for index in range(24)], sound=True)
    copy(source, tmp_path / f"b.{suffix}")
    before, after = packets_of(source, "audio"), packets_of(tmp_path / f"b.{suffix}", "audio")
    assert [content for _, content in after] == [content for _, content in before]
    if suffix == "mp4":
        assert after == before
    # Matroska counts in milliseconds from 0 on, and sound begins before that: all of it is shown later, together.
    late = times_of(tmp_path / f"b.{suffix}")[0]
    assert late == (0 if suffix == "mp4" else -before[0][0])
    assert max(abs(other - late - one) for (one, _), (other, _) in zip(before, after, strict=True)) <= Fraction(1, 2000)


def test_subtitles_are_copied_bit_for_bit(copy: Callable[..., Report], tmp_path: Path) -> None:
    source = write_video(tmp_path / "a.mkv", [picture(index) for index in range(24)], sound=True, subtitles=True)
    copy(source, tmp_path / "b.mkv")
    for kind in ("audio", "subtitle"):
        assert packets_of(tmp_path / "b.mkv", kind) == packets_of(source, kind) != []


@pytest.mark.parametrize(
    ("turn", "upright"),
    [
        ((90, False), lambda pixels: np.rot90(pixels, 1)),
        ((-90, False), lambda pixels: np.rot90(pixels, -1)),
        ((180, False), lambda pixels: np.rot90(pixels, 2)),
        ((0, True), lambda pixels: pixels[:, ::-1]),
        ((90, True), lambda pixels: np.rot90(pixels, 1)[:, ::-1]),
    ],
)
def test_a_turned_video_comes_out_upright(
    copy: Callable[..., Report], tmp_path: Path, turn: tuple[float, bool], upright: Callable[[Pixels], Pixels]
) -> None:
    corner = np.full((48, 64, 3), 30, np.uint8)
    corner[:16, :24] = (240, 240, 30)
    source = write_video(tmp_path / "a.mp4", [corner] * 2, turn=turn)
    copy(source, tmp_path / "b.mp4")
    (first, _) = pixels_of(tmp_path / "b.mp4")
    assert np.abs(first.astype(int) - upright(corner)).mean() < 3
    with av.open(str(tmp_path / "b.mp4")) as container:
        assert next(container.decode(video=0)).rotation == 0


def luma_and_chroma(color: tuple[int, int, int], matrix: str, full: bool, bits: int) -> tuple[int, int, int]:
    """The YUV of a color, by ITU-T H.273, equations 8-38 and 8-41 and following."""
    kr, kb = {"601": (0.299, 0.114), "709": (0.2126, 0.0722), "2020": (0.2627, 0.0593)}[matrix]
    red, green, blue = (level / 255 for level in color)
    y = kr * red + (1 - kr - kb) * green + kb * blue
    u, v = (blue - y) / (2 - 2 * kb), (red - y) / (2 - 2 * kr)
    unit = 2 ** (bits - 8)
    if full:
        top = 2**bits - 1
        return round(top * y), round(top * u + 128 * unit), round(top * v + 128 * unit)
    return round(unit * (219 * y + 16)), round(unit * (224 * u + 128)), round(unit * (224 * v + 128))


def flat(color: tuple[int, int, int], matrix: str, full: bool, pixel_format: str) -> VideoFrame:
    """A frame of one color, made without any conversion of FFmpeg's."""
    bits = 10 if "10" in pixel_format else 8
    frame = VideoFrame(64, 48, pixel_format)
    for plane, level in zip(frame.planes, luma_and_chroma(color, matrix, full, bits), strict=True):
        samples = plane.buffer_size // (2 if bits > 8 else 1)
        plane.update(np.full(samples, level, np.uint16 if bits > 8 else np.uint8).tobytes())
    return frame


COLORS = [(200, 40, 60), (30, 180, 70), (40, 60, 210), (128, 128, 128), (250, 240, 30)]


@pytest.mark.parametrize(
    ("matrix", "full", "pixel_format", "tags"),
    [
        ("601", False, "yuv420p", {"colorspace": 6, "color_range": 1}),
        ("709", False, "yuv420p", {"colorspace": 1, "color_range": 1, "color_primaries": 1, "color_trc": 1}),
        ("709", True, "yuv420p", {"colorspace": 1, "color_range": 2}),
        ("601", False, "yuv420p", {}),  # Not said: a small video is taken for 601.
        ("709", False, "yuv420p10le", {"colorspace": 1, "color_range": 1}),
        ("601", True, "yuvj420p", {"colorspace": 5, "color_range": 2}),
    ],
)
def test_colors_look_as_before(
    copy: Callable[..., Report], tmp_path: Path, matrix: str, full: bool, pixel_format: str, tags: dict[str, Any]
) -> None:
    frames = [flat(color, matrix, full, pixel_format) for color in COLORS]
    lossless: dict[str, Any] = {"codec": "ffv1", "options": {}}
    if pixel_format == "yuvj420p":
        lossless = {"options": {"qp": "0", "preset": "ultrafast"}}
    source = write_video(tmp_path / "a.mkv", frames, pix_fmt=pixel_format, **lossless, **tags)
    copy(source, tmp_path / "b.mp4", crf=1)
    with av.open(str(tmp_path / "b.mp4")) as container:
        for frame, color in zip(container.decode(video=0), COLORS, strict=True):
            assert (frame.format.name, frame.color_range) == ("yuv420p", 1)
            assert frame.colorspace == (1 if matrix == "709" else 5 if pixel_format == "yuvj420p" else 6)
            levels = [plane_mean(plane) for plane in frame.planes]
            assert levels == pytest.approx(luma_and_chroma(color, matrix, full=False, bits=8), abs=2)
    with av.open(str(source)) as before, av.open(str(tmp_path / "b.mp4")) as after:
        for name in ("color_primaries", "color_trc"):
            assert getattr(after.streams.video[0], name) == getattr(before.streams.video[0], name)


def plane_mean(plane: Any) -> float:
    rows = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)
    return float(rows[:, : plane.width].mean())


def test_high_dynamic_range_becomes_the_usual_one(copy: Callable[..., Report], tmp_path: Path) -> None:
    tags: dict[str, Any] = {"colorspace": 9, "color_range": 1, "color_primaries": 9, "color_trc": 16}
    # In PQ (SMPTE ST 2084) 0.58 is 203 nits, the white of a page.
    gray = [flat((148, 148, 148), "2020", False, "yuv420p10le")] * 2
    source = write_video(tmp_path / "a.mkv", gray, codec="ffv1", options={}, pix_fmt="yuv420p10le", **tags)
    report = copy(source, tmp_path / "b.mp4")
    assert_each(report.notes, "high dynamic range")
    with av.open(str(tmp_path / "b.mp4")) as container:
        frame = next(container.decode(video=0))
        assert (frame.colorspace, frame.color_primaries, frame.color_trc) == (1, 1, 1)
        assert plane_mean(frame.planes[0]) > 220


def test_odd_sizes_are_kept_or_get_one_line_more(copy: Callable[..., Report], tmp_path: Path) -> None:
    frames = [picture(index, 65, 47) for index in range(2)]
    source = write_video(tmp_path / "a.mkv", frames, codec="ffv1", options={})
    copy(source, tmp_path / "b.mp4")
    copy(source, tmp_path / "b.webm")
    (even, _), (odd, _) = pixels_of(tmp_path / "b.mp4"), pixels_of(tmp_path / "b.webm")
    assert (even.shape, odd.shape) == ((48, 66, 3), (47, 65, 3))
    for result in (even[:47, :65], odd):
        assert np.abs(result.astype(int) - pixels_of(source)[0]).mean() < 8
    # The line more is the last one again.
    assert np.abs(even[47].astype(int) - even[46]).mean() < 4


def test_size_is_the_long_side(copy: Callable[..., Report], tmp_path: Path) -> None:
    source = write_video(tmp_path / "a.mp4", [picture(0)] * 2, turn=(90, False), sample_aspect_ratio=Fraction(4, 3))
    copy(source, tmp_path / "b.mp4", size=128)
    with av.open(str(tmp_path / "b.mp4")) as container:
        stream = container.streams.video[0]
        # Upright, a pixel that was wide is high.
        assert (stream.width, stream.height, stream.sample_aspect_ratio) == (96, 128, Fraction(3, 4))


def test_a_part_of_a_video_begins_at_0_with_its_sound(copy: Callable[..., Report], tmp_path: Path) -> None:
    source = write_video(tmp_path / "a.mp4", [picture(index) for index in range(24)], sound=True, gop_size=5)
    report = copy(source, tmp_path / "b.mp4", start=0.3, end=0.7)
    begin = Fraction(8, 25)
    inside = [time for time in times_of(source) if Fraction("0.3") <= time < Fraction("0.7")]
    assert times_of(tmp_path / "b.mp4") == [time - begin for time in inside]
    assert report.frames == len(inside) == 10
    # The last is seen until the end, and not until the frame that comes then.
    assert report.length == Fraction("0.7") - begin
    heard = [(time - begin, packet) for time, packet in packets_of(source, "audio") if begin <= time < Fraction("0.7")]
    after = packets_of(tmp_path / "b.mp4", "audio")
    assert [packet for _, packet in after] == [packet for _, packet in heard]
    assert all(time == other for (time, _), (other, _) in zip(after, heard, strict=True))


def test_a_part_looks_as_it_does_in_the_whole(shared: Path) -> None:
    # Written by an x264 whose 4:4:4 cannot be decoded without what it says in the first packet.
    path = shared / "video" / "cockatoo.mp4"
    whole, part = VideoReader(path, end=4.2, long_side=64), VideoReader(path, start=4, end=4.2, long_side=64)
    expected = [frame.pixels for frame in whole.frames() if frame.time >= 4]
    assert len(expected) == 4
    assert [frame.pixels.tobytes() for frame in part.frames()] == [pixels.tobytes() for pixels in expected]
    assert part.damage is None
    whole.close()
    part.close()


def test_what_can_be_read_of_a_damaged_video_is_kept(copy: Callable[..., Report], tmp_path: Path) -> None:
    source = write_video(tmp_path / "a.mkv", [picture(index) for index in range(40)], gop_size=10)
    content = bytearray(source.read_bytes())
    middle = slice(len(content) // 2, len(content) // 2 + 400)
    content[middle] = np.random.default_rng(0).integers(0, 256, 400, np.uint8).tobytes()
    (tmp_path / "damaged.mkv").write_bytes(content)
    report = copy(tmp_path / "damaged.mkv", tmp_path / "b.mp4")
    assert report.frames == len(times_of(tmp_path / "b.mp4")) >= 28
    assert report.warning is not None
    assert_names(report.warning, f"{tmp_path}/damaged.mkv damaged {report.frames} frames")


def test_what_can_be_read_of_a_video_cut_short_is_kept(copy: Callable[..., Report], tmp_path: Path) -> None:
    # With the index in front, as for the web.
    with av.open(str(tmp_path / "a.mp4"), "w", container_options={"movflags": "faststart"}) as container:
        stream: Any = container.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        stream.width, stream.height = 64, 48
        for index in range(30):
            container.mux(stream.encode(VideoFrame.from_ndarray(picture(index), "rgb24")))
        container.mux(stream.encode(None))
    content = (tmp_path / "a.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(content[: len(content) * 6 // 10])
    report = copy(tmp_path / "cut.mp4", tmp_path / "b.mp4")
    assert 5 <= report.frames < 30
    assert report.frames == len(times_of(tmp_path / "b.mp4"))
    assert "cut.mp4: damaged: " in (report.warning or "")


def test_a_video_that_is_stopped_can_be_played(tmp_path: Path) -> None:
    source = write_video(tmp_path / "a.mp4", [picture(index) for index in range(100)], sound=True)
    (tmp_path / "b.mp4").write_bytes(b"an older one")

    def stop_after_ten(done: int, total: int) -> None:
        assert total == 100
        if done >= 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as stopped:
        stylize_video(Slow(), source, tmp_path / "b.mp4", temporal=0, progress=stop_after_ten)  # type: ignore[arg-type]
    part = tmp_path / "b.part.mp4"
    times = times_of(part)
    assert 10 <= len(times) < 100
    assert times == times_of(source)[: len(times)]
    length = float(Fraction(len(times), 25))
    assert_names(stopped.value, f"interrupted {part} {len(times)} 100 frames {length:.1f}")
    assert (tmp_path / "b.mp4").read_bytes() == b"an older one"
    assert {path.name for path in tmp_path.iterdir()} == {"a.mp4", "b.mp4", "b.part.mp4"}


@pytest.mark.parametrize(
    ("sent", "status", "line"),
    [(signal.SIGINT, 130, "stylize.py interrupted"), (signal.SIGTERM, 143, "stylize.py stopped")],
)
def test_a_signal_leaves_a_video_that_can_be_played_and_names_it(
    network: Path, tmp_path: Path, sent: signal.Signals, status: int, line: str
) -> None:
    write_video(tmp_path / "a.mp4", [picture(0, 320, 240)] * 400)
    output, errors, part = (tmp_path / name for name in ("output", "errors", "b.part.mp4"))
    settings = (f"ckpt={network}", "input=a.mp4", "output=b.mp4", "size=800", "temporal=0")
    process = forked.start(tmp_path, *settings, output=output, errors=errors, program=forked.STYLIZE)
    while not part.exists():
        assert process.exitcode is None
        time.sleep(0.1)
    # Its first frames are on their way.
    time.sleep(1)
    os.kill(process.pid or 0, sent)
    process.join(60)
    assert (process.exitcode, output.read_text()) == (status, "")
    assert_names(errors.read_text(), f"{line} b.part.mp4 {len(times_of(part))} 400 frames")


def test_a_failure_in_the_middle_keeps_what_there_is(tmp_path: Path) -> None:
    class Failing(Slow):
        count = 0

        def __call__(self, image: Image.Image, controls: object) -> Image.Image:
            self.count += 1
            if self.count > 5:
                raise VideoError("the sixth frame is too much")
            return image

    source = write_video(tmp_path / "a.mp4", [picture(index) for index in range(12)])
    with raises(VideoError, "b.part.mp4 5 12 frames"):
        stylize_video(Failing(), source, tmp_path / "b.mp4", temporal=0)  # type: ignore[arg-type]
    assert len(times_of(tmp_path / "b.part.mp4")) == 5
    assert not (tmp_path / "b.mp4").exists()


def test_a_full_disk_is_told(copy: Callable[..., Report], small_disk: Callable[[str], Path], tmp_path: Path) -> None:
    noise = np.random.default_rng(0)
    frames = [noise.integers(0, 256, (96, 128, 3), np.uint8) for _ in range(40)]
    source = write_video(tmp_path / "a.mkv", frames, codec="ffv1", options={})
    target = small_disk("256k") / "b.mp4"
    with raises(VideoError, "b.mp4 written No space left on device"):
        copy(source, target)
    assert not target.exists()


def animation(path: Path, durations: list[int], **options: Any) -> Path:
    pictures = [Image.fromarray(picture(4 * index)) for index in range(len(durations))]
    if options.pop("alpha", False):
        for index, image in enumerate(pictures):
            image.putalpha(Image.new("L", image.size, 255))
            image.paste((0, 0, 0, 0), (5 * index, 0, 5 * index + 20, 20))
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=durations, **options)
    return path


def shown(path: Path) -> list[tuple[int, Image.Image]]:
    """How long each picture stays, in milliseconds, and what it is."""
    with Image.open(path) as image:
        result = []
        for index in range(getattr(image, "n_frames", 1)):
            image.seek(index)
            image.load()
            result.append((round(image.info["duration"]), image.convert("RGBA")))
        return result


@pytest.mark.parametrize("suffix", ["gif", "webp", "apng"])
@pytest.mark.parametrize("source", ["gif", "webp", "png"])
def test_animations_keep_times_and_opacity(
    copy: Callable[..., Report], tmp_path: Path, source: str, suffix: str
) -> None:
    durations = [100, 40, 250, 70, 1000]
    options: dict[str, Any] = {"disposal": 2} if source == "gif" else {"lossless": True} if source == "webp" else {}
    before = animation(tmp_path / f"a.{source}", durations, alpha=True, loop=0, **options)
    copy(before, tmp_path / f"b.{suffix}")
    assert [duration for duration, _ in shown(tmp_path / f"b.{suffix}")] == durations
    for (_, one), (_, other) in zip(shown(before), shown(tmp_path / f"b.{suffix}"), strict=True):
        assert (np.asarray(one.getchannel("A")) == np.asarray(other.getchannel("A"))).mean() > 0.99
        opaque = np.asarray(one.getchannel("A")) > 0
        difference = np.abs(np.asarray(one.convert("RGB")).astype(int) - np.asarray(other.convert("RGB")))
        assert difference[opaque].mean() < 12


@pytest.mark.parametrize("suffix", ["gif", "webp", "apng", "webm"])
@pytest.mark.parametrize("clear", [(0, 1, 1), (1, 0, 1), (1, 1, 1)])
def test_opacity_may_come_and_go(
    copy: Callable[..., Report], tmp_path: Path, suffix: str, clear: tuple[int, ...]
) -> None:
    generator = np.random.default_rng(2)
    opacity = np.full((80, 96), 255, np.uint8)
    opacity[:, :48] = 0
    for index, wanted in enumerate(clear):
        coarse = Image.fromarray(generator.integers(0, 256, (6, 8, 3), np.uint8))
        image = coarse.resize((96, 80), Image.Resampling.BICUBIC)
        if wanted:
            image.putalpha(Image.fromarray(opacity))
        image.save(tmp_path / f"{index}.png")
    report = copy(sorted(tmp_path.glob("*.png")), tmp_path / f"b.{suffix}")
    assert report.notes == []
    if suffix != "webm":
        found = [np.asarray(image.getchannel("A")) for _, image in shown(tmp_path / f"b.{suffix}")]
        for level, wanted in zip(found, clear, strict=True):
            assert np.array_equal(level, opacity if wanted else np.full_like(opacity, 255))


@pytest.mark.parametrize(("suffix", "longest"), [("gif", 655.35), ("apng", 65.535)])
def test_what_stands_for_longer_than_an_animation_can_say_is_refused(
    copy: Callable[..., Report], tmp_path: Path, suffix: str, longest: float
) -> None:
    for index in range(2):
        Image.fromarray(picture(index)).save(tmp_path / f"{index}.png")
    files = sorted(tmp_path.glob("*.png"))
    with raises(VideoError, f"b.{suffix} frame .mp4"):
        copy(files, tmp_path / f"b.{suffix}", fps=0.9 / longest)
    copy(files, tmp_path / f"b.{suffix}", fps=1.1 / longest)
    stand = [duration for duration, _ in shown(tmp_path / f"b.{suffix}")]
    assert stand == pytest.approx([longest / 1.1e-3] * 2, rel=0.01)


def test_an_apng_in_a_folder_is_a_video_as_a_gif_is(call: Callable[..., tuple[list[str], str]], tmp_path: Path) -> None:
    (tmp_path / "mixed").mkdir()
    for suffix in ("gif", "apng"):
        animation(tmp_path / f"mixed/{suffix}.{suffix}", [100, 200])
    assert sorted(call("input=mixed", "output=out", "temporal=0")[0]) == ["out/apng.apng", "out/gif.gif"]
    for name in ("apng.apng", "gif.gif"):
        assert [duration for duration, _ in shown(tmp_path / "out" / name)] == [100, 200]


def test_places_may_be_text(copy: Callable[..., Report], tmp_path: Path) -> None:
    source = write_video(tmp_path / "a.mp4", [picture(index) for index in range(3)])
    assert copy(str(source), str(tmp_path / "f_*.png")).frames == 3
    assert copy([str(file) for file in sorted(tmp_path.glob("f_*.png"))], str(tmp_path / "b.mp4")).frames == 3


def test_grain_may_begin_with_the_last_seed_there_is(stylizer: Stylizer, tmp_path: Path) -> None:
    source = write_video(tmp_path / "a.mp4", [picture(index) for index in range(3)])
    report = stylize_video(stylizer, source, tmp_path / "b.mp4", temporal=0, grain=0.5, seed=2**64 - 1)
    assert report.frames == 3


def test_what_is_not_there_is_not_said_to_remain(
    copy: Callable[..., Report], tmp_path: Path, small_disk: Callable[[str], Path]
) -> None:
    noise = np.random.default_rng(0)
    source = write_video(tmp_path / "a.mkv", [noise.integers(0, 256, (96, 128, 3), np.uint8) for _ in range(20)])
    with raises(VideoError, "b.gif written No space left on device"):
        copy(source, small_disk("64k") / "b.gif")


@pytest.mark.parametrize("loop", [0, 1, 3])
def test_an_animation_is_played_as_often_as_before(copy: Callable[..., Report], tmp_path: Path, loop: int) -> None:
    source = animation(tmp_path / "a.png", [100, 100], loop=loop)
    copy(source, tmp_path / "b.gif")
    with Image.open(tmp_path / "b.gif") as image:
        # A GIF that does not say is played once.
        assert image.info.get("loop", 1) == loop
    copy(tmp_path / "b.gif", tmp_path / "c.avif")
    # Of what is played without end, an AVIF has no length (ISO 14496-12, 8.3.2): here 200 of 1000 to the second.
    content = (tmp_path / "c.avif").read_bytes()
    whole = int.from_bytes(content[(place := content.index(b"tkhd") + 32) : place + 8])
    assert whole == (loop * 200 or 2**64 - 1)
    copy(tmp_path / "c.avif", tmp_path / "d.png")
    with Image.open(tmp_path / "d.png") as image:
        assert image.info["loop"] == loop


def test_an_animation_becomes_a_video_and_a_video_an_animation(copy: Callable[..., Report], tmp_path: Path) -> None:
    source = animation(tmp_path / "a.gif", [100, 40, 250, 70])
    copy(source, tmp_path / "b.mp4")
    assert times_of(tmp_path / "b.mp4") == [Fraction(time, 1000) for time in (0, 100, 140, 390)]
    copy(tmp_path / "b.mp4", tmp_path / "c.webp")
    assert [duration for duration, _ in shown(tmp_path / "c.webp")][:3] == [100, 40, 250]


def test_a_gif_of_a_fast_video_keeps_its_pace(copy: Callable[..., Report], tmp_path: Path) -> None:
    frames = [picture(5 * index) for index in range(60)]
    source = write_video(tmp_path / "a.mp4", frames, unit=Fraction(1, 60))
    copy(source, tmp_path / "b.gif")
    durations = [duration for duration, _ in shown(tmp_path / "b.gif")]
    # Browsers slow down what is shorter.
    assert min(durations) >= 20
    assert sum(durations) == pytest.approx(1000, abs=30)


def test_a_video_becomes_pictures_and_pictures_a_video(copy: Callable[..., Report], tmp_path: Path) -> None:
    source = write_video(tmp_path / "a.mp4", [picture(index) for index in range(5)])
    (tmp_path / "frames").mkdir()
    copy(source, tmp_path / "frames" / "*.png")
    files = sorted((tmp_path / "frames").iterdir())
    assert [file.name for file in files] == [f"{number:06d}.png" for number in range(1, 6)]
    copy(files, tmp_path / "b.mkv", fps=30, codec="ffv1")
    times = times_of(tmp_path / "b.mkv")
    assert [round(1000 * time) for time in times] == [0, 33, 67, 100, 133]
    Image.new("RGB", (20, 20)).save(files[2])
    with raises(VideoError, "000003.png 20x20 pixels first 64x48 video pictures"):
        copy(files, tmp_path / "c.mp4")


@pytest.mark.parametrize(
    ("settings", "answer"),
    [
        ({"codec": "h267"}, "codec 'h267' h264 hevc av1 vp9 ffv1"),
        ({"codec": "aac"}, "codec 'aac'"),
        ({"codec": "vp9", "crf": 64}, "crf 0 63 codec=vp9 64"),
        ({"codec": "ffv1", "crf": 20}, "crf codec=ffv1 codec=h264"),
        ({"start": -1}, "start 0 12.5 -1"),
        ({"end": "soon"}, "end 0 12.5 'soon'"),
        ({"start": 2, "end": 1}, "end 2 1"),
        ({"start": 60}, "a.mp4 frame 60"),
        ({"fps": 30}, "fps 0 pictures videos"),
        ({"size": 4}, "size 16 16384 videos 4"),
        ({"temporal": 2}, "temporal 0 1 2"),
        ({"style": "dusk"}, "style dusk day"),
        (
            {"target": "b.avi"},
            "b.avi written video .mp4 .m4v .mov .mkv .webm .gif",
        ),
        ({"target": "b.gif", "crf": 20}, "crf videos b.gif none"),
        (
            {"target": "b.webm", "audio": "copy"},
            "b.webm audio a.mp4 (aac) .mp4 .mov audio=convert",
        ),
        ({"target": "b.gif", "audio": "convert"}, "audio videos b.gif none"),
        ({"target": "b.webm", "codec": "h264"}, "b.webm libx264 codec"),
        ({"target": "notes.txt/b.mp4"}, "notes.txt/b.mp4 written"),
        ({"source": "none.mp4"}, "none.mp4 readable video No such file or directory"),
        ({"source": "notes.txt"}, "notes.txt readable video Invalid data found when processing input"),
        ({"source": "empty.mp4"}, "empty.mp4 readable video empty"),
        ({"source": "folder"}, "folder readable video"),
        ({"source": "sound.m4a"}, "sound.m4a video"),
        ({"source": "list.m3u8"}, "list.m3u8 readable video"),
    ],
)
def test_a_mistake_gets_one_line_and_changes_no_file(
    stylizer: Stylizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], answer: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write_video(Path("a.mp4"), [picture(0)] * 3, sound=True)
    Path("notes.txt").write_text("not a video")
    Path("empty.mp4").touch()
    Path("folder").mkdir()
    Path("list.m3u8").write_text(f"#EXTM3U\n#EXTINF:1,\n{tmp_path}/a.mp4\n#EXT-X-ENDLIST\n")
    with av.open("sound.m4a", "w", format="mp4") as container:
        stream: Any = container.add_stream("aac", rate=16_000)
        silence = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), "fltp", "stereo")
        silence.sample_rate = 16_000
        container.mux(stream.encode(silence))
        container.mux(stream.encode(None))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    settings = {"source": "a.mp4", "target": "b.mp4", **settings}
    with pytest.raises(FastStyleError) as error:
        stylize_video(stylizer, Path(settings.pop("source")), Path(settings.pop("target")), **settings)
    assert_names(error.value, answer)
    assert "\n" not in str(error.value)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_what_videos_need_is_named(stylizer: Stylizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with raises(ConfigError, "videos av [video]'"):
        stylize_video(stylizer, tmp_path / "a.mp4", tmp_path / "b.mp4", temporal=0)


def test_each_frame_has_grain_of_its_own(stylizer: Stylizer, tmp_path: Path) -> None:
    source = write_video(tmp_path / "a.mp4", [np.full((48, 64, 3), 128, np.uint8)] * 2)
    stylize_video(stylizer, source, tmp_path / "b.mkv", temporal=0, codec="ffv1", grain=1.0)
    first, second = (frame.astype(float) - frame.mean() for frame in pixels_of(tmp_path / "b.mkv"))
    assert abs((first * second).mean()) < 0.5 * (first**2).mean()


@pytest.fixture
def call(
    network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., tuple[list[str], str]]:
    """Runs the script, and returns the lines that it prints, and what it says on standard error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)

    def call(*arguments: str) -> tuple[list[str], str]:
        monkeypatch.setattr(sys, "argv", ["stylize.py", f"ckpt={network}", *arguments])
        run(stylize.main, "stylize", stylize.without_input)
        out, errors = capfd.readouterr()
        return out.splitlines(), errors

    return call


def test_the_script_takes_videos_animations_and_pictures(call: Callable[..., tuple[list[str], str]]) -> None:
    write_video(Path("a.mp4"), [picture(index) for index in range(5)], sound=True)
    out, errors = call("input=a.mp4", "end=0.12")
    assert out == ["a_tiny.mp4"]
    assert re.match(r"3 frames in \d s, ", errors)
    assert [word for word in errors.split() if word.isalpha()][-4:] == ["decode", "network", "smooth", "encode"]
    Path("clips").mkdir()
    for name in ("b.avi", "c.mkv"):
        write_video(Path("clips") / name, [picture(index) for index in range(3)], codec="mpeg4", options={})
    assert call("input=clips", "output=out", "temporal=0")[0] == ["out/b.mp4", "out/c.mkv"]
    assert call("input=a.mp4", "output=frames/*.png")[0] == ["frames/*.png"]
    assert call("input=frames", "output=d.mp4", "fps=10")[0] == ["d.mp4"]
    assert times_of(Path("d.mp4")) == [Fraction(index, 10) for index in range(5)]
    Path("frames/below").mkdir()
    for name in ("a.png", "b.png"):
        Image.fromarray(picture(0)).save(Path("frames/below") / name)
    said = call("input=frames", "output=f.mp4", "fps=10")[1]
    assert_names(said.splitlines()[0], "2 folder input glob")
    assert len(times_of(Path("f.mp4"))) == 5
    animation(Path("e.gif"), [100, 200])
    assert call("input=e.gif")[0] == ["e_tiny.gif"]
    assert call("input=e.gif", "output=still.jpg")[0] == ["still.jpg"]


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        (("input=a.mp4", "output=a.mp4"), "a.mp4 input itself output"),
        (("input=a.mp4", "output=b.mp4"), "b.mp4 exists overwrite=true"),
        (("input=a.mp4", "output=f/*.png"), "f/1.png exists overwrite=true"),
        (
            ("input=a.mp4", "output=b.jpg"),
            "b.jpg video .mp4 /*.jpg",
        ),
        (("input=[a.mp4,b.mp4]", "output=c.mp4"), "c.mp4 2 folder"),
        (("input=[a.mp4,f/1.png]",), "input video picture input="),
        (("input=both", "output=new"), "input video picture input="),
        (
            ("input=f.zip", "output=new"),
            "f.zip videos archive",
        ),
        (("input=f.zip", "output=new.mp4"), "f.zip video pictures folder"),
        (
            ("input=f", "output=new.zip"),
            "new.zip archive folder new/",
        ),
        (("input=a.mp4", "output=new.tar.gz"), "new.tar.gz archive folder"),
        (("input=a.mp4", "output=n.zip/*.png"), "n.zip/*.png archive folder"),
        (("input=f", "output=new/*.png"), "new/*.png frames video none new/"),
        (
            ("input=a.mp4", "output=f/*.png", "resume=true"),
            "f/1.png exists overwrite=true frames",
        ),
        (
            ("input=a.mp4", "output=b.mp4", "resume=true", "overwrite=true"),
            "resume overwrite",
        ),
        (("input=a.mp4", "output=c.mp4", "codec=h267"), "codec 'h267' h264"),
        (("input=cut.mp4",), "cut.mp4 readable video Invalid data found when processing input"),
    ],
)
def test_the_script_tells_mistakes_in_one_line(
    call: Callable[..., tuple[list[str], str]], arguments: tuple[str, ...], answer: str
) -> None:
    write_video(Path("a.mp4"), [picture(0)] * 2)
    Path("b.mp4").write_bytes(b"precious")
    Path("cut.mp4").write_bytes(Path("a.mp4").read_bytes()[:500])
    Path("f").mkdir()
    Image.new("RGB", (20, 20)).save("f/1.png")
    Path("both/day").mkdir(parents=True)
    shutil.copy("a.mp4", "both/day/a.mp4")
    shutil.copy("f/1.png", "both/1.png")
    shutil.make_archive("f", "zip", "both", "day")
    with pytest.raises(SystemExit) as stop:
        call(*arguments)
    line = str(stop.value.code).removeprefix("stylize.py: ")
    assert_names(line, answer)
    assert Path("b.mp4").read_bytes() == b"precious"


def test_folders_of_videos_keep_their_tree_and_json_tells_of_each(
    call: Callable[..., tuple[list[str], str]], capfd: pytest.CaptureFixture[str]
) -> None:
    Path("clips/day").mkdir(parents=True)
    write_video(Path("clips/a.mp4"), [picture(index) for index in range(3)])
    write_video(Path("clips/day/a.mkv"), [picture(0, 65, 47)] * 2, codec="ffv1", options={}, pix_fmt="yuv420p10le")
    Path("clips/day/bad.mp4").write_text("no video")
    settings = ("input=clips", "temporal=0", "json=true")
    with raises(SystemExit, "stylize.py 1 3 failed"):
        call(*settings, "output=new")
    out, errors = capfd.readouterr()
    lines = [json.loads(line) for line in out.splitlines()]
    assert min(line.pop("seconds") for line in lines) > 0
    bad = lines[2]["error"]
    assert_names(bad, "clips/day/bad.mp4 readable Invalid data found when processing input")
    assert_each(lines[1].pop("notes"), "8 bits")
    made = {"status": "done", "error": None, "warning": None}
    assert lines == [
        made | {"input": "clips/a.mp4", "output": "new/a.mp4", "width": 64, "height": 48, "frames": 3, "notes": []},
        # H.264 has no odd sizes.
        made | {"input": "clips/day/a.mkv", "output": "new/day/a.mkv", "width": 66, "height": 48, "frames": 2},
        {"input": "clips/day/bad.mp4", "output": None, "status": "failed", "width": None, "height": None}
        | {"error": bad, "frames": None, "notes": [], "warning": None},
    ]
    assert bad in errors.splitlines()
    # Beside them, and once more: neither results nor what a stopped run has left are videos to begin with.
    Path("clips/day/bad.mp4").unlink()
    shutil.copy("clips/a.mp4", "clips/a_tiny.part.mp4")
    for again in ("resume=true", "overwrite=true"):
        lines = [json.loads(line) for line in call(*settings, again)[0]]
        assert [line["output"] for line in lines] == ["clips/a_tiny.mp4", "clips/day/a_tiny.mkv"]


def test_a_folder_may_choose_the_kind_of_video_and_what_is_in_it_decides(
    call: Callable[..., tuple[list[str], str]], capfd: pytest.CaptureFixture[str]
) -> None:
    Path("clips/day").mkdir(parents=True)
    write_video(Path("clips/a.mp4"), [picture(0)] * 2, sound=True)
    # One whose name says nothing, one that FFmpeg knows, and what is none.
    shutil.copy("clips/a.mp4", "clips/day/b")
    write_video(Path("clips/c.h264"), [picture(0)] * 2)
    Path("clips/notes.txt").write_text("not a video")
    Path("clips/list.m3u8").write_text("#EXTM3U\n#EXTINF:1,\na.mp4\n#EXT-X-ENDLIST\n")
    out, errors = call("input=clips", "output=new", "temporal=0", "container=webm", "crf=60")
    assert sorted(out) == ["new/a.webm", "new/c.webm", "new/day/b.webm"]
    assert_says(errors.splitlines(), "clips/a.mp4 audio .webm")
    assert call("input=clips/day/b", "temporal=0", "audio=none")[0] == ["clips/day/b_tiny.mp4"]
    # Beside pictures it is counted.
    Image.fromarray(picture(0)).save("clips/day/d.png")
    Path("photos").mkdir()
    shutil.copy("clips/day/d.png", "photos/d.png")
    shutil.copy("clips/day/b", "photos/b")
    out, errors = call("input=photos", "output=other")
    assert out == ["other/d.png"]
    assert_says(errors, "1 names photos/b video")
    for arguments, answer in (
        (("input=clips/a.mp4", "output=e.mp4", "container=mkv"), "container=mkv e.mp4"),
        (("input=clips/a.mp4", "container=avi"), "container mp4 m4v mov mkv webm 'avi'"),
        (("input=photos/d.png", "container=mkv"), "container videos pictures"),
    ):
        with raises(SystemExit, f"stylize.py {answer}"):
            call(*arguments)


def test_videos_that_are_there_are_not_made_again(
    call: Callable[..., tuple[list[str], str]], capfd: pytest.CaptureFixture[str]
) -> None:
    Path("clips").mkdir()
    for name in ("a.mp4", "b.mp4"):
        write_video(Path("clips", name), [picture(0)] * 2)
    settings = ("input=clips/*.mp4", "output=new", "temporal=0")
    call(*settings)
    Path("new/b.mp4").unlink()
    before = Path("new/a.mp4").stat().st_mtime_ns
    with raises(SystemExit, "stylize.py new/a.mp4 exists overwrite=true resume=true output"):
        call(*settings)
    capfd.readouterr()
    out, errors = call(*settings, "resume=true")
    assert out == ["new/b.mp4"]
    assert_names(errors.splitlines()[-1], "1 video 1 there")
    os.utime("clips/a.mp4", (2e9, 2e9))
    out, errors = call(*settings, "resume=true", "json=true")
    assert [json.loads(line)["status"] for line in out] == ["skipped"] * 2
    assert_names(errors, "0 videos 2 there 1 older overwrite=true")
    assert Path("new/a.mp4").stat().st_mtime_ns == before


def test_of_an_archive_the_pictures_are_taken_and_its_videos_are_named(
    call: Callable[..., tuple[list[str], str]],
) -> None:
    Path("both").mkdir()
    write_video(Path("both/a.mp4"), [picture(0)] * 2)
    Image.fromarray(picture(0)).save("both/b.png")
    shutil.make_archive("both", "zip", "both")
    out, errors = call("input=both.zip", "output=new")
    assert out == ["new/b.png"]
    assert_names(errors, "1 videos left out both.zip")
