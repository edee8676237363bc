"""Sound and subtitles in another codec, for videos that cannot hold them as they are."""

from fractions import Fraction
from typing import Any

import av
from av.audio.codeccontext import AudioCodecContext
from av.container import OutputContainer
from av.filter import Graph
from av.subtitles.codeccontext import SubtitleCodecContext

from fast_style.video.container_info import UNCOMPRESSED, codec_of
from fast_style.video.filter_graphs import FilterGraph

# Codecs that every player of a format plays, by FFmpeg's name of the format.
_SOUND = {"webm": "libopus"}
_TEXT = {"mp4": "mov_text", "mov": "mov_text"}
_USUAL_SOUND, _USUAL_TEXT = "aac", "webvtt"
#: Bit rate of a channel in bits per second: transparent to most listeners.
_BIT_RATE = 96_000
#: FFmpeg's names for bitmap subtitles.
_PICTURES = ("dvd_subtitle", "dvb_subtitle", "hdmv_pgs_subtitle", "xsub", "dvb_teletext", "arib_caption")


def refusal(stream: Any) -> str | None:
    """Return why sound or subtitles cannot be converted, in a few words; None: they can."""
    context = getattr(stream, "codec_context", None)
    if context is None:
        return "which FFmpeg does not know"
    if stream.type == "subtitle" and context.codec.canonical_name in _PICTURES:
        return "pictures, which do not become text"
    return None


class ConvertedSound:
    """Converts sound to AAC, or to Opus for WebM; gaps become silence, so that sound and pictures stay in sync.

    Uncompressed sound stays uncompressed in Matroska.

    Args:
        container: the video to write to.
        stream: the sound.
        part: where it is cut, see `VideoReader.part`.

    Attributes:
        copy: the new stream.
        name: the codec's name for messages.

    Raises:
        ValueError: if the sound cannot be encoded.
    """

    def __init__(self, container: OutputContainer, stream: Any, part: tuple[bool, Fraction | None]) -> None:
        self._decoder, self._part = stream.codec_context, part
        encoder = _SOUND.get(container.format.name, _USUAL_SOUND)
        if container.format.name == "matroska" and codec_of(stream) in UNCOMPRESSED:
            encoder = "pcm_s16le" if self._decoder.format.name.startswith("s16") else "pcm_s24le"
        self.name = {"libopus": "Opus", "aac": "AAC"}.get(encoder, encoder)
        self._rate = _rate(encoder, self._decoder.sample_rate or 48_000)
        self._layout = _layout(encoder, self._rate, self._decoder)
        copy: Any = container.add_stream(encoder, rate=self._rate, layout=self._layout)
        if not encoder.startswith("pcm_"):
            copy.bit_rate = _BIT_RATE * copy.layout.nb_channels
        self.copy = copy
        self._filter = FilterGraph(
            self._build, lambda frame: (frame.format.name, frame.layout.name, frame.sample_rate, frame.time_base)
        )

    def __call__(self, packet: Any) -> list[Any]:
        """Take the next packet, or None after the last, and return the packets that are ready."""
        try:
            frames = self._decoder.decode(packet)
        except (av.FFmpegError, ValueError):
            frames = []  # Skip damaged packets, as players do.
        frames = [frame for frame in frames if frame.pts is not None and frame.samples]
        last = [None] if packet is None else []
        ready = [each for frame in (*frames, *last) for part in self._filter(frame) for each in self.copy.encode(part)]
        if packet is None and self.copy.codec_context.is_open:
            ready += self.copy.encode(None)
        return ready

    def _build(self, frame: Any) -> Graph:
        context, graph = self.copy.codec_context, Graph()
        if not context.is_open:
            context.open(strict=False)
        begins, length = self._part
        inside = [f"start={0 if begins else -1_000_000}"] + ([] if length is None else [f"end={float(length):.9f}"])
        steps = [
            ("aresample", f"{self._rate}:async=1"),
            ("aformat", f"sample_fmts={context.format.name}:channel_layouts={self._layout}"),
            ("atrim", ":".join(inside)),
            *([("asetnsamples", f"n={context.frame_size}:p=0")] if context.frame_size else []),
        ]
        source = graph.add_abuffer(
            sample_rate=frame.sample_rate, format=frame.format.name, layout=frame.layout.name, time_base=frame.time_base
        )
        graph.link_nodes(source, *(graph.add(name, options) for name, options in steps), graph.add("abuffersink"))
        graph.configure()
        return graph


class ConvertedText:
    """Converts text subtitles to MP4's text (mov_text), or to WebVTT for other formats; a `ConvertedSound` for text.

    The caller cuts subtitles, so `part` has no effect.
    """

    def __init__(self, container: OutputContainer, stream: Any, part: tuple[bool, Fraction | None]) -> None:
        self._decoder: SubtitleCodecContext = stream.codec_context
        encoder = _TEXT.get(container.format.name, _USUAL_TEXT)
        self.name = "WebVTT" if encoder == _USUAL_TEXT else "MP4's text"
        self._decoder.open(strict=False)
        copy: Any = container.add_stream(encoder)
        self.copy, self._encoder = copy, copy.codec_context
        self._encoder.subtitle_header = self._decoder.subtitle_header
        self._encoder.time_base = Fraction(1, 1000)
        self.copy.time_base = Fraction(1, 1000)

    def __call__(self, packet: Any) -> list[Any]:
        """Take the next packet, or None after the last, and return the packets that are ready."""
        if packet is None:
            return []
        try:
            text = self._decoder.decode2(packet)
            if text is None or not len(text):
                return []
            written = self._encoder.encode_subtitle(text)
        except (av.FFmpegError, ValueError):
            return []
        written.time_base = packet.time_base
        written.pts = written.dts = packet.pts
        written.duration = packet.duration or round(text.end_display_time / 1000 / packet.time_base)
        return [written]


def _rate(encoder: str, wanted: int) -> int:
    """Return the encoder's lowest sample rate that is at least the wanted one, or else its highest."""
    rates = sorted(av.Codec(encoder, "w").audio_rates or [wanted])
    return next((rate for rate in rates if rate >= wanted), rates[-1])


def _layout(encoder: str, rate: int, decoder: Any) -> str:
    """Return the channel layout, or the nearest that the encoder takes."""
    number = decoder.layout.nb_channels
    usual = {1: "mono", 2: "stereo", 3: "3.0", 4: "4.0", 5: "5.0", 6: "5.1", 8: "7.1"}.get(number, "stereo")
    for layout in (decoder.layout.name, usual, "stereo"):
        trial: Any = AudioCodecContext.create(encoder, "w")
        try:
            trial.layout, trial.sample_rate = layout, rate
            trial.format = trial.codec.audio_formats[0].name
            trial.time_base = Fraction(1, rate)
            trial.open(strict=False)
        except (av.FFmpegError, ValueError):
            continue
        return layout
    raise ValueError(f"{encoder} takes no sound of {number} channels")
