"""What there is to say of a picture that is read, such as what its copy cannot keep: once of each kind."""

import sys
import threading
from collections.abc import Iterable

from PIL import Image

# Of Pillow's `info`, which goes along with an image.
_KEY = "notes of fast_style"
_told: set[str] = set()
_lock = threading.Lock()


def notes_of(image: Image.Image) -> list[str]:
    """Return what there is to say of an image, to be added to."""
    notes: list[str] = image.info.setdefault(_KEY, [])
    return notes


def tell(name: str, notes: Iterable[str]) -> None:
    """Say on standard error what there is to say of a picture, unless it has been said of another one.

    No warning: whoever reads another picture at the time has them off.
    """
    for note in notes:
        with _lock:
            known = note in _told
            _told.add(note)
        if not known:
            print(f"{name}: {note}", file=sys.stderr, flush=True)
