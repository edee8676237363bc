"""Results of earlier runs among the inputs, which are not stylized again."""

import contextlib
import re
import sys
from collections.abc import Iterable
from pathlib import Path

from fast_style.cli.hydra_app import safe
from fast_style.cli.overrides import CONFIGS
from fast_style.errors import CheckpointError
from fast_style.system.text import printable
from fast_style.zoo import networks, own_networks, user_networks
from fast_style.zoo.network_file import read_network_file

#: Suffix of the results of optimize.py, so that they differ from those of stylize.py.
OPTIMIZED = "_optimized"

_said: set[str] = set()


def earlier_results(files: Iterable[Path], style: str = "") -> set[Path]:
    """Return the files that are named as results of others of them, such as anna_great_wave.jpg beside anna.jpg.

    What follows the picture's name must be a known network, or styles joined by +. A line on standard error gives the
    number of results.

    Args:
        files: content of a folder or glob.
        style: the style of this run; its results are skipped without a message.
    """
    stems: dict[Path, set[str]] = {}
    files = list(files)
    for file in files:
        stems.setdefault(file.parent, set()).add(file.stem)
    labels = {file: found for file in files if (found := _labels(file.stem, stems[file.parent]))}
    if not labels:
        return set()
    styles = _styles() | {safe(style)}
    results = {file for file, found in labels.items() if any(styles.issuperset(label.split("+")) for label in found)}
    if others := {file for file in results if safe(style) not in labels[file]}:
        count = "1 result of an earlier run is" if len(others) == 1 else f"{len(others):,} results of earlier runs are"
        text = f"{count} left out, {printable(str(min(others)))}; name a file itself to stylize it again"
        if text not in _said:
            print(text, file=sys.stderr)
        _said.add(text)
    return results


def _labels(stem: str, others: set[str]) -> list[str]:
    """Return the possible style names in a result's file name."""
    # Split at each underscore: both names may contain some.
    places = [match.start() for match in re.finditer("_", stem)]
    return [stem[place + 1 :].removesuffix(OPTIMIZED) for place in places if stem[:place] in others]


def _styles() -> set[str]:
    own = own_networks() | user_networks()
    names = {file.stem for file in (CONFIGS / "style").glob("*.yaml")} | set(networks()) | set(own)
    for path in own.values():
        with contextlib.suppress(CheckpointError):
            names |= read_network_file(path).metadata.styles.keys()
    return {safe(part) for name in names for part in name.split("+")}
