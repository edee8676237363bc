"""What a benchmark has shown, as tables for a terminal of 140 columns."""

from statistics import median
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from fast_style.cli.benchmark.runs import spread
from fast_style.cli.benchmark.scale_report import NOTES as SCALE
from fast_style.cli.benchmark.scale_report import tables, time

Spread = dict[str, float]

#: Pictures a second that a fast GPU trains on.
FEED = 5000

BOX = box.SIMPLE
SPEEDS = (
    "Medians. Speed: times as fast as the first of the section, within a round, and the quartiles of that.",
    "Floor: the time over that of as many multiply-adds at the peak of the machine, as measured in the same round.",
    "Memory: the peak of the process, on a GPU of its tensors there; and over that of the first.",
)
LOADER = (f"Training crops a second of one core: the median, and the quartiles. Cores: that make {FEED:,} a second.",)
QUALITY = (
    "The held-out loss at the end of each training. Reached: after how long it was as good as the first at its end,",
    "between the measurement before and the one after; speed: how many times as soon as the first.",
)


def show(report: dict[str, Any]) -> None:
    """Print the tables, and what was left out."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=140)
    machine = report["machine"]
    where = f"{machine['processor']}, {machine['device']}, {machine['threads']} threads, torch {machine['torch']}"
    console.print(where, markup=False, highlight=False)
    for part, make, notes in (("cases", _speeds, SPEEDS), ("loader", _loader, LOADER), ("quality", _quality, QUALITY)):
        if report[part]:
            console.print(make(report[part]))
            console.print(*notes, sep="\n", markup=False, highlight=False)
    if report.get("scale"):
        for _, rows in tables(report["scale"]):
            console.print(_plain(rows))
        console.print(*SCALE, sep="\n", markup=False, highlight=False)
    for left in report["left_out"]:
        console.print(f"left out: {left['candidate']}, {left['case']}: {left['reason']}", markup=False, highlight=False)


def _speeds(cases: list[dict[str, Any]]) -> Table:
    table = Table(box=BOX, pad_edge=False)
    for heading in ("", "pictures", "candidate"):
        table.add_column(heading, no_wrap=True)
    for heading in ("time", "speed", "pictures/s", "floor\nfp32", "floor\nbf16", "memory", "of it"):
        table.add_column(heading, justify="right", no_wrap=True)
    for case in cases:
        pictures = f"{case['batch']} x {case['width']}x{case['height']}"
        head = (case["part"], pictures)
        for name, row in case["candidates"].items():
            is_reference = name == case["reference"]
            seconds = row["seconds"]["median"]
            memory = row["device_memory"] or row["memory"]
            floors = [row["over_floor"].get(kind) for kind in ("float32", "bfloat16")]
            table.add_row(
                *(*head, name, time(seconds), "1" if is_reference else _ratio(row["speed"])),
                _number(case["batch"] / seconds) if case["part"] != "startup" else "",
                *(f"{floor['median']:.2f}" if floor else "" for floor in floors),
                f"{memory / 1e6:.0f} MB",
                f"{row['memory_ratio']:.2f}" if row["memory_ratio"] and not is_reference else "",
            )
            head = ("", "")
        table.add_section()
    return table


def _loader(rates: dict[str, list[float]]) -> Table:
    table = Table(box=BOX, pad_edge=False)
    for heading in ("loader", "crops/s", "cores"):
        table.add_column(heading, justify="left" if heading == "loader" else "right", no_wrap=True)
    for name, values in rates.items():
        table.add_row(name, _ratio(spread(values), digits=0), f"{FEED / median(values):.1f}")
    return table


def _quality(quality: dict[str, Any]) -> Table:
    table = Table(box=BOX, pad_edge=False)
    table.add_column("candidate", no_wrap=True)
    for heading in ("training", "steps", "content", "style", quality["loss"], "reached after", "speed"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, row in quality["candidates"].items():
        if not row["curve"]:
            continue
        last = row["curve"][-1]
        reached = "" if name == quality["reference"] else time(row["reached"]) if row["reached"] else "not"
        table.add_row(
            *(name, time(last["seconds"]), str(last["step"])),
            *(f"{last[key]:.3f}" for key in ("content", "style", "loss")),
            *(reached, f"{row['speed']:.2f}" if row["speed"] else ""),
        )
    return table


def _plain(rows: list[list[str]]) -> Table:
    table = Table(box=BOX, pad_edge=False)
    for number, heading in enumerate(rows[0]):
        table.add_column(heading, justify="right" if number > 1 else "left", no_wrap=True)
    for row in rows[1:]:
        table.add_row(*row)
    return table


def _ratio(spread: Spread | None, digits: int = 2) -> str:
    if spread is None:
        return ""
    low, middle, high = (f"{spread[key]:.{digits}f}" for key in ("lower_quartile", "median", "upper_quartile"))
    return rf"{middle} \[{low} {high}]"


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 1 else f"{value:.2f}"
