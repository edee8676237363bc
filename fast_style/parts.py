"""Large files that grow for minutes or hours under a name of their own, and take the real one when they are whole."""

import contextlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from fast_style.errors import DataError


@contextmanager
def claimed(path: Path) -> Iterator[Path]:
    """Yield the name under which `path` may grow, with .part behind it, for this process alone.

    What stands under that name stays when the block ends, however it ends: it is the block's to use again or to remove.

    Raises:
        DataError: if another process is at it.
        OSError: if the folder cannot be written to.
    """
    part = path.with_name(f"{path.name}.part")
    # Two processes would write into one another's file, even after the first has given it its real name.
    lock = FileLock(f"{part}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise DataError(f"{path}: another process is writing it; wait until that has ended") from None
    try:
        yield part
    finally:
        # Removed while it is held: who opened it in the meantime notices, and makes a new one.
        with contextlib.suppress(OSError):
            os.unlink(lock.lock_file)
        lock.release()
