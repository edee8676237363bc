"""What a benchmark has shown, as a picture: bars for what takes turns, curves for trainings and for how cost grows.

Drawn with Pillow, which is here anyway: one picture of this kind is not worth another dependency.
"""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from fast_style.cli.benchmark.scale_plot import HEIGHT as HEIGHT_OF_SCALE
from fast_style.cli.benchmark.scale_plot import draw_scale, lines

WIDTH, MARGIN, LINE, LABELS = 1200, 20, 26, 440
HEIGHT_OF_CURVES = 420
BLACK, GRAY, RED, BLUE = "#000000", "#dddddd", "#cc3311", "#4477aa"
COLORS = ("#cc3311", "#4477aa", "#228833", "#aa3377", "#ccbb44")

Spread = dict[str, float]


def plot(report: dict[str, Any], path: Path) -> None:
    """Draw how many times as fast as its reference each candidate is, the loss of trainings over time, and scale."""
    bars = list(_bars(report["cases"]))
    candidates = report["quality"]["candidates"] if report["quality"] else {}
    curves = {name: row["curve"] for name, row in candidates.items() if row["curve"]}
    height = 2 * MARGIN + LINE * (len(bars) + 1) if bars else MARGIN
    scale = report.get("scale")
    has_scale = bool(scale and lines(scale, "seconds"))
    below = height + (HEIGHT_OF_CURVES if curves else 0)
    image = Image.new("RGB", (WIDTH, below + (HEIGHT_OF_SCALE if has_scale else 0)), "white")
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(15)
    if bars:
        _draw_bars(draw, font, bars)
    if curves:
        title = f"held-out loss ({report['quality']['loss']}) over minutes of training"
        _draw_curves(draw, font, curves, title, height)
    if scale and has_scale:
        draw_scale(draw, font, scale, below)
    image.save(path)


def _bars(cases: Sequence[dict[str, Any]]) -> Iterator[tuple[str, Spread | None, str]]:
    """Yield text, length and unit of each bar; without a length, a heading."""
    for case in cases:
        yield f"{case['part']}, {case['batch']} x {case['width']}x{case['height']}", None, ""
        for name, row in case["candidates"].items():
            if row["speed"] and name != case["reference"]:
                yield name, row["speed"], case["reference"]


def _draw_bars(draw: Any, font: Any, bars: Sequence[tuple[str, Spread | None, str]]) -> None:
    longest = max([1.0, *(speed["upper_quartile"] for _, speed, _ in bars if speed)])
    scale = (WIDTH - LABELS - 170) / longest
    draw.text((MARGIN, MARGIN), "times as fast as the reference: median and quartiles", BLACK, font)
    for number, (text, speed, reference) in enumerate(bars, start=1):
        top = MARGIN + number * LINE
        if speed is None:
            draw.line((MARGIN, top, WIDTH - MARGIN, top), GRAY)
            draw.text((MARGIN, top + 4), text, BLACK, font)
            continue
        draw.text((MARGIN + 220, top + 4), text, BLACK, font)
        end = LABELS + scale * speed["median"]
        draw.rectangle((LABELS, top + 4, end, top + LINE - 4), BLUE)
        low, high = (LABELS + scale * speed[quartile] for quartile in ("lower_quartile", "upper_quartile"))
        draw.line((low, top + LINE // 2, high, top + LINE // 2), BLACK, 2)
        draw.text((max(end, high) + 8, top + 4), f"{speed['median']:.2f} x {reference}", BLACK, font)
    one = LABELS + scale
    draw.line((one, MARGIN + LINE, one, MARGIN + LINE * (len(bars) + 1)), RED, 1)


def _draw_curves(draw: Any, font: Any, curves: dict[str, list[dict[str, float]]], title: str, top: int) -> None:
    left, right, upper, lower = MARGIN + 50, WIDTH - 200, top + 40, top + HEIGHT_OF_CURVES - 50
    points = [point for curve in curves.values() for point in curve]
    end = max(point["seconds"] for point in points)
    # Each step up is the same ratio: losses fall by halves, not by amounts.
    bottom, height = (math.log(limit(point["loss"] for point in points)) for limit in (min, max))
    draw.text((MARGIN, top), title, BLACK, font)

    def place(seconds: float, loss: float) -> tuple[float, float]:
        up = (math.log(loss) - bottom) / max(height - bottom, 1e-9)
        return left + (right - left) * seconds / end, lower - (lower - upper) * up

    for part in range(6):
        seconds, loss = end * part / 5, math.exp(bottom + (height - bottom) * part / 5)
        (x, _), (_, y) = place(seconds, math.exp(bottom)), place(0, loss)
        draw.line((x, upper, x, lower), GRAY)
        draw.line((left, y, right, y), GRAY)
        draw.text((x - 12, lower + 8), f"{seconds / 60:.3g}", BLACK, font)
        draw.text((MARGIN, y - 8), f"{loss:.3g}", BLACK, font)
    for number, (name, curve) in enumerate(curves.items()):
        color = COLORS[number % len(COLORS)]
        line = [place(point["seconds"], point["loss"]) for point in curve]
        draw.line(line, color, 2)
        for x, y in line:
            draw.ellipse((x - 3, y - 3, x + 3, y + 3), color)
        draw.text((line[-1][0] + 8, line[-1][1] - 8), name, color, font)
