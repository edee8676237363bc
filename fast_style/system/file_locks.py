"""Who writes which file: large ones that grow for hours under a name of their own, and many that several make."""

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path

from filelock import FileLock, Timeout

from fast_style.errors import DataError
from fast_style.system.files import append_to_name

# What is older, in seconds, may have been left by a process that was killed.
_STALE = 3600


@contextmanager
def locked_part_file(path: Path) -> Iterator[Path]:
    """Yield the name under which `path` may grow, with .part behind it, for this process alone.

    What stands under that name stays when the block ends, however it ends: it is the block's to use again or to remove.

    Raises:
        DataError: if another process is at it.
        OSError: if the folder cannot be written to.
    """
    part = path.with_name(append_to_name(path.name, ".part"))
    # Two processes would write into one another's file, even after the first has given it its real name.
    lock = FileLock(part.with_name(append_to_name(part.name, ".lock")))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise DataError(f"{path}: another process is writing it; wait until that has ended") from None
    try:
        yield part
    finally:
        _release(lock)


class FileLocks:
    """Which of many files this process alone may make, of several that have the same to do.

    The system gives back what a process held that was killed. Where it knows no locks, each process may make all.
    """

    def __init__(self) -> None:
        self._held: dict[Path, FileLock] = {}
        self._turn = threading.Lock()

    def take(self, path: Path) -> bool:
        """Return whether this process may make a file, in a folder that is there: no other is at it."""
        # Any thread may give it back. The name is short, however long that of the file is.
        name = blake2b(os.fsencode(path.name), digest_size=8).hexdigest()
        lock = FileLock(path.with_name(f".{name}.lock"), thread_local=False)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return False
        except (OSError, NotImplementedError):
            return True
        with self._turn:
            self._held[path] = lock
        return True

    def give(self, path: Path) -> None:
        """Let others make a file, if this process might."""
        with self._turn:
            lock = self._held.pop(path, None)
        if lock is not None:
            _release(lock)


def remove_stale_locks(folder: Path) -> None:
    """Remove what was left in a folder by processes that were killed while they held claims."""
    for file in folder.glob(f".{'[0-9a-f]' * 16}.lock"):
        # Also of one that is held.
        with contextlib.suppress(OSError, NotImplementedError, Timeout):
            if time.time() - file.stat().st_mtime >= _STALE:
                lock = FileLock(file)
                lock.acquire(timeout=0)
                _release(lock)


def _release(lock: FileLock) -> None:
    # Removed while it is held: who opened it in the meantime notices, and makes a new one.
    with contextlib.suppress(OSError):
        os.unlink(lock.lock_file)
    lock.release()
