"""Tars, compressed or not, read in place."""

import bz2
import gzip
import io
import lzma
import math
import tarfile
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from fast_style.archives.members import printable, reason_of, refusal
from fast_style.errors import ImageError
from fast_style.system.files import BinaryFile
from fast_style.system.untrusted import open_regular

#: What opens a compressed file, by how its content begins.
COMPRESSED: Mapping[bytes, Callable[[Any], Any]] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}

_HEADER_BYTES = 2**20  # The longest path has 4 KB.


class Tar:
    """A tar as a source."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.refused: dict[str, str] = {}
        self._places: dict[str, tuple[int, int]] = {}
        with _HeaderReader(self._stream()) as file, tarfile.open(fileobj=file, mode="r:") as archive:
            end = -1
            while (member := archive.next()) is not None:
                archive.members.clear()  # type: ignore[attr-defined]  # It would keep all it knows of each.
                if archive.offset <= end:
                    raise tarfile.ReadError("its members lead backwards")
                end = archive.offset
                # An earlier version of this name no longer counts.
                self.refused.pop(member.name, None)
                self._places.pop(member.name, None)
                if reason := refusal(member):
                    self.refused[member.name] = reason
                elif not member.isdir():
                    self._places[member.name] = member.offset_data, member.size
            # The module takes damage between two members for the end.
            file.seek(archive.offset)
            if file.read(tarfile.BLOCKSIZE).strip(b"\0"):
                raise tarfile.ReadError(f"damaged at byte {archive.offset}")

    def names(self) -> Iterable[str]:
        """Return the name of each file, in the order in which they lie there."""
        return self._places

    def open(self, name: str) -> BinaryFile:
        """Open a file to read."""
        try:
            if name in self.refused:
                raise ValueError(self.refused[name])
            return io.BytesIO(self._read(*self._places[name]))
        except Exception as error:  # Any: on damaged files, decompressors raise whatever comes up.
            raise ImageError(f"{printable(name)}: cannot be unpacked ({reason_of(error)})") from error

    def _stream(self) -> Any:
        return io.FileIO(self.path)

    def _read(self, offset: int, length: int) -> bytes:
        with open_regular(self.path, math.inf) as file:
            file.seek(offset)
            return file.read(length)


class CompressedTar(Tar):
    """A compressed tar as a source: fast only in the order of its names, since what lies before is unpacked each time.

    Args:
        path: the file.
        decompressor: what opens it, of COMPRESSED.
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
            # It stays open, where it is.
            self._opened = self._opened or self._stream()
            self._opened.seek(offset)
            content: bytes = self._opened.read(length)
        return content


class _HeaderReader(io.BufferedReader):
    """Reads no more at once than a header can have: a file can claim any length for one."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or not 0 <= size <= _HEADER_BYTES:
            raise tarfile.ReadError("a header of absurd length")
        return super().read(size)
