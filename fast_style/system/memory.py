"""Memory: sizes as text, how much is free, and what a process retains."""

import ctypes
import os
import platform
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from fast_style.errors import ConfigError

_UNITS = {"": 1, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "KI": 2**10, "MI": 2**20, "GI": 2**30, "TI": 2**40}
# Parts of out-of-memory messages of torch, the other runtimes and C++ allocators.
_NO_MEMORY = ("out of memory", "not enough memory", "can't allocate", "cannot allocate", "bad_alloc", "bad allocation")

# Limit, use and cache of a control group, by its controller; version 2 has none.
_GROUP_FILES = {
    "": ("memory.max", "memory.current", "inactive_file"),
    "memory": ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}


def parse_memory(size: str | int) -> int:
    """Return the bytes of a size such as 2GB, 800MB or 1.5GiB, or of a number of bytes.

    Raises:
        ConfigError: if the size is malformed or 0.
    """
    match = re.fullmatch(r"([0-9]*\.?[0-9]+)\s*([KMGT]?I?)B?", str(size).strip().upper())
    if isinstance(size, bool) or match is None or match[2] not in _UNITS or not float(match[1]) > 0:
        raise ConfigError(f"memory must be a size such as 2GB or 800MB, not {size!r}")
    return round(float(match[1]) * _UNITS[match[2]])


def process_memory() -> int:
    """Return the resident memory of this process in bytes."""
    return int(psutil.Process().memory_info().rss)


def free_memory(root: Path = Path("/")) -> float:
    """Return how many more bytes this process may use, given the machine's memory and the control groups' limits.

    Args:
        root: where the kernel's file systems are mounted.
    """
    # psutil does not know the limits of control groups, by which containers and clusters share a machine.
    return max(0.0, min([float(psutil.virtual_memory().available), *_left_in_groups(root)]))


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error means out of memory; some of torch's are plain RuntimeErrors."""
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(words in str(error).lower() for words in _NO_MEMORY)
    )


#: Parameters of mallopt in glibc's <malloc.h>, with their defaults.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = (-1, 128 * 1024), (-4, 65536)


@contextmanager
def keep_freed_memory() -> Iterator[None]:
    """Keep freed memory in this process instead of returning it to the system.

    Every training step frees and allocates the same gigabytes, and the system clears each page it hands out, which took
    a seventh of a step in measurements. See mallopt(3). Does nothing without glibc, or if the environment sets these
    parameters.
    """
    if platform.libc_ver()[0] != "glibc" or os.environ.keys() & {"MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_MAX_"}:
        yield
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(_M_MMAP_MAX[0], 0)
    libc.mallopt(_M_TRIM_THRESHOLD[0], -1)
    try:
        yield
    finally:
        for name, default in (_M_MMAP_MAX, _M_TRIM_THRESHOLD):
            libc.mallopt(name, default)
        libc.malloc_trim(0)


def _left_in_groups(root: Path) -> Iterator[float]:
    """Yield the bytes left in each control group of the process."""
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, path = line[0].split(":", 2)
        if controllers not in _GROUP_FILES:
            continue
        mount = root / "sys/fs/cgroup" / controllers
        limit, used, cached = _GROUP_FILES[controllers]
        group = mount / path.strip("/")
        # In a container, the path may be the one outside of it; the group is then the mount itself.
        for folder in dict.fromkeys((group, *group.parents, mount)):
            if folder != mount and mount not in folder.parents:
                continue
            values = [next(_lines(folder / name), [""])[0] for name in (limit, used)]
            if all(value.isdecimal() for value in values):
                # The page cache counts as free: the system drops it when memory is needed.
                files = sum(int(line[1]) for line in _lines(folder / "memory.stat") if line[0] == cached)
                yield int(values[0]) - int(values[1]) + files


def _lines(path: Path) -> Iterator[list[str]]:
    """Yield the words of each non-empty line of a file, which may be missing."""
    try:
        text = path.read_text()
    except OSError:
        return
    yield from filter(None, map(str.split, text.splitlines()))
