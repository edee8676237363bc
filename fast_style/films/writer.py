"""Films to write: frames encoded at the times they bring along, sound and subtitles as they were."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import av
from av.bitstream import BitStreamFilterContext
from av.codec.context import Flags
from av.container import OutputContainer
from av.packet import Packet
from av.video.frame import PictureType, VideoFrame
from av.video.reformatter import ColorRange
from av.video.stream import VideoStream

from fast_style.errors import ConfigError, FilmError
from fast_style.films.codecs import choose_encoder
from fast_style.films.frames import CONTAINERS, Frame, Shape, flat
from fast_style.films.opening import reason
from fast_style.films.pixels import to_video
from fast_style.films.reader import FilmReader

# The file can be played while it grows, and whatever ends the program; in the end it becomes an ordinary one.
_RECOVERABLE = {"movflags": "+hybrid_fragmented+frag_keyframe+delay_moov"}
# Of these, frames may be decoded in another order than they are shown; but not across a key frame that is asked for.
_REORDERED = ("h264", "hevc", "mpeg4", "mpeg2video", "vvc")
_ASKED = {"forced-idr": "1"}
#: So much may be lost then, in seconds; it is also how finely one can seek.
_KEY_FRAME_EVERY = 4


class FilmWriter:
    """Writes a film.

    Args:
        path: what messages call it; its suffix says the format.
        part: the file to write, which need not end like that.
        shape: what the frames have in common.
        codec: see `choose_encoder`.
        crf: see `choose_encoder`.
        source: the film whose sound, subtitles, chapters and title to take over.
        more: further settings of the encoder, by FFmpeg's names.

    Raises:
        ConfigError: if codec and crf do not fit, or the format cannot hold the codec.
        FilmError: if it cannot be written, or the format cannot hold the sound or the subtitles.
    """

    def __init__(
        self,
        path: Path,
        part: Path,
        shape: Shape,
        codec: str | None = None,
        crf: int | None = None,
        source: FilmReader | None = None,
        more: Mapping[str, str] | None = None,
    ) -> None:
        self.path, self._part, self._shape = path, part, shape
        self._encoder, settings = choose_encoder(path, codec, crf)
        name = CONTAINERS[path.suffix.lower()][0]
        options = _RECOVERABLE if name in ("mp4", "mov") else {}
        self._held: VideoFrame | None = None
        # How long frames stay: what there is, and, by the times at which they appear, those that the encoder has.
        self._lengths: set[int] = set()
        self._encoded: dict[int, int] = {}
        # By how much the first is decoded before it is shown.
        self._lead: int | None = None
        self._latest: dict[int, int] = {}
        self._filters: dict[int, BitStreamFilterContext] = {}
        try:
            self._container: OutputContainer = av.open(
                f"file:{part.absolute()}", "w", format=name, container_options=options
            )
            self._stream = self._add_video({**_ASKED, **settings, **(more or {})})
            self._copies = {other.index: self._add_copy(other, source) for other in source.others} if source else {}
            if source:
                self._container.metadata.update(source.metadata)
                self._container.set_chapters(source.chapters)
            self._start(self._stream.codec_context)
            self._container.start_encoding()
        except (OSError, ValueError, av.FFmpegError) as error:
            raise self._refused(error) from None

    def write(self, frame: Frame) -> None:
        """See Writer.

        Raises:
            FilmError: if the disk is full, or the like.
        """
        video = to_video(flat(frame), self._pixel_format, self._shape.colours, not self._encoder.odd_sizes)
        video.pts, video.time_base = round(frame.time / self._shape.time_base), self._shape.time_base
        video.duration = round(frame.duration / self._shape.time_base)
        before, self._held = self._held, video
        if before is not None and before.pts is not None:
            # Only where the unit is coarser than that of what is read.
            video.pts = max(video.pts, before.pts + 1)
            # What films say of it is often another frame's.
            before.duration = video.pts - before.pts
        try:
            self._copy(frame.packets)
            if before is not None:
                self._container.mux(self._encode(before))
        except (OSError, ValueError, av.FFmpegError) as error:
            raise self._refused(error) from None

    def finish(self, rest: tuple[Any, ...] = ()) -> None:
        """See Writer.

        Raises:
            FilmError: if the disk is full, or the like.
        """
        try:
            self._container.mux(self._encode_last(self._held) if self._held else self._stream.encode(None))
            self._copy(rest)
            self._container.close()
        except (OSError, ValueError, av.FFmpegError) as error:
            raise self._refused(error) from None

    def _add_video(self, settings: dict[str, str]) -> VideoStream:
        shape, encoder = self._shape, self._encoder
        try:
            stream = self._container.add_stream(encoder.name, rate=shape.rate, options=settings)
        except ValueError:
            raise ConfigError(
                f"{self.path}: such a file cannot hold {encoder.name}; leave out codec, or end it in .mkv"
            ) from None
        assert isinstance(stream, VideoStream)
        context = stream.codec_context
        formats = [format.name for format in context.codec.video_formats or []]
        self._pixel_format = "yuv420p" if "yuv420p" in formats or not formats else formats[0]
        context.pix_fmt = self._pixel_format
        odd = not encoder.odd_sizes
        context.width = shape.width + (shape.width % 2 if odd else 0)
        context.height = shape.height + (shape.height % 2 if odd else 0)
        context.time_base = shape.time_base
        context.sample_aspect_ratio = shape.aspect
        context.gop_size = max(1, round(_KEY_FRAME_EVERY * shape.rate))
        context.flags |= Flags.frame_duration
        if not self._pixel_format.startswith(("rgb", "bgr", "gbr")):
            context.color_range = ColorRange.MPEG
            context.colorspace = shape.colours.matrix
            context.color_primaries = shape.colours.primaries
            context.color_trc = shape.colours.transfer
        if encoder.tag and self._container.format.name in ("mp4", "mov"):
            context.codec_tag = encoder.tag
        return stream

    def _encode(self, video: VideoFrame) -> "list[Packet[VideoStream]]":
        assert video.pts is not None
        self._lengths.add(video.duration)
        self._encoded[video.pts] = video.duration
        return self._timed(self._stream.encode(video))

    def _timed(self, packets: "list[Packet[VideoStream]]") -> "list[Packet[VideoStream]]":
        """Give packets the lengths of their frames, which not every encoder does."""
        for packet in packets:
            if packet.pts is not None and packet.dts is not None:
                self._lead = packet.pts - packet.dts if self._lead is None else self._lead
                packet.duration = self._encoded.pop(packet.pts, packet.duration)
        return packets

    def _encode_last(self, last: VideoFrame) -> "list[Packet[VideoStream]]":
        """Encode the last frame such that it stays as long as it should.

        In MP4, each frame stays until the next one is decoded, and the film for as long as all of them together: the
        last to be shown must be the last to be decoded, and as long before it is shown as the first.
        """
        last.duration = last.duration or round(1 / (self._shape.rate * self._shape.time_base))
        alone, uneven = not self._lengths, bool(self._lengths - {last.duration})
        reordered = self._stream.codec_context.codec.canonical_name in _REORDERED
        apart = uneven and reordered and self._container.format.name in ("mp4", "mov")
        if apart:
            last.pict_type = PictureType.I
        packets = [*self._encode(last), *self._timed(self._stream.encode(None))]
        for final in packets[-1:]:
            if alone:
                # With a single frame, libx265 says anything.
                final.dts = final.pts
            elif apart and final.pts == last.pts is not None and final.dts is not None:
                final.dts = max(final.dts, last.pts - (self._lead or 0))
        return packets

    def _start(self, context: Any) -> None:
        try:
            context.open(strict=False)
        except (ValueError, av.FFmpegError) as error:
            size = f"{context.width}x{context.height} pixels"
            raise FilmError(
                f"{self.path}: {self._encoder.name} does not take {size} here ({reason(error)}); try another codec"
            ) from None

    def _add_copy(self, other: Any, source: FilmReader) -> Any:
        context = getattr(other, "codec_context", None)
        name = context.codec.canonical_name if context else "unknown"
        try:
            copy = self._container.add_stream_from_template(other, opaque=True)
        except (ValueError, AttributeError, av.FFmpegError):
            raise FilmError(
                f"{self.path}: such a file cannot hold the {other.type} of {source.path} ({name}); end it in .mkv"
            ) from None
        if name == "aac" and not other.codec_context.extradata and self._container.format.name in ("mp4", "mov"):
            # Broadcasts have a header before each packet, which such a file has once.
            self._filters[other.index] = BitStreamFilterContext("aac_adtstoasc", other)
        copy.metadata.update(other.metadata)
        copy.disposition = other.disposition
        return copy

    def _copy(self, packets: tuple[Any, ...]) -> None:
        for packet in packets:
            index = packet.stream_index
            # Badly written films have packets at times before the last one's, which no format takes.
            if packet.dts is not None:
                packet.dts = max(packet.dts, self._latest.get(index, packet.dts - 1) + 1)
                packet.pts = None if packet.pts is None else max(packet.pts, packet.dts)
                self._latest[index] = packet.dts
            unpacked = self._filters[index].filter(packet) if index in self._filters else [packet]
            for each in unpacked:
                each.stream = self._copies[index]
                self._container.mux(each)

    def _refused(self, error: Exception) -> FilmError:
        if isinstance(error, FilmError):
            return error
        missing = not self.path.parent.is_dir()
        return FilmError(
            f"{self.path}: cannot be written ({f'there is no folder {self.path.parent}' if missing else reason(error)})"
        )
