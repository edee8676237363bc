"""Streams that films are given as they were in others: sound, subtitles, data and attachments."""

from pathlib import Path
from typing import Any

import av
from av.bitstream import BitStreamFilterContext
from av.container import OutputContainer

from fast_style.errors import FilmError
from fast_style.films.extras import can_hold, name_of
from fast_style.films.reader import FilmReader


class CopiedStreams:
    """Gives a film what another has beside its pictures, packet by packet, bit for bit.

    Args:
        path: what messages call the film.
        container: the film.
        source: the other.

    Attributes:
        left_out: what such a file cannot hold, each in a few words.

    Raises:
        FilmError: if it cannot hold the sound or the subtitles.
    """

    def __init__(self, path: Path, container: OutputContainer, source: FilmReader) -> None:
        self._container = container
        self._filters: dict[int, BitStreamFilterContext] = {}
        self._latest: dict[int, int] = {}
        self.left_out: list[str] = []
        self._copies: dict[int, Any] = {}
        for other in (*source.others, *source.extras.attachments):
            if other.type in ("data", "attachment") and not can_hold(container.format.name, other):
                self.left_out.append(f"{name_of(other)}, which a {path.suffix} cannot hold")
            else:
                self._copies[other.index] = self._add(path, other, source)

    def __call__(self, packets: tuple[Any, ...]) -> None:
        """Write packets of the other film."""
        for packet in packets:
            index = packet.stream_index
            if index not in self._copies:
                continue
            # Badly written films have packets at times before the last one's, which no format takes.
            if packet.dts is not None:
                packet.dts = max(packet.dts, self._latest.get(index, packet.dts - 1) + 1)
                packet.pts = None if packet.pts is None else max(packet.pts, packet.dts)
                self._latest[index] = packet.dts
            unpacked = self._filters[index].filter(packet) if index in self._filters else [packet]
            for each in unpacked:
                each.stream = self._copies[index]
                self._container.mux(each)

    def _add(self, path: Path, other: Any, source: FilmReader) -> Any:
        context = getattr(other, "codec_context", None)
        name = context.codec.canonical_name if context else "unknown"
        try:
            copy = self._container.add_stream_from_template(other, opaque=True)
        except (ValueError, AttributeError, av.FFmpegError):
            raise FilmError(
                f"{path}: such a file cannot hold the {other.type} of {source.path} ({name}); end it in .mkv"
            ) from None
        if name == "aac" and not other.codec_context.extradata and self._container.format.name in ("mp4", "mov"):
            # Broadcasts have a header before each packet, which such a file has once.
            self._filters[other.index] = BitStreamFilterContext("aac_adtstoasc", other)
        copy.metadata.update(other.metadata)
        copy.disposition = other.disposition
        return copy
