"""Sweeps (-m): one run per combination of settings, failures, the table of results, the sheet of previews."""

import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig
from PIL import Image

from fast_style.cli import program

#: Unweighted losses on held-out images in the table.
SHOWN = ("heldout/content", "heldout/style")
#: Contact sheet: height of a preview in pixels, previews per row.
HEIGHT, COLUMNS = 480, 6
#: A run's last preview, in its folder.
PREVIEW = "preview.png"

_failed: list[str] = []


@dataclass(frozen=True)
class Failed:
    """Result of a failed run: the reason, in one line."""

    reason: str


def continue_sweep(main: Callable[[DictConfig], object]) -> Callable[[DictConfig], object]:
    """Wrap `main` so that a failed run of a sweep is reported and the others go on."""
    _failed.clear()

    def run(config: DictConfig) -> object:
        if HydraConfig.get().mode != RunMode.MULTIRUN:
            return main(config)
        try:
            return main(config)
        except SystemExit as end:
            if not isinstance(end.code, str):  # a signal ends the sweep
                raise
            reason = end.code
            print(reason, file=sys.stderr)
        except Exception as error:  # any: these settings alone may cause it
            traceback.print_exc()
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
        _failed.append(reason)
        return Failed(reason.partition(": ")[2] or reason)

    return run


def exit_if_any_failed() -> None:
    """Exit with status 1 if a run of the sweep has failed."""
    if _failed:
        sys.exit(f"{program()}: {len(_failed)} of the sweep's runs failed, as said above")


@dataclass(frozen=True)
class Member:
    """One run of a sweep: overrides, folder, and result (`Trained`, `Failed` or None)."""

    overrides: dict[str, str]
    folder: Path
    result: Any


class SweepReport(Callback):
    """Hydra callback: a table of the sweep's runs (standard output, table.txt) and a sheet of previews (sheet.png)."""

    def __init__(self) -> None:
        self.members: list[Member] = []

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """Note a run's result, and write the table, since the next run may be stopped."""
        hydra = config.hydra
        if hydra.mode != RunMode.MULTIRUN or job_return.status is not JobStatus.COMPLETED:
            return
        pairs = (override.partition("=") for override in job_return.overrides or [])
        overrides = {key.lstrip("+"): value for key, _, value in pairs}
        self.members.append(Member(overrides, Path(hydra.runtime.output_dir), job_return.return_value))
        folder = Path(hydra.sweep.dir)
        # A run that fails at its start removes its folder, and a sweep of such runs its own.
        if folder.is_dir():
            (folder / "table.txt").write_text("\n".join(table(self.members)) + "\n", "utf-8")

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Print the table, and save the previews on one sheet."""
        if not self.members:
            return
        folder = Path(config.hydra.sweep.dir)
        print("\n".join(["", *table(self.members)]))
        if (sheet := preview_sheet(self.members)) is not None:
            sheet.save(folder / "sheet.png")
            print(f"previews  {folder / 'sheet.png'} (the table: {folder / 'table.txt'})", flush=True)


def differing(members: Sequence[Member]) -> list[str]:
    """Return the overrides in which runs differ."""
    keys = dict.fromkeys(key for member in members for key in member.overrides)
    return [key for key in keys if len({member.overrides.get(key) for member in members}) > 1]


def table(members: Sequence[Member]) -> list[str]:
    """Return the lines of the table: differing settings, held-out losses, time, and network or error."""
    keys = differing(members)
    rows = [("run", *keys, *SHOWN, "time", "network")]
    for number, member in enumerate(members):
        settings = [member.overrides.get(key, "") for key in keys]
        if isinstance(member.result, Failed):
            rows.append((str(number), *settings, *["-"] * len(SHOWN), "-", f"failed: {member.result.reason}"))
        elif member.result is not None:
            losses = [f"{member.result.losses.get(name, float('nan')):.4g}" for name in SHOWN]
            rows.append((str(number), *settings, *losses, f"{member.result.seconds:.0f} s", str(member.result.path)))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def preview_sheet(members: Sequence[Member]) -> Image.Image | None:
    """Return the runs' last previews, labeled with number and settings; None: there is none."""
    from fast_style.cli.sheet import labeled_sheet  # imported lazily: fonts take time to load

    keys, images = differing(members), []
    for number, member in enumerate(members):
        if not (member.folder / PREVIEW).is_file():
            continue
        with Image.open(member.folder / PREVIEW) as preview:
            lines = [f"run {number}", *(f"{key.rpartition('.')[2]}={member.overrides.get(key, '')}" for key in keys)]
            if member.result is not None and not isinstance(member.result, Failed):
                losses = {name: loss for name in SHOWN if (loss := member.result.losses.get(name)) is not None}
                lines.append(", ".join(f"{name.removeprefix('heldout/')} {loss:.3g}" for name, loss in losses.items()))
            images.append((lines, preview.convert("RGB")))
    most = max((len(lines) for lines, _ in images), default=0)
    labeled = [([*lines, *[""] * (most - len(lines))], image) for lines, image in images]
    return labeled_sheet(labeled, HEIGHT, COLUMNS) if labeled else None
