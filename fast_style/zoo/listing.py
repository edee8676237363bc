"""The trained networks that have names, and what their files say of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten

from fast_style.errors import CheckpointError
from fast_style.zoo import names
from fast_style.zoo.network_file import NetworkFile, read_network_file


@dataclass(frozen=True)
class NetworkRecord:
    """A trained network, to be chosen by its name.

    Attributes:
        name: what `load` takes. Of two that are called alike, the one that ships is `zoo/NAME`.
        path: its file.
        styles: the names of the styles it knows.
        credit: what paintings it was trained on, whose and of when.
        network: the name of its class.
        losses: what was measured on held-out pictures, by name.
        bytes: the size of its file.
    """

    name: str
    path: Path
    styles: tuple[str, ...]
    credit: str
    network: str
    losses: Mapping[str, float]
    bytes: int


class NetworkList(tuple[NetworkRecord, ...]):
    """Networks, shown as a table.

    Attributes:
        damaged: why files are left out, in a line each.
    """

    damaged: tuple[str, ...] = ()

    def __repr__(self) -> str:
        rows = [("name", "network", "credit", "path")]
        rows += [(_short(each.name), _short(each.network), _short(each.credit), str(each.path)) for each in self]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
        return "\n".join(lines)


def list_networks() -> NetworkList:
    """Return the networks that `load` knows by name: in `checkpoints/`, in the user's folder, and those that ship.

    A file that is damaged is left out; the attribute `damaged` says why.

    Returns:
        A tuple, shown as a table.

    Example:
        >>> import fast_style
        >>> [network.styles for network in fast_style.list() if network.name == "starry_night"]
        [('starry_night',)]
    """
    found: dict[str, NetworkRecord] = {}
    damaged: list[str] = []
    ships = names.networks()
    for place in (names.own_networks(), names.user_networks(), ships):
        for name, path in place.items():
            try:
                file = read_network_file(path)
            except CheckpointError as error:
                damaged.append(str(error))
                continue
            hidden = name in found
            if not hidden or place is ships:
                called = f"{names.ZOO}/{name}" if hidden else name
                found[called] = _record(called, path, file)
    networks = NetworkList(found.values())
    networks.damaged = tuple(damaged)
    return networks


def credit(style: Mapping[str, str | int | None]) -> str:
    """Return title, artist and year of a style's picture, as far as they are known."""
    known = (style.get(key) for key in ("work", "artist", "year"))
    return ", ".join(str(value) for value in known if value) or "untitled"


def _short(text: str) -> str:
    # From a file that others made: a terminal must not obey it.
    return shorten(text if text.isprintable() else ascii(text), 60, placeholder=" ...")


def _record(name: str, path: Path, file: NetworkFile) -> NetworkRecord:
    # From a file that others made: its numbers need not be numbers.
    losses = {key: value for key, value in file.metadata.losses.items() if isinstance(value, int | float)}
    credits = "; ".join(map(credit, file.metadata.styles.values()))
    styles = tuple(file.metadata.styles)
    return NetworkRecord(name, path, styles, credits, str(file.network.get("class")), losses, len(file.data))
