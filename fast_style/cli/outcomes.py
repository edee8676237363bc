"""What is said of many pictures or videos: of each what became of it, and in the end of all."""

import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol, TypeVar

from fast_style.cli import program
from fast_style.cli.hydra_app import duration
from fast_style.errors import FastStyleError


class Outcome(Protocol):
    """What became of one of them."""

    @property
    def status(self) -> str:
        """Whether it is done, failed or skipped."""

    @property
    def size(self) -> tuple[int, int] | None:
        """Width and height of the result, if it was made."""

    @property
    def seconds(self) -> float:
        """How long it was worked on."""

    @property
    def error(self) -> str | None:
        """What is wrong, in one line."""


O_co = TypeVar("O_co", bound=Outcome, covariant=True)


class Work(Protocol[O_co]):
    """The work on all of them, with what has come of it so far. See `FolderWork`."""

    done: int
    failed: int
    skipped: int
    older: int
    disk_full: bool

    def __iter__(self) -> Iterator[O_co]:
        """Yield what becomes of each."""

    def stop(self) -> None:
        """Begin nothing new."""


def follow(
    work: Work[O_co],
    say: Callable[[O_co], None],
    kind: str,
    total: int,
    failure: type[FastStyleError],
    held: contextlib.ExitStack,
) -> None:
    """Do the work, and say how it goes; what fails does not stop the others.

    Args:
        work: what there is to do.
        say: says what became of one.
        kind: what they are: pictures or videos.
        total: how many there are.
        failure: what to raise if one has failed.
        held: what is closed before the last word, such as a bar that stands where that is to be.

    Raises:
        FastStyleError: of the kind `failure`.
        KeyboardInterrupt: if it is stopped; the message says how far it has come.
    """
    began = time.monotonic()
    error: str | None = None
    try:
        for outcome in work:
            say(outcome)
            error = outcome.error or error
    except BaseException as stopped:  # Any: it comes from without, as Ctrl-C does. A second one ends it at once.
        work.stop()
        for outcome in work:
            with contextlib.suppress(BrokenPipeError):
                say(outcome)
        if isinstance(stopped, KeyboardInterrupt) and total > 1:
            raise KeyboardInterrupt(f"{str(stopped) or 'interrupted'}; {_so_far(work, kind, total)}") from None
        if isinstance(stopped, BrokenPipeError) and work.done < total > 1:
            print(f"{program()}: nobody reads on; {_so_far(work, kind, total)}", file=sys.stderr)
        if isinstance(stopped, SystemExit):
            said = [*getattr(stopped, "__notes__", []), *([_so_far(work, kind, total)] if total > 1 else [])]
            print(f"{program()}: {'; '.join(['stopped', *said])}", file=sys.stderr)
        raise
    held.close()
    if error and total == 1:
        raise failure(error)
    if work.disk_full:
        raise failure(f"the disk is full; {_so_far(work, kind, total)}")
    skipped = f"; {work.skipped:,} there already" if work.skipped else ""
    if work.older:
        skipped += f", {work.older:,} of them older than their {kind}: overwrite=true makes them again"
    if work.failed:
        raise failure(f"{work.failed} of {total} {kind} failed; the others are done{skipped}")
    if total > 1 or skipped:
        seconds = time.monotonic() - began
        # Of videos, each has said its own.
        rate = f", {work.done / seconds:,.1f}/s" if work.done and kind == "pictures" else ""
        print(f"{work.done:,} {kind} in {duration(seconds)}{rate}{skipped}", file=sys.stderr)


def as_json(source: str | list[str], target: str, outcome: Outcome, **more: Any) -> str:
    """Return a line of JSON about one."""
    width, height = outcome.size or (None, None)
    said = {
        "input": source,
        "output": None if outcome.error else target,
        "status": outcome.status,
        "width": width,
        "height": height,
        "seconds": round(outcome.seconds, 4),
        "error": outcome.error,
    }
    return json.dumps(said | more)


def _so_far(work: Work[Any], kind: str, total: int) -> str:
    there = f", {work.skipped:,} were there already" if work.skipped else ""
    return f"{work.done:,} of {total:,} {kind} are done{there}; resume=true goes on with the others"
