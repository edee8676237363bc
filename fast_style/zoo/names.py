"""Trained networks by name: one's own, those of all one's folders, and those that ship."""

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

#: Where training leaves its networks, in the folder one works in.
OWN = Path("checkpoints")
#: Before a name: the network that ships, whatever there is besides.
ZOO = Path("zoo")

_SUFFIX = ".safetensors"
_log = logging.getLogger(__name__)


def networks() -> dict[str, Path]:
    """Return the files of the networks that ship, by name, sorted."""
    return _named(Path(__file__).parent)


def own_networks() -> dict[str, Path]:
    """Return the files of the networks in `checkpoints/`, by name, sorted."""
    return _named(OWN)


def user_networks() -> dict[str, Path]:
    """Return the files of the networks in `user_folder`, by name, sorted."""
    return _named(user_folder())


def user_folder() -> Path:
    """Return the folder of networks for wherever one works: FAST_STYLE_NETWORKS, or the system's for a user's data."""
    if own := os.environ.get("FAST_STYLE_NETWORKS"):
        return Path(own).expanduser()
    from platformdirs import user_data_path

    return user_data_path("fast_style") / "networks"


def find(path: Path) -> Path:
    """Return the file that a path or a bare name stands for.

    A name is sought in `checkpoints/`, then in the user's folder (`user_folder`), then among the networks that ship;
    `zoo/NAME` is the one that ships in any case. Where a name stands for one's own, and one that ships has it, too,
    that is logged, once.

    Args:
        path: a file, or a name with or without `.safetensors`.

    Raises:
        CheckpointError: if a name stands for nothing, or it is a URL. Another path with a folder is
            returned as it is.

    Example:
        >>> find(Path("zoo/starry_night")).name
        'starry_night.safetensors'
    """
    if is_url(str(path)):
        raise CheckpointError(explain_url(str(path)))
    if path.is_file():
        return path
    name = path.name.removesuffix(_SUFFIX)
    own, users, shipped = own_networks(), user_networks(), networks()
    if path.parent == ZOO:
        if name not in shipped:
            raise CheckpointError(f"{path}: no such file, and no such name in the zoo, which has {_listed(shipped)}")
        return shipped[name]
    if path.parent != Path():
        return path
    # One's own first: whoever has trained a painting anew wants that one.
    known = shipped | users | own
    if name not in known:
        if path.is_dir():  # which is said by who reads it
            return path
        closest = get_close_matches(name, known, n=1)
        meant = f" (did you mean {closest[0]}?)" if closest else ""
        parts = [part.strip() for part in re.split(r"[+,]", name.strip("[]"))]
        if len(parts) > 1 and (knowing := who_knows(parts)):
            meant = f" ({knowing})"
        raise CheckpointError(
            f"{path}: no such file, and no such name{meant}; {OWN}/ has {_listed(own)}; "
            f"the zoo has {_listed(shipped)}; {user_folder()} has {_listed(users)}"
        )
    if name in shipped and known[name] != shipped[name]:
        _say_hidden(name, known[name])
    return known[name]


def who_knows(styles: Iterable[str]) -> str:
    """Return in words which networks, one's own and those that ship, know all of some styles; nothing if none does."""
    wanted, found = list(dict.fromkeys(styles)), []
    for name, path in (networks() | user_networks() | own_networks()).items():
        # Of one that is damaged, nothing is known.
        with contextlib.suppress(CheckpointError):
            if set(wanted) <= read_network_file(path).metadata.styles.keys():
                found.append(name)
    verb = "knows" if len(found) == 1 else "know"
    return f"{' and '.join(found)} {verb} {' and '.join(wanted)}" if found else ""


@functools.cache
def _say_hidden(name: str, path: Path) -> None:
    _log.warning("%s is taken, your own; the network of this name that ships is %s/%s", path, ZOO, name)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "nothing yet"


def _named(folder: Path) -> dict[str, Path]:
    return {file.stem: file for file in sorted(folder.glob(f"*{_SUFFIX}"))}
