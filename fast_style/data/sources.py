"""Where content pictures lie: a folder of any depth, a .zip or an uncompressed .tar, read in place.

Nothing is ever unpacked to disk, and no member of an archive leads out of it.
"""

import io
import math
import os
import re
import stat
import tarfile
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from fast_style.errors import DataError, ImageError
from fast_style.images.picture import BinaryFile
from fast_style.untrusted import MAX_BYTES, open_regular

_TAR_HEADER_BYTES = 2**20  # The longest path has 4 KB.
# gzip, bzip2, xz, Zstandard
_COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd")


class Source(Protocol):
    """The files of a folder or an archive, under names with forward slashes."""

    @property
    def refused(self) -> Mapping[str, str]:
        """What is never read, by name, with the reason."""

    def names(self) -> Iterable[str]:
        """Return the name of each file, once and in no particular order; names need not be valid Unicode."""

    def open(self, name: str) -> BinaryFile:
        """Open a file to read.

        Raises:
            ImageError: if it is refused, gone, no regular file, above MAX_BYTES, or cannot be read.
        """


def open_source(path: str | Path) -> Source:
    """List what a folder or an archive holds.

    Of files of one name in an archive the last counts, as it would for one who unpacks it.

    Raises:
        DataError: if it is missing, damaged, or compressed as a whole.
    """
    path, shown = Path(path), printable(str(path))
    try:
        if path.is_dir():
            return _Folder(path)
        with open_regular(path, math.inf) as file:
            magic = file.read(6)
        # By its name first: the last member of a tar may be a zip.
        if path.suffix.lower() == ".zip" or (path.suffix.lower() != ".tar" and zipfile.is_zipfile(path)):
            return Zip(path)
        if magic.startswith(_COMPRESSED):
            raise DataError(f"{shown}: pictures cannot be read in place from a compressed tar; uncompress it first")
        return _Tar(path)
    except DataError:
        raise
    except FileNotFoundError as error:
        raise DataError(f"{shown}: there is no such folder or archive; check the path") from error
    except OSError as error:
        raise DataError(f"{shown}: cannot be read ({_reason(error)}); check its permissions") from error
    except Exception as error:  # Any: on damaged archives, their readers raise whatever comes up.
        reason = _reason(error)
        raise DataError(f"{shown}: neither a folder nor a whole .zip or .tar ({reason}); download it again") from error


def printable(text: str) -> str:
    r"""The text on one line that any terminal and file can take: `\n`, `\x1b`, `\udcff` for what is not printable."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


class _Folder:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.refused: dict[str, str] = {}
        self._names: list[str] = []
        seen, pending = set(), [("", os.path.realpath(path))]
        while pending:
            folder, real = pending.pop()
            if real in seen:  # A link may lead back to a folder above it.
                continue
            seen.add(real)
            try:
                with os.scandir(os.path.join(path, folder)) as scan:
                    entries = sorted(scan, key=lambda entry: entry.name)
            except OSError as error:
                if not folder:
                    raise
                self.refused[folder] = f"the folder cannot be listed ({_reason(error)})"
                continue
            self._names += [folder + entry.name for entry in entries if not _is_folder(entry)]
            # The last is the next; where two links lead to one folder, the first is to be the one that counts.
            for entry in filter(_is_folder, reversed(entries)):
                inner = os.path.realpath(entry) if entry.is_symlink() else os.path.join(real, entry.name)
                pending.append((f"{folder}{entry.name}/", inner))

    def names(self) -> Iterable[str]:
        return self._names

    def open(self, name: str) -> BinaryFile:
        try:
            return open_regular(self.path / name)
        except (OSError, ValueError) as error:
            raise ImageError(f"{printable(name)}: cannot be opened ({_reason(error)})") from error


class Zip:
    """A zip as a source."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._opened: tuple[int, zipfile.ZipFile] | None = None
        self.comment = self._archive().comment
        self.refused: dict[str, str] = {}
        self._names: list[str] = []
        for name, member in self._archive().NameToInfo.items():
            if reason := _refusal(member):
                self.refused[name] = reason
            elif not member.is_dir():
                self._names.append(name)

    def names(self) -> Iterable[str]:
        """Return the name of each file."""
        return self._names

    def open(self, name: str) -> BinaryFile:
        """Open a file to read, its checksum compared."""
        try:
            member = self._archive().getinfo(name)
            if reason := _refusal(member):
                raise ValueError(reason)
            with self._archive().open(member) as file:
                # To its declared end, where its checksum is compared, and no further: read() alone has no bound.
                return io.BytesIO(file.read(member.file_size))
        except Exception as error:  # Any: on damaged members, decompressors raise whatever comes up.
            raise ImageError(f"{printable(name)}: cannot be unpacked ({_reason(error)})") from error

    def places(self) -> dict[str, tuple[int, int]]:
        """Return where the header of each file begins and how long the file is, of all that are not compressed."""
        members = map(self._archive().getinfo, self._names)
        return {m.filename: (m.header_offset, m.file_size) for m in members if m.compress_type == zipfile.ZIP_STORED}

    def _archive(self) -> zipfile.ZipFile:
        # Processes that share an open file share its position too: each opens its own.
        if self._opened is None or self._opened[0] != os.getpid():
            self._opened = os.getpid(), zipfile.ZipFile(self.path)
        return self._opened[1]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": None}


class _Tar:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.refused: dict[str, str] = {}
        self._places: dict[str, tuple[int, int]] = {}
        with _HeaderReader(io.FileIO(path)) as file, tarfile.open(fileobj=file, mode="r:") as archive:
            end = -1
            while (member := archive.next()) is not None:
                archive.members.clear()  # type: ignore[attr-defined]  # It would keep all it knows of each.
                if archive.offset <= end:
                    raise tarfile.ReadError("its members lead backwards")
                end = archive.offset
                # An earlier version of this name no longer counts.
                self.refused.pop(member.name, None)
                self._places.pop(member.name, None)
                if reason := _refusal(member):
                    self.refused[member.name] = reason
                elif not member.isdir():
                    self._places[member.name] = member.offset_data, member.size
            # The module takes damage between two members for the end.
            file.seek(archive.offset)
            if file.read(tarfile.BLOCKSIZE).strip(b"\0"):
                raise tarfile.ReadError(f"damaged at byte {archive.offset}")

    def names(self) -> Iterable[str]:
        return self._places

    def open(self, name: str) -> BinaryFile:
        if name in self.refused:
            raise ImageError(f"{printable(name)}: cannot be unpacked ({self.refused[name]})")
        try:
            offset, length = self._places[name]
            with open_regular(self.path, math.inf) as file:
                file.seek(offset)
                return io.BytesIO(file.read(length))
        except (OSError, KeyError) as error:
            raise ImageError(f"{printable(name)}: cannot be unpacked ({_reason(error)})") from error


class _HeaderReader(io.BufferedReader):
    """Reads no more at once than a header can have: a file can claim any length for one."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or not 0 <= size <= _TAR_HEADER_BYTES:
            raise tarfile.ReadError("a header of absurd length")
        return super().read(size)


def _refusal(member: zipfile.ZipInfo | tarfile.TarInfo) -> str | None:
    """Why a member of an archive is never read, or None."""
    if isinstance(member, zipfile.ZipInfo):
        name, size = member.filename, member.file_size
        kind = stat.S_IFMT(member.external_attr >> 16)  # nothing where the archive was not made on Unix
        link, other = kind == stat.S_IFLNK, kind not in (0, stat.S_IFREG, stat.S_IFDIR)
    else:
        name, size = member.name, member.size
        link, other = member.issym() or member.islnk(), member.issparse() or not (member.isreg() or member.isdir())
    if ".." in re.split(r"[/\\]", name):
        return "its name leads out of the archive"
    if re.match(r"[/\\]|[A-Za-z]:", name):
        return "its name is an absolute path"
    if link:
        return "a link"
    if other:
        return "no regular file"
    if not 0 <= size <= MAX_BYTES:
        return f"it claims {size:,} bytes, and a picture has at most {MAX_BYTES:,}"
    if isinstance(member, zipfile.ZipInfo) and member.flag_bits & 0x1:
        return "encrypted"
    # What Python's readers of the other methods unpack at once has no bound.
    if isinstance(member, zipfile.ZipInfo) and member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return "neither stored nor deflated"
    return None


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself, for one
        return False


def _reason(error: Exception) -> str:
    text = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
    return printable(text)
