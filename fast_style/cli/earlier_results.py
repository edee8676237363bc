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
from fast_style.zoo import all_networks, saved_networks, user_networks
from fast_style.zoo.network_file import read_network_file

#: Suffix of the results of optimize.py, so that they differ from those of stylize.py.
OPTIMIZED = "_optimized"

_said: set[str] = set()


def earlier_results(files: Iterable[Path], style: str = "") -> set[Path]:
    """Return the files that are named as results of others of them, such as anna_great_wave.jpg beside anna.jpg.

    What follows the picture's name must be a known network, or styles joined by +. A line on standard error gives the
    number of results, except for those of this run's `style`.
    """
    stems: dict[Path, set[str]] = {}
    files = list(files)
    for file in files:
        stems.setdefault(file.parent, set()).add(file.stem)
    labels: dict[Path, list[str]] = {}  # the possible style names in each result's file name
    for file in files:
        # Split at each underscore: both names may contain some.
        parts = ((file.stem[: match.start()], file.stem[match.end() :]) for match in re.finditer("_", file.stem))
        if found := [label.removesuffix(OPTIMIZED) for stem, label in parts if stem in stems[file.parent]]:
            labels[file] = found
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


def _styles() -> set[str]:
    names = {file.stem for file in (CONFIGS / "style").glob("*.yaml")} | all_networks().keys()
    for path in (saved_networks() | user_networks()).values():
        with contextlib.suppress(CheckpointError):
            names |= read_network_file(path).metadata.styles.keys()
    return {safe(part) for name in names for part in name.split("+")}
