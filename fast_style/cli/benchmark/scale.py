"""How cost grows: time and peak memory over size, batch, styles and layers, and a model that predicts the memory.

Each measurement is a process of its own, alone on the machine.
"""

from collections.abc import Iterator, Mapping, Sequence
from math import isqrt
from statistics import linear_regression, median
from typing import Any, NamedTuple

from fast_style.cli.benchmark.jobs import LAYERS, stylizers, typed
from fast_style.cli.benchmark.rounds import Bench, Budget, Job, Worker, WorkerError
from fast_style.cli.overrides import CONFIGS
from fast_style.errors import ConfigError

Point = dict[str, Any]

#: The keys of a point that its cost depends on.
KEYS = ("candidate", "varies", "width", "height", "batch", "styles", "layers")
#: Side in pixels of style images, previews and held-out images: so small that a peak is that of the steps.
ASIDE = 64
#: A peak tells of the images if it is so many times that of starting.
TELLING = 1.02
#: Has glibc give back all but small blocks as soon as they are freed: what is left is in use.
NOTHING_KEPT = {"MALLOC_MMAP_THRESHOLD_": str(2**20)}


class MemoryModel(NamedTuple):
    """Linear model of the peak memory of a process in bytes: fixed + per_pixel * pixels of the batch.

    A network's peak is proportional to the pixels, to within a percent. Memory that malloc retains is not: glibc keeps
    freed blocks of at most 32 MiB, about 100 MB in all whatever the images, and returns larger ones. So the slope is
    fitted where nothing is retained, and the fixed part is then raised to cover what is.
    """

    fixed: float
    per_pixel: float

    def predict(self, pixels: float) -> float:
        """Return the peak in bytes for so many pixels of all images of a batch."""
        return self.fixed + self.per_pixel * pixels

    def largest(self, memory: float) -> int:
        """Return how many pixels fit into so many bytes; 0: none."""
        return max(0, int((memory - self.fixed) / self.per_pixel))


def scale_jobs(bench: Bench) -> dict[str, Job]:
    """Return the job of each measurement, for each candidate small before large.

    A job also has its `candidate`, and the curves that it is in: it `varies` by size, batch, styles or layers.
    """
    scale, step = bench.settings["scale"], bench.settings["scale"]["step"]
    jobs: dict[str, Job] = {}

    def add(candidate: str, shape: dict[str, int], job: Job) -> None:
        (_, size), (_, batch), *others = shape.items()
        words = (f"{number} {key.rstrip('s')}{'s' if number > 1 else ''}" for key, number in others)
        name = ", ".join((candidate, f"{batch} x {size}x{size}", *words))
        sizes = {"width": size, "height": size, "batch": batch, **dict(others)}
        jobs[name] = {"device": bench.device, "candidate": candidate, **sizes, **job}

    usual = {"size": scale["size"], "batch": 1, "styles": 1}
    for candidate, _ in stylizers(bench):
        for shape, varies in _curves(usual, [scale["sizes"], scale["batches"], scale["styles"]]):
            job = dict(stylizers(bench, shape["styles"]))[candidate]
            add(candidate, shape, {**job, "multiply_adds": None, "varies": varies})
    usual = {"size": step["size"], "batch": step["batch"], "styles": 1, "layers": 4}
    for shape, varies in _curves(usual, [step["sizes"], step["batches"], scale["styles"], step["layers"]]):
        job = {"kind": "worker.ours_step", "varies": varies, "folder": f"{bench.folder}/scale_{len(jobs)}"}
        add(f"{step['network']} training", shape, job | {"overrides": _training(bench.settings, shape)})
    return jobs


def _curves(usual: dict[str, int], ranges: list[list[int]]) -> Iterator[tuple[dict[str, int], list[str]]]:
    """Yield each shape in which one thing varies and the others are as usual, and the curves that it is in."""
    found: dict[tuple[int, ...], list[str]] = {}
    for varied, values in zip(usual, ranges, strict=True):
        for value in dict.fromkeys(values):
            found.setdefault(tuple({**usual, varied: value}.values()), []).append(varied)
    for shape, varies in sorted(found.items(), key=lambda item: (item[0][0] ** 2 * item[0][1], item[0])):
        yield dict(zip(usual, shape, strict=True)), varies


def _training(settings: Mapping[str, Any], shape: Mapping[str, int]) -> list[str]:
    """Return the settings of train.py for so many styles and style layers."""
    image = CONFIGS / "style" / "images" / "starry_night.jpg"
    style = f"_target_: fast_style.losses.styles.Style, image: '{image}', size: {ASIDE}"
    layers = ", ".join(f"{layer}: 1.0" for layer in LAYERS[: shape["layers"]])
    return [
        *typed(settings, without=r"network=|(style|preview|heldout|loss\.style\.layers)[.=]"),
        *(f"network={settings['scale']['step']['network']}", f"preview.size={ASIDE}", f"heldout.size={ASIDE}"),
        *("style=[starry_night]", f"style.starry_night.size={ASIDE}", f"loss.style.layers={{{layers}}}"),
        *(f"+style.style{each}={{name: style{each}, {style}}}" for each in range(2, shape["styles"] + 1)),
    ]


def scale(jobs: Mapping[str, Job], bench: Bench, report: dict[str, Any]) -> Iterator[tuple[str, str | None]]:
    """Measure, and fill in `report["scale"]`; yield the name of each measurement, and why it failed.

    The report holds `points` as `measured` returns them, and `models`, for each candidate as `judged` returns it.
    """
    found = report["scale"] = {"points": [], "models": {}}
    settings, budget = bench.settings["scale"], Budget(bench.settings, runs=3)  # the first, one that counts, one more
    for candidate in dict.fromkeys(job["candidate"] for job in jobs.values()):
        own = {name: job for name, job in jobs.items() if job["candidate"] == candidate}
        sizes = sorted({_pixels(job) for job in own.values() if "size" in job["varies"]})
        fitted, first = set(sizes[: (len(sizes) + 1) // 2]), next(iter(own.values()))  # with the one in the middle
        points: list[Point] = []
        for name, job in own.items():
            is_fitted = "layers" not in job and "size" in job["varies"] and _pixels(job) in fitted
            try:
                points.append(measured(job, budget, bench, with_working=is_fitted))
                found["points"].append(points[-1])
                yield name, None
            except WorkerError as error:
                yield name, str(error)
        if not fitted:
            continue
        try:
            model, found["models"][candidate] = judged(points, fitted, settings["memory"])
            yield f"{candidate}, memory", None
        except ConfigError as error:
            yield f"{candidate}, memory", str(error)
            continue
        for memory in settings["tried"] if "layers" not in first else ():
            side, reason = isqrt(model.largest(1e9 * memory)), None
            try:
                if side < 32:
                    raise WorkerError("no picture fits")
                point = measured({**first, "width": side, "height": side, "batch": 1, "varies": []}, budget, bench)
                tried = {"memory": 1e9 * memory, "side": side, **_compared(model, point)}
                found["models"][candidate]["tried"].append(tried)
            except WorkerError as error:
                reason = str(error)
            yield f"{candidate}, the largest for {memory:g} GB", reason


def measured(job: Job, budget: Budget, bench: Bench, with_working: bool = False) -> Point:
    """Return the time and the memory of a job; WorkerError if it failed, or would take too much.

    `seconds` of a run (the median), `runs`, `memory` (the peak, in bytes), `base` (the peak before the first run) and
    `working` (the peak where nothing is kept of freed memory; None: not measured).
    """
    budget.check(job["candidate"], _pixels(job))
    with Worker(job, bench.environment) as worker:
        worker.begin()
        first = worker.run()
        repeats = budget.repeats(first)
        runs = min(bench.settings["rounds"], int(bench.settings["scale"]["seconds"] / (first * repeats)))
        times = [worker.run(repeats) for _ in range(runs)] or [first]
        memory, base, working = worker.memory, worker.facts["base"], None
    budget.note(job["candidate"], _pixels(job), median(times), 0 if job["device"] == "cuda" else base, memory)
    if with_working and job["device"] == "cpu":
        with Worker(job, {**bench.environment, **NOTHING_KEPT}) as worker:
            worker.begin()
            worker.run()
            working = worker.memory
    facts = {"seconds": median(times), "runs": len(times), "memory": memory, "working": working, "base": base}
    return {key: job[key] for key in KEYS if key in job} | facts


def judged(points: Sequence[Point], fitted: set[int], memories: Sequence[float]) -> tuple[MemoryModel, dict[str, Any]]:
    """Fit a model of memory to the smaller images, and check it on the others of one style.

    Returns the model, and as plain values `fixed` and `per_pixel`, the pixels that it was `fitted` to, the `checks`
    (see `_compared`), `largest`, the side of the largest square image for each memory in GB, and `tried`, still empty.
    ConfigError: too little has been measured, or memory does not grow with the pixels.
    """
    small = [point for point in points if "size" in point["varies"] and _pixels(point) in fitted]
    in_use = {_pixels(point): point["working"] or point["memory"] for point in small}
    # Below, a peak is that of starting: of imports, and of weights read and laid out.
    telling = {_pixels(point) for point in small if in_use[_pixels(point)] > TELLING * point["base"]}
    if len(telling) < 2:
        words = " are so small that starting takes more memory; give larger ones"
        raise ConfigError(f"scale.sizes{words if len(small) > 1 else ': too few could be measured'}")
    slope, _ = linear_regression([*telling], [in_use[number] for number in telling])
    if slope <= 0:
        raise ConfigError(f"scale.sizes: memory does not grow with them ({slope:.1f} bytes a pixel); give larger ones")
    model = MemoryModel(max(point["memory"] - slope * _pixels(point) for point in small), slope)
    others = [point for point in points if {"size", "batch"}.intersection(point["varies"]) and point not in small]
    return model, {
        **model._asdict(),
        "fitted": [*in_use],
        "checks": [{**{key: point[key] for key in KEYS[2:5]}, **_compared(model, point)} for point in others],
        "largest": {f"{memory:g}": isqrt(model.largest(1e9 * memory)) for memory in memories},
        "tried": [],
    }


def _compared(model: MemoryModel, point: Point) -> dict[str, float]:
    """Return the `predicted` and the `measured` peak in bytes, and the `error` of the prediction, relative."""
    predicted, measured = model.predict(_pixels(point)), point["memory"]
    return {"predicted": predicted, "measured": measured, "error": predicted / measured - 1}


def _pixels(point: Mapping[str, Any]) -> int:
    """Return the pixels of all images of a batch."""
    return int(point["batch"] * point["width"] * point["height"])
