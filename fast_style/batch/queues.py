"""Queues for batch work: pictures waiting for the network by shape, and a limit for pictures in progress."""

import threading
from collections import deque
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")

#: How many later pictures may overtake a waiting one.
PATIENCE = 64


class ShapeQueue(Generic[T]):
    """Waiting pictures, grouped by shape."""

    def __init__(self) -> None:
        self._shapes: dict[Hashable, deque[tuple[int, T]]] = {}
        self._last: Hashable = None
        self._added, self._taken = 0, 0

    def __bool__(self) -> bool:
        return bool(self._shapes)

    def add(self, shape: Hashable, picture: T) -> None:
        """Add a picture."""
        self._shapes.setdefault(shape, deque()).append((self._added, picture))
        self._added += 1

    def take(self, most: Callable[[Hashable], int]) -> list[T]:
        """Remove and return a batch of one shape: one that fills a batch, or else the last shape.

        The last shape is preferred since the backend may be prepared for it. After being overtaken by PATIENCE others,
        a picture is next.

        Args:
            most: returns the maximum batch size of a shape.
        """
        oldest = min(self._shapes, key=lambda shape: self._shapes[shape][0][0])
        chosen = oldest
        if self._taken - self._shapes[oldest][0][0] < PATIENCE:
            full = {shape: len(waiting) >= most(shape) for shape, waiting in self._shapes.items()}
            # max returns the first of equals, the shape that was added first.
            chosen = max(full, key=lambda shape: (full[shape], shape == self._last, len(self._shapes[shape])))
        waiting = self._shapes[chosen]
        taken = [waiting.popleft()[1] for _ in range(min(most(chosen), len(waiting)))]
        if not waiting:
            del self._shapes[chosen]
        self._taken += len(taken)
        self._last = chosen
        return taken

    def clear(self) -> list[T]:
        """Remove and return all pictures."""
        left = [picture for waiting in self._shapes.values() for _, picture in waiting]
        self._shapes.clear()
        return left


class PixelBudget:
    """Limits the pixels in progress; a picture larger than the limit is processed alone.

    Args:
        pixels: maximum number of pixels.
        pictures: maximum number of pictures, however small.
    """

    def __init__(self, pixels: int, pictures: int) -> None:
        self.pixels = pixels
        self._least = pixels // pictures
        self._free = pixels
        self._turn = threading.Lock()
        self._changed = threading.Condition()

    def take(self, pixels: int, stopped: threading.Event) -> int:
        """Wait until a picture fits or the work is stopped; return the number of pixels to give back."""
        wanted = min(max(pixels, self._least), self.pixels)
        # First come, first served: small pictures would keep a large one waiting forever.
        with self._turn, self._changed:
            self._changed.wait_for(lambda: self._free >= wanted or stopped.is_set())
            self._free -= wanted
        return wanted

    def give(self, taken: int) -> None:
        """Give back the pixels of a finished picture."""
        with self._changed:
            self._free += taken
            self._changed.notify_all()

    def wake(self) -> None:
        """Wake all waiting threads after a stop."""
        with self._changed:
            self._changed.notify_all()
