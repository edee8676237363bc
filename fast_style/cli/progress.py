"""How far a long piece of work has come: a bar on a terminal, a line now and then elsewhere."""

import sys
import time
from types import TracebackType
from typing import Any


class ProgressBar:
    """Shows one piece of work after another, each with its rate and the time left. A context manager.

    Args:
        unit: what is counted, such as "pictures"; "bytes" are shown as kB, MB or GB.
        every_n_seconds: how often a line is printed where there is no terminal.
        aside: whether it goes to standard error, so that standard output holds results alone.
        leave: whether the bar stays where it is when the work is done.
    """

    def __init__(self, unit: str, every_n_seconds: float = 15.0, aside: bool = False, leave: bool = True) -> None:
        self.unit, self.every_n_seconds = unit, every_n_seconds
        self._aside, self._leave = aside, leave
        self._work = ""
        self._first, self._began, self._shown = 0, 0.0, 0.0
        self._bar: Any = None
        self._task: Any = None

    def update(self, work: str, done: int, total: int | None, note: str = "") -> None:
        """Show how much of a piece of work is done; its first call says where it starts.

        Args:
            work: its name.
            done: how much of it is done.
            total: of how much; None: nobody knows.
            note: what else there is to say, such as the loss.
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
        """Show how many tiles of one of several passes are done; between passes there is no bar."""
        self.update(f"pass {number}", done, total)
        if done == total:
            self.close()

    def say(self, text: str) -> None:
        """Print a line; on a terminal, above the bar."""
        if self._on_terminal():
            self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            print(text, file=sys.stderr if self._aside else sys.stdout, flush=True)

    def close(self) -> None:
        """Take the bar away, or leave it where it is; the next piece of work gets another."""
        if self._bar:
            self._bar.stop()
        self._bar, self._work = None, ""

    def __enter__(self) -> "ProgressBar":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _text(self, done: int, total: int | None, rate: float) -> str:
        if self.unit != "bytes":
            of_all = "" if total is None else f" of {total:,}"
            return f"{done:,}{of_all} {self.unit}, {rate:,.1f}/s"
        from rich.filesize import decimal

        of_all = "" if total is None else f" of {decimal(total)}"
        return f"{decimal(done)}{of_all}, {decimal(round(rate))}/s"

    def _on_terminal(self) -> bool:
        """Return whether there is a bar, which begins with what is to be shown first."""
        if self._bar is None:
            # Here: what is done at once need not wait for it.
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

            console = Console(stderr=self._aside)
            # Below another bar, which has taken hold of the stream, there is no place for one.
            if not console.is_terminal or hasattr(sys.stderr if self._aside else sys.stdout, "rich_proxied_file"):
                self._bar = False
                return False
            columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[text]}"))
            # What is printed on the other stream stays there.
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
