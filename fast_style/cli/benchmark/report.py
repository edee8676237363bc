"""The results of a benchmark, as tables for a terminal of 140 columns and as charts."""

from collections.abc import Iterator
from functools import partial
from itertools import cycle
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from fast_style.cli.benchmark.rounds import spread

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: A table: the headings, then the cells of each row.
Rows = list[list[str]]

#: Images a second that a fast GPU trains on.
FEED = 5000
#: The curves of `scale`, and the heading of the value that varies.
CURVES = {"size": "picture", "batch": "pictures", "styles": "styles", "layers": "style layers"}
NOTES = {
    "cases": """\
Medians. Speed: times as fast as the first of the section, within a round, and the quartiles of that.
Floor: the time over that of as many multiply-adds at the peak of the machine, as measured in the same round.
Memory: the peak of the process, on a GPU of its tensors there; and over that of the first.""",
    "loader": f"""\
Training crops a second of one core: the median, and the quartiles. Cores: that make {FEED:,} a second.""",
    "quality": """\
The held-out loss at the end of each training. Reached: after how long it was as good as the first at its end,
between the measurement before and the one after; speed: how many times as soon as the first.""",
    "scale": """\
Times are medians, memory is the peak of the process. Fixed + bytes a pixel x pixels of a batch is fitted to the
smaller half of the sizes; off by: over what was measured, on all others the worst. 1 GB: the largest picture
that it allows (of a training, all pictures of a step in one), and below, its peak when it was stylized.""",
}
COLORS = ("#cc3311", "#4477aa", "#228833", "#aa3377", "#ccbb44", "#66ccee", "#ee7733", "#009988")


def show(report: dict[str, Any]) -> None:
    """Print the tables, and the candidates that were left out."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=140)
    say = partial(console.print, markup=False, highlight=False)
    machine = report["machine"]
    say(f"{machine['processor']}, {machine['device']}, {machine['threads']} threads, torch {machine['torch']}")
    for part, make in (("cases", _speeds), ("loader", _loader), ("quality", _quality), ("scale", tables)):
        for _, rows in make(report[part]) if report[part] else ():
            table = Table(box=box.SIMPLE, pad_edge=False)
            for heading in rows[0]:
                is_text = heading in ("", "candidate", "loader", *CURVES.values())
                table.add_column(heading, justify="left" if is_text else "right", no_wrap=True)
            for row in rows[1:]:
                if row:
                    table.add_row(*map(escape, row))
                else:
                    table.add_section()
            console.print(table)
        if report[part]:
            say(NOTES[part])
    for left in report["left_out"]:
        say(f"left out: {left['candidate']}, {left['case']}: {left['reason']}")


def _speeds(cases: list[dict[str, Any]]) -> Iterator[tuple[str, Rows]]:
    headings = ["", "pictures", "candidate", "time", "speed", "pictures/s", "floor\nfp32", "floor\nbf16"]
    rows = [[*headings, "memory", "of it"]]
    for case in cases:
        head = [case["part"], _shape(case)]
        for name, row in case["candidates"].items():
            seconds, is_reference = row["seconds"]["median"], name == case["reference"]
            rate, floors = case["batch"] / seconds, [row["over_floor"].get(kind) for kind in ("float32", "bfloat16")]
            digits = 0 if rate >= 100 else 1 if rate >= 1 else 2
            rows.append(
                [
                    *(*head, name, time(seconds), "1" if is_reference else _ratio(row["speed"])),
                    f"{rate:.{digits}f}" if case["part"] != "startup" else "",
                    *(f"{floor['median']:.2f}" if floor else "" for floor in floors),
                    f"{_megabytes(row['device_memory'] or row['memory'])} MB",
                    f"{row['memory_ratio']:.2f}" if row["memory_ratio"] and not is_reference else "",
                ]
            )
            head = ["", ""]
        rows.append([])  # ends a section
    yield "speeds", rows


def _loader(rates: dict[str, list[float]]) -> Iterator[tuple[str, Rows]]:
    rows = [[name, _ratio(spread(each), digits=0), f"{FEED / median(each):.1f}"] for name, each in rates.items()]
    yield "loader", [["loader", "crops/s", "cores"], *rows]


def _quality(quality: dict[str, Any]) -> Iterator[tuple[str, Rows]]:
    rows = [["candidate", "training", "steps", "content", "style", quality["loss"], "reached after", "speed"]]
    for name, row in quality["candidates"].items():
        if row["curve"]:
            last = row["curve"][-1]
            reached = time(row["reached"]) if row["reached"] else "" if name == quality["reference"] else "not"
            losses = (f"{last[key]:.3f}" for key in ("content", "style", "loss"))
            speed = f"{row['speed']:.2f}" if row["speed"] else ""
            rows.append([name, time(last["seconds"]), str(last["step"]), *losses, reached, speed])
    yield "quality", rows


def tables(scale: dict[str, Any]) -> Iterator[tuple[str, Rows]]:
    """Yield the name of each table of `scale` and its rows, for a terminal and for a page."""
    for varies, heading in CURVES.items():
        rows = [["candidate", heading, "megapixels", "time", "memory, MB", "ns a pixel", "bytes a pixel"]]
        for candidate in dict.fromkeys(point["candidate"] for point in scale["points"]):
            points = [each for each in scale["points"] if each["candidate"] == candidate and varies in each["varies"]]
            rows += [_row(point, varies) for point in points] if len(points) > 1 else []
        if len(rows) > 1:
            yield varies, rows
    models = {name: model for name, model in scale["models"].items() if model["checks"]}
    memories = dict.fromkeys(memory for model in models.values() for memory in model["largest"])
    rows = [["candidate", "fixed, MB", "bytes a pixel", "fitted up to", "off by", *(f"{each} GB" for each in memories)]]
    checks = [["candidate", "pictures", "predicted, MB", "measured, MB", "off by"]]
    tried = [["candidate", "memory", "largest picture", "predicted, MB", "measured, MB", "off by"]]
    for name, model in models.items():
        worst = max((check["error"] for check in model["checks"]), key=abs)
        numbers = _megabytes(model["fixed"]), f"{model['per_pixel']:.0f}", f"{max(model['fitted']) / 1e6:.2f} MP"
        largest = (f"{side}x{side}" if (side := model["largest"].get(memory)) else "-" for memory in memories)
        rows.append([name, *numbers, f"{100 * worst:+.1f} %", *largest])
        checks += [[name, _shape(check), *_compared(check)] for check in model["checks"]]
        for check in model["tried"]:
            side = f"{check['side']}x{check['side']}"
            tried.append([name, f"{check['memory'] / 1e9:g} GB", side, *_compared(check)])
    yield from ((name, rows) for name, rows in (("model", rows), ("checks", checks), ("tried", tried)) if rows[1:])


def _row(point: dict[str, Any], varies: str) -> list[str]:
    pixels, seconds, memory = point["batch"] * point["width"] * point["height"], point["seconds"], point["memory"]
    shape = f"{point[varies]} ({_shape(point)})" if varies in ("styles", "layers") else _shape(point)
    numbers = f"{pixels / 1e6:.2f}", time(seconds), _megabytes(memory)
    return [point["candidate"], shape, *numbers, f"{1e9 * seconds / pixels:.0f}", f"{memory / pixels:.0f}"]


def _shape(row: dict[str, Any]) -> str:
    return f"{row['batch']} x {row['width']}x{row['height']}"


def _compared(check: dict[str, Any]) -> tuple[str, ...]:
    return _megabytes(check["predicted"]), _megabytes(check["measured"]), f"{100 * check['error']:+.1f} %"


def _megabytes(size: float) -> str:
    return f"{size / 1e6:.0f}"


def time(seconds: float) -> str:
    """Return a time with three digits."""
    return f"{seconds:.0f} s" if seconds >= 100 else f"{seconds:.2f} s" if seconds >= 1 else f"{1000 * seconds:.1f} ms"


def _ratio(spread: dict[str, float] | None, digits: int = 2) -> str:
    names = ("median", "lower_quartile", "upper_quartile")
    return "{} [{} {}]".format(*(f"{spread[name]:.{digits}f}" for name in names)) if spread else ""


def plot(report: dict[str, Any], path: Path) -> None:
    """Draw bars of speed, losses over time, and time and memory over megapixels, one row below the other."""
    # Here: matplotlib takes a second to import, and a mistake in the settings is told before that.
    from matplotlib.figure import Figure

    trained = report["quality"]["candidates"] if report["quality"] else {}
    curves = {name: row["curve"] for name, row in trained.items() if row["curve"]}
    lines = _scaling_lines(report["scale"]["points"]) if report["scale"] else {}
    bars = sum(1 + len(case["candidates"]) for case in report["cases"])
    rows = {("speed", "speed"): 0.3 * bars + 1, ("loss", "loss"): 4.2, ("time", "memory"): 4.6}
    there = {"speed": bars, "loss": curves, "time": lines}
    rows = {row: height for row, height in rows.items() if there[row[0]]}
    figure = Figure(figsize=(12, sum(rows.values()) or 1), layout="constrained")
    axes = figure.subplot_mosaic([[*row] for row in rows], height_ratios=[*rows.values()]) if rows else {}
    if bars:
        _draw_bars(axes["speed"], report["cases"])
    if curves:
        _draw_curves(axes["loss"], curves, report["quality"]["loss"])
    if lines:
        _draw_scale(axes["time"], axes["memory"], lines, report["scale"]["models"])
    figure.savefig(path, dpi=100)


def _scaling_lines(points: list[dict[str, Any]]) -> dict[str, list[tuple[float, float, float]]]:
    """Return for each candidate megapixels of the batch, seconds and gigabytes, by size."""
    found: dict[str, list[tuple[float, float, float]]] = {}
    for point in (point for point in points if "size" in point["varies"]):
        megapixels = point["batch"] * point["width"] * point["height"] / 1e6
        found.setdefault(point["candidate"], []).append((megapixels, point["seconds"], point["memory"] / 1e9))
    return {name: sorted(line) for name, line in found.items() if len(line) > 1}


def _draw_bars(axes: "Axes", cases: list[dict[str, Any]]) -> None:
    labels: list[str] = []
    for case in cases:
        speeds = {name: row["speed"] for name, row in case["candidates"].items() if row["speed"]}
        speeds.pop(case["reference"], None)
        labels += [f"{case['part']}, {_shape(case)}"] if speeds else []
        for name, speed in speeds.items():
            low, middle, high = (speed[key] for key in ("lower_quartile", "median", "upper_quartile"))
            axes.barh(len(labels), middle, 0.7, xerr=[[middle - low], [high - middle]], color=COLORS[1])
            axes.annotate(f"  {middle:.2f} x {case['reference']}", (high, len(labels)), va="center")
            labels.append(name)
    axes.set_yticks(range(len(labels)), labels)
    axes.margins(x=0.15)
    axes.set_ylim(len(labels) - 0.4, -0.6)  # with the heading of the first case, which has no bar
    axes.axvline(1, color=COLORS[0])
    axes.set_title("times as fast as the reference: median and quartiles")


def _draw_curves(axes: "Axes", curves: dict[str, list[dict[str, float]]], loss: str) -> None:
    for (name, curve), color in zip(curves.items(), cycle(COLORS), strict=False):
        minutes = [point["seconds"] / 60 for point in curve]
        axes.semilogy(minutes, [point["loss"] for point in curve], "o-", color=color, label=name)
    for format_ticks in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
        format_ticks("{x:.3g}")  # not as powers of ten
    axes.set(title=f"held-out loss ({loss})", xlabel="minutes of training")
    axes.grid(which="both", alpha=0.3)
    axes.legend()


def _draw_scale(left: "Axes", right: "Axes", lines: dict[str, Any], models: dict[str, Any]) -> None:
    for (name, line), color in zip(lines.items(), cycle(COLORS), strict=False):
        megapixels, seconds, gigabytes = zip(*line, strict=True)
        left.loglog(megapixels, seconds, "o-", color=color, label=name)
        right.plot(megapixels, gigabytes, "o", color=color)
        if model := models.get(name):
            predicted = [(model["fixed"] + 1e6 * each * model["per_pixel"]) / 1e9 for each in megapixels]
            right.plot(megapixels, predicted, color=color)
    left.set(title="time", xlabel="megapixels", ylabel="seconds")
    right.set(title="peak memory: measured, and the line of the model", xlabel="megapixels", ylabel="GB")
    for axes in (left, right):
        axes.grid(which="both", alpha=0.3)
    left.legend()
