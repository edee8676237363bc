"""A slot that passes the newest item between two threads."""

import threading
from typing import Generic, TypeVar

T = TypeVar("T")


class Latest(Generic[T]):
    """Holds the newest item until it is taken or replaced. Thread-safe."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._item: T | None = None
        self._error: BaseException | None = None
        self._closed = False

    def put(self, item: T) -> None:
        """Put an item in; one that was not taken is lost."""
        with self._changed:
            self._item = item
            self._changed.notify()

    def close(self, error: BaseException | None = None) -> None:
        """Close the slot: no more items follow.

        Args:
            error: raised by `take` after the last item.
        """
        with self._changed:
            self._closed, self._error = True, error
            self._changed.notify_all()

    def take(self, seconds: float) -> T | None:
        """Take the item; None if none comes within `seconds`, or the slot is closed.

        Raises:
            BaseException: the error given to `close`.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._item is not None or self._closed, seconds)
            item, self._item = self._item, None
            if item is None and self._error is not None:
                raise self._error
            return item

    @property
    def ended(self) -> bool:
        """Whether the slot is closed, without an item or an error left to take."""
        with self._changed:
            return self._closed and self._item is None and self._error is None
