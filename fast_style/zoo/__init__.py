"""The trained networks that ship with the package, beside this file, and how any network is found by its name.

`docs/zoo.py` puts them here; `docs/zoo.md` shows them.
"""

from difflib import get_close_matches
from pathlib import Path

from fast_style.errors import CheckpointError
from fast_style.files import is_url, what_of_url

#: Where training leaves its networks, in the folder one works in.
OWN = Path("checkpoints")

_SUFFIX = ".safetensors"


def networks() -> dict[str, Path]:
    """Return the files of the networks that ship, by name, sorted."""
    return _named(Path(__file__).parent)


def own_networks() -> dict[str, Path]:
    """Return the files of the networks in `checkpoints/`, by name, sorted."""
    return _named(OWN)


def find(path: Path) -> Path:
    """Return the file that a path or a bare name stands for: a file, else one in `checkpoints/`, else one that ships.

    Raises:
        CheckpointError: if a bare name stands for nothing, or it is a URL. A path with a folder in it is returned as it
            is.
    """
    if is_url(str(path)):
        raise CheckpointError(what_of_url(str(path)))
    if path.parent != Path() or path.is_file():
        return path
    name = path.name.removesuffix(_SUFFIX)
    own, shipped = own_networks(), networks()
    # One's own first: whoever has trained a painting anew wants that one.
    known = shipped | own
    if name not in known:
        its, zoo = (", ".join(names) or "nothing yet" for names in (own, shipped))
        closest = get_close_matches(name, known, n=1)
        meant = f"; did you mean {closest[0]}?" if closest else ""
        raise CheckpointError(
            f"{path}: no such file, and no such name in {OWN}/, which has {its}; the zoo has {zoo}{meant}"
        )
    return known[name]


def _named(folder: Path) -> dict[str, Path]:
    return {file.stem: file for file in sorted(folder.glob(f"*{_SUFFIX}"))}
