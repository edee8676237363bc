"""How cost grows, as tables: rows of text, for a terminal and for a page."""

from collections.abc import Iterator, Sequence
from typing import Any

Rows = list[list[str]]

#: The curves, and what is read off their points: a heading and a key.
CURVES = {"size": "picture", "batch": "pictures", "styles": "styles", "layers": "style layers"}

NOTES = (
    "Times are medians, memory is the peak of the process. Fixed + bytes a pixel x pixels of a batch is fitted to the",
    "smaller half of the sizes; off by: over what was measured, on all others the worst. 1 GB: the largest picture",
    "that it allows (of a training, all pictures of a step in one), and below, its peak when it was stylized.",
)


def tables(scale: dict[str, Any]) -> Iterator[tuple[str, Rows]]:
    """Yield the name of each table and its rows, the headings first."""
    points = scale["points"]
    for varies, heading in CURVES.items():
        rows = [["candidate", heading, "megapixels", "time", "memory, MB", "ns a pixel", "bytes a pixel"]]
        for candidate in dict.fromkeys(point["candidate"] for point in points):
            curve = [point for point in points if point["candidate"] == candidate and varies in point["varies"]]
            if len(curve) > 1:
                rows += [_row(point, varies) for point in curve]
        if len(rows) > 1:
            yield varies, rows
    models = {name: model for name, model in scale["models"].items() if model["checks"]}
    if models:
        yield "model", _models(models)
        yield "checks", _checks(models)
    tried = {name: model for name, model in models.items() if model["tried"]}
    if tried:
        yield "tried", _tried(tried)


def _row(point: dict[str, Any], varies: str) -> list[str]:
    pixels = point["batch"] * point["width"] * point["height"]
    what = f"{point['batch']} x {point['width']}x{point['height']}"
    if varies in ("styles", "layers"):
        what = f"{point[varies]} ({what})"
    seconds, memory = point["seconds"], point["memory"]
    of_pixel = f"{1e9 * seconds / pixels:.0f}", f"{memory / pixels:.0f}"
    return [point["candidate"], what, f"{pixels / 1e6:.2f}", time(seconds), f"{memory / 1e6:.0f}", *of_pixel]


def _models(models: dict[str, Any]) -> Rows:
    memories = list(dict.fromkeys(memory for model in models.values() for memory in model["largest"]))
    rows = [["candidate", "fixed, MB", "bytes a pixel", "fitted up to", "off by", *(f"{each} GB" for each in memories)]]
    for name, model in models.items():
        worst = max((check["error"] for check in model["checks"]), key=abs)
        fitted = f"{max(model['fitted']) / 1e6:.2f} MP"
        row = [name, f"{model['fixed'] / 1e6:.0f}", f"{model['per_pixel']:.0f}", fitted, percent(worst)]
        # Of a training, it is all pictures of a step together.
        rows.append([*row, *(f"{each}x{each}" if (each := model["largest"].get(gb)) else "-" for gb in memories)])
    return rows


def _checks(models: dict[str, Any]) -> Rows:
    rows = [["candidate", "pictures", "predicted, MB", "measured, MB", "off by"]]
    for name, model in models.items():
        shapes = [f"{check['batch']} x {check['width']}x{check['height']}" for check in model["checks"]]
        rows += [[name, shape, *_compared(check)] for shape, check in zip(shapes, model["checks"], strict=True)]
    return rows


def _tried(models: dict[str, Any]) -> Rows:
    rows = [["candidate", "memory", "largest picture", "predicted, MB", "measured, MB", "off by"]]
    for name, model in models.items():
        for each in model["tried"]:
            picture = f"{each['side']}x{each['side']}"
            rows.append([name, f"{each['memory'] / 1e9:g} GB", picture, *_compared(each)])
    return rows


def _compared(check: dict[str, Any]) -> Sequence[str]:
    return f"{check['predicted'] / 1e6:.0f}", f"{check['measured'] / 1e6:.0f}", percent(check["error"])


def percent(part: float) -> str:
    """Return a part of one as percent, with its sign."""
    return f"{100 * part:+.1f} %"


def time(seconds: float) -> str:
    """Return a time with three digits."""
    return f"{seconds:.0f} s" if seconds >= 100 else f"{seconds:.2f} s" if seconds >= 1 else f"{1000 * seconds:.1f} ms"
