"""What there is to do, picture by picture, of a folder or an archive, and what became of it."""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from fast_style.data.sources import Source, open_source, printable
from fast_style.errors import ImageError
from fast_style.images.formats import PICTURE_SUFFIXES, copy_suffix
from fast_style.images.picture import BinaryFile

#: How the names of archives end, in lower case.
ARCHIVE_SUFFIXES = (".zip", ".tar", ".tgz", ".tar.gz", ".tbz2", ".tar.bz2", ".txz", ".tar.xz")


@dataclass(frozen=True)
class Member:
    """A picture in an archive, or a part of a folder that cannot be read.

    Attributes:
        path: the archive or folder.
        source: what reads it.
        name: the picture's name there.
    """

    path: Path
    source: Source
    name: str

    def __str__(self) -> str:
        return printable(f"{self.path}/{self.name}")

    @property
    def refused(self) -> str | None:
        """Why it is never read; None: it is."""
        return self.source.refused.get(self.name)

    def open(self) -> BinaryFile:
        """Take it out, into memory.

        Raises:
            ImageError: if it is refused, damaged, or the archive is gone.
        """
        if self.refused:
            raise ImageError(f"{self}: {self.refused}")
        try:
            return self.source.open(self.name)
        except ImageError as error:
            raise ImageError(f"{self.path}/{error}") from None


@dataclass(frozen=True)
class Job:
    """A picture to be stylised.

    Attributes:
        source: where it is.
        target: where its copy goes. Folders that are missing are made.
    """

    source: Path | Member
    target: Path


@dataclass(frozen=True)
class Report:
    """What became of a picture.

    Attributes:
        job: the picture.
        status: `skipped`, if there was a copy.
        size: width and height of the copy, if it was made.
        seconds: how long it was worked on; of a batch, its share.
        error: what is wrong, in one line that names the picture.
    """

    job: Job
    status: Literal["done", "failed", "skipped"]
    size: tuple[int, int] | None = None
    seconds: float = 0.0
    error: str | None = None


def folder_jobs(source: str | Path, target: str | Path) -> list[Job]:
    """Return what there is to do to stylise a folder of any depth, or an archive, into a folder of the same tree.

    Args:
        source: the folder, .zip or .tar; the tar may be compressed.
        target: the folder for the copies, which have the names of the pictures; of what is only read, other suffixes.

    Raises:
        DataError: if the folder or archive is missing or damaged.
    """
    found = pictures_in(source)
    return [Job(picture, Path(target) / place.with_suffix(copy_suffix(place))) for place, picture in found.items()]


def pictures_in(source: str | Path, suffixes: tuple[str, ...] = PICTURE_SUFFIXES) -> dict[Path, Path | Member]:
    """Return the pictures in a folder of any depth or in an archive, by their place in it.

    What is hidden, by a dot before its name or that of a folder, is passed over. What is refused, such as a link in an
    archive or a folder that must not be read, is among them: who opens it learns why.

    Args:
        source: the folder or archive.
        suffixes: how the names of what counts end, in lower case; it need not be pictures.

    Raises:
        DataError: if the folder or archive is missing or damaged.
    """
    path = Path(source)
    files = open_source(path, compressed=True)
    # Of an archive in its own order, in which a compressed one is read once.
    names = sorted(files.names()) if path.is_dir() else files.names()
    found: dict[Path, Path | Member] = {
        Path(name): path / name if path.is_dir() else Member(path, files, name)
        for name in names
        if _counts(name, suffixes)
    }
    # A folder that is refused is not called as pictures are.
    refused = (name for name in files.refused if path.is_dir() or _counts(name, suffixes))
    return found | {Path(name): Member(path, files, name) for name in refused}


def is_archive(path: Path) -> bool:
    """Return whether a path is called as archives are."""
    return path.name.lower().endswith(ARCHIVE_SUFFIXES)


def _counts(name: str, suffixes: tuple[str, ...]) -> bool:
    place = PurePosixPath(name)
    hidden = any(part.startswith(".") and part != ".." for part in place.parts)
    return place.suffix.lower() in suffixes and not hidden
