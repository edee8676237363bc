"""Where content pictures lie: a folder of any depth, a .zip or an uncompressed .tar, read in place.

Nothing is ever unpacked to disk, and no member of an archive leads out of it.
"""

import io
import math
import os
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from fast_style.archives.members import printable, reason_of, refusal
from fast_style.archives.tars import COMPRESSED, CompressedTar, Tar
from fast_style.errors import DataError, ImageError
from fast_style.system.files import BinaryFile
from fast_style.system.untrusted import open_regular

__all__ = ["Source", "Zip", "open_source", "printable"]

_ZSTANDARD = b"\x28\xb5\x2f\xfd"


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


def open_source(path: str | Path, compressed: bool = False) -> Source:
    """List what a folder or an archive holds.

    Of files of one name in an archive the last counts, as it would for one who unpacks it.

    Args:
        path: the folder or archive.
        compressed: whether a compressed tar is welcome, to be read in the order of its names.

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
        decompressor = next((COMPRESSED[start] for start in COMPRESSED if magic.startswith(start)), None)
        if decompressor is not None and compressed:
            return CompressedTar(path, decompressor)
        if decompressor is not None or magic.startswith(_ZSTANDARD):
            raise DataError(f"{shown}: pictures cannot be read in place from a compressed tar; uncompress it first")
        return Tar(path)
    except DataError:
        raise
    except FileNotFoundError as error:
        raise DataError(f"{shown}: there is no such folder or archive; check the path") from error
    except OSError as error:
        raise DataError(f"{shown}: cannot be read ({reason_of(error)}); check its permissions") from error
    except Exception as error:  # Any: on damaged archives, their readers raise whatever comes up.
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
            if real in seen:  # A link may lead back to a folder above it.
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
            raise ImageError(f"{printable(name)}: cannot be opened ({reason_of(error)})") from error


class Zip:
    """A zip as a source."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._opened: tuple[int, zipfile.ZipFile] | None = None
        self.comment = self._archive().comment
        self.refused: dict[str, str] = {}
        self._names: list[str] = []
        for name, member in self._archive().NameToInfo.items():
            if reason := refusal(member):
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
            if reason := refusal(member):
                raise ValueError(reason)
            with self._archive().open(member) as file:
                # To its declared end, where its checksum is compared, and no further: read() alone has no bound.
                return io.BytesIO(file.read(member.file_size))
        except Exception as error:  # Any: on damaged members, decompressors raise whatever comes up.
            raise ImageError(f"{printable(name)}: cannot be unpacked ({reason_of(error)})") from error

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


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself, for one
        return False
