"""How far a long piece of work has come: a bar on a terminal, a line now and then elsewhere."""

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn


class Amount:
    """Shows one piece of work after another, each with its rate and the time left. A context manager.

    Args:
        unit: what is counted, such as "pictures"; "bytes" are shown as kB, MB or GB.
        every_n_seconds: how often a line is printed where there is no terminal.
        aside: whether it goes to standard error, so that standard output holds results alone.
    """

    def __init__(self, unit: str, every_n_seconds: float = 15.0, aside: bool = False) -> None:
        self.unit, self.every_n_seconds = unit, every_n_seconds
        self._work = ""
        self._first, self._began, self._shown = 0, 0.0, 0.0
        console = Console(stderr=aside)
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[text]}"))
        # What is printed on the other stream stays there.
        self._bar = Progress(
            *(*columns, TimeRemainingColumn(), TextColumn("left")),
            console=console,
            redirect_stdout=not aside,
            redirect_stderr=aside,
        )
        self._bar_task = self._bar.add_task("", total=None, text="", visible=False)
        self._on_terminal = console.is_terminal
        self._aside = aside

    def update(self, work: str, done: int, total: int | None) -> None:
        """Show how much of a piece of work is done, and of how much, if known; its first call says where it starts."""
        now = time.monotonic()
        if work != self._work:
            self._work, self._first, self._began, self._shown = work, done, now, now
            if self._on_terminal:
                self._bar.reset(self._bar_task, description=work, completed=done, total=total, text="", visible=True)
        interval = 0.1 if self._on_terminal else self.every_n_seconds
        if now - self._shown < interval and done != total:
            return
        self._shown = now
        rate = (done - self._first) / max(now - self._began, 1e-6)
        if self.unit == "bytes":
            of_all = "" if total is None else f" of {decimal(total)}"
            text = f"{decimal(done)}{of_all}, {decimal(round(rate))}/s"
        else:
            of_all = "" if total is None else f" of {total:,}"
            text = f"{done:,}{of_all} {self.unit}, {rate:,.1f}/s"
        if self._on_terminal:
            self._bar.update(self._bar_task, completed=done, total=total, text=text)
        elif total is None:
            self.say(f"{work}  {text}")
        elif done < total and rate:
            minutes, seconds = divmod(round((total - done) / rate), 60)
            self.say(f"{work}  {text}, {minutes}:{seconds:02d} left")

    def say(self, text: str) -> None:
        """Print a line; on a terminal, above the bar."""
        if self._on_terminal:
            self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            print(text, file=sys.stderr if self._aside else sys.stdout, flush=True)

    def __enter__(self) -> "Amount":
        if self._on_terminal:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._on_terminal:
            self._bar.stop()
