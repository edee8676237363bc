"""Folders, zip and tar files as lists of files, read in place.

Nothing is unpacked to disk, and members whose path leads out of the archive are refused.
"""

import bz2
import gzip
import io
import lzma
import math
import os
import re
import stat
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from fast_style.errors import DataError, ImageError
from fast_style.system.files import BinaryFile
from fast_style.system.input_limits import MAX_BYTES, open_regular_file
from fast_style.system.text import printable, reason_of

_ZSTANDARD = b"\x28\xb5\x2f\xfd"
#: Functions that open compressed files, by the files' first bytes.
DECOMPRESSORS: Mapping[bytes, Callable[[Any], Any]] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}
_HEADER_BYTES = 2**20  # ample: the longest path has 4 KB


class Archive(Protocol):
    """The files of a folder or an archive, by names with forward slashes."""

    @property
    def refused(self) -> Mapping[str, str]:
        """Files that are never read, such as links and encrypted members: name to reason."""

    def names(self) -> Iterable[str]:
        """Return the name of each file, once, in any order; names may be invalid Unicode."""

    def open(self, name: str) -> BinaryFile:
        """Open a file for reading.

        Raises:
            ImageError: if the file is refused, missing, not regular, above MAX_BYTES, or unreadable.
        """


def open_archive(path: str | Path, compressed: bool = False) -> Archive:
    """Open a folder, a zip or a tar, and list its files.

    Of several members with one name, the last counts, as when unpacking.

    Args:
        path: the folder or archive.
        compressed: whether a compressed tar is accepted; it is fast only in the order of its members.

    Raises:
        DataError: if it is missing, damaged, or a compressed tar that is not accepted.
    """
    path, shown = Path(path), printable(str(path))
    try:
        if path.is_dir():
            return _Folder(path)
        with open_regular_file(path, math.inf) as file:
            magic = file.read(6)
        # The suffix decides first: is_zipfile also accepts a tar that ends with a zip.
        if path.suffix.lower() == ".zip" or (path.suffix.lower() != ".tar" and zipfile.is_zipfile(path)):
            return ZipArchive(path)
        decompressor = next((DECOMPRESSORS[start] for start in DECOMPRESSORS if magic.startswith(start)), None)
        if decompressor is not None and compressed:
            return CompressedTarArchive(path, decompressor)
        if decompressor is not None or magic.startswith(_ZSTANDARD):
            raise DataError(f"{shown}: pictures cannot be read in place from a compressed tar; uncompress it first")
        return TarArchive(path)
    except DataError:
        raise
    except FileNotFoundError as error:
        raise DataError(f"{shown}: there is no such folder or archive; check the path") from error
    except OSError as error:
        raise DataError(f"{shown}: cannot be read ({reason_of(error)}); check its permissions") from error
    except Exception as error:  # Any: damaged archives raise many types of errors.
        reason = reason_of(error)
        raise DataError(f"{shown}: neither a folder nor a whole .zip or .tar ({reason}); download it again") from error


class _Folder:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.refused: dict[str, str] = {}
        self._names: list[str] = []
        seen, pending = set(), [("", os.path.realpath(path))]
        while pending:
            folder, real = pending.pop()
            if real in seen:  # A link may lead to a parent folder.
                continue
            seen.add(real)
            try:
                with os.scandir(os.path.join(path, folder)) as scan:
                    entries = sorted(scan, key=lambda entry: entry.name)
            except OSError as error:
                if not folder:
                    raise
                self.refused[folder] = f"the folder cannot be listed ({reason_of(error)})"
                continue
            self._names += [folder + entry.name for entry in entries if not _is_folder(entry)]
            # Reversed, since the last is popped first: of two links to one folder, the first counts.
            for entry in filter(_is_folder, reversed(entries)):
                inner = os.path.realpath(entry) if entry.is_symlink() else os.path.join(real, entry.name)
                pending.append((f"{folder}{entry.name}/", inner))

    def names(self) -> Iterable[str]:
        return self._names

    def open(self, name: str) -> BinaryFile:
        try:
            return open_regular_file(self.path / name)
        except (OSError, ValueError) as error:
            raise ImageError(f"{printable(name)}: cannot be opened ({reason_of(error)})") from error


class ZipArchive:
    """A zip, read in place."""

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
        """Open a file for reading, once its checksum is verified."""
        try:
            member = self._archive().getinfo(name)
            if reason := _refusal(member):
                raise ValueError(reason)
            with self._archive().open(member) as file:
                # Up to the declared size, where the checksum is compared; read() alone has no limit.
                return io.BytesIO(file.read(member.file_size))
        except Exception as error:  # Any: decompressors raise many types of errors.
            raise ImageError(f"{printable(name)}: cannot be unpacked ({reason_of(error)})") from error

    def places(self) -> dict[str, tuple[int, int]]:
        """Return the header's offset and the length in bytes of each uncompressed file."""
        members = map(self._archive().getinfo, self._names)
        return {m.filename: (m.header_offset, m.file_size) for m in members if m.compress_type == zipfile.ZIP_STORED}

    def _archive(self) -> zipfile.ZipFile:
        # Each process opens its own file: forked processes would share the position.
        if self._opened is None or self._opened[0] != os.getpid():
            self._opened = os.getpid(), zipfile.ZipFile(self.path)
        return self._opened[1]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": None}


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # such as a link to itself
        return False


class TarArchive:
    """An uncompressed tar, read in place."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.refused: dict[str, str] = {}
        self._places: dict[str, tuple[int, int]] = {}
        with _HeaderReader(self._stream()) as file, tarfile.open(fileobj=file, mode="r:") as archive:
            end = -1
            while (member := archive.next()) is not None:
                archive.members.clear()  # type: ignore[attr-defined]  # It would keep every member in memory.
                if archive.offset <= end:
                    raise tarfile.ReadError("its members lead backwards")
                end = archive.offset
                # An earlier member of this name no longer counts.
                self.refused.pop(member.name, None)
                self._places.pop(member.name, None)
                if reason := _refusal(member):
                    self.refused[member.name] = reason
                elif not member.isdir():
                    self._places[member.name] = member.offset_data, member.size
            # tarfile takes damage between two members for the end of the archive.
            file.seek(archive.offset)
            if file.read(tarfile.BLOCKSIZE).strip(b"\0"):
                raise tarfile.ReadError(f"damaged at byte {archive.offset}")

    def names(self) -> Iterable[str]:
        """Return the name of each file, in the order of the archive."""
        return self._places

    def open(self, name: str) -> BinaryFile:
        """Open a file for reading."""
        try:
            if name in self.refused:
                raise ValueError(self.refused[name])
            return io.BytesIO(self._read(*self._places[name]))
        except Exception as error:  # Any: decompressors raise many types of errors.
            raise ImageError(f"{printable(name)}: cannot be unpacked ({reason_of(error)})") from error

    def _stream(self) -> Any:
        return io.FileIO(self.path)

    def _read(self, offset: int, length: int) -> bytes:
        with open_regular_file(self.path, math.inf) as file:
            file.seek(offset)
            return file.read(length)


class CompressedTarArchive(TarArchive):
    """A compressed tar. Fast only in the order of its members: reaching one unpacks all before it.

    Args:
        path: the file.
        decompressor: opens the file; one of DECOMPRESSORS.
    """

    def __init__(self, path: Path, decompressor: Callable[[Any], Any]) -> None:
        self._decompressor = decompressor
        self._lock = threading.Lock()
        self._opened: Any = None
        super().__init__(path)

    def _stream(self) -> Any:
        return self._decompressor(self.path)

    def _read(self, offset: int, length: int) -> bytes:
        with self._lock:
            # Kept open at its position, for reading in order.
            self._opened = self._opened or self._stream()
            self._opened.seek(offset)
            content: bytes = self._opened.read(length)
        return content


class _HeaderReader(io.BufferedReader):
    """Refuses reads longer than any header: a damaged file can claim any length."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or not 0 <= size <= _HEADER_BYTES:
            raise tarfile.ReadError("a header of absurd length")
        return super().read(size)


def _refusal(member: zipfile.ZipInfo | tarfile.TarInfo) -> str | None:
    """Return the reason why a member is never read, or None."""
    if isinstance(member, zipfile.ZipInfo):
        name, size = member.filename, member.file_size
        kind = stat.S_IFMT(member.external_attr >> 16)  # 0 if the archive was not made on Unix
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
    # For other methods, Python's readers unpack without limit.
    if isinstance(member, zipfile.ZipInfo) and member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return "neither stored nor deflated"
    return None


@dataclass(frozen=True)
class Member:
    """A picture in an archive, or an unreadable part of a folder.

    Attributes:
        path: the archive or folder.
        source: reads the archive or folder.
        name: name of the picture in it.
    """

    path: Path
    source: Archive
    name: str

    def __str__(self) -> str:
        return printable(f"{self.path}/{self.name}")

    @property
    def refused(self) -> str | None:
        """The reason why it is never read; None: it can be read."""
        return self.source.refused.get(self.name)

    def open(self) -> BinaryFile:
        """Read the picture's file into memory.

        Raises:
            ImageError: if it is refused or damaged, or the archive is gone.
        """
        if self.refused:
            raise ImageError(f"{self}: {self.refused}")
        try:
            return self.source.open(self.name)
        except ImageError as error:
            raise ImageError(f"{self.path}/{error}") from None
