"""Atomic writes and names of files: a file is there whole or not at all, whenever the program or the machine stops."""

import contextlib
import errno
import io
import os
import re
import secrets
import time
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path, PurePath
from typing import IO, BinaryIO, TypeAlias

#: A file that is open to read bytes from, or bytes in memory like one.
BinaryFile: TypeAlias = IO[bytes] | io.BytesIO

#: The error numbers of a full disk.
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)

_PART = ".part"
# Not a drive of Windows; and what pathlib makes of a URL has one slash less.
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/|data:")
_OURS = re.compile(r"\.[0-9a-f]{16}\.part")
#: The longest name that file systems take, in bytes.
_LONGEST_NAME = 255
_DIGITS = re.compile(r"\d+")


@contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """Open a file for writing that replaces `path` when the block ends without an error.

    Until then the older file of that name stays as it was. The new one is written beside it, not to $TMPDIR: only
    within one file system does a renaming replace a file in one step.

    Raises:
        OSError: if the folder is missing, the disk is full, or the like.
    """
    part = temporary_path(path)
    try:
        with open(part, "xb") as file:
            yield file
        replace_file(part, path)
    finally:
        with contextlib.suppress(OSError):
            part.unlink()


def temporary_path(path: Path) -> Path:
    """Return a unique hidden name beside a file that is to be written. See `remove_leftovers`."""
    return path.with_name(f".{secrets.token_hex(8)}{_PART}")


def append_to_name(name: str, ending: str) -> str:
    """Append to a name; one too long for file systems is cut and given a hash, so that it stays unique."""
    whole = os.fsencode(name)
    if len(whole) + len(os.fsencode(ending)) <= _LONGEST_NAME:
        return name + ending
    ending = f"~{blake2b(whole, digest_size=4).hexdigest()}{ending}"
    # Not in the middle of a character.
    return whole[: _LONGEST_NAME - len(os.fsencode(ending))].decode(errors="ignore") + ending


def natural_sort_key(name: str | PurePath) -> tuple[tuple[str, str], ...]:
    """Return the key of natural order: digits sort by their value, so that frame9 comes before frame10.

    Each folder of a path is compared by itself. Names that differ in leading zeros only sort by their characters.
    """
    parts = name.parts if isinstance(name, PurePath) else name.split("/")
    return tuple((_DIGITS.sub(_by_value, part), part) for part in parts)


def _by_value(digits: re.Match[str]) -> str:
    # Not int(), which refuses thousands of digits, as names in archives can have. More digits are more.
    value = "".join(str(unicodedata.decimal(digit)) for digit in digits[0]).lstrip("0")
    return f"0{chr(len(value))}{value}"


def replace_file(part: Path, path: Path) -> None:
    """Rename a finished file to `path`, replacing what is there, in one step that survives a power cut.

    Raises:
        OSError: if the disk is full, or the like.
    """
    # First the bytes, then the name: after a power cut the name must not stand for an empty file.
    with open(part, "r+b") as file:
        os.fsync(file.fileno())
    os.replace(part, path)
    _sync_folder(path.parent)


def atomic_copy(source: Path, path: Path) -> None:
    """Copy a file to a free name in one step: of several programs that want one name, one gets it.

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


def remove_leftovers(folder: Path, older_than: float = 0.0) -> None:
    """Remove the temporary files of killed programs from a folder, if older than some seconds."""
    for part in folder.glob(f".*{_PART}"):
        with contextlib.suppress(OSError):
            if _OURS.fullmatch(part.name) and time.time() - part.stat().st_mtime >= older_than:
                part.unlink()


def is_url(name: str) -> bool:
    """Return whether a path is a URL, and not the name of an existing file."""
    return _URL.match(name) is not None and not os.path.exists(name)


def explain_url(url: str, written: bool = False) -> str:
    """Return the message for a URL that was given in the place of a file to read, or to write."""
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
