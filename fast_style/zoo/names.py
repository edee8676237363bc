"""Trained networks by name: in checkpoints/, in the user's folder, and shipped."""

import contextlib
import functools
import logging
import os
import re
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

from fast_style.errors import CheckpointError
from fast_style.system.files import explain_url, is_url
from fast_style.zoo.network_file import read_network_file

#: Where training saves networks, relative to the current folder.
CHECKPOINTS = Path("checkpoints")
#: Prefix of a name that always means the shipped network.
ZOO = Path("zoo")

_SUFFIX = ".safetensors"
_log = logging.getLogger(__name__)


def shipped_networks() -> dict[str, Path]:
    """Return the files of the shipped networks, by name, sorted."""
    return _named(Path(__file__).parent)


def saved_networks() -> dict[str, Path]:
    """Return the files of the networks in `checkpoints/`, by name, sorted."""
    return _named(CHECKPOINTS)


def user_networks() -> dict[str, Path]:
    """Return the files of the networks in `user_folder`, by name, sorted."""
    return _named(user_folder())


def all_networks() -> dict[str, Path]:
    """Return the files that `find` finds by bare names; who retrains a painting wants that network."""
    return shipped_networks() | user_networks() | saved_networks()


def user_folder() -> Path:
    """Return the user's folder of networks: FAST_STYLE_NETWORKS, or a folder in the system's place for user data."""
    if own := os.environ.get("FAST_STYLE_NETWORKS"):
        return Path(own).expanduser()
    from platformdirs import user_data_path

    return user_data_path("fast_style") / "networks"


def find(path: Path) -> Path:
    """Return the file of a path or a bare name.

    A name is searched in `checkpoints/`, then in the user's folder (`user_folder`), then among the shipped networks;
    `zoo/NAME` always means the shipped one. If another network hides a shipped one, that is logged once.

    Args:
        path: a file, or a name with or without `.safetensors`.

    Raises:
        CheckpointError: if a name is unknown, or it is a URL. A missing file in a folder is returned unchanged.

    Example:
        >>> find(Path("zoo/starry_night")).name
        'starry_night.safetensors'
    """
    if is_url(str(path)):
        raise CheckpointError(explain_url(str(path)))
    if path.is_file():
        return path
    name = path.name.removesuffix(_SUFFIX)
    known, shipped = all_networks(), shipped_networks()
    if path.parent == ZOO:
        if name not in shipped:
            raise CheckpointError(f"{path}: no such file, and no such name in the zoo, which has {_listed(shipped)}")
        return shipped[name]
    if path.parent != Path():
        return path
    if name not in known:
        if path.is_dir():  # reading it reports the error
            return path
        closest = get_close_matches(name, known, n=1)
        meant = f" (did you mean {closest[0]}?)" if closest else ""
        parts = [part.strip() for part in re.split(r"[+,]", name.strip("[]"))]
        if len(parts) > 1 and (knowing := who_knows(parts)):
            meant = f" ({knowing})"
        raise CheckpointError(
            f"{path}: no such file, and no such name{meant}; {CHECKPOINTS}/ has {_listed(saved_networks())}; "
            f"the zoo has {_listed(shipped)}; {user_folder()} has {_listed(user_networks())}"
        )
    if name in shipped and known[name] != shipped[name]:
        _say_hidden(name, known[name])
    return known[name]


def who_knows(styles: Iterable[str]) -> str:
    """Return text that names the networks that know all of some styles; empty: none does."""
    wanted, found = list(dict.fromkeys(styles)), []
    for name, path in all_networks().items():
        # Damaged files are skipped.
        with contextlib.suppress(CheckpointError):
            if set(wanted) <= read_network_file(path).metadata.styles.keys():
                found.append(name)
    verb = "knows" if len(found) == 1 else "know"
    return f"{' and '.join(found)} {verb} {' and '.join(wanted)}" if found else ""


@functools.cache
def _say_hidden(name: str, path: Path) -> None:
    _log.warning("using your own %s; the shipped network of that name is %s/%s", path, ZOO, name)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "nothing yet"


def _named(folder: Path) -> dict[str, Path]:
    return {file.stem: file for file in sorted(folder.glob(f"*{_SUFFIX}"))}
