"""Multi-page files, written page by page."""

import io
import struct
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fast_style.errors import FastStyleError, ImageError
from fast_style.images.deep import Deep
from fast_style.images.formats import FORMATS
from fast_style.images.heif import heif_levels
from fast_style.images.levels import with_opacity
from fast_style.images.metadata import ImageMetadata
from fast_style.images.opening import STILL_LEFT_OUT, Contents, decoder_reason
from fast_style.images.picture import Picture, read_original
from fast_style.images.streams import write_tiff
from fast_style.system.files import BinaryFile, atomic_write


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
        stylize: stylizes a page.
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
    try:
        with atomic_write(target) as file:
            is_heif = FORMATS.get(target.suffix.lower()) == "HEIF"
            pages = _HeifPages(file, found.places.index(found.primary)) if is_heif else _TiffPages(file)
            for number, place in enumerate(found.places, 1):
                try:
                    original = read_original(source, target, size, name, place)
                except ImageError as error:
                    if len(notes) + 1 == found.count:
                        raise
                    reason = str(error).removeprefix(f"{name}: ")
                    notes.append(f"{found.kind} {number} of {found.count} is left out: {reason}")
                    continue
                pixels = np.asarray(stylize(original))
                pixels = pixels if original.alpha is None else with_opacity(pixels, original.alpha, keep=True)
                pages.add(pixels, original.metadata)
            pages.finish()
    except FastStyleError:  # Of the pages; some are ValueErrors.
        raise
    except (OSError, ValueError, struct.error) as error:
        raise ImageError(f"{target}: cannot be written ({decoder_reason(error)})") from error
    still = [STILL_LEFT_OUT] * (found.kind == "frame" and found.places[0] > 0)
    return notes + found.masks_left_out() + still


class _TiffPages:
    """Pages of a TIFF, each written as it comes, and then linked from the page before."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._link = 0

    def add(self, pixels: NDArray[Any], metadata: ImageMetadata) -> None:
        begin = self._file.tell() + self._file.tell() % 2
        self._file.seek(begin)
        link = write_tiff(self._file, [pixels], (pixels.shape[1], pixels.shape[0]), metadata)
        end = self._file.tell()
        if end >= 2**32:
            raise ValueError("a TIFF has 4 GB at most; give a smaller size")
        if self._link:
            self._file.seek(self._link)
            self._file.write(struct.pack("<I", begin))
            self._file.seek(end)
        self._link = link

    def finish(self) -> None:
        pass


class _HeifPages:
    """Pages of a HEIC, which is written in one go at the end; `primary` is shown by programs that show one page."""

    def __init__(self, file: IO[bytes], primary: int) -> None:
        import pillow_heif

        self._heif: Any = pillow_heif.HeifFile()  # type: ignore[no-untyped-call]
        self._file, self._primary = file, primary

    def add(self, pixels: NDArray[Any], metadata: ImageMetadata) -> None:
        levels, mode = heif_levels(pixels)
        page = self._heif.add_frombytes(mode, (pixels.shape[1], pixels.shape[0]), levels.tobytes())
        page.info["exif"] = metadata.exif or None

    def finish(self) -> None:
        encoded = io.BytesIO()
        primary = min(self._primary, len(self._heif) - 1)
        self._heif.save(encoded, quality=95, chroma=444, primary_index=primary)
        self._file.write(encoded.getvalue())
