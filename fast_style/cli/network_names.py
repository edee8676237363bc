"""Under which name a trained network is saved: none is ever replaced unless that is asked for."""

import itertools
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from fast_style.errors import CheckpointError
from fast_style.system.files import atomic_copy, atomic_write


def names(wanted: Path) -> Iterator[Path]:
    """Yield the names that a network may get, best first: starry_night, starry_night-2, starry_night-3 and so on."""
    yield wanted
    for number in itertools.count(2):
        yield wanted.with_name(f"{wanted.stem}-{number}{wanted.suffix}")


def free_name(wanted: Path) -> Path:
    """Return the first of the names that no file has now. Another run may take it before this one ends."""
    return next(path for path in names(wanted) if not os.path.lexists(path))


def own_name(wanted: Path, folder: Path) -> Path | None:
    """Return the name under which an earlier start of a run has saved its network; None: there is none of its own.

    Its file is gone, or it is the same as the copy in the run's folder; otherwise it is by now another's.
    """
    ours = re.compile(rf"{re.escape(wanted.stem)}(-\d+)?{re.escape(wanted.suffix)}")
    for copy in sorted(folder.glob(f"*{wanted.suffix}")) if folder.is_dir() else ():
        path = wanted.with_name(copy.name)
        if ours.fullmatch(copy.name) and (not os.path.lexists(path) or _same(path, copy)):
            return path
    return None


def save_as(wanted: Path, folder: Path, save: Callable[[Path], None], *, overwrite: bool) -> Path:
    """Save a network, and a copy in the folder of its run, and return where it is.

    Args:
        wanted: the file that it should be. If that is another's, the next free name is taken.
        folder: of the run, which nobody else writes to.
        save: writes the network to a file, whole.
        overwrite: whether it takes the place of whatever network is there.

    Raises:
        CheckpointError: if it cannot be written.
    """
    if wanted.resolve() == (folder / wanted.name).resolve():
        save(wanted)
        return wanted
    own = wanted if overwrite else own_name(wanted, folder)
    copy = folder / (own or wanted).name
    save(copy)
    path = own or wanted
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if own is not None:
            with atomic_write(own) as file:
                file.write(copy.read_bytes())
            return own
        for path in names(wanted):
            try:
                atomic_copy(copy, path)
            except FileExistsError:
                continue
            # The copy's name tells a run that goes on which file is its own.
            os.replace(copy, folder / path.name)
            return path
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be written ({error.strerror}); the network is in {copy}") from error
    raise AssertionError("there is always another name")


def _same(one: Path, two: Path) -> bool:
    return one.is_file() and one.read_bytes() == two.read_bytes()
