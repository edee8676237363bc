"""Limits for images that may come from anyone: their pixels and bytes, regular files only, Pillow's settings."""

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

#: Larger pictures are refused unread. The largest phone cameras have 200 megapixels, 600 MB once decoded,
#: and a few kilobytes can claim any size.
MAX_PIXELS = 200_000_000
#: Larger files are not read: once decoded, MAX_PIXELS take as much; some decoders read a file whole.
MAX_BYTES = 3 * MAX_PIXELS

_lock = threading.Lock()
_settings = contextlib.ExitStack()
_inside = 0


@contextlib.contextmanager
def pillow_limits() -> Iterator[None]:
    """Pillow without warnings, but with MAX_PIXELS.

    Both are settings of the process: of several threads the first makes them, and the last puts back what was there.
    """
    global _inside
    _quiet_decoders()
    with _lock:
        if _inside == 0:
            _settings.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")
            _settings.callback(setattr, Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)
            Image.MAX_IMAGE_PIXELS = MAX_PIXELS // 2  # It refuses above twice this.
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                _settings.close()


def open_regular_file(path: str | Path, max_bytes: float = MAX_BYTES) -> io.BufferedReader:
    """Open a file to read, if it is one: a pipe would be waited for, and a device need not end.

    Raises:
        OSError: if it is missing, may not be read, is no regular file, or has more than `max_bytes`.
    """
    flags = sum(getattr(os, name, 0) for name in ("O_RDONLY", "O_NONBLOCK", "O_NOCTTY", "O_BINARY"))
    descriptor = os.open(path, flags)
    # Asked of the open file, the answer cannot change before it is read.
    found = os.fstat(descriptor)
    if stat.S_ISREG(found.st_mode) and found.st_size <= max_bytes:
        return open(descriptor, "rb")
    os.close(descriptor)
    if stat.S_ISREG(found.st_mode):
        raise OSError(f"{found.st_size:,} bytes, and a picture has at most {max_bytes:,}")
    raise OSError("a folder" if stat.S_ISDIR(found.st_mode) else "no regular file")


@functools.cache
def _quiet_decoders() -> None:
    """Keep decoders from saying on standard error, or to the program's log, what their exceptions say anyway."""
    import ctypes

    from PIL import _imaging

    # Where libtiff is no library of its own, it prints.
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(_imaging.__file__).TIFFSetErrorHandler(None)
    for name in ("PIL", "imagecodecs", "tifffile"):
        logging.getLogger(name).addHandler(logging.NullHandler())
    for name in ("imagecodecs", "tifffile"):
        logging.getLogger(name).propagate = False
