"""Every picture of a source looked at in full: which are good, and what is wrong with the others."""

import hashlib
import io
import os
import re
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

from torch.utils.data import DataLoader, Dataset

from fast_style.archives import Archive
from fast_style.data.photographs import Photographs
from fast_style.data.pixel_archive import open_images, size_of_npy
from fast_style.errors import ConfigError, DataError, ImageError
from fast_style.images.picture import open_picture
from fast_style.system.processes import end_with_parent
from fast_style.system.text import printable

T = TypeVar("T")
#: Is told how it goes: how many pictures are done, of how many.
OnProgress = Callable[[int, int], None]


@dataclass(frozen=True)
class CheckedImage:
    """What one picture is.

    Attributes:
        name: the path inside the source.
        file_size: in bytes.
        format: as Pillow names it, such as "JPEG", or "NPY".
        width: in pixels, upright.
        height: in pixels, upright.
        digest: the same for files that are the same byte for byte.
    """

    name: str
    file_size: int
    format: str
    width: int
    height: int
    digest: bytes

    @property
    def short_side(self) -> int:
        """The smaller of width and height."""
        return min(self.width, self.height)


@dataclass(frozen=True)
class CheckReport:
    """What all pictures of a source are.

    Attributes:
        good: those that can be read to their end, in the order of their names.
        bad: the names of the others, with the reasons.
        refused: what is no picture to this program, by name, with the reasons: a link in an archive, for one.
    """

    good: Sequence[CheckedImage]
    bad: Mapping[str, str]
    refused: Mapping[str, str]

    @property
    def formats(self) -> Mapping[str, int]:
        """How many there are of each format, most first."""
        return dict(Counter(finding.format for finding in self.good).most_common())

    @property
    def duplicates(self) -> list[list[str]]:
        """The names that stand for the same file, byte for byte, as groups of two or more."""
        groups = defaultdict(list)
        for finding in self.good:
            groups[finding.digest].append(finding.name)
        return [names for names in groups.values() if len(names) > 1]

    def small(self, size: int) -> list[str]:
        """Return the names of the pictures with a short side below `size` pixels."""
        return [finding.name for finding in self.good if finding.short_side < size]


def check_images(
    source: str | Path, workers: int = 0, on_progress: OnProgress = lambda done, total: None
) -> CheckReport:
    """Look at every picture of a source, to its last pixel.

    Args:
        source: a folder of any depth, a .zip, an uncompressed .tar or an .npz of pixels.
        workers: how many processes look; 0: this one.
        on_progress: is told how many pictures are done, of how many.

    Raises:
        DataError: if the source is missing or has no usable picture.
    """
    names, files = list_images(source)
    good, bad = [], {}
    for done, (name, found) in enumerate(zip(names, map_images(files, names, _examine, workers), strict=True), 1):
        if isinstance(found, CheckedImage):
            good.append(found)
        else:
            bad[name] = found
        on_progress(done, len(names))
    return CheckReport(good, bad, files.refused)


def list_images(source: str | Path) -> tuple[list[str], Archive]:
    """Return the names of the pictures that training would take from a source, in order, and their files.

    Raises:
        DataError: if the source is missing or has no usable picture.
    """
    files = open_images(source)
    return Photographs(source, getattr(files, "crop_size", None) or 32).names, files


def map_images(
    files: Archive, names: Sequence[str], look: Callable[[str, bytes], T], workers: int
) -> Iterator[T | str]:
    """Yield, in order, what `look` makes of each picture's name and bytes; for one it fails on, the reason.

    Raises:
        ConfigError: if the number of workers is negative.
        DataError: if a worker is killed.
    """
    if workers < 0:
        raise ConfigError(f"workers must not be negative, not {workers}")
    pictures, ahead = _Each(files, names, look), 8 if workers else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # It minds more workers than cores.
        loader = DataLoader(
            pictures,
            batch_size=None,
            num_workers=workers,
            collate_fn=_as_it_is,
            prefetch_factor=ahead,
            worker_init_fn=partial(_end_with_parent, os.getpid()),
        )
    try:
        yield from loader
    except RuntimeError as error:
        if not str(error).startswith("DataLoader worker"):
            raise
        raise DataError("a worker process was killed, mostly for want of memory; set workers to fewer") from error


def group_by_reason(reasons: Mapping[str, str]) -> dict[str, list[str]]:
    """Group names by their reasons, numbers in these aside; most first."""
    groups = defaultdict(list)
    for name, reason in reasons.items():
        groups[re.sub(r"\b\d[\d,.]*\b", "N", reason)].append(name)
    return dict(sorted(groups.items(), key=lambda group: -len(group[1])))


class _Each(Dataset[Any], Generic[T]):
    def __init__(self, files: Archive, names: Sequence[str], look: Callable[[str, bytes], T]) -> None:
        self.files, self.names, self.look = files, names, look

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> T | str:
        name = printable(self.names[index])
        try:
            with self.files.open(self.names[index]) as file:
                return self.look(self.names[index], file.read())
        except (ImageError, OSError, MemoryError) as error:
            return printable(str(error).removeprefix(f"{name}: ")) or "too large for this machine's memory"


def _examine(name: str, content: bytes) -> CheckedImage:
    digest = hashlib.blake2b(content, digest_size=16).digest()
    if name.endswith(".npy"):
        return CheckedImage(name, len(content), "NPY", *size_of_npy(content, printable(name)), digest)
    picture = open_picture(io.BytesIO(content), printable(name))
    return CheckedImage(name, len(content), picture.format, *picture.rgb.size, digest)


def _end_with_parent(parent: int, worker: int) -> None:
    # It would wait for ever that somebody takes what it made.
    end_with_parent(parent)


def _as_it_is(item: T) -> T:
    return item
