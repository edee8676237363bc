"""Videos that are small enough for a test, and a look at what is in one."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.codec.context import Flags
from av.video.frame import VideoFrame
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]


def picture(index: int, width: int = 64, height: int = 48) -> Pixels:
    """Colors that run into one another, and move on from frame to frame."""
    y, x = np.mgrid[:height, :width]
    waves = [np.sin((x + 3 * index) / 9), np.cos((y - 2 * index) / 7), np.sin((x + y) / 11)]
    return (127.5 + 120 * np.stack(waves, axis=2)).astype(np.uint8)


def write_video(
    path: Path,
    frames: Sequence[Pixels | VideoFrame],
    times: Sequence[int] | None = None,
    unit: Fraction = Fraction(1, 25),
    sound: bool = False,
    subtitles: bool = False,
    turn: tuple[float, bool] | None = None,
    **settings: Any,
) -> Path:
    """Write frames at times that count in `unit`; `settings` are of the codec's context."""
    codec = settings.pop("codec", "libx264")
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=25, options=settings.pop("options", {"preset": "ultrafast"}))
        first = frames[0]
        height, width = (first.height, first.width) if isinstance(first, VideoFrame) else first.shape[:2]
        context = stream.codec_context
        context.width, context.height, context.time_base = width, height, unit
        context.flags |= Flags.frame_duration
        for name, value in settings.items():
            setattr(context, name, value)
        if turn:
            stream.set_display_rotation(turn[0], hflip=turn[1])
        spoken: Any = container.add_stream("aac", rate=16_000) if sound else None
        written: Any = container.add_mux_stream("subrip") if subtitles else None
        for index, pixels in enumerate(frames):
            frame = pixels if isinstance(pixels, VideoFrame) else VideoFrame.from_ndarray(pixels, "rgb24")
            frame.pts, frame.time_base = (times[index] if times else index), unit
            frame.duration = (times[index + 1] - times[index]) if times and index + 1 < len(times) else 1
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        noise = np.random.default_rng(0)
        for index in range(15 * sound):
            samples = av.AudioFrame.from_ndarray(noise.normal(0, 0.1, (2, 1024)).astype(np.float32), "fltp", "stereo")
            samples.sample_rate, samples.pts = 16_000, index * 1024
            container.mux(spoken.encode(samples))
        if sound:
            container.mux(spoken.encode(None))
        for index in range(3 * subtitles):
            packet: Any = av.Packet(f"line {index}".encode())
            packet.stream, packet.time_base = written, Fraction(1, 1000)
            packet.pts = packet.dts = index * 300
            packet.duration = 250
            container.mux(packet)
    return path


def times_of(path: Path) -> list[Fraction]:
    """When each frame appears, in seconds."""
    with av.open(str(path)) as container:
        frames: Any = container.decode(video=0)
        return [frame.pts * frame.time_base for frame in frames]


def pixels_of(path: Path) -> list[Pixels]:
    """What is seen, by FFmpeg's own choices."""
    with av.open(str(path)) as container:
        return [np.asarray(frame.to_ndarray(format="rgb24"), np.uint8) for frame in container.decode(video=0)]


def packets_of(path: Path, kind: str) -> list[tuple[Fraction, bytes]]:
    """The time and the bytes of each packet of a kind of stream."""
    with av.open(str(path)) as container:
        streams = [stream for stream in container.streams if stream.type == kind]
        packets: list[Any] = [packet for packet in container.demux(*streams) if packet.size]
        return [(packet.pts * packet.time_base, bytes(packet)) for packet in packets]
