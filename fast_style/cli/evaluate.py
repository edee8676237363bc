"""Evaluate networks: fast-style evaluate photos ckpt=starry_night."""

import hashlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from rich.console import Console
from rich.progress import Progress

from fast_style.cli.evaluation.columns import Column, columns_of
from fast_style.cli.evaluation.judge import Judge, finite, summary
from fast_style.cli.evaluation.page import Sheet, page
from fast_style.cli.hydra_app import build, duration, find_pictures, plain, require_writable
from fast_style.cli.loss_network import loss_network
from fast_style.errors import ConfigError, ImageError
from fast_style.evaluation.visible_faults import VISIBLE
from fast_style.evaluation.yardstick import Yardstick
from fast_style.images.tensors import read_image
from fast_style.system.files import atomic_write

#: Version of the report's JSON format.
FORMAT = 1


def main(config: DictConfig) -> None:
    """Judge each column on each photograph and write the report; a failed picture does not stop the others."""
    started = time.monotonic()
    settings = plain(config)
    settings["sizes"] = _sizes(settings)
    files = find_pictures(settings["data"]["source"])
    if len({file.stem for file in files}) < len(files):
        raise ConfigError("data.source: two photographs have the same name; give their folders one at a time")
    paths = _report_files(settings["output"], overwrite=settings["overwrite"])
    encoder, device = loss_network(config)
    columns = columns_of(settings, files, device)
    # Columns of one style share a judge, and so the measurements of the photographs.
    styles = {_aim(column): column.style for column in reversed(columns)}  # the first column's
    judges = {aim: Judge(Yardstick(encoder, build(config.loss), style), settings) for aim, style in styles.items()}

    found: list[dict[str, Any]] = [{} for _ in columns]
    failed: dict[str, str] = {}

    def fail(name: str, error: ImageError) -> None:
        if len(files) == len(columns) == 1:
            raise error
        failed[name] = str(error)
        print(error, file=sys.stderr)

    sheet = Sheet([column.name for column in columns], settings["sizes"])
    with _progress(len(files), settings["yardstick"]["steps"]) as show:
        for number, file in enumerate(files):
            on_step = show(number, file.name)
            try:
                sides = {settings["yardstick"]["size"], *settings["sizes"]}
                photographs = {size: read_image(file, size) for size in sides}
            except ImageError as error:
                fail(file.name, error)
                continue
            for place, column in enumerate(columns):
                try:
                    stylized = {size: column.stylize(file, image) for size, image in photographs.items()}
                    found[place][file.name] = judges[_aim(column)](file.name, photographs, stylized, on_step)
                    sheet.add(file.name, place, photographs, stylized)
                except ImageError as error:
                    fail(f"{column.name}: {file.name}", error)
    if not any(found):
        raise ImageError(f"none of the {len(files)} photographs could be judged: there is no report")
    report = {
        "format": FORMAT,
        "sizes": settings["sizes"],
        "yardstick": settings["yardstick"],
        "visible_above": VISIBLE,
        "columns": [
            {
                **_described(column, judges[_aim(column)]),
                "stillness": column.stillness(),
                "pictures": pictures,
                "summary": summary([*pictures.values()]),
            }
            for column, pictures in zip(columns, found, strict=True)
        ],
        "left_out": failed,
    }
    paintings = dict.fromkeys(column.style.image for column in columns)
    numbers = json.dumps(finite(report), indent=1, allow_nan=False) + "\n"
    for path, text in zip(paths, (page(report, sheet, paintings), numbers), strict=True):
        with atomic_write(path) as target:
            target.write(text.encode())
        print(path, flush=True)
    print(duration(time.monotonic() - started), file=sys.stderr)
    if failed:
        total, judged = len(files) * len(columns), sum(map(len, found))
        raise ImageError(f"{total - judged} of {total} pictures failed; the report is of the others")


def _sizes(settings: dict[str, Any]) -> list[int]:
    """Check the numeric settings, and return `sizes` as a list."""
    yardstick = settings["yardstick"]
    sizes = settings["sizes"] if isinstance(settings["sizes"], list) else [settings["sizes"]]
    for key, sides in (("sizes", sizes), ("yardstick.size", [yardstick["size"]])):
        wrong = [side for side in sides if type(side) is not int or not 32 <= side <= 4096]
        if wrong or not sides:
            raise ConfigError(f"{key} must be from 32 to 4096 pixels, not {wrong[0] if wrong else sides}")
    if yardstick["steps"] < 1:
        raise ConfigError(f"yardstick.steps must be at least 1, not {yardstick['steps']}")
    if not 0 < yardstick["lr"] < float("inf"):
        raise ConfigError(f"yardstick.lr must be above 0, not {yardstick['lr']}")
    return list(dict.fromkeys(sizes))


def _report_files(output: str, *, overwrite: bool) -> tuple[Path, Path]:
    """Return the paths of the page and of the numbers, checked for writing. Creates the folder."""
    path = Path(output)
    if path.suffix.lower() != ".html":
        raise ConfigError(f"output must be a page, such as evaluation.html, not {output}")
    paths = (path, path.with_suffix(".json"))
    for file in paths:  # checked before the work, which may take an hour
        if file.exists() and not overwrite:
            raise ConfigError(f"{file}: exists already; add overwrite=true to replace it, or give another output")
    require_writable(path.parent, "output")
    return paths


def _aim(column: Column) -> tuple[object, ...]:
    """Return the key of a column's style: equal for columns that share a judge."""
    style = column.style
    return style.image.resolve(), style.size, tuple(sorted(style.layers.items()))


def _described(column: Column, judge: Judge) -> dict[str, Any]:
    """Return a column's name, network and judge, without anything that differs between machines."""
    style = column.style
    painting = hashlib.sha256(style.image.read_bytes()).hexdigest()
    return {
        "name": column.name,
        "kind": column.kind,
        "sha256": column.sha256,
        "style": {"name": style.name, "image": style.image.name, "sha256": painting},
        "judged_by": judge.yardstick.settings,
    }


@contextmanager
def _progress(files: int, steps: int) -> Iterator[Callable[[int, str], Callable[[int], None]]]:
    """Show the current photograph and optimizer step on standard error."""
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=files)

        def show(number: int, name: str) -> Callable[[int], None]:
            text = f"{name} ({number + 1} of {files})"
            if not console.is_terminal:
                print(text, file=sys.stderr)

            def on_step(step: int) -> None:
                bar.update(task, completed=number + step / steps, description=f"{text}, step {step} of {steps}")

            on_step(0)
            return on_step

        yield show
