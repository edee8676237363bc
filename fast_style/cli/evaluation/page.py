"""The evaluation report as an HTML page: verdicts, tables, explanations and contact sheets."""

import base64
import io
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

from fast_style.images.picture import contact_sheet, flatten, open_picture
from fast_style.images.tensors import to_pil
from fast_style.types import Images

#: Contact sheet: most photographs, height of a picture in pixels, most pixels in all.
SHOWN, HEIGHT, SHEET_PIXELS = 12, 224, 6_000_000
#: Photographs shown large at the top, and their height in pixels.
LARGE, LARGE_HEIGHT = 2, 512
#: Equivalent iterations: from WELL on, a network follows its painting well; below HARDLY, hardly.
WELL, HARDLY = 18, 6

FAULTS = {
    "grid": "Mesh: the peaks of the spectrum at the frequencies of upsampling by 2, 4 or 8, in levels of 255.",
    "dots": "Spots that stand out from everything around them, for each 100,000 pixels.",
    "border": "How much more abruptly the picture changes 8 pixels from its edges than inside, in levels of 255.",
    "washed_out": "The part of the spread of colors that is missing, against photograph and painting, from 0 to 1.",
    "clipped": "The part of the picture, from 0 to 1, that is flat at the end of a channel's range.",
}


class Sheet:
    """Contact sheets of the pictures: whole, and the center of each at full resolution.

    Args:
        headings: the columns' names.
        sizes: available short sides in pixels; the one nearest to 512 is shown.
    """

    def __init__(self, headings: list[str], sizes: list[int]) -> None:
        self.headings = ["photograph", *headings]
        self.size = min(sizes, key=lambda size: abs(size - 512))
        self._rows: dict[str, list[tuple[Image.Image, Image.Image] | None]] = {}
        self._large: dict[str, list[Image.Image]] = {}

    @property
    def names(self) -> list[str]:
        """Names of the photographs."""
        return list(self._rows)

    def add(
        self, name: str, place: int, photographs: Mapping[int, Images], stylized: Mapping[int, Images | None]
    ) -> None:
        """Add a picture to its photograph's row, unless the sheet is full."""
        if name not in self._rows and len(self._rows) == SHOWN:
            return
        row = self._rows.setdefault(name, [_crops(photographs[self.size]), *[None] * (len(self.headings) - 1)])
        output = stylized[self.size]
        row[place + 1] = None if output is None else _crops(output)
        if len(self._large) < LARGE or name in self._large:
            large = self._large.setdefault(name, to_pil(photographs[self.size]))
            large += [] if output is None else to_pil(output)

    def large(self) -> str:
        """Return the first photographs and their stylized versions, large, as the data URL of a JPEG."""
        rows = [*self._large.values()]
        height = min(LARGE_HEIGHT, *(row[0].height for row in rows))
        area = sum(image.width / image.height for row in rows for image in row)
        return _as_data(contact_sheet(rows, min(height, math.isqrt(int(SHEET_PIXELS / area)))))

    def images(self) -> tuple[str, str]:
        """Return the two sheets as data URLs of JPEGs."""
        sheets = []
        for which in range(2):
            rows = []
            for row in self._rows.values():
                first = row[0][which] if row[0] else Image.new("RGB", (HEIGHT, HEIGHT))
                blank = Image.new("RGB", first.size, "white")
                rows.append([cell[which] if cell else blank for cell in row])
            area = sum(image.width / image.height for row in rows for image in row)
            sheets.append(_as_data(contact_sheet(rows, min(HEIGHT, math.isqrt(int(SHEET_PIXELS / area))))))
        return sheets[0], sheets[1]


def _as_data(image: Image.Image) -> str:
    """Encode an image as the data URL of a JPEG; reduces it in place."""
    image.thumbnail((16_000, 16_000))  # JPEG's limit is 65,535
    image.save(encoded := io.BytesIO(), "JPEG", quality=88, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(encoded.getvalue()).decode()}"


def _crops(images: Images) -> tuple[Image.Image, Image.Image]:
    (image,) = to_pil(images)
    left, top = max(0, (image.width - HEIGHT) // 2), max(0, (image.height - HEIGHT) // 2)
    center = image.crop((left, top, min(image.width, left + HEIGHT), min(image.height, top + HEIGHT)))
    # Padded to a row's height, so that the sheet does not rescale its pixels.
    padded = Image.new("RGB", (HEIGHT, HEIGHT), "white")
    padded.paste(center)
    return image.resize((max(1, round(image.width * HEIGHT / image.height)), HEIGHT)), padded


def page(report: Mapping[str, Any], sheet: Sheet, paintings: Iterable[Path]) -> str:
    """Return the HTML page."""
    loader = FileSystemLoader(Path(__file__).parent)
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    whole, middles = sheet.images()
    return environment.get_template("page.html").render(
        report=report,
        columns=report["columns"],
        paintings=[(painting.name, _painting(painting)) for painting in paintings],
        verdicts=[verdict(report, column) for column in report["columns"]],
        large=sheet.large(),
        overview=_overview(report),
        pictures=_pictures(report),
        stillness=_stillness(report),
        details=[(size, _details(report, str(size))) for size in report["sizes"]],
        sheet=sheet,
        whole=whole,
        middles=middles,
    )


def _painting(path: Path) -> str:
    image = flatten(open_picture(path, short_side=320))
    image.thumbnail((640, 320))
    return _as_data(image)


def verdict(report: Mapping[str, Any], column: Mapping[str, Any]) -> tuple[str, str, str]:
    """Return a column's name, its grade (`good`, `fair` or `poor`), and the reason in two sentences."""
    steps, pictures = report["yardstick"]["steps"], column["pictures"]
    iterations = (_at(column["summary"], ("equivalent_iterations",)) or {}).get("median")
    words, grade = "Not compared with slow style transfer.", "good"
    if iterations is not None:
        grade = "good" if iterations >= WELL else "fair" if iterations >= HARDLY else "poor"
        reached = f"{iterations:.0f} of {steps} steps" if math.isfinite(iterations) else f"more than {steps} steps"
        words = f"As near to photograph and painting as slow style transfer after {reached}."
    seen: dict[str, int] = {}
    for fault in FAULTS:
        limit = report["visible_above"][fault]
        count = sum(
            any((_at(one, ("sizes", str(size), "faults", fault)) or 0) > limit for size in report["sizes"])
            for one in pictures.values()
        )
        seen |= {fault.replace("_", " "): count} if count else {}
    if not seen:
        return column["name"], grade, f"{words} No fault is visible."
    worst = max(seen.values()) > len(pictures) / 2
    named = ", ".join(f"{fault} in {count} of {len(pictures)}" for fault, count in seen.items())
    return column["name"], "poor" if worst or grade == "poor" else "fair", f"{words} Visible faults: {named}."


Row = dict[str, Any]


def _overview(report: Mapping[str, Any]) -> list[Row]:
    steps = report["yardstick"]["steps"]
    explained = {
        "equivalent_iterations": f"The step at which the optimizer has the loss of the picture; >{steps}: never.",
        "ratio": f"The loss of the stylized picture over the plateau, the optimizer's after {steps} steps.",
        "loss": "The weighted sum of the terms.",
    }
    rows = [_row(report, key.replace("_", " "), text, (key,)) for key, text in explained.items()]
    terms = dict.fromkeys(term for column in report["columns"] for term in column["summary"].get("terms", ()))
    return rows + [_row(report, term.replace("_", " "), "A term, times its weight.", ("terms", term)) for term in terms]


def _pictures(report: Mapping[str, Any]) -> list[Row]:
    names = dict.fromkeys(name for column in report["columns"] for name in column["pictures"])
    steps, rows = report["yardstick"]["steps"], []
    for name in names:
        found = [column["pictures"].get(name) for column in report["columns"]]
        cells = [
            (f"{number(one['equivalent_iterations'], steps)} ({number(one['ratio'], steps)})" if one else "", "", False)
            for one in found
        ]
        rows.append({"name": name, "text": "", "cells": cells})
    return rows


def _stillness(report: Mapping[str, Any]) -> list[Row]:
    """Return the rows about films; none if all columns are pictures."""
    rows = []
    for camera, name in (("still_camera", "camera stands still"), ("moving_camera", "camera moves")):
        for suffix, apart in (("", "from frame to frame"), ("_10", "over ten frames")):
            found = [(column.get("stillness") or {}).get(f"{camera}{suffix}") for column in report["columns"]]
            cells = [("" if value is None else f"{value:.1f} dB", "", False) for value in found]
            rows.append({"name": f"{name}, {apart}", "text": "", "cells": cells})
    return [row for row in rows if any(text for text, *_ in row["cells"])]


def _details(report: Mapping[str, Any], size: str) -> list[Row]:
    """Return the rows of one size; rows without values are left out."""
    rows = []
    for kind, text in (
        ("content", "Distance from the photograph at this layer; 1 is the distance to nothing."),
        ("style", "Distance from the painting's Gram matrix at this layer; 1 is that of a blank picture."),
    ):
        every = (column["summary"].get("sizes", {}).get(size, {}).get(kind, ()) for column in report["columns"])
        layers = dict.fromkeys(layer for found in every for layer in found)
        rows += [_row(report, f"{kind} {layer}", text, ("sizes", size, kind, layer)) for layer in layers]
    text = "Structural similarity to the photograph (SSIM); 1 is all of its structure."
    rows.append(_row(report, "structure", text, ("sizes", size, "structure")))
    for fault, text in FAULTS.items():
        limit = report["visible_above"][fault]
        text = f"{text} Visible above {limit:g}."
        rows.append(_row(report, fault.replace("_", " "), text, ("sizes", size, "faults", fault), limit))
    return [row for row in rows if any(text for text, *_ in row["cells"])]


def _row(report: Mapping[str, Any], name: str, text: str, path: tuple[str, ...], limit: float = math.inf) -> Row:
    """Return a row of medians and quartiles; medians above `limit` are marked."""
    cells, steps = [], report["yardstick"]["steps"]
    for column in report["columns"]:
        found = _at(column["summary"], path)
        if found is None:
            cells.append(("", "", False))
            continue
        low, median, high = (number(found[key], steps) for key in ("low", "median", "high"))
        note = f"{low} to {high}"
        above = sum((_at(picture, path) or 0) > limit for picture in column["pictures"].values())
        note += f"; {above} of {len(column['pictures'])} above" if above else ""
        cells.append((median, note, found["median"] > limit))
    return {"name": name, "text": text, "cells": cells}


def _at(node: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        node = node.get(key) if isinstance(node, dict) else None
    return node


def number(value: float, steps: int) -> str:
    """Return three significant digits; infinite iterations as more than `steps`."""
    return f">{steps}" if math.isinf(value) else f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
