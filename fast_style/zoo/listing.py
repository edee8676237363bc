"""The list of trained networks that have names, with what their files hold."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten

from fast_style.errors import CheckpointError
from fast_style.zoo import names
from fast_style.zoo.network_file import NetworkFile, read_network_file


@dataclass(frozen=True)
class NetworkRecord:
    """A trained network that can be loaded by name.

    Attributes:
        name: argument of `load`; `zoo/NAME` for a shipped network that is hidden by another of its name.
        path: its file.
        styles: names of its styles.
        credit: title, artist and year of its paintings.
        network: name of its class.
        losses: losses on held-out pictures, by name.
        bytes: file size.
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
        damaged: one line for each unreadable file, with the reason.
    """

    damaged: tuple[str, ...] = ()

    def __repr__(self) -> str:
        rows = [("name", "network", "credit", "path")]
        rows += [(_short(each.name), _short(each.network), _short(each.credit), str(each.path)) for each in self]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
        return "\n".join(lines)


def list_networks() -> NetworkList:
    """Return the networks that `load` finds by name: in `checkpoints/`, in the user's folder, and shipped.

    Returns:
        A tuple, shown as a table. Damaged files are left out; its attribute `damaged` gives the reasons.

    Example:
        >>> import fast_style
        >>> [network.styles for network in fast_style.list() if network.name == "starry_night"]
        [('starry_night',)]
    """
    found: dict[str, NetworkRecord] = {}
    damaged: list[str] = []
    ships = names.shipped_networks()
    for place in (names.saved_networks(), names.user_networks(), ships):
        for name, path in place.items():
            try:
                file = read_network_file(path)
            except CheckpointError as error:
                damaged.append(str(error))
                continue
            hidden = name in found
            if not hidden or place is ships:
                unique = f"{names.ZOO}/{name}" if hidden else name
                found[unique] = _record(unique, path, file)
    networks = NetworkList(found.values())
    networks.damaged = tuple(damaged)
    return networks


def credit(style: Mapping[str, str | int | None]) -> str:
    """Return title, artist and year of a style's painting, as far as known."""
    known = (style.get(key) for key in ("work", "artist", "year"))
    return ", ".join(str(value) for value in known if value) or "untitled"


def _short(text: str) -> str:
    # Untrusted text: control characters must not reach the terminal.
    return shorten(text if text.isprintable() else ascii(text), 60, placeholder=" ...")


def _record(name: str, path: Path, file: NetworkFile) -> NetworkRecord:
    # Untrusted: losses need not be numbers.
    losses = {key: value for key, value in file.metadata.losses.items() if isinstance(value, int | float)}
    credits = "; ".join(map(credit, file.metadata.styles.values()))
    styles = tuple(file.metadata.styles)
    return NetworkRecord(name, path, styles, credits, str(file.network.get("class")), losses, len(file.data))
