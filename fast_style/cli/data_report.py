"""What a survey of pictures found, in words."""

from collections.abc import Collection, Iterator, Mapping

from rich.filesize import decimal

from fast_style.data.prepare.check import CheckReport, group_by_reason
from fast_style.system.text import printable

SHOWN = 5  # of many names


def summary(found: CheckReport, size: int) -> Iterator[str]:
    """Yield a few lines: what there is, and what is not as it should be for crops of `size` pixels."""
    good = sorted(found.good, key=lambda finding: (finding.short_side, finding.width * finding.height))
    total = decimal(sum(finding.file_size for finding in good))
    yield f"pictures    {len(good) + len(found.bad):,}, of which {len(good):,} are good ({total})"
    yield f"formats     {', '.join(f'{name} {count:,}' for name, count in found.formats.items())}"
    for which, place in (("smallest", 0), ("median", len(good) // 2), ("largest", len(good) - 1)):
        yield f"{which:11} {good[place].width}x{good[place].height}, {printable(good[place].name)}"
    if small := found.small(size):
        yield f"small       {len(small):,} have a short side below {size}, and will be enlarged: {some(small)}"
    for first, *others in found.duplicates[:SHOWN]:
        yield f"duplicates  {printable(first)} is the same file as {some(others)}"
    if (more := len(found.duplicates) - SHOWN) > 0:
        yield f"duplicates  {more:,} more"
    yield from grouped("bad", found.bad)
    yield from grouped("refused", found.refused)


def grouped(what: str, reasons: Mapping[str, str]) -> Iterator[str]:
    """Yield a line for each reason: how many there are, and some of their names."""
    for reason, names in group_by_reason(reasons).items():
        yield f"{what:11} {len(names):,} ({reason}): {some(names)}"


def complaints(found: CheckReport, size: int) -> Iterator[str]:
    """Yield a line for each thing that is not as it should be: what it is, the name, the reason, with tabs between."""
    yield from (f"bad\t{printable(name)}\t{reason}" for name, reason in found.bad.items())
    yield from (f"refused\t{printable(name)}\t{reason}" for name, reason in sorted(found.refused.items()))
    yield from (f"small\t{printable(name)}\tthe short side is below {size} pixels" for name in found.small(size))
    for first, *others in found.duplicates:
        yield from (f"duplicate\t{printable(name)}\tthe same file as {printable(first)}" for name in others)


def some(names: Collection[str]) -> str:
    """Return the first few names, and how many more there are."""
    shown = ", ".join(printable(name) for name in list(names)[:SHOWN])
    return shown if len(names) <= SHOWN else f"{shown}, and {len(names) - SHOWN:,} more"
