"""Interlaced videos: whole frames of two fields, which were filmed one after the other, every second row each."""

import contextlib
from typing import Any

import av
from av.filter import Graph
from av.video.frame import VideoFrame


class Fields:
    """Makes of each interlaced frame one that was filmed at one moment; a network would paint what is torn as strokes.

    With FFmpeg's bwdif, which looks at the frames before and behind: each comes when the next is there. Frames that are
    not marked as interlaced stay as they are. There are as many frames as before, at the same times.

    Args:
        unit: that the times of all frames count in, in seconds.

    Attributes:
        found: whether there were any.
    """

    def __init__(self, unit: Any) -> None:
        self._unit = unit
        self._graph: Graph | None = None
        self._kind: Any = None
        self.found = False

    def __call__(self, frame: VideoFrame | None) -> list[VideoFrame]:
        """Return the frames that are whole once this one is there; nothing is behind the last."""
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
            self._graph, self._kind = self._built(frame), kind
        self._graph.vpush(frame)
        return [*whole, *self._ready(self._graph)]

    def _built(self, frame: VideoFrame) -> Graph:
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
