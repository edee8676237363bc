"""File locks between processes: only one process writes a file."""

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

# Age in seconds from which a lock file may be left by a killed process.
_STALE = 3600


@contextmanager
def locked_part_file(path: Path) -> Iterator[Path]:
    """Lock a file for this process, and yield its path plus ".part", to write to until it is complete.

    The block must rename or remove the part; otherwise it remains, so that a later run can continue it.

    Raises:
        DataError: if another process has the lock.
        OSError: if the folder cannot be written to.
    """
    part = path.with_name(append_to_name(path.name, ".part"))
    # Without a lock, two processes would write to the same file, even after the first has renamed it.
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
    """Locks on many files, for processes that share one list of jobs.

    The system releases the locks of a killed process. On file systems without locks, every process gets every lock.
    """

    def __init__(self) -> None:
        self._held: dict[Path, FileLock] = {}
        self._mutex = threading.Lock()

    def take(self, path: Path) -> bool:
        """Lock a file in an existing folder; return False if another process has it."""
        # A hash keeps the name short. Not thread-local, so that any thread may release it.
        name = blake2b(os.fsencode(path.name), digest_size=8).hexdigest()
        lock = FileLock(path.with_name(f".{name}.lock"), thread_local=False)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return False
        except (OSError, NotImplementedError):
            return True
        with self._mutex:
            self._held[path] = lock
        return True

    def give(self, path: Path) -> None:
        """Release a file, if this process has locked it."""
        with self._mutex:
            lock = self._held.pop(path, None)
        if lock is not None:
            _release(lock)


def remove_stale_locks(folder: Path) -> None:
    """Remove the lock files that killed processes left in a folder."""
    for file in folder.glob(f".{'[0-9a-f]' * 16}.lock"):
        # A process may hold it by now.
        with contextlib.suppress(OSError, NotImplementedError, Timeout):
            if time.time() - file.stat().st_mtime >= _STALE:
                lock = FileLock(file)
                lock.acquire(timeout=0)
                _release(lock)


def _release(lock: FileLock) -> None:
    # Removed while it is held: a process that has opened it meanwhile notices and creates a new one.
    with contextlib.suppress(OSError):
        os.unlink(lock.lock_file)
    lock.release()
