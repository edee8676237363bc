"""Candidates that take turns: rounds in which each runs once, in an order that rotates, and ratios within a round.

A shared machine is faster at one moment than at another, and whoever always comes first has an advantage or a
handicap. Ratios within a round see neither.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from statistics import median, quantiles
from typing import Any

from fast_style.cli.benchmark.cases import Case, Effort, Known
from fast_style.cli.benchmark.processes import Worker, WorkerError

#: What a round gives: the seconds of each candidate.
Seconds = Mapping[str, float]


def measure(
    case: Case,
    jobs: Mapping[str, Mapping[str, Any]],
    yardsticks: Mapping[str, Worker],
    effort: Effort,
    environment: Mapping[str, str],
    known: dict[str, Known],
) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """Measure a case. Return its result (see `result`), and who was left out and why.

    Args:
        case: what is done.
        jobs: who does it: the reference first.
        yardsticks: what runs in each round as well, as a measure of the machine.
        effort: how much is measured.
        environment: of the processes.
        known: what earlier cases of the part have told of each candidate; this one adds to it.
    """
    with ExitStack() as stack:
        reasons = {name: effort.forecast(case, known.get(name)) for name in jobs}
        started = {
            name: stack.enter_context(Worker(job, environment)) for name, job in jobs.items() if not reasons[name]
        }
        workers: dict[str, Worker] = {}
        for name, worker in started.items():
            try:
                worker.begin()
                workers[name] = worker
            except WorkerError as error:
                reasons[name] = str(error)
        repeats = {name: effort.repeats(yardstick.run()) for name, yardstick in yardsticks.items()}
        for name, worker in list(workers.items()):
            try:
                seconds = min(worker.run() for _ in range(max(1, effort.warmup)))
                known[name] = Known(case.load, seconds, worker.base, worker.memory)
                repeats[name] = effort.repeats(seconds)
                reasons[name] = effort.refusal(seconds, worker.memory)
            except WorkerError as error:
                reasons[name] = str(error)
            if reasons[name]:
                workers.pop(name).end()
        left_out = [
            {"case": str(case), "candidate": name, "reason": reason} for name, reason in reasons.items() if reason
        ]
        rounds: list[dict[str, float]] = []
        for number in range(effort.rounds):
            if not workers:
                break
            everyone = {**workers, **yardsticks}
            seconds_of: dict[str, float] = {}
            for name in rotated(list(everyone), number):
                try:
                    seconds_of[name] = everyone[name].run(repeats[name])
                except WorkerError as died:
                    if name in yardsticks:
                        raise
                    left_out.append({"case": str(case), "candidate": name, "reason": str(died)})
                    workers.pop(name).end()
            rounds.append(seconds_of)
        return result(case, next(iter(jobs)), workers, yardsticks, rounds), left_out


def rotated(names: Sequence[str], number: int) -> list[str]:
    """Return the order of a round: each begins in its turn."""
    first = number % len(names)
    return [*names[first:], *names[:first]]


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return the median and the quartiles."""
    low, _, high = quantiles(values, n=4, method="inclusive") if len(values) > 1 else [values[0]] * 3
    return {"lower_quartile": low, "median": median(values), "upper_quartile": high}


def ratios(rounds: Sequence[Seconds], above: str, below: str) -> list[float]:
    """Return by how much one candidate takes longer than another, in each round that has both."""
    return [seconds[above] / seconds[below] for seconds in rounds if above in seconds and below in seconds]


def _memory(worker: Worker) -> int:
    """Return the memory that is short: on a GPU, its own."""
    return worker.device_memory or worker.memory


def result(
    case: Case,
    reference: str,
    workers: Mapping[str, Worker],
    yardsticks: Mapping[str, Worker],
    rounds: Sequence[Seconds],
) -> dict[str, Any]:
    """Return what a case has shown, as plain values.

    `rounds` holds the seconds of each run, in the order of the runs. For each candidate, each with its spread over
    the rounds: `seconds`; `speed`, how many times as fast as the reference it is; `over_floor`, how many times as long
    it takes as its multiply-adds take at the machine's peak of each type. Memory is in bytes.
    """
    candidates: dict[str, Any] = {}
    for name, worker in workers.items():
        speed = ratios(rounds, reference, name)
        floors = {
            kind: [ratio * (yardstick.multiply_adds or 1) / worker.multiply_adds for ratio in of_kind]
            for kind, yardstick in yardsticks.items()
            if worker.multiply_adds and (of_kind := ratios(rounds, name, kind))
        }
        against = workers.get(reference)
        candidates[name] = {
            "seconds": spread([seconds[name] for seconds in rounds]),
            "speed": spread(speed) if speed else None,
            "over_floor": {kind: spread(values) for kind, values in floors.items()},
            "multiply_adds": worker.multiply_adds,
            "memory": worker.memory,
            "memory_ratio": _memory(worker) / _memory(against) if against else None,
            "device_memory": worker.device_memory,
        }
    case_ = {"part": case.part, "width": case.width, "height": case.height, "batch": case.batch}
    return {**case_, "reference": reference, "rounds": [dict(seconds) for seconds in rounds], "candidates": candidates}
