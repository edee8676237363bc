"""Limits for untrusted images: pixels, bytes, regular files only, and Pillow's settings."""

import contextlib
import functools
import io
import logging
import os
import stat
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

#: Larger pictures are refused undecoded: a small file can claim any size. The largest phone cameras have 200 MP.
MAX_PIXELS = 200_000_000
#: Larger files are not read, since some decoders read a file at once. Equals MAX_PIXELS once decoded (600 MB).
MAX_BYTES = 3 * MAX_PIXELS

_lock = threading.Lock()
_settings = contextlib.ExitStack()
_inside = 0


@contextlib.contextmanager
def pillow_limits() -> Iterator[None]:
    """Set Pillow's limit to MAX_PIXELS and silence its warnings.

    Both settings are global: of several threads, the first sets them and the last restores them.
    """
    global _inside
    _quiet_decoders()
    with _lock:
        if _inside == 0:
            _settings.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")
            _settings.callback(setattr, Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)
            Image.MAX_IMAGE_PIXELS = MAX_PIXELS // 2  # Pillow raises above twice this.
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                _settings.close()


def open_regular_file(path: str | Path, max_bytes: float = MAX_BYTES) -> io.BufferedReader:
    """Open a regular file for reading; a pipe would block, and a device may be endless.

    Raises:
        OSError: if the file is missing, unreadable, not regular, or larger than `max_bytes`.
    """
    flags = sum(getattr(os, name, 0) for name in ("O_RDONLY", "O_NONBLOCK", "O_NOCTTY", "O_BINARY"))
    descriptor = os.open(path, flags)
    # fstat of the open file, which cannot be replaced meanwhile.
    found = os.fstat(descriptor)
    if stat.S_ISREG(found.st_mode) and found.st_size <= max_bytes:
        return open(descriptor, "rb")
    os.close(descriptor)
    if stat.S_ISREG(found.st_mode):
        raise OSError(f"{found.st_size:,} bytes, and a picture has at most {max_bytes:,}")
    raise OSError("a folder" if stat.S_ISDIR(found.st_mode) else "no regular file")


@functools.cache
def _quiet_decoders() -> None:
    """Silence decoders that print or log what their exceptions say anyway."""
    import ctypes

    from PIL import _imaging

    # A libtiff that is linked into Pillow prints to standard error.
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(_imaging.__file__).TIFFSetErrorHandler(None)
    for name in ("PIL", "imagecodecs", "tifffile"):
        logging.getLogger(name).addHandler(logging.NullHandler())
    for name in ("imagecodecs", "tifffile"):
        logging.getLogger(name).propagate = False
