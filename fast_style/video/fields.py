"""Deinterlacing: an interlaced frame holds two fields, each every second row, recorded one after the other."""

import contextlib
from typing import Any

import av
from av.filter import Graph
from av.video.frame import VideoFrame


class Fields:
    """Deinterlaces frames with FFmpeg's bwdif; a network would paint the comb artifacts as strokes.

    bwdif compares each frame with the next, so output lags by one frame. Frames not marked as interlaced are
    unchanged, and so are the number of frames and their times.

    Args:
        unit: time base of the frames, in seconds.

    Attributes:
        found: whether any frame was interlaced.
    """

    def __init__(self, unit: Any) -> None:
        self._unit = unit
        self._graph: Graph | None = None
        self._kind: Any = None
        self.found = False

    def __call__(self, frame: VideoFrame | None) -> list[VideoFrame]:
        """Take the next frame, or None after the last, and return the frames that are ready."""
        if frame is not None and frame.interlaced_frame:
            self.found = True
        if not self.found:
            return [] if frame is None else [frame]
        kind = None if frame is None else (frame.width, frame.height, frame.format.name)
        whole: list[VideoFrame] = []
        if self._graph is not None and kind != self._kind:
            self._graph.vpush(None)
            whole = self._ready(self._graph)
            self._graph = None
        if frame is None:
            return whole
        if self._graph is None:
            self._graph, self._kind = self._build_graph(frame), kind
        self._graph.vpush(frame)
        return [*whole, *self._ready(self._graph)]

    def _build_graph(self, frame: VideoFrame) -> Graph:
        graph = Graph()
        source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=self._unit)
        graph.link_nodes(source, graph.add("bwdif", "mode=send_frame:deint=interlaced"), graph.add("buffersink"))
        graph.configure()
        return graph

    @staticmethod
    def _ready(graph: Graph) -> list[VideoFrame]:
        whole = []
        with contextlib.suppress(av.BlockingIOError, av.EOFError):
            while True:
                whole.append(graph.vpull())
        return whole
