"""Charts of a benchmark: bars of speed, held-out losses over time, and time and memory over megapixels."""

from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure, SubFigure

_COLORS = ("#cc3311", "#4477aa", "#228833", "#aa3377", "#ccbb44", "#66ccee", "#ee7733", "#009988")

Line = list[tuple[float, float]]


def plot(report: dict[str, Any], path: Path) -> None:
    """Draw what a report holds, one panel below the other."""
    # Here: matplotlib takes a second to import, and a mistake in the settings is told before that.
    from matplotlib.figure import Figure

    quality = report["quality"]["candidates"] if report["quality"] else {}
    curves = {name: row["curve"] for name, row in quality.items() if row["curve"]}
    bars = sum(1 + len(case["candidates"]) for case in report["cases"])
    heights = {"bars": 0.3 * bars + 1 if bars else 0, "curves": 4.2 if curves else 0}
    heights["scale"] = 4.6 if report.get("scale") and scaling_lines(report["scale"], "seconds") else 0
    heights = {name: height for name, height in heights.items() if height} or {"nothing": 1}
    figure = Figure(figsize=(12, sum(heights.values())), layout="constrained")
    panels = figure.subfigures(len(heights), 1, squeeze=False, height_ratios=list(heights.values()))[:, 0]
    for name, panel in zip(heights, panels, strict=True):
        if name == "bars":
            _draw_bars(panel, report["cases"])
        elif name == "curves":
            _draw_curves(panel, curves, report["quality"]["loss"])
        elif name == "scale":
            _draw_scale(panel, report["scale"])
    figure.savefig(path, dpi=100)


def scaling_lines(scale: dict[str, Any], key: str) -> dict[str, Line]:
    """Return for each candidate megapixels (of the whole batch) and seconds or, for `memory`, gigabytes."""
    found: dict[str, Line] = {}
    for point in scale["points"]:
        if "size" in point["varies"]:
            megapixels = point["batch"] * point["width"] * point["height"] / 1e6
            value = point["memory"] / 1e9 if key == "memory" else point["seconds"]
            found.setdefault(point["candidate"], []).append((megapixels, value))
    return {name: sorted(line) for name, line in found.items() if len(line) > 1}


def _draw_bars(panel: "SubFigure | Figure", cases: list[dict[str, Any]]) -> None:
    axes = panel.subplots()
    labels: list[str] = []
    for case in cases:
        speeds = {name: row["speed"] for name, row in case["candidates"].items() if name != case["reference"]}
        labels += (
            [f"{case['part']}, {case['batch']} x {case['width']}x{case['height']}"] if any(speeds.values()) else []
        )
        for name, speed in speeds.items():
            if speed:
                low, middle, high = (speed[key] for key in ("lower_quartile", "median", "upper_quartile"))
                axes.barh(len(labels), middle, 0.7, xerr=[[middle - low], [high - middle]], color=_COLORS[1])
                axes.annotate(f"  {middle:.2f} x {case['reference']}", (high, len(labels)), va="center")
                labels.append(name)
    axes.set_yticks(range(len(labels)), labels)
    axes.invert_yaxis()
    axes.margins(x=0.15, y=0.01)
    axes.axvline(1, color=_COLORS[0])
    axes.set_title("times as fast as the reference: median and quartiles")


def _draw_curves(panel: "SubFigure | Figure", curves: dict[str, list[dict[str, float]]], loss: str) -> None:
    axes = panel.subplots()
    for (name, curve), color in zip(curves.items(), cycle(_COLORS), strict=False):
        minutes = [point["seconds"] / 60 for point in curve]
        axes.semilogy(minutes, [point["loss"] for point in curve], "o-", color=color, label=name)
    for format_ticks in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
        format_ticks("{x:.3g}")  # not as powers of ten
    axes.set(title=f"held-out loss ({loss})", xlabel="minutes of training")
    axes.grid(which="both", alpha=0.3)
    axes.legend()


def _draw_scale(panel: "SubFigure | Figure", scale: dict[str, Any]) -> None:
    left, right = panel.subplots(1, 2)
    memory = scaling_lines(scale, "memory")
    for (name, line), color in zip(scaling_lines(scale, "seconds").items(), cycle(_COLORS), strict=False):
        left.loglog(*zip(*line, strict=True), "o-", color=color, label=name)
        sizes = [size for size, _ in memory[name]]
        right.plot(sizes, [size for _, size in memory[name]], "o", color=color)
        if model := scale["models"].get(name):
            right.plot(sizes, [(model["fixed"] + 1e6 * x * model["per_pixel"]) / 1e9 for x in sizes], color=color)
    left.set(title="time", xlabel="megapixels", ylabel="seconds")
    right.set(title="peak memory: measured, and the line of the model", xlabel="megapixels", ylabel="GB")
    for axes in (left, right):
        axes.grid(which="both", alpha=0.3)
    panel.legend(loc="outside lower center", ncols=4)
