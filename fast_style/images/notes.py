"""What there is to say of a picture that is read, such as what its copy cannot keep: once of each kind."""

import logging
import threading
from collections.abc import Iterable

from PIL import Image

# Of Pillow's `info`, which goes along with an image.
_KEY = "notes of fast_style"
_log = logging.getLogger(__name__)
_told: set[str] = set()
_lock = threading.Lock()


def notes_of(image: Image.Image) -> list[str]:
    """Return what there is to say of an image, to be added to."""
    notes: list[str] = image.info.setdefault(_KEY, [])
    return notes


def tell(name: str, notes: Iterable[str]) -> None:
    """Log what there is to say of a picture, unless it has been said of another one."""
    for note in notes:
        with _lock:
            known = note in _told
            _told.add(note)
        if not known:
            _log.warning("%s: %s", name, note)
