"""A check of training images: each is decoded in full, and what is wrong is reported."""

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
#: Called with the progress: images done, and images in all.
OnProgress = Callable[[int, int], None]


@dataclass(frozen=True)
class CheckedImage:
    """The properties of one readable image."""

    name: str  #: the path inside the source
    file_size: int  #: in bytes
    format: str  #: as Pillow names it, such as "JPEG", or "NPY"
    #: in pixels, upright
    width: int
    height: int
    digest: bytes  #: a hash of the file, by which duplicates are found

    @property
    def short_side(self) -> int:
        """The smaller of width and height."""
        return min(self.width, self.height)


@dataclass(frozen=True)
class CheckReport:
    """The result of a check."""

    good: Sequence[CheckedImage]  #: the images that can be decoded in full, in the order of their names
    bad: Mapping[str, str]  #: the reasons why others cannot, by name
    refused: Mapping[str, str]  #: the reasons why files are never read, by name, such as links in an archive

    @property
    def formats(self) -> Mapping[str, int]:
        """The number of images of each format, most first."""
        return dict(Counter(finding.format for finding in self.good).most_common())

    @property
    def duplicates(self) -> list[list[str]]:
        """The names of identical files, in groups of two or more."""
        groups = defaultdict(list)
        for finding in self.good:
            groups[finding.digest].append(finding.name)
        return [names for names in groups.values() if len(names) > 1]

    def small(self, size: int) -> list[str]:
        """Return the names of images with a short side below `size` pixels."""
        return [finding.name for finding in self.good if finding.short_side < size]


def check_images(
    source: str | Path, workers: int = 0, on_progress: OnProgress = lambda done, total: None
) -> CheckReport:
    """Decode every image of a source in full.

    Args:
        source: a folder of any depth, a .zip, an uncompressed .tar or an .npz of pixels.
        workers: the number of processes; 0: this one.
        on_progress: called after each image.

    Raises:
        DataError: if the source is missing or has no usable image.
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
    """Return the names of the images that training would use, in order, and the archive.

    Raises:
        DataError: if the source is missing or has no usable image.
    """
    files = open_images(source)
    return Photographs(source, getattr(files, "crop_size", None) or 32).names, files


def map_images(
    files: Archive, names: Sequence[str], look: Callable[[str, bytes], T], workers: int
) -> Iterator[T | str]:
    """Apply `look` to the name and bytes of each image, and yield its results in order; for a failure, the reason.

    Raises:
        ConfigError: if the number of workers is negative.
        DataError: if a worker is killed.
    """
    if workers < 0:
        raise ConfigError(f"workers must not be negative, not {workers}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # It minds more workers than cores.
        loader = DataLoader(
            _Each(files, names, look),
            batch_size=None,
            num_workers=workers,
            collate_fn=_as_it_is,
            prefetch_factor=8 if workers else None,
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
    # Otherwise it would wait forever for a reader of its results.
    end_with_parent(parent)


def _as_it_is(item: T) -> T:
    return item
