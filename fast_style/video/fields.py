"""Deinterlacing: an interlaced frame holds two fields, each every second row, recorded one after the other."""

from typing import Any

from av.filter import Graph
from av.video.frame import VideoFrame

from fast_style.video.filter_graphs import FilterGraph


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
        self._filter = FilterGraph(self._build, lambda frame: (frame.width, frame.height, frame.format.name))
        self.found = False

    def __call__(self, frame: VideoFrame | None) -> list[VideoFrame]:
        """Take the next frame, or None after the last, and return the frames that are ready."""
        self.found |= frame is not None and frame.interlaced_frame
        if not self.found:
            return [] if frame is None else [frame]
        return self._filter(frame)

    def _build(self, frame: VideoFrame) -> Graph:
        graph = Graph()
        source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=self._unit)
        graph.link_nodes(source, graph.add("bwdif", "mode=send_frame:deint=interlaced"), graph.add("buffersink"))
        graph.configure()
        return graph
