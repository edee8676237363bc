"""Filters frames of pictures or sound with FFmpeg."""

import contextlib
from collections.abc import Callable
from typing import Any

import av
from av.filter import Graph


class FilterGraph:
    """Passes frames through a graph of FFmpeg's filters, which is flushed and built anew when their format changes.

    Args:
        build: returns the graph for a frame and those after it.
        format_of: returns what of a frame must not change within a graph.
    """

    def __init__(self, build: Callable[[Any], Graph], format_of: Callable[[Any], object]) -> None:
        self._build, self._format_of = build, format_of
        self._graph: Graph | None = None
        self._format: object = None

    def __call__(self, frame: Any) -> list[Any]:
        """Take the next frame, or None after the last, and return the frames that are ready."""
        format = None if frame is None else self._format_of(frame)
        ready: list[Any] = []
        if self._graph is not None and format != self._format:
            ready = _passed(self._graph, None)
            self._graph = None
        if frame is not None:
            if self._graph is None:
                self._graph, self._format = self._build(frame), format
            ready += _passed(self._graph, frame)
        return ready


def _passed(graph: Graph, frame: Any) -> list[Any]:
    graph.push(frame)
    ready = []
    with contextlib.suppress(av.BlockingIOError, av.EOFError):
        while True:
            ready.append(graph.pull())
    return ready
