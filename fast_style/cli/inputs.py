"""The setting `input`: finding pictures and videos, and naming their results."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

from omegaconf import ListConfig

from fast_style.archives import Member, open_archive
from fast_style.batch.jobs import ARCHIVE_SUFFIXES, is_archive, jobs_apart, pictures_in
from fast_style.cli.earlier_results import earlier_results
from fast_style.cli.hydra_app import beside, find_pictures, matches, safe
from fast_style.errors import ConfigError
from fast_style.images.formats import PICTURE_SUFFIXES
from fast_style.images.opening import picture_format, suffix_of
from fast_style.stylizing.jobs import Job
from fast_style.system.files import natural_sort_key
from fast_style.system.text import printable

#: Pictures and videos, each with its path relative to the folder, archive or fixed part of the glob.
Found: TypeAlias = dict[Path | Member, Path]


def find_inputs(inputs: Any, output: str | None, name: str = "") -> Found:
    """Return the pictures and videos of files, folders of any depth, archives and globs, without duplicates.

    Files below `output` are results of an earlier run, and skipped; so are, without a message, those with the suffix
    `name`. ConfigError if a name matches nothing, or the output is an archive; DataError if an archive is damaged, or a
    folder cannot be read.
    """
    if output is not None and not output.endswith("/"):
        path = Path(output).parent if "*" in Path(output).name else Path(output)
        if is_archive(path) and not path.is_dir():
            remedy = f"give a folder, such as {path.with_name(_stem(path) or 'stylized')}/, and pack that"
            raise ConfigError(f"{output}: results do not go into an archive; {remedy}")
    found: Found = {}
    for each in inputs if isinstance(inputs, list | ListConfig) else [inputs]:
        # Values that Hydra reads as null or a boolean are file names here.
        file = "null" if each is None else str(each).lower() if isinstance(each, bool) else str(each)
        for source, place in _found(file, output, name).items():
            found.setdefault(source, place)
    return found


def is_video(place: Path) -> bool:
    """Return whether a path of `find_inputs` is a video's."""
    suffix = place.suffix.lower()
    return bool(suffix) and suffix not in PICTURE_SUFFIXES and suffix in _video_suffixes()


def _video_suffixes() -> tuple[str, ...]:
    # Imported lazily: slow, and only videos need it.
    from fast_style.video.file_kinds import VIDEO_SUFFIXES

    return VIDEO_SUFFIXES


def results(found: Found, output: str | None, name: str, rename: Callable[[Path | Member, Path], Path]) -> list[Job]:
    """Return a job for each input, with distinct targets (see `names.apart`).

    Results go to the folder `output`, with the inputs' tree; None: beside the inputs with the suffix `name`, and for an
    archive into a folder beside it. `rename` gives a path a suffix that can be written.
    """
    if output is not None:
        return jobs_apart([Job(source, Path(output) / rename(source, place)) for source, place in found.items()])
    jobs = jobs_apart([Job(source, rename(source, _beside(source, place, name))) for source, place in found.items()])
    # An earlier run's results are not inputs.
    targets = {job.target for job in jobs}
    return [job for job in jobs if job.source not in targets]


def _stem(archive: Path) -> str:
    """Return an archive's name without the whole suffix, such as .tar.gz."""
    return next(archive.name[: -len(end)] for end in ARCHIVE_SUFFIXES if archive.name.lower().endswith(end))


def _found(name: str, output: str | None, style: str) -> Found:
    path = Path(name)
    if path.is_file() and not is_archive(path):
        return {path: _place(path)}
    suffixes = (*PICTURE_SUFFIXES, *_video_suffixes())
    if path.is_dir() or (is_archive(path) and path.is_file()):
        hidden: list[Path] = []
        found = {source: place for place, source in pictures_in(path, suffixes, hidden).items()}
        root = path
        if path.is_dir():
            found |= _others([path / each for each in open_archive(path).names()], found, path)
        if not found:
            kind = "folder" if path.is_dir() else "archive"
            more = f"; {_left_out(hidden)}" if hidden else ""
            raise ConfigError(f"{name}: no picture in this {kind} ({', '.join(PICTURE_SUFFIXES)}){more}")
        if hidden:
            print(printable(f"{name}: {_left_out(hidden)}"), file=sys.stderr)
    else:
        root, files = (path.parent, [path]) if path.exists() else matches(name)
        known = any(each.suffix.lower() in suffixes for each in files)
        found = {file: file.relative_to(root) for file in find_pictures(name, suffixes)} if known else {}
        found |= _others(sorted(files, key=natural_sort_key), found, root)
        if not found:
            find_pictures(name, suffixes)  # raises the error
    earlier = earlier_results((source for source in found if isinstance(source, Path)), style)
    found = {source: place for source, place in found.items() if source not in earlier}
    results_folder = Path(output).resolve() if output is not None else None
    if results_folder is None or root.resolve() not in results_folder.parents:
        return found
    return {source: place for source, place in found.items() if results_folder not in (root.resolve() / place).parents}


def _place(path: Path) -> Path:
    """Return the name of a single file, with the suffix of its content: the content decides."""
    place = Path(path.name)
    if place.suffix.lower() in PICTURE_SUFFIXES and picture_format(path):
        return place
    from fast_style.video.file_kinds import kind_of

    kind = kind_of(path)
    if kind == "video" and not is_video(place):
        return place.with_suffix(".mp4")
    return place.with_suffix(suffix_of(path)) if kind == "picture" and is_video(place) else place


def _others(files: list[Path], found: Found, root: Path) -> Found:
    """Return the videos among files with other suffixes, and report readable files that stay out.

    `found` are the files whose suffix shows their kind: beside pictures, no unnamed video is taken.
    """
    from fast_style.video.file_kinds import kind_of

    known = (*PICTURE_SUFFIXES, *_video_suffixes(), *ARCHIVE_SUFFIXES, ".gz", ".bz2", ".xz")
    unnamed = [file for file in files if file not in found and file.suffix.lower() not in known and file.is_file()]
    hidden = {file for file in unnamed if any(part.startswith(".") for part in file.relative_to(root).parts)}
    kinds = {file: kind_of(file) for file in unnamed if file not in hidden}
    videos = [file for file, kind in kinds.items() if kind == "video" and all(map(is_video, found.values()))]
    if others := [file for file, kind in kinds.items() if kind and file not in videos]:
        first = f"{printable(str(others[0]))} is a {kinds[others[0]]}"
        left = "files that can be read, whose names do not say it, are left out"
        print(f"{len(others):,} {left}: {first}; give it such a name, or name it as input", file=sys.stderr)
    return {file: file.relative_to(root).with_suffix(".mp4") for file in videos}


def _left_out(hidden: list[Path]) -> str:
    files = "1 hidden file is" if len(hidden) == 1 else f"{len(hidden):,} hidden files are"
    return f"{files} left out, such as {hidden[0]}; give its name to have it"


def _beside(source: Path | Member, place: Path, name: str) -> Path:
    if isinstance(source, Path):
        return beside(source, name)
    if not is_archive(source.path):
        return source.path / place
    return source.path.with_name(f"{_stem(source.path)}_{safe(name)}") / place
