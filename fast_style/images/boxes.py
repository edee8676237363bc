"""Files that are boxes in boxes, each with its length and its kind: JPEG 2000 (ISO 15444-1), AVIF and HEIC."""

import os
import struct
from collections.abc import Iterator
from typing import Any

# Of a file that has more, one is made to keep its reader busy.
_MOST = 1000


def boxes(file: Any, start: int = 0, end: int | None = None) -> Iterator[tuple[bytes, int, int]]:
    """Yield the kind of each box, and where its content begins and ends.

    Args:
        file: at any position, and then at another.
        start: where the first one begins.
        end: where the last one ends; None: at the end of the file.

    Raises:
        ValueError: if one is damaged.
    """
    end = file.seek(0, os.SEEK_END) if end is None else end
    for _ in range(_MOST):
        if start + 8 > end:
            return
        file.seek(start)
        head = file.read(16)
        length, kind = struct.unpack(">I4s", head[:8])
        before = 16 if length == 1 else 8
        if length == 1:
            length = int.from_bytes(head[8:])
        # The last one of a file may leave it open.
        length = length or end - start
        if length < before:
            raise ValueError("a box with a wrong length")
        yield kind, start + before, min(start + length, end)
        start += length


def find(file: Any, *kinds: bytes) -> tuple[int, int]:
    """Return where the content of a box begins and ends that lies in boxes of the kinds named before its own.

    Raises:
        ValueError: if there is none.
    """
    start, end = 0, None
    for wanted in kinds:
        start, end = next(((first, last) for kind, first, last in boxes(file, start, end) if kind == wanted), (0, 0))
        if not end:
            raise ValueError(f"no box {wanted!r}")
        # This one begins with its version.
        start += 4 if wanted == b"meta" else 0
    return start, end or 0


def box(kind: bytes, *contents: bytes) -> bytes:
    """Return a box of one kind, below 4 GB."""
    content = b"".join(contents)
    return struct.pack(">I4s", 8 + len(content), kind) + content
