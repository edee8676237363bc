"""Memory: how much an image takes, how large an image fits, and how much is free."""

import ctypes
import os
import platform
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import linear_regression

import psutil

from fast_style.errors import ConfigError


@dataclass(frozen=True)
class MemoryModel:
    """The peak memory of a process that computes pictures: a part that is always there, and a part for each pixel.

    What a network needs at once is in proportion to the pixels, to the last percent. What malloc keeps of blocks that
    were freed is not: glibc keeps those of at most 32 MiB, some 100 MB of them whatever the pictures, and gives larger
    ones back. So the part for each pixel is to be fitted where nothing is kept, and the fixed part to cover what is.

    Attributes:
        fixed: bytes, whatever the pictures: the program, the weights, and what is kept of freed memory.
        per_pixel: bytes for each pixel of batch x height x width.

    Raises:
        ConfigError: if memory does not grow with the pixels.
    """

    fixed: float
    per_pixel: float

    def __post_init__(self) -> None:
        if not self.per_pixel > 0:
            raise ConfigError(f"per_pixel must be above 0 bytes, not {self.per_pixel:.1f}; measure larger pictures")

    @classmethod
    def fit(cls, pixels: Sequence[float], memory: Sequence[float]) -> "MemoryModel":
        """Return the line of least squares through measurements of at least two sizes.

        Args:
            pixels: batch x height x width of each.
            memory: the peak of each, in bytes.

        Raises:
            ConfigError: if there are not two sizes, or memory does not grow with them.
        """
        if len(set(pixels)) < 2:
            raise ConfigError(f"pixels must be of at least two sizes, not {list(pixels)}")
        slope, intercept = linear_regression(pixels, memory)
        return cls(intercept, slope)

    def covering(self, pixels: Sequence[float], memory: Sequence[float]) -> "MemoryModel":
        """Return a model of the same growth whose fixed part is just enough for these measurements. See `fit`."""
        return MemoryModel(max(m - self.per_pixel * p for p, m in zip(pixels, memory, strict=True)), self.per_pixel)

    def predict(self, pixels: float) -> float:
        """Return the peak in bytes for so many pixels, of all pictures of a batch together."""
        return self.fixed + self.per_pixel * pixels

    def largest(self, memory: float) -> int:
        """Return how many pixels fit into so many bytes, all pictures of a batch together; 0: none."""
        return max(0, int((memory - self.fixed) / self.per_pixel))


_UNITS = {"": 1, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "KI": 2**10, "MI": 2**20, "GI": 2**30, "TI": 2**40}
# How torch, the runtimes and the allocators of C++ say that there is no memory left.
_NO_MEMORY = ("out of memory", "not enough memory", "can't allocate", "cannot allocate", "bad_alloc", "bad allocation")


def parse_memory(size: str | int) -> int:
    """Return the bytes of a size such as 2GB, 800MB or 1.5GiB, or a number of bytes.

    Raises:
        ConfigError: if it is none, or 0.
    """
    match = re.fullmatch(r"([0-9]*\.?[0-9]+)\s*([KMGT]?I?)B?", str(size).strip().upper())
    if isinstance(size, bool) or match is None or match[2] not in _UNITS or not float(match[1]) > 0:
        raise ConfigError(f"memory must be a size such as 2GB or 800MB, not {size!r}")
    return round(float(match[1]) * _UNITS[match[2]])


def process_memory() -> int:
    """Return how many bytes this process has in memory."""
    return int(psutil.Process().memory_info().rss)


def free_memory(root: Path = Path("/")) -> float:
    """Return how many bytes more this process may take, by what the machine has and its control groups allow.

    Args:
        root: where the file systems of the kernel are mounted.

    """
    # psutil does not know the limits of control groups, by which containers and clusters share a machine.
    return max(0.0, min([float(psutil.virtual_memory().available), *_groups(root)]))


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that there is no memory left. Of torch's, not all have a type of their own."""
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(words in str(error).lower() for words in _NO_MEMORY)
    )


#: Of glibc's <malloc.h>, each with its default.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = (-1, 128 * 1024), (-4, 65536)


@contextmanager
def keep_freed_memory() -> Iterator[None]:
    """Have this process keep what it frees, instead of giving it back to the system and asking for it again.

    Every training step frees and takes the same gigabytes, and the system clears each page that it hands out: measured,
    a seventh of a step's time. See mallopt(3). Nothing is done without glibc, or where the environment says otherwise.
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


def _groups(root: Path) -> Iterator[float]:
    """Yield what is left of the limit of each control group that the process is in."""
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, path = line[0].split(":", 2)
        if controllers not in ("", "memory"):
            continue
        second = controllers == ""
        mount = root / "sys/fs/cgroup" / controllers
        limit, used, kept = (
            ("memory.max", "memory.current", "inactive_file")
            if second
            else ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        )
        group = mount / path.strip("/")
        # In a container the path may be that outside of it; the mount itself is then the group.
        for folder in dict.fromkeys((group, *group.parents, mount)):
            if folder != mount and mount not in folder.parents:
                continue
            values = [next(_lines(folder / name), [""])[0] for name in (limit, used)]
            if all(value.isdecimal() for value in values):
                # What the system keeps of files, it gives up when a process needs the memory.
                files = sum(int(line[1]) for line in _lines(folder / "memory.stat") if line[0] == kept)
                yield int(values[0]) - int(values[1]) + files


def _lines(path: Path) -> Iterator[list[str]]:
    """Yield the words of each line that has any, of a file that may be missing."""
    try:
        text = path.read_text()
    except OSError:
        return
    yield from filter(None, map(str.split, text.splitlines()))
