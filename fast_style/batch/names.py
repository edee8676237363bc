"""Unique file names for results whose names would clash."""

import itertools
import tempfile
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath

from fast_style.system.files import append_to_name, natural_sort_key


def apart(sources: Sequence[PurePath], targets: Sequence[Path]) -> list[Path]:
    """Return unique targets, with names short enough for file systems.

    Of several results with one name, the one whose source already has the suffix keeps it, or else the first in natural
    order. The others add the suffix of their source: logo.png and logo.psd become logo.png and logo.psd.png, in any
    order. If that is not enough, they add the name of their folder, then a number.

    Args:
        sources: the source of each result.
        targets: the wanted target of each result.
    """
    found = [target.with_name(append_to_name(target.stem, target.suffix)) for target in targets]
    groups: dict[str, list[int]] = defaultdict(list)
    for index, target in enumerate(found):
        groups[_folded(target)].append(index)
    exact, folded = set(found), set(groups)
    for alike in sorted(groups.values(), key=lambda group: natural_sort_key(found[group[0]])):
        for group in _clashes(alike, found):
            in_order = sorted(group, key=lambda index: natural_sort_key(sources[index]))
            # Those that keep their suffix come first.
            first, *others = sorted(in_order, key=lambda index: _changes_suffix(sources[index], found[index]))
            for index in others:
                for name in _names(sources[index], found[index], sources[first].parent != sources[index].parent):
                    if name not in exact and not (_folded(name) in folded and _folds_case(name.parent)):
                        break
                exact.add(name)
                folded.add(_folded(name))
                found[index] = name
    return found


def _clashes(alike: list[int], targets: Sequence[Path]) -> Iterator[list[int]]:
    """Yield groups with the same name, from a group with the same case-folded name."""
    exact: dict[Path, list[int]] = defaultdict(list)
    for index in alike:
        exact[targets[index]].append(index)
    together = [alike] if len(exact) > 1 and _folds_case(targets[alike[0]].parent) else exact.values()
    yield from (group for group in together if len(group) > 1)


def _names(source: PurePath, target: Path, elsewhere: bool) -> Iterator[Path]:
    """Yield alternative names; `elsewhere`: the source is in another folder than the one that keeps the name."""
    stem = f"{target.stem}{source.suffix}" if _changes_suffix(source, target) else target.stem
    if stem != target.stem:
        yield target.with_name(append_to_name(stem, target.suffix))
    if elsewhere and source.parent.name:
        stem = f"{stem}.{source.parent.name}"
        yield target.with_name(append_to_name(stem, target.suffix))
    for number in itertools.count(2):
        yield target.with_name(append_to_name(stem, f".{number}{target.suffix}"))


def _changes_suffix(source: PurePath, target: Path) -> bool:
    return source.suffix.lower() != target.suffix.lower()


def _folded(path: Path) -> str:
    return unicodedata.normalize("NFC", str(path).casefold())


def _folds_case(folder: Path) -> bool:
    """Return whether a folder, or its nearest existing parent, is case-insensitive."""
    place = next((each for each in (folder, *folder.parents) if each.is_dir()), folder)
    try:
        with tempfile.NamedTemporaryFile(prefix=".case", dir=place) as file:
            path = Path(file.name)
            return path.with_name(path.name.swapcase()).exists()
    except OSError:  # Writing the result reports what is wrong.
        return False
