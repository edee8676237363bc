"""Messages about many pictures or videos: the result of each, and a summary at the end."""

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

#: Standard output for each result: a line of JSON, its name, or nothing.
Output: TypeAlias = Literal["json", "name"] | None


class Work(Protocol):
    """Work in progress and its counts so far; see `FolderWork`."""

    done: int
    failed: int
    skipped: int
    older: int
    disk_full: bool

    def __iter__(self) -> Iterator[Report]:
        """Yield the report of each picture or video."""

    def stop(self) -> None:
        """Start nothing new."""


def follow(
    work: Work,
    say: Callable[[Report], None],
    kind: str,
    total: int,
    failure: type[FastStyleError],
    stack: contextlib.ExitStack,
) -> None:
    """Run the work on `total` pictures or videos (`kind`) and report its results; a failure does not stop the others.

    `stack`, which holds the progress bar, is closed before the summary. Raises `failure` if one failed; if interrupted,
    the KeyboardInterrupt says how many are done.
    """
    began = time.monotonic()
    error: str | None = None
    try:
        for report in work:
            say(report)
            error = report.error or error
    except BaseException as stopped:  # any, such as Ctrl-C; a second one ends it at once
        work.stop()
        for report in work:
            with contextlib.suppress(BrokenPipeError):
                say(report)
        if isinstance(stopped, KeyboardInterrupt) and total > 1:
            raise KeyboardInterrupt(f"{str(stopped) or 'interrupted'}; {_so_far(work, kind, total)}") from None
        if isinstance(stopped, BrokenPipeError) and work.done < total > 1:
            print(f"{program()}: standard output was closed; {_so_far(work, kind, total)}", file=sys.stderr)
        if isinstance(stopped, SystemExit):
            tell_stopped(stopped, *([_so_far(work, kind, total)] if total > 1 else []))
        raise
    stack.close()
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
        # Videos print their own rate.
        rate = f", {work.done / seconds:,.1f}/s" if work.done and kind == "pictures" else ""
        made = f"{work.done:,} {kind if work.done != 1 else kind.removesuffix('s')}"
        print(f"{made} in {duration(seconds)}{rate}{skipped}", file=sys.stderr)


def tell_stopped(stopped: SystemExit, *notes: str) -> None:
    """Say on standard error that a signal such as SIGTERM stopped the work."""
    notes = ("stopped", *getattr(stopped, "__notes__", ()), *notes)
    print(f"{program()}: {'; '.join(notes)}", file=sys.stderr)


def say_report(
    report: Report, output: Output, several: bool = False, video: bool = False, known: Counter[str] | None = None
) -> None:
    """Print the report of a picture or a video; its error at once if it is one of `several`.

    `known` counts each note: a repeated one is not printed again.
    """
    source, target = report.job.source, report.job.target
    sources = [*source] if isinstance(source, Sequence) else [source]
    if output == "json":
        width, height = report.size or (None, None)
        fields = {
            "input": [str(each) for each in sources] if isinstance(source, Sequence) else str(source),
            "output": None if report.error else str(target),
            "status": report.status,
            "width": width,
            "height": height,
            "seconds": round(report.seconds, 4),
            "error": report.error,
        }
        if video:
            fields |= {"frames": report.frames or None, "notes": [*report.notes], "warning": report.warning}
        elif report.notes:
            fields["notes"] = [*report.notes]
        print(json.dumps(fields), flush=True)
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
    """Print how many pictures each repeated note applies to."""
    for note, count in known.items():
        if count > 1:
            print(printable(f"{count:,} pictures: {note}"), file=sys.stderr, flush=True)


def _so_far(work: Work, kind: str, total: int) -> str:
    there = f", {work.skipped:,} were there already" if work.skipped else ""
    return f"{work.done:,} of {total:,} {kind} are done{there}; resume=true goes on with the others"
