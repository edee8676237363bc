"""The video encoders and their quality settings."""

import os
from dataclasses import dataclass, field
from pathlib import Path

import av
from av.codec.codec import UnknownCodecError

from fast_style.errors import ConfigError
from fast_style.video.frames import CONTAINERS


@dataclass(frozen=True)
class Encoder:
    """An FFmpeg encoder and its defaults."""

    name: str  #: FFmpeg's name
    crf: int | None = None  #: default quality, lower is better; None: the encoder has no such setting
    worst: int = 51  #: the highest crf
    options: dict[str, str] = field(default_factory=dict)  #: further encoder settings
    tag: str | None = None  #: codec tag that Apple's players need in MP4

    @property
    def odd_sizes(self) -> bool:
        """Whether it takes odd widths and heights, although 4:2:0 stores colors for pixels in twos."""
        return self.name not in ("libx264", "libx265", "h264_nvenc", "hevc_nvenc")


# Fine strokes cover stylized frames: at the encoders' default quality, blocks are visible. The presets keep encoding
# from becoming the bottleneck.
_ENCODERS = {
    "h264": Encoder("libx264", 18, options={"preset": "veryfast"}),
    "hevc": Encoder("libx265", 20, options={"preset": "fast", "x265-params": "log-level=none"}, tag="hvc1"),
    "av1": Encoder("libsvtav1", 26, 63, {"preset": "8"}),
    "vp9": Encoder("libvpx-vp9", 24, 63, {"b": "0", "deadline": "good", "cpu-used": "5", "row-mt": "1"}),
    "ffv1": Encoder("ffv1"),
}
_ENCODERS["h265"] = _ENCODERS["hevc"]


def choose_encoder(target: Path, codec: str | None = None, crf: int | None = None) -> tuple[Encoder, dict[str, str]]:
    """Return the encoder for a video, and its settings.

    Args:
        target: the video; only its suffix matters.
        codec: `h264`, `hevc`, `av1`, `vp9`, `ffv1` or any FFmpeg encoder; None: the default for the suffix.
        crf: quality, lower is better; None: the encoder's default above, at which strokes stay crisp.

    Raises:
        ConfigError: if the encoder is missing or the quality is out of its range.
    """
    codec = codec or CONTAINERS[target.suffix.lower()][1]
    encoder = _ENCODERS.get(codec.lower(), Encoder(codec))
    # SVT-AV1 would print its banner to standard error.
    os.environ.setdefault("SVT_LOG", "0")
    try:
        available = av.Codec(encoder.name, "w").type == "video"
    except UnknownCodecError:
        available = False
    if not available:
        choices = [name for name, encoder in _ENCODERS.items() if encoder.name in av.codecs_available]
        raise ConfigError(f"codec: there is no encoder {codec!r} here; choose from {', '.join(choices)}")
    settings = dict(encoder.options)
    if crf is not None and encoder.crf is None:
        raise ConfigError(f"crf has no meaning for codec={codec}; leave it out, or use codec=h264")
    quality = encoder.crf if crf is None else crf
    if quality is not None:
        if type(quality) is not int or not 0 <= quality <= encoder.worst:
            raise ConfigError(f"crf must be from 0 to {encoder.worst} with codec={codec}, not {quality!r}")
        settings["crf"] = str(quality)
    return encoder, settings
