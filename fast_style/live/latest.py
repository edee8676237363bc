"""A slot for the newest item between two threads; an item that is not taken in time is replaced."""

import threading
from typing import Generic, TypeVar

T = TypeVar("T")


class Latest(Generic[T]):
    """Holds the newest of what is put into it until it is taken, or replaced by a newer one. Any thread may call it."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._item: T | None = None
        self._error: BaseException | None = None
        self._closed = False

    def put(self, item: T) -> None:
        """Put something in; what is there, and was not taken, is lost."""
        with self._changed:
            self._item = item
            self._changed.notify()

    def close(self, error: BaseException | None = None) -> None:
        """Let nothing more come.

        Args:
            error: what `take` is to raise once the last item has been taken.
        """
        with self._changed:
            self._closed, self._error = True, error
            self._changed.notify_all()

    def take(self, seconds: float) -> T | None:
        """Take what is there, once; None if nothing comes within some seconds, or will come.

        Raises:
            BaseException: what it was closed with.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._item is not None or self._closed, seconds)
            item, self._item = self._item, None
            if item is None and self._error is not None:
                raise self._error
            return item

    @property
    def ended(self) -> bool:
        """Whether there is nothing more to take, nor an error to be heard of."""
        with self._changed:
            return self._closed and self._item is None and self._error is None
