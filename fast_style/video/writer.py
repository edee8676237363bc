"""Writer of videos: encodes frames at their times, and copies sound and subtitles."""

import contextlib
from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.codec.context import Flags
from av.container import OutputContainer
from av.packet import Packet
from av.video.frame import PictureType, VideoFrame
from av.video.reformatter import ColorRange
from av.video.stream import VideoStream

from fast_style.errors import ConfigError, VideoError
from fast_style.video.codecs import choose_encoder
from fast_style.video.container_info import fits_rate
from fast_style.video.copied_streams import CopiedStreams
from fast_style.video.frames import AS_USUAL, CONTAINERS, Frame, Shape, StreamModes, flat
from fast_style.video.opening import reason
from fast_style.video.pixels import to_video
from fast_style.video.reader import VideoReader

# A fragmented MP4 can be played while it grows, also after a crash; closing it turns it into an ordinary one.
_RECOVERABLE = {"movflags": "+hybrid_fragmented+frag_keyframe+delay_moov"}
# Codecs that may decode frames in another order than shown, but not across a requested key frame (`_ASKED`).
_REORDERED = ("h264", "hevc", "mpeg4", "mpeg2video", "vvc")
_ASKED = {"forced-idr": "1"}
_MP4 = ("mp4", "mov")
_WITH_ALPHA = ("yuva420p", "yuva444p10le")
#: Seconds between key frames: the most that a crash may lose, and the precision of seeking.
_KEY_FRAME_EVERY = 4


class VideoWriter:
    """Writes a video; a `Writer`.

    Args:
        path: name for messages; its suffix decides the format.
        part: the file to write, with any suffix.
        shape: properties of the frames.
        codec, crf: see `choose_encoder`.
        source: the video from which sound, subtitles, chapters and metadata are copied.
        more: further encoder settings, by FFmpeg's names.
        modes: how to treat sound and subtitles.

    Raises:
        ConfigError: if codec or crf is wrong, or the format cannot hold the codec.
        VideoError: if the file cannot be written, or the format cannot hold the sound or the subtitles.
    """

    def __init__(
        self,
        path: Path,
        part: Path,
        shape: Shape,
        codec: str | None = None,
        crf: int | None = None,
        source: VideoReader | None = None,
        more: Mapping[str, str] | None = None,
        modes: StreamModes = AS_USUAL,
    ) -> None:
        self.path, self._part, self._shape = path, part, shape
        self._encoder, settings = choose_encoder(path, codec, crf)
        name = CONTAINERS[path.suffix.lower()][0]
        options = _RECOVERABLE if name in _MP4 else {}
        self._copied: CopiedStreams | None = None
        self._left_out: list[str] = []
        self._flattened = False
        self._held: VideoFrame | None = None
        # The distinct durations so far, and those of the frames in the encoder by presentation time.
        self._durations: set[int] = set()
        self._ends = Fraction(0)
        self._encoded: dict[int, int] = {}
        # Delay from decoding to presentation of the first frame.
        self._lead: int | None = None
        with self._errors_named():
            address = f"file:{part.absolute()}"
            self._container: OutputContainer = av.open(address, "w", format=name, container_options=options)
            self._stream = self._add_video({**_ASKED, **settings, **(more or {})})
            if source:
                self._take_over(source, modes)
            self._open_encoder(self._stream.codec_context)
            self._container.start_encoding()

    @property
    def size(self) -> tuple[int, int]:
        """See Writer."""
        return self._stream.codec_context.width, self._stream.codec_context.height

    @property
    def notes(self) -> list[str]:
        """See Writer."""
        notes = ["what was transparent lies on white; a .webm would keep it"] if self._flattened else []
        notes += self._copied.notes if self._copied else []
        return notes + ([f"left out: {', '.join(self._left_out)}"] if self._left_out else [])

    def write(self, frame: Frame) -> None:
        """See Writer.

        Raises:
            VideoError: if the disk is full, or the like.
        """
        pixels, alpha = frame.pixels, frame.alpha
        self._ends = frame.time + frame.duration
        if not self._keeps_alpha:
            self._flattened |= alpha is not None and bool((alpha < 255).any())
            pixels, alpha = flat(frame), None
        elif alpha is None:
            alpha = np.full(pixels.shape[:2], 255, np.uint8)
        video = to_video(pixels, self._pixel_format, self._shape.colors, not self._encoder.odd_sizes, alpha)
        video.pts, video.time_base = round(frame.time / self._shape.time_base), self._shape.time_base
        video.duration = round(frame.duration / self._shape.time_base)
        before, self._held = self._held, video
        if before is not None and before.pts is not None:
            # Times collide only where the output's time base is coarser than the input's.
            video.pts = max(video.pts, before.pts + 1)
            # Stated durations are unreliable.
            before.duration = video.pts - before.pts
        with self._errors_named():
            if self._copied:
                self._copied(frame.packets)
            if before is not None:
                self._container.mux(self._encode(before))

    def finish(self) -> None:
        """See Writer; raises VideoError if the disk is full, or the like."""
        with self._errors_named():
            self._container.mux(self._encode_last(self._held) if self._held else self._stream.encode(None))
            if self._copied:
                self._copied.finish(self._ends)
            self._container.close()

    def _take_over(self, source: VideoReader, modes: StreamModes) -> None:
        self._container.metadata.update(source.info.metadata)
        self._container.set_chapters(source.chapters)
        self._copied = CopiedStreams(self.path, self._container, source, modes)
        self._left_out = [*source.info.left_out, *self._copied.left_out]
        timecode = source.info.timecode
        if timecode and fits_rate(timecode, self._shape.rate):
            # FFmpeg creates MP4's time code stream from it.
            self._stream.metadata["timecode"] = timecode
        elif timecode:
            self._left_out.append(f"the time code {timecode}, which does not fit the rate")

    def _add_video(self, settings: dict[str, str]) -> VideoStream:
        shape, encoder = self._shape, self._encoder
        try:
            stream = self._container.add_stream(encoder.name, rate=shape.rate, options=settings)
        except ValueError:
            remedy = "leave out codec, or end it in .mkv"
            raise ConfigError(f"{self.path}: such a file cannot hold {encoder.name}; {remedy}") from None
        assert isinstance(stream, VideoStream)
        context = stream.codec_context
        formats = [format.name for format in context.codec.video_formats or []]
        self._pixel_format = "yuv420p" if "yuv420p" in formats or not formats else formats[0]
        with_alpha = next((name for name in _WITH_ALPHA if name in formats), None)
        vpx = encoder.name.startswith("libvpx")
        # VP8 and VP9 store opacity as a second picture, which only Matroska and WebM can hold.
        self._keeps_alpha = shape.alpha and bool(with_alpha) and (not vpx or self._container.format.name not in _MP4)
        if self._keeps_alpha and with_alpha:
            self._pixel_format = with_alpha
            # libvpx allows no hidden frames with opacity: those of the two pictures would differ.
            context.options |= {"auto-alt-ref": "0"} if vpx else {}
        context.pix_fmt = self._pixel_format
        even = not encoder.odd_sizes
        context.width, context.height = (side + side % 2 * even for side in (shape.width, shape.height))
        context.time_base = shape.time_base
        context.sample_aspect_ratio = shape.aspect
        context.gop_size = max(1, round(_KEY_FRAME_EVERY * shape.rate))
        context.flags |= Flags.frame_duration
        if not self._pixel_format.startswith(("rgb", "bgr", "gbr")):
            context.color_range = ColorRange.MPEG
            context.colorspace = shape.colors.matrix
            context.color_primaries = shape.colors.primaries
            context.color_trc = shape.colors.transfer
        if encoder.tag and self._container.format.name in _MP4:
            context.codec_tag = encoder.tag
        return stream

    def _encode(self, video: VideoFrame) -> "list[Packet[VideoStream]]":
        assert video.pts is not None
        self._durations.add(video.duration)
        self._encoded[video.pts] = video.duration
        return self._set_durations(self._stream.encode(video))

    def _set_durations(self, packets: "list[Packet[VideoStream]]") -> "list[Packet[VideoStream]]":
        """Set packet durations, which not every encoder does."""
        for packet in packets:
            if packet.pts is not None and packet.dts is not None:
                self._lead = packet.pts - packet.dts if self._lead is None else self._lead
                packet.duration = self._encoded.pop(packet.pts, packet.duration)
        return packets

    def _encode_last(self, last: VideoFrame) -> "list[Packet[VideoStream]]":
        """Encode the last frame with its full duration.

        MP4 stores the time from one decoding time to the next, and their sum is the video's length. So the last frame
        shown must be the last one decoded, with the same delay until presentation as the first.
        """
        last.duration = last.duration or round(1 / (self._shape.rate * self._shape.time_base))
        alone, uneven = not self._durations, bool(self._durations - {last.duration})
        reordered = self._stream.codec_context.codec.canonical_name in _REORDERED
        separate = uneven and reordered and self._container.format.name in _MP4
        if separate:
            last.pict_type = PictureType.I
        packets = [*self._encode(last), *self._set_durations(self._stream.encode(None))]
        for final in packets[-1:]:
            if alone:
                # libx265 reports arbitrary decoding times for a single frame.
                final.dts = final.pts
            elif separate and final.pts == last.pts is not None and final.dts is not None:
                final.dts = max(final.dts, last.pts - (self._lead or 0))
        return packets

    def _open_encoder(self, context: Any) -> None:
        try:
            context.open(strict=False)
        except (ValueError, av.FFmpegError) as error:
            refused = f"{self._encoder.name} does not take {context.width}x{context.height} pixels here"
            raise VideoError(f"{self.path}: {refused} ({reason(error)}); try another codec") from None

    @contextlib.contextmanager
    def _errors_named(self) -> Iterator[None]:
        """Raise what goes wrong with the file as a VideoError."""
        try:
            yield
        except ConfigError:  # A ValueError, too.
            raise
        except (OSError, ValueError, av.FFmpegError) as error:
            folder = self.path.parent
            wrong = f"({reason(error)})" if folder.is_dir() else f"(there is no folder {folder}); create it"
            raise VideoError(f"{self.path}: cannot be written {wrong}") from None
