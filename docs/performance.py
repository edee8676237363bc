"""Prints the tables of performance.md from what scripts/benchmark.py has measured, or puts them on the page.

python docs/performance.py docs/benchmark*.json docs/scale*.json docs/performance.md
"""

import json
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from fast_style.cli.benchmark.report import tables, time


def together(reports: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the section `scale` of several reports as one: a later one replaces what an earlier one has measured."""
    scales = [report["scale"] for report in reports]
    keys = ("candidate", "width", "height", "batch", "styles", "layers")
    points = {tuple(point.get(key) for key in keys): point for scale in scales for point in scale["points"]}
    models = {name: model for scale in scales for name, model in scale["models"].items()}
    return {"points": list(points.values()), "models": models}


def speeds(reports: Sequence[dict[str, Any]]) -> Iterator[tuple[str, list[list[str]]]]:
    """Yield the parts of a benchmark and their tables: what its first run measured, and the speeds of every run."""
    runs = [f"run {number}" for number in range(1, len(reports) + 1)]
    for part in dict.fromkeys(case["part"] for case in reports[0]["cases"]):
        rows = [["pictures", "candidate", "time", *runs, "floor", "memory, MB"]]
        for case in (case for case in reports[0]["cases"] if case["part"] == part):
            pictures = f"{case['batch']} x {case['width']}x{case['height']}"
            for name, row in case["candidates"].items():
                found = [_speed(report, case, name) for report in reports]
                floor = row["over_floor"].get("bfloat16")
                memory = row["device_memory"] or row["memory"]
                rows.append(
                    [
                        *(pictures, name, time(row["seconds"]["median"]), *found),
                        *(f"{floor['median']:.2f}" if floor else "", f"{memory / 1e6:.0f}"),
                    ]
                )
        yield part, rows


def _speed(report: dict[str, Any], case: dict[str, Any], name: str) -> str:
    shape = ("part", "batch", "width", "height")
    for other in report["cases"]:
        if [other[key] for key in shape] == [case[key] for key in shape] and name in other["candidates"]:
            speed = other["candidates"][name]["speed"]
            if speed is None:  # The reference itself would have taken too long.
                return ""
            quartiles = "{lower_quartile:.2f} to {upper_quartile:.2f}".format(**speed)
            return "1" if name == case["reference"] else f"**{speed['median']:.2f}** ({quartiles})"
    return ""


def blocks(reports: Sequence[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """Yield the name of each table, and its Markdown."""
    scales = [report for report in reports if report.get("scale")]
    runs = [report for report in reports if report.get("cases")]
    if scales:
        machine = scales[0]["machine"]
        yield (
            "machine",
            f"{machine['processor']}, {machine['device']}, threads: {machine['threads']}, torch {machine['torch']}",
        )
    found = [*(speeds(runs) if runs else []), *(tables(together(scales)) if scales else [])]
    for name, (headings, *rows) in found:
        lines = [headings, ["---"] * len(headings), *rows]
        yield name, "\n".join(f"| {' | '.join(line)} |" for line in lines)


def replaced(page: str, name: str, block: str) -> str:
    """Return the page with a block between `<!-- name -->` and `<!-- end -->`."""
    marked = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end -->)", re.DOTALL)
    if not marked.search(page):
        sys.exit(f"performance.py: the page has no line <!-- {name} --> with <!-- end --> after it; add them")
    return marked.sub(lambda found: f"{found[1]}{block}\n{found[2]}", page)


def main(arguments: Sequence[str]) -> None:
    """Print the tables of the files named; if a page is named, put them there."""
    reports = [json.loads(Path(name).read_text()) for name in arguments if name.endswith(".json")]
    pages = [Path(name) for name in arguments if name.endswith(".md")]
    if not reports:
        sys.exit("performance.py: name a file that scripts/benchmark.py has written")
    for name, block in blocks(reports):
        for page in pages:
            page.write_text(replaced(page.read_text(), name, block))
        if not pages:
            print(f"<!-- {name} -->\n{block}\n<!-- end -->\n")


if __name__ == "__main__":
    main(sys.argv[1:])
