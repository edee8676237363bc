"""Notes on images read, such as what a copy cannot keep; each is logged once per process."""

import contextlib
import logging
import threading
from collections.abc import Iterable, Iterator
from contextvars import ContextVar

from PIL import Image

# Key in Pillow's `info`, which is copied with an image.
_KEY = "notes of fast_style"
_log = logging.getLogger(__name__)
_told: set[str] = set()
_lock = threading.Lock()
_gathered: ContextVar[list[str] | None] = ContextVar("_gathered", default=None)


def notes_of(image: Image.Image) -> list[str]:
    """Return the list of notes on an image, for appending."""
    notes: list[str] = image.info.setdefault(_KEY, [])
    return notes


@contextlib.contextmanager
def gathered() -> Iterator[list[str]]:
    """Collect the notes of `tell` from this thread in a list, for a report, instead of logging them."""
    notes: list[str] = []
    token = _gathered.set(notes)
    try:
        yield notes
    finally:
        _gathered.reset(token)


def tell(name: str, notes: Iterable[str]) -> None:
    """Log notes on an image, except those already logged for another one."""
    if (collected := _gathered.get()) is not None:
        collected[:] = dict.fromkeys([*collected, *notes])
        return
    for note in notes:
        with _lock:
            known = note in _told
            _told.add(note)
        if not known:
            _log.warning("%s: %s", name, note)
