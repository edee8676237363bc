"""Pictures under way: those that wait for the network, by their shape, and how many there may be at all."""

import threading
from collections import deque
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")

#: How many others may be made before a picture although they came after it.
PATIENCE = 64


class ShapeQueue(Generic[T]):
    """Pictures that wait, those of one shape together."""

    def __init__(self) -> None:
        self._shapes: dict[Hashable, deque[tuple[int, T]]] = {}
        self._last: Hashable = None
        self._came, self._went = 0, 0

    def __bool__(self) -> bool:
        return bool(self._shapes)

    def add(self, shape: Hashable, picture: T) -> None:
        """Let one wait."""
        self._shapes.setdefault(shape, deque()).append((self._came, picture))
        self._came += 1

    def take(self, most: Callable[[Hashable], int]) -> list[T]:
        """Return some of one shape, in their order: of one that fills a batch, or else of the shape of the last ones.

        What runs a network may have made itself ready for that. None waits for long: after PATIENCE others it is next.

        Args:
            most: how many of a shape at the most.
        """
        oldest = min(self._shapes, key=lambda shape: self._shapes[shape][0][0])
        chosen = oldest
        if self._went - self._shapes[oldest][0][0] < PATIENCE:
            full = {shape: len(waiting) >= most(shape) for shape, waiting in self._shapes.items()}
            # Of equals the first, which is the one that has waited for longest since none of its shape was there.
            chosen = max(full, key=lambda shape: (full[shape], shape == self._last, len(self._shapes[shape])))
        waiting = self._shapes[chosen]
        taken = [waiting.popleft()[1] for _ in range(min(most(chosen), len(waiting)))]
        if not waiting:
            del self._shapes[chosen]
        self._went += len(taken)
        self._last = chosen
        return taken

    def clear(self) -> list[T]:
        """Return all, and let none wait any more."""
        left = [picture for waiting in self._shapes.values() for _, picture in waiting]
        self._shapes.clear()
        return left


class PixelBudget:
    """How many pixels may be under way at a time; a picture of more is so alone.

    Args:
        pixels: how many.
        pictures: how many pictures at the most, however small.
    """

    def __init__(self, pixels: int, pictures: int) -> None:
        self.pixels = pixels
        self._least = pixels // pictures
        self._free = pixels
        self._turn = threading.Lock()
        self._changed = threading.Condition()

    def take(self, pixels: int, stopped: threading.Event) -> int:
        """Wait until there is room for a picture, or all has stopped, and return how much was taken."""
        wanted = min(max(pixels, self._least), self.pixels)
        # One after the other: small ones would keep a large one waiting for ever.
        with self._turn, self._changed:
            self._changed.wait_for(lambda: self._free >= wanted or stopped.is_set())
            self._free -= wanted
        return wanted

    def give(self, taken: int) -> None:
        """Give back what was taken."""
        with self._changed:
            self._free += taken
            self._changed.notify_all()

    def wake(self) -> None:
        """Let those go on who wait for what has stopped."""
        with self._changed:
            self._changed.notify_all()
