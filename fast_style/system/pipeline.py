"""Work in stages that overlap: each in a thread of its own, so that the slowest alone sets the pace."""

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

#: How many results of a stage may wait for the next: enough to hide that they do not all take the same time.
_ROOM = 2


class Stages:
    """Builds a chain of stages, and knows how busy each of them is.

    Attributes:
        busy: seconds of work by the name of the stage.
    """

    def __init__(self) -> None:
        self.busy: dict[str, float] = {}
        self._stop = threading.Event()

    def stop(self) -> None:
        """Begin nothing new; what the stage that `stoppable` has done still goes through those behind it."""
        self._stop.set()

    def first(self, name: str, items: Iterable[T]) -> Iterator[T]:
        """Start a chain: yield what a slow iterable does."""
        self.busy[name] = 0.0
        return self._first(name, iter(items))

    def then(self, name: str, function: Callable[[T], R], items: Iterator[T], stoppable: bool = False) -> Iterator[R]:
        """Apply a function to each item, which the stage before works on in a thread of its own.

        Args:
            name: of the stage.
            function: what it does.
            items: the stage before.
            stoppable: whether it drops what waits for it when all shall stop.
        """
        self.busy[name] = 0.0
        return self._then(name, function, items, stoppable)

    def _first(self, name: str, items: Iterator[T]) -> Iterator[T]:
        while not self._stop.is_set():
            began = time.perf_counter()
            item = next(items, None)
            self.busy[name] += time.perf_counter() - began
            if item is None:
                return
            yield item

    def _then(self, name: str, function: Callable[[T], R], items: Iterator[T], stoppable: bool) -> Iterator[R]:
        with contextlib.closing(ahead(items)) as waiting:
            for item in waiting:
                if stoppable and self._stop.is_set():
                    return
                began = time.perf_counter()
                result = function(item)
                self.busy[name] += time.perf_counter() - began
                yield result


def ahead(items: Iterable[T], room: int = _ROOM) -> Generator[T, None, None]:
    """Yield what an iterable does, and let it work ahead in a thread.

    What it raises is raised here, in its place. A generator that is closed closes the iterable.
    """
    places: queue.Queue[tuple[list[T], BaseException | None]] = queue.Queue(room)
    closed = threading.Event()

    def put(entry: tuple[list[T], BaseException | None]) -> bool:
        while not closed.is_set():
            try:
                places.put(entry, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def work() -> None:
        end: BaseException | None = None
        try:
            for item in items:
                if not put(([item], None)):
                    break
        except BaseException as error:  # Any: it belongs to whoever waits for the next item.
            end = error
        finally:
            if close := getattr(items, "close", None):
                close()
            put(([], end))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        while True:
            item, error = places.get()
            if error is not None:
                raise error
            if not item:
                return
            yield item[0]
    finally:
        closed.set()
        thread.join()
