"""How far a picture in tiles has come."""

import contextlib
import logging
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fast_style.backends.tiles import Progress

_log = logging.getLogger(__name__)
_SECONDS_BETWEEN_LINES = 15.0


@contextlib.contextmanager
def shown() -> Iterator["Progress"]:
    """Give what shows the progress on standard error: a bar on a terminal, and elsewhere a line now and then."""
    # Below another bar, which has taken hold of the stream, there is no place for one.
    if not sys.stderr.isatty() or hasattr(sys.stderr, "rich_proxied_file"):
        last = time.monotonic()

        def say(number: int, done: int, total: int) -> None:
            nonlocal last
            if time.monotonic() - last > _SECONDS_BETWEEN_LINES:
                last = time.monotonic()
                _log.info("pass %s: %s of %s tiles", number, done, total)

        yield say
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("tiles,"))
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("pass 1", total=None)

        def show(number: int, done: int, total: int) -> None:
            if done == 1:
                bar.reset(task, total=total)
            bar.update(task, description=f"pass {number}", completed=done, total=total)

        yield show
