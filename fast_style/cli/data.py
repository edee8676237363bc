"""Download, check and pack training images: fast-style data coco=val2017 root=photos."""

import math
import os
import time
from collections.abc import Collection, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from rich.filesize import decimal

from fast_style.cli import command_name
from fast_style.cli.hydra_app import command, duration, plain, require_new, require_writable
from fast_style.cli.progress import ProgressBar
from fast_style.data.pixel_archive import SUFFIX
from fast_style.data.prepare.check import CheckReport, check_images, group_by_reason
from fast_style.data.prepare.download import COCO, download
from fast_style.data.prepare.pack import check_output, loading_rates, pack
from fast_style.errors import ConfigError, DataError, require_choice
from fast_style.system.text import printable

SETTINGS = {
    "coco": ("coco", "root", "mirror"),
    "check": ("source", "size", "workers", "max_bad", "report", "overwrite"),
    "pack": ("source", "output", "size", "short_side", "workers", "overwrite"),
}
_CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
#: Most names that a line lists.
SHOWN = 5


def main(config: DictConfig) -> None:
    """Run the task of the first word."""
    task = config.command or (config.coco and "coco")
    if not task:
        raise ConfigError("nothing to do: write coco=val2017 root=FOLDER, check source=PATH, or pack source=PATH")
    require_choice("the first word", task, list(SETTINGS))
    for override in HydraConfig.get().overrides.task:
        key = override.partition("=")[0]
        if key in config and key != "command" and key not in SETTINGS[task]:
            raise ConfigError(f"{key} has no meaning for {task}; it takes {', '.join(SETTINGS[task])}")
    settings = {key: plain(config)[key] for key in SETTINGS[task]}
    {"coco": _fetch, "check": _check, "pack": _pack}[task](settings)


def _fetch(settings: dict[str, Any]) -> None:
    """Download photographs of COCO, and say how to train on them."""
    coco, root = _require(settings, "coco"), _require(settings, "root")
    require_choice("coco", coco, list(COCO))
    archive, folder = COCO[coco], Path(root)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / archive.name
    with ProgressBar("bytes") as bar:
        try:
            show = partial(bar.update, total=archive.size)
            fetched = download(archive, settings["mirror"], folder, show, bar.say)
        except KeyboardInterrupt:
            if Path(f"{path}.part").exists():
                bar.say(f"{path}.part is kept: the same command goes on from there")
            raise
    print(f"{'fetched' if fetched else 'unchanged':11} {path} ({decimal(archive.size)}, SHA-256 right)")
    print("terms       those of the photographs' owners: https://cocodataset.org/#termsofuse")
    print(f"train on it {command('train.py', 'data=photos', f'data.source={path}')}")


def _check(settings: dict[str, Any]) -> None:
    """Report what a source holds and whether it is fit for training."""
    source, max_bad = _require(settings, "source"), settings["max_bad"]
    size = _whole_number(settings, "size", least=32)
    workers = _whole_number(settings, "workers", least=0, default=_CORES)
    if not 0 <= max_bad <= 1:
        raise ConfigError(f"max_bad must be from 0 to 1, not {max_bad}")
    report = Path(settings["report"]) if settings["report"] else None
    if report:
        overwrite = settings["overwrite"] and not report.is_dir()
        require_new(report, overwrite=overwrite, otherwise="or give another report")
        require_writable(report.parent, "report")
    started = time.monotonic()
    with ProgressBar("pictures") as bar:
        found = check_images(source, workers, partial(bar.update, "looking"))
    seconds, total = time.monotonic() - started, len(found.good) + len(found.bad)
    for line in _summary(found, size):
        print(line)
    print(f"time        {duration(seconds)}, {total / seconds:,.0f} pictures/s with {max(1, workers)} processes")
    lines = list(_complaints(found, size))
    if report:
        report.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        print(f"report      {report}")
    elif lines:
        print("report      report=FILE writes down all that is not as it should be, a line each")
    if len(found.bad) / total > max_bad:  # the rule of a training
        pack_command = f"{command_name('prepare_data.py')} pack"
        raise DataError(
            f"{source}: {len(found.bad)} of {total} pictures cannot be read, and max_bad={max_bad:g} allows "
            f"{math.floor(max_bad * total)}; mend or remove them, or leave them out: {pack_command}"
        )


def _pack(settings: dict[str, Any]) -> None:
    """Pack a source for crops of one size, and report the gain in loading speed."""
    source, output = Path(_require(settings, "source")), Path(_require(settings, "output"))
    size = _whole_number(settings, "size", least=32)
    short_side = _whole_number(settings, "short_side", least=32, default=2 * size)
    workers = _whole_number(settings, "workers", least=0, default=_CORES)
    check_output(source, output, settings["overwrite"])
    output.parent.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    with ProgressBar("pictures") as bar:
        show = partial(bar.update, "packing")
        packed = pack(source, output, short_side, workers, settings["overwrite"], show, size)
    if output.suffix.lower() == SUFFIX:
        how, sides = "as plain pixels", f"short sides from {size} to {short_side}, each picture at one scale for good"
    else:
        how, sides = f"{packed.untouched:,} of them as they were", f"short side at most {short_side}"
    each = decimal(packed.file_size // max(1, packed.pictures))
    file_size = decimal(packed.file_size)
    print(f"packed      {packed.pictures:,} pictures, {how}, into {output}: {file_size}, {each} a picture, {sides}")
    for line in (*_grouped("left out", packed.bad), *_grouped("refused", packed.refused)):
        print(line)
    before, after = loading_rates([source, output], size)
    print(f"loading     {after / before:.1f} times as fast: {after:,.0f} crops/s in one process, {before:,.0f} before")
    print(f"time        {duration(time.monotonic() - started)}")
    print(f"train on it {command('train.py', 'data=photos', f'data.source={output}', f'data.size={size}')}")


def _summary(found: CheckReport, size: int) -> Iterator[str]:
    """Yield lines about a source: sizes, formats, and problems for crops of `size` pixels."""
    good = sorted(found.good, key=lambda finding: (finding.short_side, finding.width * finding.height))
    total = decimal(sum(finding.file_size for finding in good))
    yield f"pictures    {len(good) + len(found.bad):,}, of which {len(good):,} are good ({total})"
    yield f"formats     {', '.join(f'{name} {count:,}' for name, count in found.formats.items())}"
    for which, place in (("smallest", 0), ("median", len(good) // 2), ("largest", len(good) - 1)):
        yield f"{which:11} {good[place].width}x{good[place].height}, {printable(good[place].name)}"
    if small := found.small(size):
        yield f"small       {len(small):,} have a short side below {size}, and will be enlarged: {_some(small)}"
    for first, *others in found.duplicates[:SHOWN]:
        yield f"duplicates  {printable(first)} is the same file as {_some(others)}"
    if (more := len(found.duplicates) - SHOWN) > 0:
        yield f"duplicates  {more:,} more"
    yield from _grouped("bad", found.bad)
    yield from _grouped("refused", found.refused)


def _grouped(what: str, reasons: Mapping[str, str]) -> Iterator[str]:
    for reason, names in group_by_reason(reasons).items():
        yield f"{what:11} {len(names):,} ({reason}): {_some(names)}"


def _complaints(found: CheckReport, size: int) -> Iterator[str]:
    """Yield a line for each problem: kind, name and reason, separated by tabs."""
    yield from (f"bad\t{printable(name)}\t{reason}" for name, reason in found.bad.items())
    yield from (f"refused\t{printable(name)}\t{reason}" for name, reason in sorted(found.refused.items()))
    yield from (f"small\t{printable(name)}\tthe short side is below {size} pixels" for name in found.small(size))
    for first, *others in found.duplicates:
        yield from (f"duplicate\t{printable(name)}\tthe same file as {printable(first)}" for name in others)


def _some(names: Collection[str]) -> str:
    shown = ", ".join(printable(name) for name in list(names)[:SHOWN])
    return shown if len(names) <= SHOWN else f"{shown}, and {len(names) - SHOWN:,} more"


def _require(settings: dict[str, Any], key: str) -> str:
    if settings[key] in (None, ""):
        raise ConfigError(f"{key} must be given: add {key}=...")
    return str(settings[key])


def _whole_number(settings: dict[str, Any], key: str, least: int, default: int | None = None) -> int:
    value = default if settings[key] is None else settings[key]
    if type(value) is not int or value < least:
        raise ConfigError(f"{key} must be a whole number from {least}, not {value!r}")
    return value
