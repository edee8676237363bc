"""Files with several pictures in them: how many there are, and those of pages, written one after the other."""

import contextlib
import io
import itertools
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal, Protocol, TypeAlias

import numpy as np
from PIL import Image

from fast_style.errors import FastStyleError, ImageError
from fast_style.images.copies import Original
from fast_style.images.deep import Deep
from fast_style.images.formats import FORMATS, RAW_SUFFIXES
from fast_style.images.heif import heif_levels
from fast_style.images.opening import open_image, reason_of
from fast_style.images.streams import write_tiff
from fast_style.system.files import BinaryFile, atomic_write
from fast_style.system.input_limits import open_regular_file, pillow_limits

Kind: TypeAlias = Literal["frame", "page", "view"]

_MOVING = ("GIF", "PNG", "WEBP", "AVIF")
#: What can hold pages of any size.
_PAGED = ("TIFF", "HEIF")
# Of a TIFF: whether a page is another one made smaller (1), or a mask (4); and the older tag, where 2 is the first.
_SUBFILE, _OLD_SUBFILE = 254, 255
# Of a JPEG: what is behind it, in the order of the file.
_MP_ENTRIES = 0xB002


@dataclass(frozen=True)
class Several:
    """What pictures a file holds.

    Attributes:
        places: of each, where it stands.
        kind: what they are to one another: frames of an animation, pages, or views of one thing.
        smaller: how many more there are that are the same made smaller, or masks.
        primary: the place of the one that is to be seen where only one is.
    """

    places: tuple[int, ...] = (0,)
    kind: Kind = "page"
    smaller: int = 0
    primary: int = 0

    @property
    def count(self) -> int:
        """How many they are."""
        return len(self.places)

    def left_out(self, kept: int, target: Path, remedy: str) -> list[str]:
        """Return what to say of a copy that holds fewer, in a few words; nothing: it holds all."""
        notes = []
        if kept < self.count:
            left = self.count - kept
            are = f"{left:,} of {self.count:,} {self.kind}s {'is' if left == 1 else 'are'} left out"
            holder = target.suffix if target.suffix and self.kind != "view" else "the copy"
            notes.append(f"{are}: {holder} holds one; {remedy}")
        if self.smaller:
            notes.append(f"{self.smaller:,} smaller copies or masks of its pages are left out")
        return notes


def look_for_several(source: Path | BinaryFile, name: str = "") -> Several:
    """Return what pictures a file holds, from its headers; who reads it learns what is wrong with it."""
    if Path(name or str(source)).suffix.lower() in RAW_SUFFIXES:
        return Several()
    try:
        with contextlib.ExitStack() as held:
            file = held.enter_context(open_regular_file(source)) if isinstance(source, Path) else source
            with pillow_limits():
                return _several(open_image(file))
    except Exception:  # Any: on damaged files, decoders raise whatever comes up.
        return Several()
    finally:
        if not isinstance(source, Path):
            source.seek(0)


def is_paged(source: Path, target: Path, found: Several) -> bool:
    """Return whether a copy is to hold all pictures of a file as pages, given how the names of both end."""
    format = FORMATS.get(target.suffix.lower())
    # Into HEIC only what was in one: elsewhere nobody looks for more than one picture in it.
    same = format == FORMATS.get(source.suffix.lower())
    return found.count > 1 and found.kind != "view" and (format == "TIFF" or (format in _PAGED and same))


class Pages(Protocol):
    """A file of pages that is being written."""

    def add(self, stylized: Image.Image | Deep, original: Original) -> None:
        """Write the next one."""


@contextmanager
def pages_written(path: Path, primary: int = 0) -> Iterator[Pages]:
    """Write a file of pages, which takes its name when the block has ended well.

    Args:
        path: the file.
        primary: which page is to be seen by programs that show one, where that need not be the first.

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
        raise ImageError(f"{path}: cannot be written ({reason_of(error)})") from error


class _TiffPages:
    """Pages of a TIFF, each written when it comes; the one before is told where it lies."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._link = 0

    def add(self, stylized: Image.Image | Deep, original: Original) -> None:
        begin = self._file.tell() + self._file.tell() % 2
        self._file.seek(begin)
        pixels = _with_opacity(np.asarray(stylized), original.picture.alpha)
        link = write_tiff(self._file, [pixels], (pixels.shape[1], pixels.shape[0]), original.picture.kept)
        end = self._file.tell()
        if end >= 2**32:
            raise ValueError("a TIFF has 4 GB at most; give a smaller size")
        if self._link:
            self._file.seek(self._link)
            self._file.write(struct.pack("<I", begin))
            self._file.seek(end)
        self._link = link


class _HeifPages:
    """Pages of a HEIC, which is written as a whole."""

    def __init__(self, primary: int) -> None:
        import pillow_heif

        self._heif: Any = pillow_heif.HeifFile()  # type: ignore[no-untyped-call]
        self._primary = primary

    def add(self, stylized: Image.Image | Deep, original: Original) -> None:
        pixels = _with_opacity(np.asarray(stylized), original.picture.alpha)
        levels, mode = heif_levels(pixels)
        page = self._heif.add_frombytes(mode, (pixels.shape[1], pixels.shape[0]), levels.tobytes())
        page.info["exif"] = original.picture.kept.exif or None

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


def _several(image: Any) -> Several:
    if image.format in _MOVING and getattr(image, "is_animated", False):
        # A PNG may begin with a picture for programs that show no animation.
        first = int(bool(getattr(image, "default_image", False)))
        return Several(tuple(range(first, image.n_frames)), "frame", primary=first)
    if image.format == "TIFF":
        return _tiff_pages(image)
    if image.format == "HEIF":
        return Several(tuple(range(image.n_frames)), primary=image.tell())
    if image.format == "MPO":
        # Not previews, nor what brightens a picture on the screens that can.
        entries = image.mpinfo[_MP_ENTRIES]
        views = [index for index, each in enumerate(entries) if "Thumbnail" not in each["Attribute"]["MPType"]]
        gain = b"hdrgm:" in image.info.get("xmp", b"")
        return Several(tuple(views[: len(views) - gain]) or (0,), "view")
    return Several()


def _tiff_pages(image: Any) -> Several:
    places, smaller = [0], 0
    for index in itertools.count(1):
        try:
            image.seek(index)
        except EOFError:
            break
        except Exception:  # Any: who reads this page learns what is wrong with it; where the next is, nobody knows.
            places.append(index)
            break
        kind = image.tag_v2.get(_SUBFILE, 0)
        if kind & 0b101 or image.tag_v2.get(_OLD_SUBFILE) == 2:
            smaller += 1
        else:
            places.append(index)
    return Several(tuple(places), "page", smaller)
