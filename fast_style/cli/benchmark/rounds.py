"""Processes that take turns: rounds in which each runs once, in an order that rotates, and ratios within a round.

The speed of a shared machine changes, and a fixed order favors some. Ratios within a round are free of both.
"""

import json
import math
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from statistics import median, quantiles
from typing import Any, NamedTuple

from fast_style.errors import FastStyleError

#: A task of one process: its `kind`, a function that the process calls with it, and what that needs, as plain values.
Job = dict[str, Any]


class Bench(NamedTuple):
    """One run of the benchmark: its settings, cpu or cuda, its folder, and the environment of its processes."""

    settings: Mapping[str, Any]
    device: str = "cpu"
    folder: Path = Path()
    environment: Mapping[str, str] = {}


class Case(NamedTuple):
    """One comparison: the part of the benchmark, and the size and number of the images."""

    part: str
    width: int
    height: int
    batch: int

    @property
    def load(self) -> int:
        """Pixels of the batch, to which time and memory are in proportion."""
        return self.width * self.height * self.batch

    def __str__(self) -> str:
        return f"{self.part} {self.width}x{self.height}, batch {self.batch}"


class WorkerError(FastStyleError):
    """A process that is measured has failed, or would take too much. The message says why."""


class Worker:
    """A process that does a job, in turns: see worker.py. It is killed at the end of the `with` block.

    Attributes:
        answers: what it prints, until it has ended; raises WorkerError if it has failed.
        facts: the latest value of each key that `begin` and `run` have read from `answers`.
    """

    def __init__(self, job: Job, environment: Mapping[str, str]) -> None:
        command = [sys.executable, "-m", "fast_style.cli.benchmark.worker", json.dumps(job)]
        self._errors = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115  # closed with the process
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": self._errors}
        self._process = subprocess.Popen(command, env=dict(environment), text=True, **pipes)
        self.answers = self._read()
        self.facts: dict[str, Any] = {}

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *error: object) -> None:
        self.end()

    def end(self) -> None:
        """Kill the process: between turns it has nothing to lose."""
        self._process.kill()
        with suppress(BrokenPipeError), self._process:
            self._errors.close()

    def begin(self) -> None:
        """Wait until the process has warmed up."""
        if (answer := next(self.answers, None)) is None:
            raise WorkerError("its process has ended early")
        self.facts |= answer

    def run(self, repeats: int = 1) -> float:
        """Run so often, and return the seconds of one run."""
        with suppress(BrokenPipeError):  # reading says why
            print(repeats, file=self._process.stdin, flush=True)
        self.begin()
        return float(self.facts["seconds"])

    @property
    def memory(self) -> int:
        """The peak so far in bytes: on a GPU, of its own memory."""
        return int(self.facts["device_memory"] or self.facts["memory"])

    def _read(self) -> Iterator[dict[str, Any]]:
        yield from map(json.loads, self._process.stdout or ())
        if (status := self._process.wait()) < 0:
            raise WorkerError(f"its process was killed by signal {-status}, as when memory runs out")
        if status > 0:
            self._errors.seek(0)
            lines = [f"exit status {status}", *filter(None, map(str.strip, self._errors))]
            raise WorkerError(re.sub(r"^fast_style\.errors\.\w+: ", "", lines[-1]))


class Budget:
    """How often candidates, of which each runs at least `runs` times, run in a turn, and which would take too much."""

    def __init__(self, settings: Mapping[str, Any], runs: int) -> None:
        self._runs = runs
        names = ("min_seconds", "max_seconds", "max_memory")
        self._least, self._seconds, self._memory = (float(settings[name]) for name in names)
        self._known: dict[str, tuple[int, float, int, int]] = {}

    def repeats(self, seconds: float) -> int:
        """Return how often to run in one turn, if a run takes so many seconds."""
        return max(1, min(1000, math.ceil(self._least / max(seconds, 1e-9))))

    def note(self, name: str, load: int, seconds: float, base: int, memory: int) -> None:
        """Remember what a run took, and the memory before it."""
        self._known[name] = load, seconds, base, memory

    def check(self, name: str, load: int) -> None:
        """Raise a WorkerError if a candidate would take too much for a load, with which all but `base` grows."""
        known, seconds, base, memory = self._known.get(name, (load, 0.0, 0, 0))
        if (total := self._runs * max(seconds * load / known, self._least)) > self._seconds:
            raise WorkerError(f"would take {total:.0f} s (max_seconds={self._seconds:g})")
        if (size := (base + (memory - base) * load / known) / 1e9) > self._memory:
            raise WorkerError(f"would take {size:.1f} GB (max_memory={self._memory:g})")


def measure(
    case: Case, jobs: Mapping[str, Job], yardsticks: Mapping[str, Job], budget: Budget, bench: Bench
) -> tuple[dict[str, Any], dict[str, str]]:
    """Measure the candidates of a case, the reference first, in rounds with the yardsticks of the machine.

    Returns the `result`, and why candidates were left out.
    """
    workers: dict[str, Worker] = {}
    repeats: dict[str, int] = {}
    reasons: dict[str, str] = {}

    def each(names: Iterable[str], action: Callable[[str], Any]) -> dict[str, Any]:
        """Return the results of an action; a candidate for which it fails is left out."""
        results = {}
        for name in [*names]:
            try:
                results[name] = action(name)
            except WorkerError as error:
                reasons[name] = str(error)
                if name in workers:
                    workers.pop(name).end()
        return results

    def start(name: str) -> None:
        if name in jobs:
            budget.check(name, case.load)
        workers[name] = stack.enter_context(Worker({**jobs, **yardsticks}[name], bench.environment))

    def warm_up(name: str) -> None:
        worker = workers[name]
        seconds = min(worker.run() for _ in range(max(1, bench.settings["warmup"])))
        repeats[name] = budget.repeats(seconds)
        if name in jobs:
            budget.note(name, case.load, seconds, worker.facts["base"], worker.facts["memory"])
            budget.check(name, case.load)

    with ExitStack() as stack:
        each([*jobs, *yardsticks], start)
        # All start side by side, and none is measured before all have.
        each(workers, lambda name: workers[name].begin())
        each(workers, warm_up)
        rounds = []
        for number in range(bench.settings["rounds"]):
            if workers.keys() & jobs.keys():
                order = rotated([*workers], number)
                rounds.append(each(order, lambda name: workers[name].run(repeats[name])))
    return _result(case, [*jobs], workers, rounds), reasons


def rotated(names: Sequence[str], number: int) -> list[str]:
    """Return the order of a round: each comes first in its turn."""
    first = number % len(names)
    return [*names[first:], *names[:first]]


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return the median and the quartiles."""
    low, _, high = quantiles(values, n=4, method="inclusive") if len(values) > 1 else [values[0]] * 3
    return {"lower_quartile": low, "median": median(values), "upper_quartile": high}


def ratios(rounds: Sequence[Mapping[str, float]], above: str, below: str) -> list[float]:
    """Return how many times as long one candidate takes as another, for each round that has both."""
    return [seconds[above] / seconds[below] for seconds in rounds if above in seconds and below in seconds]


def _result(
    case: Case, jobs: list[str], workers: Mapping[str, Worker], rounds: list[dict[str, float]]
) -> dict[str, Any]:
    """Return the measurements of a case as plain values; memory is in bytes.

    `rounds` holds the seconds of each run, in the order of the runs. For each candidate, with its spread over the
    rounds: `seconds`; `speed`, how many times as fast as the reference it is; `over_floor`, its time over that of as
    many multiply-adds at the machine's peak, for each type.
    """
    reference, candidates = jobs[0], dict[str, Any]()
    for name in (name for name in jobs if name in workers):
        facts, speed = workers[name].facts, ratios(rounds, reference, name)
        floors = {kind: worker.facts["multiply_adds"] for kind, worker in workers.items() if kind not in jobs}
        adds = facts["multiply_adds"]
        candidates[name] = {
            "seconds": spread([seconds[name] for seconds in rounds]),
            "speed": spread(speed) if speed else None,
            "over_floor": {
                kind: spread([floor / adds * each for each in ratios(rounds, name, kind)])
                for kind, floor in floors.items()
                if adds
            },
            "multiply_adds": adds,
            "memory": facts["memory"],
            "memory_ratio": workers[name].memory / workers[reference].memory if reference in workers else None,
            "device_memory": facts["device_memory"],
        }
    return {**case._asdict(), "reference": reference, "rounds": rounds, "candidates": candidates}
