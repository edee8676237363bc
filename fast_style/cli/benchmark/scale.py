"""How cost grows: time and peak memory over size, batch, styles and layers, and the model that predicts the memory.

Each measurement is a process of its own, alone on the machine.
"""

from collections.abc import Iterator, Mapping, Sequence
from math import isqrt
from statistics import median
from typing import Any

from fast_style.cli.benchmark.cases import Case, Effort, Known, effort_of
from fast_style.cli.benchmark.processes import Worker, WorkerError
from fast_style.errors import ConfigError
from fast_style.system.memory import MemoryModel

Job = dict[str, Any]
Point = dict[str, Any]

#: Of a point: what the cost depends on.
KEYS = ("candidate", "varies", "width", "height", "batch", "styles", "layers")

#: By how much more than at its start a process has to take for its peak to tell of the pictures.
TELLING = 1.02

#: Has glibc give back all but small blocks as soon as they are freed: what is left is what is in use.
NOTHING_KEPT = {"MALLOC_MMAP_THRESHOLD_": str(2**20)}


def scale(
    jobs: Mapping[str, Job], settings: Mapping[str, Any], environment: Mapping[str, str]
) -> Iterator[tuple[str, dict[str, Any], str | None]]:
    """Measure, and yield after each measurement its name, all that is known, and why it failed (None: it did not).

    What is known: `points`, each with `seconds` of a run (the median), `runs`, `memory` (the peak, in bytes),
    `base`, the peak before the first run, and `working`, the peak where nothing is kept of freed memory (None: not
    measured); and `models`, for each candidate
    as `judged` returns it.

    Args:
        jobs: what is done, for each candidate small before large. See scale_jobs.
        settings: of the benchmark.
        environment: of the processes.
    """
    known = Knowledge(settings, environment)
    found: dict[str, Any] = {"points": [], "models": {}}
    for candidate in dict.fromkeys(job["candidate"] for job in jobs.values()):
        own = {name: job for name, job in jobs.items() if job["candidate"] == candidate}
        fitted = set(smaller_half(pixels(job) for job in own.values() if "size" in job["varies"]))
        points: list[Point] = []
        for name, job in own.items():
            try:
                is_fitted = "size" in job["varies"] and pixels(job) in fitted
                points.append(known.measured(job, with_working=is_fitted and job["kind"] == "ours_stylize"))
                found["points"].append(points[-1])
                yield name, found, None
            except WorkerError as error:
                yield name, found, str(error)
        if not fitted:
            continue
        try:
            model, found["models"][candidate] = judged(points, fitted, settings["scale"]["memory"])
            yield f"{candidate}, memory", found, None
        except ConfigError as error:
            yield f"{candidate}, memory", found, str(error)
            continue
        first = next(iter(own.values()))
        for memory in settings["scale"]["tried"] if first["kind"] == "ours_stylize" else ():
            side = isqrt(model.largest(1e9 * memory))
            name, reason = f"{candidate}, the largest for {memory:g} GB", None
            try:
                if side < 32:
                    raise WorkerError("no picture fits")
                point = known.measured({**first, "width": side, "height": side, "batch": 1, "varies": []})
                tried = found["models"][candidate]["tried"]
                tried.append({"memory": 1e9 * memory, "side": side, **compared(model, point)})
            except WorkerError as error:
                reason = str(error)
            yield name, found, reason


class Knowledge:
    """What is known of each candidate so far, and the measurements that it allows.

    Args:
        settings: of the benchmark.
        environment: of the processes.
    """

    def __init__(self, settings: Mapping[str, Any], environment: Mapping[str, str]) -> None:
        self._effort = effort_of(dict(settings))
        self._seconds = settings["scale"]["seconds"]
        # The first run, one that counts, and one more.
        limits = {"max_seconds": self._effort.max_seconds, "max_memory": self._effort.max_memory}
        self._least = Effort(rounds=1, warmup=1, min_seconds=0, **limits)
        self._environment = environment
        self._known: dict[str, Known] = {}

    def measured(self, job: Job, with_working: bool = False) -> Point:
        """Return time and memory of a job.

        Raises:
            WorkerError: if it failed, or would take too much.
        """
        candidate, case = job["candidate"], Case("scale", job["width"], job["height"], job["batch"])
        known = self._known.get(candidate)
        if too_much := self._least.forecast(case, known):
            raise WorkerError(too_much)
        with Worker(job, self._environment) as worker:
            first = worker.begin().run()
            times, repeats = [first], self._effort.repeats(first)
            runs = min(self._effort.rounds, int(self._seconds / (first * repeats)))
            if runs:
                times = [worker.run(repeats) for _ in range(runs)]
            memory = worker.device_memory or worker.memory
        # What the smallest takes is little more than what does not grow.
        base = min(known.base, memory) if known else memory
        self._known[candidate] = Known(case.load, median(times), base, memory)
        point = {key: job[key] for key in KEYS if key in job}
        point |= {"seconds": median(times), "runs": len(times), "memory": memory, "working": None, "base": worker.base}
        if with_working and job["device"] == "cpu":
            with Worker(job, {**self._environment, **NOTHING_KEPT}) as worker:
                worker.begin().run()
                point["working"] = worker.memory
        return point


def judged(points: Sequence[Point], fitted: set[int], memories: Sequence[float]) -> tuple[MemoryModel, dict[str, Any]]:
    """Fit a model of memory to the smaller pictures, and check it on the others of one style.

    Returns:
        The model, and as plain values `fixed` and `per_pixel`, the pixels that it was `fitted` to, the `checks` (see
        `compared`), `largest`, the side of the largest square picture for each memory in GB, and, still empty, `tried`.

    Raises:
        ConfigError: if too little has been measured to tell.
    """
    sizes = [point for point in points if "size" in point["varies"]]
    small = [point for point in sizes if pixels(point) in fitted]
    sample = [pixels(point) for point in small]
    in_use = [point["working"] or point["memory"] for point in small]
    # Below, a peak is that of starting: of imports, and of weights read and laid out.
    telling = [number for number, point in enumerate(small) if in_use[number] > TELLING * point["base"]]
    if len(telling) < 2 <= len(small):
        raise ConfigError("scale.sizes are so small that starting takes more memory; give larger ones")
    model = MemoryModel.fit([sample[number] for number in telling], [in_use[number] for number in telling])
    model = model.covering(sample, [point["memory"] for point in small])
    others = [point for point in points if {"size", "batch"}.intersection(point["varies"]) and point not in small]
    checks = [{**{key: point[key] for key in KEYS[2:5]}, **compared(model, point)} for point in others]
    largest = {f"{memory:g}": isqrt(model.largest(1e9 * memory)) for memory in memories}
    values = {"fixed": model.fixed, "per_pixel": model.per_pixel, "fitted": sample}
    return model, {**values, "checks": checks, "largest": largest, "tried": []}


def compared(model: MemoryModel, point: Point) -> dict[str, float]:
    """Return the `predicted` and the `measured` peak in bytes, and by which part of the measured one the other errs."""
    predicted, measured = model.predict(pixels(point)), point["memory"]
    return {"predicted": predicted, "measured": measured, "error": predicted / measured - 1}


def pixels(point: Mapping[str, Any]) -> int:
    """Return the pixels of all pictures of a batch."""
    return int(point["batch"] * point["width"] * point["height"])


def smaller_half(values: Iterator[int]) -> list[int]:
    """Return the smaller half, and the one in the middle with it."""
    ordered = sorted(set(values))
    return ordered[: (len(ordered) + 1) // 2]
