"""Reader and writer of nested boxes (length, kind, content): JPEG 2000 (ISO 15444-1), AVIF and HEIC."""

import os
import struct
from collections.abc import Iterator
from typing import Any

# A file with more boxes is made to keep its reader busy.
_MAX_BOXES = 1000


def boxes(file: Any, start: int = 0, end: int | None = None) -> Iterator[tuple[bytes, int, int]]:
    """Yield the kind of each box, and the start and end of its content; the position of the file changes.

    Args:
        file: binary and seekable.
        start: where the first box begins.
        end: where the last box ends; None: at the end of the file.

    Raises:
        ValueError: if a box has a wrong length.
    """
    end = file.seek(0, os.SEEK_END) if end is None else end
    for _ in range(_MAX_BOXES):
        if start + 8 > end:
            return
        file.seek(start)
        head = file.read(16)
        length, kind = struct.unpack(">I4s", head[:8])
        header_size = 16 if length == 1 else 8
        if length == 1:
            length = int.from_bytes(head[8:])
        # Length 0: the box extends to the end of the file.
        length = length or end - start
        if length < header_size:
            raise ValueError("a box with a wrong length")
        yield kind, start + header_size, min(start + length, end)
        start += length


def find(file: Any, *kinds: bytes) -> tuple[int, int]:
    """Find a nested box by the kinds from the outermost to itself; return the start and end of its content.

    Raises:
        ValueError: if there is no such box.
    """
    start, end = 0, None
    for wanted in kinds:
        start, end = next(((first, last) for kind, first, last in boxes(file, start, end) if kind == wanted), (0, 0))
        if not end:
            raise ValueError(f"no box {wanted!r}")
        # "meta" is a full box: 4 bytes of version and flags come first.
        start += 4 if wanted == b"meta" else 0
    return start, end or 0


def box(kind: bytes, *contents: bytes) -> bytes:
    """Build a box, of less than 4 GB."""
    content = b"".join(contents)
    return struct.pack(">I4s", 8 + len(content), kind) + content
