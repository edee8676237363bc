"""Names for results of which two would have the same."""

import itertools
import tempfile
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath

from fast_style.system.files import append_to_name, natural_sort_key


def apart(sources: Sequence[PurePath], targets: Sequence[Path]) -> list[Path]:
    """Return where results go, each to a name of its own, of a length that file systems take.

    Of several that would have one name, that one keeps it whose source has this suffix already, or else the first in
    natural order; another gets the suffix of its source into its name: logo.png and logo.psd become logo.png and
    logo.psd.png, in whatever order they are given. Where that is not enough, it gets the name of its folder, or a
    number.

    Args:
        sources: what each is made of.
        targets: where each would go.
    """
    found = [target.with_name(append_to_name(target.stem, target.suffix)) for target in targets]
    groups: dict[str, list[int]] = defaultdict(list)
    for index, target in enumerate(found):
        groups[_folded(target)].append(index)
    exact, folded = set(found), set(groups)
    for alike in sorted(groups.values(), key=lambda group: natural_sort_key(found[group[0]])):
        for group in _clashes(alike, found):
            in_order = sorted(group, key=lambda index: natural_sort_key(sources[index]))
            # Those that keep their suffix stand first.
            first, *others = sorted(in_order, key=lambda index: _changes(sources[index], found[index]))
            for index in others:
                for name in _names(sources[index], found[index], sources[first].parent != sources[index].parent):
                    if name not in exact and not (_folded(name) in folded and _folds_case(name.parent)):
                        break
                exact.add(name)
                folded.add(_folded(name))
                found[index] = name
    return found


def _clashes(alike: list[int], targets: Sequence[Path]) -> Iterator[list[int]]:
    """Yield those that have one name, of those that have one for a file system that knows no case."""
    exact: dict[Path, list[int]] = defaultdict(list)
    for index in alike:
        exact[targets[index]].append(index)
    together = [alike] if len(exact) > 1 and _folds_case(targets[alike[0]].parent) else exact.values()
    yield from (group for group in together if len(group) > 1)


def _names(source: PurePath, target: Path, elsewhere: bool) -> Iterator[Path]:
    """Yield names for a result whose own is taken, and whose source lies in another folder or not."""
    stem = f"{target.stem}{source.suffix}" if _changes(source, target) else target.stem
    if stem != target.stem:
        yield target.with_name(append_to_name(stem, target.suffix))
    if elsewhere and source.parent.name:
        stem = f"{stem}.{source.parent.name}"
        yield target.with_name(append_to_name(stem, target.suffix))
    for number in itertools.count(2):
        yield target.with_name(append_to_name(stem, f".{number}{target.suffix}"))


def _changes(source: PurePath, target: Path) -> bool:
    return source.suffix.lower() != target.suffix.lower()


def _folded(path: Path) -> str:
    return unicodedata.normalize("NFC", str(path).casefold())


def _folds_case(folder: Path) -> bool:
    """Return whether two names that differ in case are one file in a folder, or in the one in which it will be made."""
    place = next((each for each in (folder, *folder.parents) if each.is_dir()), folder)
    try:
        with tempfile.NamedTemporaryFile(prefix=".case", dir=place) as file:
            path = Path(file.name)
            return path.with_name(path.name.swapcase()).exists()
    except OSError:  # What is wrong is said when the result is written.
        return False
