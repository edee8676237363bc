"""How cost grows, as two panels: time and peak memory over megapixels, the memory with its model."""

import math
from collections.abc import Callable
from typing import Any

HEIGHT = 460
WIDTH, MARGIN, GAP = 1200, 20, 70
BLACK, GRAY = "#000000", "#dddddd"
COLORS = ("#cc3311", "#4477aa", "#228833", "#aa3377", "#ccbb44", "#66ccee", "#ee7733", "#009988")

Line = list[tuple[float, float]]


def lines(scale: dict[str, Any], key: str) -> dict[str, Line]:
    """Return of each candidate megapixels (of all pictures at once) and seconds or, for `memory`, gigabytes."""
    found: dict[str, Line] = {}
    for point in scale["points"]:
        if "size" in point["varies"]:
            megapixels = point["batch"] * point["width"] * point["height"] / 1e6
            value = point["memory"] / 1e9 if key == "memory" else point["seconds"]
            found.setdefault(point["candidate"], []).append((megapixels, value))
    return {name: sorted(line) for name, line in found.items() if len(line) > 1}


def draw_scale(draw: Any, font: Any, scale: dict[str, Any], top: int) -> None:
    """Draw both panels below `top`, and the names of the candidates below them."""
    seconds, memory = lines(scale, "seconds"), lines(scale, "memory")
    colors = {name: COLORS[number % len(COLORS)] for number, name in enumerate(seconds)}
    middle = WIDTH // 2
    models = {
        name: [(x, (model["fixed"] + 1e6 * x * model["per_pixel"]) / 1e9) for x in _ends(memory[name])]
        for name, model in scale["models"].items()
        if name in memory
    }
    _panel(draw, font, "seconds over megapixels", seconds, {}, colors, (MARGIN + 50, top + 40, middle - GAP), True)
    right = (middle + 50, top + 40, WIDTH - GAP)
    _panel(draw, font, "GB over megapixels: measured, and the line of the model", memory, models, colors, right, False)
    x, y = MARGIN, top + HEIGHT - 60
    for name, color in colors.items():
        length = int(draw.textlength(name, font))
        if x + length > WIDTH - MARGIN:
            x, y = MARGIN, y + 20
        draw.text((x, y), name, color, font)
        x += length + 30


def _ends(line: Line) -> tuple[float, float]:
    return line[0][0], line[-1][0]


def _panel(
    draw: Any,
    font: Any,
    title: str,
    curves: dict[str, Line],
    fitted: dict[str, Line],
    colors: dict[str, str],
    place: tuple[int, int, int],
    logarithmic: bool,
) -> None:
    left, upper, right = place
    lower = upper + HEIGHT - 130
    scaled: Callable[[float], float] = math.log if logarithmic else float
    points = [point for line in (*curves.values(), *fitted.values()) for point in line]
    ends = []
    for axis in range(2):
        values = [scaled(point[axis]) for point in points]
        ends.append((min(values) if logarithmic else 0.0, max(values)))

    def at(point: tuple[float, float]) -> tuple[float, float]:
        x, y = ((scaled(v) - low) / max(high - low, 1e-9) for v, (low, high) in zip(point, ends, strict=True))
        return left + (right - left) * x, lower - (lower - upper) * y

    draw.text((left - 50, upper - 36), title, BLACK, font)
    for part in range(6):
        x, y = (low + (high - low) * part / 5 for low, high in ends)
        x, y = (math.exp(x), math.exp(y)) if logarithmic else (x, y)
        across, up = at((x, y))
        draw.line((across, upper, across, lower), GRAY)
        draw.line((left, up, right, up), GRAY)
        draw.text((across - 12, lower + 8), f"{x:.2g}", BLACK, font)
        draw.text((left - 48, up - 8), f"{y:.2g}", BLACK, font)
    for name, line in curves.items():
        for x, y in map(at, line):
            draw.ellipse((x - 4, y - 4, x + 4, y + 4), colors[name])
        if logarithmic:
            draw.line([at(point) for point in line], colors[name], 2)
    for name, line in fitted.items():
        draw.line([at(point) for point in line], colors[name], 2)
