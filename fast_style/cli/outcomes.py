"""What is said of many pictures or videos: of each what became of it, and in the end of all."""

import contextlib
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, Protocol, TypeAlias

from fast_style.cli import program
from fast_style.cli.hydra_app import duration
from fast_style.errors import FastStyleError
from fast_style.stylizing.jobs import Report
from fast_style.system.text import printable

#: What standard output gets of each: a line of JSON, the name of the result, or nothing.
Output: TypeAlias = Literal["json", "name"] | None


class Work(Protocol):
    """The work on all of them, with what has come of it so far. See `FolderWork`."""

    done: int
    failed: int
    skipped: int
    older: int
    disk_full: bool

    def __iter__(self) -> Iterator[Report]:
        """Yield what becomes of each."""

    def stop(self) -> None:
        """Begin nothing new."""


def follow(
    work: Work,
    say: Callable[[Report], None],
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
        for report in work:
            say(report)
            error = report.error or error
    except BaseException as stopped:  # Any: it comes from without, as Ctrl-C does. A second one ends it at once.
        work.stop()
        for report in work:
            with contextlib.suppress(BrokenPipeError):
                say(report)
        if isinstance(stopped, KeyboardInterrupt) and total > 1:
            raise KeyboardInterrupt(f"{str(stopped) or 'interrupted'}; {_so_far(work, kind, total)}") from None
        if isinstance(stopped, BrokenPipeError) and work.done < total > 1:
            print(f"{program()}: nobody reads on; {_so_far(work, kind, total)}", file=sys.stderr)
        if isinstance(stopped, SystemExit):
            tell_stopped(stopped, *([_so_far(work, kind, total)] if total > 1 else []))
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
        made = f"{work.done:,} {kind if work.done != 1 else kind.removesuffix('s')}"
        print(f"{made} in {duration(seconds)}{rate}{skipped}", file=sys.stderr)


def tell_stopped(stopped: SystemExit, *said: str) -> None:
    """Say on standard error that the work was stopped from without, as by SIGTERM."""
    said = (*getattr(stopped, "__notes__", ()), *said)
    print(f"{program()}: {'; '.join(['stopped', *said])}", file=sys.stderr)


def say_report(
    report: Report, output: Output, several: bool = False, video: bool = False, known: Counter[str] | None = None
) -> None:
    """Say what became of a picture or a video.

    Args:
        report: what became of it.
        output: what standard output gets.
        several: whether it is one of several, of which each says by itself what is wrong with it.
        video: whether it says of frames, too.
        known: how many others each note has been of, to be counted on; what has been said is not said again.
    """
    source, target = report.job.source, report.job.target
    sources = [*source] if isinstance(source, Sequence) else [source]
    if output == "json":
        width, height = report.size or (None, None)
        said = {
            "input": [str(each) for each in sources] if isinstance(source, Sequence) else str(source),
            "output": None if report.error else str(target),
            "status": report.status,
            "width": width,
            "height": height,
            "seconds": round(report.seconds, 4),
            "error": report.error,
        }
        if video:
            said |= {"frames": report.frames or None, "notes": [*report.notes], "warning": report.warning}
        elif report.notes:
            said["notes"] = [*report.notes]
        print(json.dumps(said), flush=True)
    elif output == "name" and report.status == "done":
        print(printable(str(target)), flush=True)
    if report.error and several:
        print(report.error, file=sys.stderr, flush=True)
    if video and report.frames:
        busy = ", ".join(f"{name} {share:.0%}" for name, share in report.busy.items())
        rate = f"{report.frames / report.seconds:.1f}/s"
        print(f"{report.frames} frames in {duration(report.seconds)}, {rate}; busy: {busy}", file=sys.stderr)
    if report.warning:
        print(report.warning, file=sys.stderr)
    for note in report.notes:
        if known is not None:
            known[note] += 1
            if known[note] > 1:
                continue
        name = target if isinstance(source, Sequence) else source
        print(printable(f"{name}: {note}"), file=sys.stderr, flush=True)


def say_how_many(known: Counter[str]) -> None:
    """Say of how many pictures each note is that has been said of the first of them only."""
    for note, count in known.items():
        if count > 1:
            print(printable(f"{count:,} pictures: {note}"), file=sys.stderr, flush=True)


def _so_far(work: Work, kind: str, total: int) -> str:
    there = f", {work.skipped:,} were there already" if work.skipped else ""
    return f"{work.done:,} of {total:,} {kind} are done{there}; resume=true goes on with the others"
