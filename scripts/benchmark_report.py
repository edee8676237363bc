"""What a benchmark has shown: a table for the terminal, and a picture."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont
from rich.console import Console
from rich.table import Table

Spread = dict[str, float]


def show(report: dict[str, Any]) -> None:
    """Print the table, and what was left out."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=140)
    machine = report["machine"]
    console.print(
        f"{machine['processor']}, {machine['device']}, {machine['threads']} threads, torch {machine['torch']}"
    )
    table = Table(caption="medians; [quartiles] of the ratios within rounds; floor: time over that of a matrix product")
    for heading in ("", "pictures", "candidate"):
        table.add_column(heading)
    for heading in ("time", "speed", "of peers, or of", "floor float32", "floor bfloat16", "memory", "of it"):
        table.add_column(heading, justify="left" if heading.startswith("of peers") else "right")
    for case in report["cases"]:
        first = True
        for name, row in case["candidates"].items():
            pictures = f"{case['batch']} x {case['width']}x{case['height']}"
            floors = [_ratio(row["over_floor"].get(kind)) for kind in ("float32", "bfloat16")]
            reference = case["reference"] if row["speed"] and name != case["reference"] else ""
            table.add_row(
                *((case["part"], pictures) if first else ("", "")),
                *(name, _time(row["seconds"]["median"]), _ratio(row["speed"]) if reference else "", reference, *floors),
                f"{row['memory'] / 1e6:.0f} MB",
                f"{row['memory_ratio']:.2f}" if row["memory_ratio"] and reference else "",
            )
            first = False
        table.add_section()
    console.print(table)
    for left in report["left_out"]:
        console.print(f"left out: {left['candidate']}, {left['case']}: {left['reason']}", markup=False, highlight=False)


def plot(report: dict[str, Any], path: Path) -> None:
    """Draw how many times as fast as its reference each candidate is: bars to the median, lines between quartiles."""
    bars = [
        (f"{name}, {case['part']} {case['batch']} x {case['width']}x{case['height']}", row["speed"], case["reference"])
        for case in report["cases"]
        for name, row in case["candidates"].items()
        if row["speed"] and name != case["reference"]
    ]
    _draw(bars).save(path)


def _draw(bars: Sequence[tuple[str, Spread, str]]) -> Image.Image:
    labels, width, line, margin = 420, 1200, 30, 20
    font = ImageFont.load_default(16)
    image = Image.new("RGB", (width, 2 * margin + line * (len(bars) + 1)), "white")
    draw = ImageDraw.Draw(image)
    longest = max([1.0, *(speed["upper_quartile"] for _, speed, _ in bars)])
    scale = (width - labels - 160) / longest
    one = labels + scale
    draw.text((margin, margin), "times as fast as the reference: median and quartiles", "black", font)
    for number, (text, speed, reference) in enumerate(bars, start=1):
        top = margin + number * line
        middle = top + line // 2
        draw.text((margin, top + 4), text, "black", font)
        end = labels + scale * speed["median"]
        draw.rectangle((labels, top + 4, end, top + line - 4), "#4477aa")
        low, high = (labels + scale * speed[quartile] for quartile in ("lower_quartile", "upper_quartile"))
        draw.line((low, middle, high, middle), "black", 2)
        draw.text((max(end, high) + 8, top + 4), f"{speed['median']:.2f} x {reference}", "black", font)
    draw.line((one, margin + line, one, image.height - margin), "#cc3311", 2)
    return image


def _ratio(spread: Spread | None) -> str:
    if spread is None:
        return ""
    return rf"{spread['median']:.2f} \[{spread['lower_quartile']:.2f} {spread['upper_quartile']:.2f}]"


def _time(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{1000 * seconds:.1f} ms"
