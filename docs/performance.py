"""Prints the tables of performance.md from what scripts/benchmark.py has measured, or puts them on the page.

python docs/performance.py scale.json [more.json ...] [docs/performance.md]
"""

import json
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "scripts"))

from benchmark_scale_report import tables


def together(reports: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the section `scale` of several reports as one: a later one replaces what an earlier one has measured."""
    scales = [report["scale"] for report in reports]
    keys = ("candidate", "width", "height", "batch", "styles", "layers")
    points = {tuple(point.get(key) for key in keys): point for scale in scales for point in scale["points"]}
    models = {name: model for scale in scales for name, model in scale["models"].items()}
    return {"points": list(points.values()), "models": models}


def blocks(reports: Sequence[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """Yield the name of each table, and its Markdown."""
    machine = reports[0]["machine"]
    yield (
        "machine",
        f"{machine['processor']}, {machine['device']}, threads: {machine['threads']}, torch {machine['torch']}",
    )
    for name, (headings, *rows) in tables(together(reports)):
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
        sys.exit("performance.py: name a file that scripts/benchmark.py parts=[scale] has written")
    for name, block in blocks(reports):
        for page in pages:
            page.write_text(replaced(page.read_text(), name, block))
        if not pages:
            print(f"<!-- {name} -->\n{block}\n<!-- end -->\n")


if __name__ == "__main__":
    main(sys.argv[1:])
