"""fast-style list: the trained networks that have names, and what their files say of them."""

import sys
from collections.abc import Iterator, Mapping

from fast_style.cli import errors_in_one_line
from fast_style.errors import CheckpointError, ConfigError
from fast_style.system.text import printable
from fast_style.zoo import OWN, ZOO, networks, own_networks
from fast_style.zoo.network_file import NetworkFile, read_network_file

HEADINGS = ("name", "from", "network", "KB", "held-out losses", "painting")


def network_list() -> Iterator[str]:
    """Yield the lines of a table; a file that is damaged gets a line that says so."""
    own, zoo = own_networks(), networks()
    rows: list[tuple[str, ...]] = [HEADINGS]
    damaged = []
    for found, place in ((own, f"{OWN}/"), (zoo, "the zoo")):
        for name, path in found.items():
            try:
                file = read_network_file(path)
            except CheckpointError as error:
                damaged.append(printable(str(error)))
                continue
            # Of two with one name, the name stands for one's own.
            hidden = own.get(name, path) != path
            rows.append(_row(f"{ZOO}/{name}" if hidden else name, place, file))
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
    yield from damaged


def _row(name: str, place: str, file: NetworkFile) -> tuple[str, ...]:
    # From a file that others made: its numbers need not be numbers.
    numbers = {key: value for key, value in file.metadata.losses.items() if isinstance(value, int | float)}
    losses = ", ".join(f"{key.removeprefix('heldout/')} {value:.3g}" for key, value in numbers.items())
    cells = (
        *(name, place, str(file.network.get("class")), f"{len(file.data) / 1000:.0f}", losses),
        "; ".join(map(credit, file.metadata.styles.values())),
    )
    return tuple(map(printable, cells))


def credit(style: Mapping[str, str | int | None]) -> str:
    """Return what a style's picture is, whose and of when, as far as it is known."""
    known = (style.get(key) for key in ("work", "artist", "year"))
    return ", ".join(str(value) for value in known if value) or "untitled"


def entry_point() -> None:
    """Run the command."""
    if {"-h", "--help"} & set(sys.argv[1:]):
        print("fast-style list: show the networks that there are, your own and those that ship; it takes no settings.")
        return
    with errors_in_one_line():
        if sys.argv[1:]:
            raise ConfigError(f"{sys.argv[1]}: list takes no settings")
        print(*network_list(), sep="\n")
