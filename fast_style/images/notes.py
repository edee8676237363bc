"""What there is to say of a picture that is read, such as what its copy cannot keep: once of each kind."""

import contextlib
import logging
import threading
from collections.abc import Iterable, Iterator
from contextvars import ContextVar

from PIL import Image

# Of Pillow's `info`, which goes along with an image.
_KEY = "notes of fast_style"
_log = logging.getLogger(__name__)
_told: set[str] = set()
_lock = threading.Lock()
_gathered: ContextVar[list[str] | None] = ContextVar("_gathered", default=None)


def notes_of(image: Image.Image) -> list[str]:
    """Return what there is to say of an image, to be added to."""
    notes: list[str] = image.info.setdefault(_KEY, [])
    return notes


@contextlib.contextmanager
def gathered() -> Iterator[list[str]]:
    """Give a list that gets what `tell` is called with, in this thread, for a report: it is not logged then."""
    notes: list[str] = []
    token = _gathered.set(notes)
    try:
        yield notes
    finally:
        _gathered.reset(token)


def tell(name: str, notes: Iterable[str]) -> None:
    """Log what there is to say of a picture, unless it has been said of another one."""
    if (wanted := _gathered.get()) is not None:
        wanted[:] = dict.fromkeys([*wanted, *notes])
        return
    for note in notes:
        with _lock:
            known = note in _told
            _told.add(note)
        if not known:
            _log.warning("%s: %s", name, note)
