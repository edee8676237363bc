"""Progress of long work: a bar on a terminal, a line every few seconds elsewhere."""

import sys
import time
from typing import Any


class ProgressBar:
    """Shows tasks one after another, each with rate and time left, in a `unit` such as "pictures". A context manager.

    "bytes" are shown as kB, MB or GB. `every_n_seconds` is the interval of the lines without a terminal; `aside` writes
    to standard error, so that standard output holds results alone; `leave` keeps the finished bar visible.
    """

    def __init__(self, unit: str, every_n_seconds: float = 15.0, aside: bool = False, leave: bool = True) -> None:
        self.unit, self.every_n_seconds = unit, every_n_seconds
        self._aside, self._leave = aside, leave
        self._work = ""
        self._first, self._began, self._shown = 0, 0.0, 0.0
        self._bar: Any = None
        self._task: Any = None

    def update(self, work: str, done: int, total: int | None, note: str = "") -> None:
        """Show that `done` of `total` units (None: unknown) of a task are done, with a note such as the loss.

        A new name in `work` starts a new bar at `done`.
        """
        now = time.monotonic()
        if work != self._work:
            self._work, self._first, self._began, self._shown = work, done, now, now
            if self._on_terminal():
                self._bar.reset(self._task, description=work, completed=done, total=total, text="", visible=True)
        on_terminal = self._on_terminal()
        interval = 0.1 if on_terminal else self.every_n_seconds
        if now - self._shown < interval and done != total:
            return
        self._shown = now
        rate = (done - self._first) / max(now - self._began, 1e-6)
        text = self._text(done, total, rate) + (f", {note}" if note else "")
        if on_terminal:
            self._bar.update(self._task, completed=done, total=total, text=text)
        elif total is None:
            self.say(f"{work}  {text}")
        elif done < total and rate:
            minutes, seconds = divmod(round((total - done) / rate), 60)
            self.say(f"{work}  {text}, {minutes}:{seconds:02d} left")

    def update_pass(self, number: int, done: int, total: int) -> None:
        """Show the tiles done in one of several passes; between passes there is no bar."""
        self.update(f"pass {number}", done, total)
        if done == total:
            self.close()

    def say(self, text: str) -> None:
        """Print a line, above the bar if there is one."""
        if self._on_terminal():
            self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            print(text, file=sys.stderr if self._aside else sys.stdout, flush=True)

    def close(self) -> None:
        """End the bar; the next task gets another."""
        if self._bar:
            self._bar.stop()
        self._bar, self._work = None, ""

    def __enter__(self) -> "ProgressBar":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _text(self, done: int, total: int | None, rate: float) -> str:
        if self.unit != "bytes":
            of_all = "" if total is None else f" of {total:,}"
            return f"{done:,}{of_all} {self.unit}, {rate:,.1f}/s"
        from rich.filesize import decimal

        of_all = "" if total is None else f" of {decimal(total)}"
        return f"{decimal(done)}{of_all}, {decimal(round(rate))}/s"

    def _on_terminal(self) -> bool:
        """Return whether there is a bar; creates it on first use."""
        if self._bar is None:
            # Imported lazily: slow, and quick work needs no bar.
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

            console = Console(stderr=self._aside)
            # No bar below another rich bar, which has redirected the stream.
            if not console.is_terminal or hasattr(sys.stderr if self._aside else sys.stdout, "rich_proxied_file"):
                self._bar = False
                return False
            columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[text]}"))
            # Only the bar's own stream is redirected.
            self._bar = Progress(
                *(*columns, TimeRemainingColumn(), TextColumn("left")),
                console=console,
                transient=not self._leave,
                redirect_stdout=not self._aside,
                redirect_stderr=self._aside,
            )
            self._task = self._bar.add_task("", total=None, text="", visible=False)
            self._bar.start()
        return bool(self._bar)
