"""Files that are there whole or not at all, whenever the program or the machine stops."""

import contextlib
import errno
import os
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

#: What the system says when there is no more room.
FULL = (errno.ENOSPC, errno.EDQUOT)

_PART = ".part"
# Not a drive of Windows; and what pathlib makes of a URL has one slash less.
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/|data:")
_OURS = re.compile(r"\.[0-9a-f]{16}\.part")


@contextmanager
def written_whole(path: Path) -> Iterator[BinaryIO]:
    """Open a file for writing that takes the place of `path` when the block has ended well.

    Until then, and for ever if it does not, the older file of that name stays as it was. What is written goes
    beside it, not to $TMPDIR: only within one file system does a renaming replace a file in one step.

    Raises:
        OSError: if the folder is missing, the disk is full, or the like.
    """
    part = path.with_name(f".{secrets.token_hex(8)}{_PART}")
    try:
        with open(part, "xb") as file:
            yield file
        take_place(part, path)
    finally:
        with contextlib.suppress(OSError):
            part.unlink()


def take_place(part: Path, path: Path) -> None:
    """Give a whole file the name of another beside it, in one step.

    Raises:
        OSError: if the disk is full, or the like.
    """
    # First the bytes, then the name: after a power cut the name must not stand for an empty file.
    with open(part, "r+b") as file:
        os.fsync(file.fileno())
    os.replace(part, path)
    _sync_folder(path.parent)


def copied_whole(source: Path, path: Path) -> None:
    """Copy a file to a name that no file has, in one step: of several programs that ask for one name, one gets it.

    Raises:
        FileExistsError: if there is a file of that name, which stays as it is.
        OSError: if the folder is missing, the disk is full, or the like.
    """
    part = path.with_name(f".{secrets.token_hex(8)}{_PART}")
    try:
        with open(part, "xb") as file:
            file.write(source.read_bytes())
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(part, path)
        except FileExistsError:
            raise
        except OSError:  # Not every file system has links. Then the name is taken first, and empty for a moment.
            with open(path, "xb"):
                pass
            os.replace(part, path)
        _sync_folder(path.parent)
    finally:
        with contextlib.suppress(OSError):
            part.unlink()


def sweep(folder: Path, older_than: float = 0.0) -> None:
    """Remove what was left in a folder by programs that were killed while they wrote, if older than some seconds."""
    for part in folder.glob(f".*{_PART}"):
        with contextlib.suppress(OSError):
            if _OURS.fullmatch(part.name) and time.time() - part.stat().st_mtime >= older_than:
                part.unlink()


def is_url(name: str) -> bool:
    """Return whether something that is to name a file is a URL, and no file that is called so."""
    return _URL.match(name) is not None and not os.path.exists(name)


def what_of_url(url: str, written: bool = False) -> str:
    """Return what to tell a person who has given a URL in the place of a file that is read, or else written."""
    if url.startswith("file:"):
        return f"{url} is a URL; give the path alone, {re.sub('^file:/*(localhost/)?', '/', url)}"
    short = url if len(url) <= 200 else f"{url[:60]}..."
    remedy = "give a file, and upload that" if written else "download it first, and give the file"
    return f"{short} is a URL, and only files are {'written' if written else 'read'} here; {remedy}"


def _sync_folder(folder: Path) -> None:
    # Not every system can open a folder, and not every file system can write one out.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
