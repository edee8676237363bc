"""What there is to do, picture by picture, of a folder or an archive."""

from dataclasses import replace
from pathlib import Path, PurePath, PurePosixPath

from fast_style.archives import CompressedTarArchive, Member, open_archive
from fast_style.batch.names import apart
from fast_style.images.formats import PICTURE_SUFFIXES, copy_suffix
from fast_style.stylizing.jobs import Job
from fast_style.system.files import natural_sort_key

#: How the names of archives end, in lower case.
ARCHIVE_SUFFIXES = (".zip", ".tar", ".tgz", ".tar.gz", ".tbz2", ".tar.bz2", ".txz", ".tar.xz")


def folder_jobs(source: str | Path, target: str | Path) -> list[Job]:
    """Return what there is to do to stylize a folder of any depth, or an archive, into a folder of the same tree.

    Where two copies would have one name, one of them gets another; see `jobs_apart`.

    Args:
        source: the folder, .zip or .tar; the tar may be compressed.
        target: the folder for the copies, which have the names of the pictures; of what is only read, other suffixes.

    Raises:
        DataError: if the folder or archive is missing or damaged.
    """
    found = pictures_in(source)
    return jobs_apart(
        [Job(picture, Path(target) / place.with_suffix(copy_suffix(place))) for place, picture in found.items()]
    )


def jobs_apart(jobs: list[Job]) -> list[Job]:
    """Return jobs, each with a target of its own; see `names.apart`. What is never read needs none."""
    read = [job for job in jobs if not (isinstance(job.source, Member) and job.source.refused)]
    targets = apart([PurePath(str(job.source)) for job in read], [job.target for job in read])
    found = dict(zip(map(id, read), targets, strict=True))
    return [replace(job, target=found.get(id(job), job.target)) for job in jobs]


def pictures_in(
    source: str | Path, suffixes: tuple[str, ...] = PICTURE_SUFFIXES, hidden: list[Path] | None = None
) -> dict[Path, Path | Member]:
    """Return the pictures in a folder of any depth or in an archive, by their place in it, in natural order.

    What is hidden, by a dot before its name or that of a folder, is passed over. What is refused, such as a link in an
    archive or a folder that must not be read, is among them: who opens it learns why.

    Args:
        source: the folder or archive.
        suffixes: how the names of what counts end, in lower case; it need not be pictures.
        hidden: gets the places of what is passed over because it is hidden.

    Raises:
        DataError: if the folder or archive is missing or damaged.
    """
    path = Path(source)
    files = open_archive(path, compressed=True)
    # Of a compressed archive in its own order, in which it is read once.
    names = (
        list(files.names()) if isinstance(files, CompressedTarArchive) else sorted(files.names(), key=natural_sort_key)
    )
    if hidden is not None:
        hidden += [Path(name) for name in names if _is_hidden(name) and _is_called(name, suffixes)]
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
    return _is_called(name, suffixes) and not _is_hidden(name)


def _is_called(name: str, suffixes: tuple[str, ...]) -> bool:
    # What macOS puts beside each file in archives, with two more characters before its name, is no picture.
    return PurePosixPath(name).suffix.lower() in suffixes and not PurePosixPath(name).name.startswith("._")


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") and part != ".." for part in PurePosixPath(name).parts)
