"""Atomic file writes, which survive crashes and power cuts, and file names."""

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

#: A binary file open for reading, on disk or in memory.
BinaryFile: TypeAlias = IO[bytes] | io.BytesIO

#: The error numbers of a full disk.
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)

_PART = ".part"
# At least two letters, to exclude Windows drives; one slash, since pathlib removes the other from a URL.
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/|data:")
_TEMPORARY = re.compile(r"\.[0-9a-f]{16}\.part")
#: The longest file name that file systems allow, in bytes.
_LONGEST_NAME = 255
_DIGITS = re.compile(r"\d+")


@contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file for writing that replaces `path` when the block ends without an error.

    It is in the same folder, not in $TMPDIR: renaming is atomic only within one file system.

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
    """Return a unique hidden path in the same folder. See `remove_leftovers`."""
    return path.with_name(f".{secrets.token_hex(8)}{_PART}")


def append_to_name(name: str, ending: str) -> str:
    """Append to a file name; one too long for file systems is truncated and gets a hash, so that it stays unique."""
    whole = os.fsencode(name)
    if len(whole) + len(os.fsencode(ending)) <= _LONGEST_NAME:
        return name + ending
    ending = f"~{blake2b(whole, digest_size=4).hexdigest()}{ending}"
    # errors="ignore" drops a character that is cut in the middle.
    return whole[: _LONGEST_NAME - len(os.fsencode(ending))].decode(errors="ignore") + ending


def natural_sort_key(name: str | PurePath) -> tuple[tuple[str, str], ...]:
    """Return a sort key for natural order: numbers sort by value, so that frame9 comes before frame10.

    The parts of a path are compared one by one. Names that differ only in leading zeros sort by their characters.
    """
    parts = name.parts if isinstance(name, PurePath) else name.split("/")
    return tuple((_DIGITS.sub(_by_value, part), part) for part in parts)


def _by_value(digits: re.Match[str]) -> str:
    # Not int(), which rejects numbers of thousands of digits, possible in archives. More digits sort as larger.
    value = "".join(str(unicodedata.decimal(digit)) for digit in digits[0]).lstrip("0")
    return f"0{chr(len(value))}{value}"


def replace_file(part: Path, path: Path) -> None:
    """Rename a finished file to `path` atomically, replacing an existing file; survives a power cut.

    Raises:
        OSError: if the disk is full, or the like.
    """
    # Sync the content before renaming: after a power cut the file could otherwise be empty.
    with open(part, "r+b") as file:
        os.fsync(file.fileno())
    os.replace(part, path)
    _sync_folder(path.parent)


def atomic_copy(source: Path, path: Path) -> None:
    """Copy a file atomically to a path that does not exist; of several competing programs, one succeeds.

    Raises:
        FileExistsError: if `path` exists; it is unchanged.
        OSError: if the folder is missing, the disk is full, or the like.
    """
    part = temporary_path(path)
    try:
        with open(part, "xb") as file:
            file.write(source.read_bytes())
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(part, path)
        except FileExistsError:
            raise
        except OSError:  # Not every file system has links: create an empty file first, to reserve the name.
            with open(path, "xb"):
                pass
            os.replace(part, path)
        _sync_folder(path.parent)
    finally:
        with contextlib.suppress(OSError):
            part.unlink()


def remove_leftovers(folder: Path, older_than: float = 0.0) -> None:
    """Remove the temporary files of killed programs from a folder, if at least `older_than` seconds old."""
    for part in folder.glob(f".*{_PART}"):
        with contextlib.suppress(OSError):
            if _TEMPORARY.fullmatch(part.name) and time.time() - part.stat().st_mtime >= older_than:
                part.unlink()


def is_url(name: str) -> bool:
    """Return whether a path looks like a URL and is not an existing file."""
    return _URL.match(name) is not None and not os.path.exists(name)


def explain_url(url: str, written: bool = False) -> str:
    """Return the error message for a URL given instead of a file.

    Args:
        url: the URL.
        written: whether the file was to be written, not read.
    """
    if url.startswith("file:"):
        return f"{url} is a URL; give the path alone, {re.sub('^file:/*(localhost/)?', '/', url)}"
    short = url if len(url) <= 200 else f"{url[:60]}..."
    remedy = "give a file, and upload that" if written else "download it first, and give the file"
    return f"{short} is a URL, and only files are {'written' if written else 'read'} here; {remedy}"


def _sync_folder(folder: Path) -> None:
    # Some systems cannot open a folder, some file systems cannot sync one.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
