"""Multi-page files, written page by page."""

import io
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
from PIL import Image

from fast_style.errors import FastStyleError, ImageError
from fast_style.images.deep import Deep
from fast_style.images.formats import FORMATS
from fast_style.images.heif import heif_levels
from fast_style.images.opening import STILL_LEFT_OUT, Contents, decoder_reason
from fast_style.images.picture import Picture, read_original
from fast_style.images.streams import write_tiff
from fast_style.system.files import BinaryFile, atomic_write


class Pages(Protocol):
    """A multi-page file that is being written."""

    def add(self, stylized: Image.Image | Deep, picture: Picture) -> None:
        """Write the next page."""


@contextmanager
def pages_written(path: Path, primary: int = 0) -> Iterator[Pages]:
    """Write a multi-page file, which gets its name only if the block ends without an error.

    Args:
        path: the file.
        primary: index of the page to be shown by programs that show only one; HEIC only.

    Raises:
        ImageError: if it cannot be written.
    """
    try:
        with atomic_write(path) as file:
            pages = _HeifPages(primary) if FORMATS.get(path.suffix.lower()) == "HEIF" else _TiffPages(file)
            yield pages
            if isinstance(pages, _HeifPages):
                file.write(pages.encoded())
    except FastStyleError:  # Of the pages; some are ValueErrors.
        raise
    except (OSError, ValueError, struct.error) as error:
        raise ImageError(f"{path}: cannot be written ({decoder_reason(error)})") from error


def stylized_pages(
    stylize: Callable[[Picture], Image.Image | Deep],
    source: Path | BinaryFile,
    target: Path,
    found: Contents,
    size: int | None = None,
    name: str = "",
) -> list[str]:
    """Stylize the pages of a file one after the other, with one page in memory at a time.

    Args:
        stylize: function that stylizes a page.
        source: the file, or its content.
        target: path of the copy, which appears only when it is complete.
        found: the pages of the source.
        size: long side of each page in pixels; by default that of the source.
        name: the name of the source in messages; by default its path.

    Returns:
        Descriptions of the unreadable pages, and of others that were left out.

    Raises:
        ImageError: if no page can be read, or the copy cannot be written.
    """
    name = name or str(source)
    notes: list[str] = []
    with pages_written(target, found.places.index(found.primary)) as pages:
        for number, place in enumerate(found.places, 1):
            try:
                original = read_original(source, target, size, name, place)
            except ImageError as error:
                if len(notes) + 1 == found.count:
                    raise
                reason = str(error).removeprefix(f"{name}: ")
                notes.append(f"{found.kind} {number} of {found.count} is left out: {reason}")
                continue
            pages.add(stylize(original), original)
    still = [STILL_LEFT_OUT] * (found.kind == "frame" and found.places[0] > 0)
    return notes + found.masks_left_out() + still


class _TiffPages:
    """Pages of a TIFF, each written as it comes, and then linked from the page before."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._link = 0

    def add(self, stylized: Image.Image | Deep, picture: Picture) -> None:
        begin = self._file.tell() + self._file.tell() % 2
        self._file.seek(begin)
        pixels = _with_opacity(np.asarray(stylized), picture.alpha)
        link = write_tiff(self._file, [pixels], (pixels.shape[1], pixels.shape[0]), picture.metadata)
        end = self._file.tell()
        if end >= 2**32:
            raise ValueError("a TIFF has 4 GB at most; give a smaller size")
        if self._link:
            self._file.seek(self._link)
            self._file.write(struct.pack("<I", begin))
            self._file.seek(end)
        self._link = link


class _HeifPages:
    """Pages of a HEIC, which is written in one go at the end."""

    def __init__(self, primary: int) -> None:
        import pillow_heif

        self._heif: Any = pillow_heif.HeifFile()  # type: ignore[no-untyped-call]
        self._primary = primary

    def add(self, stylized: Image.Image | Deep, picture: Picture) -> None:
        pixels = _with_opacity(np.asarray(stylized), picture.alpha)
        levels, mode = heif_levels(pixels)
        page = self._heif.add_frombytes(mode, (pixels.shape[1], pixels.shape[0]), levels.tobytes())
        page.info["exif"] = picture.metadata.exif or None

    def encoded(self) -> bytes:
        file = io.BytesIO()
        primary = min(self._primary, len(self._heif) - 1)
        self._heif.save(file, quality=95, chroma=444, primary_index=primary)
        return file.getvalue()


def _with_opacity(pixels: Any, alpha: Image.Image | None) -> Any:
    if alpha is None:
        return pixels
    scale = np.iinfo(pixels.dtype).max // 255
    return np.dstack([pixels, np.asarray(alpha).astype(pixels.dtype) * pixels.dtype.type(scale)])
