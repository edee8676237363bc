"""Jobs for the pictures of a folder or an archive."""

from dataclasses import replace
from pathlib import Path, PurePath, PurePosixPath

from fast_style.archives import CompressedTarArchive, Member, open_archive
from fast_style.batch.names import apart
from fast_style.images.formats import PICTURE_SUFFIXES, copy_suffix
from fast_style.stylizing.jobs import Job
from fast_style.system.files import natural_sort_key

#: Suffixes of archives, in lower case.
ARCHIVE_SUFFIXES = (".zip", ".tar", ".tgz", ".tar.gz", ".tbz2", ".tar.bz2", ".txz", ".tar.xz")


def folder_jobs(source: str | Path, target: str | Path) -> list[Job]:
    """Return the jobs that stylize a folder of any depth, or an archive, into a folder with the same tree.

    Targets that would share a name get distinct names; see `jobs_apart`.

    Args:
        source: the folder, .zip or .tar; the tar may be compressed.
        target: folder for the copies. They keep the pictures' names; formats that are only read get another suffix.

    Raises:
        DataError: if the folder or archive is missing or damaged.
    """
    found = pictures_in(source)
    return jobs_apart(
        [Job(picture, Path(target) / place.with_suffix(copy_suffix(place))) for place, picture in found.items()]
    )


def jobs_apart(jobs: list[Job]) -> list[Job]:
    """Return the jobs with distinct targets, except for refused sources, which are never written; see `names.apart`."""
    readable = [job for job in jobs if not (isinstance(job.source, Member) and job.source.refused)]
    targets = apart([PurePath(str(job.source)) for job in readable], [job.target for job in readable])
    by_job = dict(zip(map(id, readable), targets, strict=True))
    return [replace(job, target=by_job.get(id(job), job.target)) for job in jobs]


def pictures_in(
    source: str | Path, suffixes: tuple[str, ...] = PICTURE_SUFFIXES, hidden: list[Path] | None = None
) -> dict[Path, Path | Member]:
    """Return the pictures in a folder of any depth or in an archive, by relative path, in natural order.

    Hidden files and folders (leading dot) are skipped. Refused members, such as links in an archive or unreadable
    folders, are included: opening them raises the reason.

    Args:
        source: the folder or archive.
        suffixes: suffixes to include, in lower case; other than pictures' if need be.
        hidden: list that receives the paths of hidden files.

    Raises:
        DataError: if the folder or archive is missing or damaged.
    """
    path = Path(source)
    files = open_archive(path, compressed=True)
    # A compressed archive keeps its own order, in which it is read once.
    names = list(files.names())
    if not isinstance(files, CompressedTarArchive):
        names.sort(key=natural_sort_key)
    if hidden is not None:
        hidden += [Path(name) for name in names if _is_hidden(name) and _has_suffix(name, suffixes)]
    found: dict[Path, Path | Member] = {
        Path(name): path / name if path.is_dir() else Member(path, files, name)
        for name in names
        if _counts(name, suffixes)
    }
    # A refused folder has no picture's suffix.
    refused = (name for name in files.refused if path.is_dir() or _counts(name, suffixes))
    return found | {Path(name): Member(path, files, name) for name in refused}


def is_archive(path: Path) -> bool:
    """Return whether a path has an archive's suffix."""
    return path.name.lower().endswith(ARCHIVE_SUFFIXES)


def _counts(name: str, suffixes: tuple[str, ...]) -> bool:
    return _has_suffix(name, suffixes) and not _is_hidden(name)


def _has_suffix(name: str, suffixes: tuple[str, ...]) -> bool:
    # Names beginning with ._ are macOS metadata, not pictures.
    return PurePosixPath(name).suffix.lower() in suffixes and not PurePosixPath(name).name.startswith("._")


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") and part != ".." for part in PurePosixPath(name).parts)
