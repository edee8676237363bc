"""How long a training takes to be as good as another: the loss on held-out pictures, over the time of training.

Trainings follow one another, each alone on the machine.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fast_style.cli.benchmark.processes import Worker, WorkerError

#: What is compared: content + 10 x style, whatever weights a training gives them.
STYLE_WEIGHT = 10.0

Curve = list[dict[str, float]]


def curves(
    jobs: Mapping[str, Mapping[str, Any]], settings: Mapping[str, Any], environment: Mapping[str, str]
) -> Iterator[tuple[str, Curve, str | None]]:
    """Train in each way, one after the other, and yield its name, its curve, and why it went no further (None: it did).

    A curve holds, for each measurement, the `seconds` of training and the `step` so far, the held-out `content` and
    `style` terms, and `loss`, what is compared.

    Args:
        jobs: what is done: the reference first. See benchmark_training.
        settings: `minutes` of the reference's training and `ours_minutes` of the others', and the `points` at which
            each is measured.
        environment: of the processes.
    """
    reference = next(iter(jobs))
    for name, job in jobs.items():
        curve: Curve = []
        minutes = settings["minutes" if name == reference else "ours_minutes"]
        todo = {**job, "points": settings["points"], "seconds": 60 * minutes}
        try:
            with Worker(todo, environment) as worker:
                for point in worker.answers():
                    point["loss"] = point["content"] + STYLE_WEIGHT * point["style"]
                    curve.append(point)
                    text = f"{point['seconds']:.0f} s of training, {point['step']} steps, loss {point['loss']:.3f}"
                    print(f"{name}: {text}", file=sys.stderr, flush=True)
            reason = None
        except WorkerError as error:
            reason = str(error)
        yield name, curve, reason


def passed(curve: Sequence[Mapping[str, float]], loss: float) -> float | None:
    """Return after how many seconds a training has reached a loss; None: it has not.

    On the straight line between the measurements before and after; the time of the first if that is good enough.
    """
    for number, point in enumerate(curve):
        if point["loss"] <= loss:
            before = curve[number - 1] if number else point
            drop = before["loss"] - point["loss"]
            part = (before["loss"] - loss) / drop if drop > 0 else 1.0
            return before["seconds"] + part * (point["seconds"] - before["seconds"])
    return None


def comparison(measured: Mapping[str, Curve]) -> dict[str, Any]:
    """Return what the curves show, as plain values, the reference first.

    For each training its `curve`; `reached`, the seconds after which it had the reference's final loss (None: never);
    and `speed`, how many times as soon as the reference it was.
    """
    reference = next(iter(measured))
    last = measured[reference][-1] if measured[reference] else None
    candidates: dict[str, Any] = {}
    for name, curve in measured.items():
        reached = passed(curve, last["loss"]) if last and name != reference else None
        speed = last["seconds"] / reached if last and reached else None
        candidates[name] = {"curve": curve, "reached": reached, "speed": speed}
    return {"loss": f"content + {STYLE_WEIGHT:g} style", "reference": reference, "candidates": candidates}
