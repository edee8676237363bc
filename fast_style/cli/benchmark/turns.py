"""How a process that is measured takes its turns: told on standard input how often to run, it answers how long it took.

Nothing here imports torch before it is needed: what a process imports is part of the memory that is measured.
"""

import json
import os
import re
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


class Turns:
    """The conversation with the program that measures: a number a line in, an object of JSON a line out.

    Args:
        answers: the file descriptor to answer to.
        device: where the work is done; on CUDA, time is measured by its events.
        memory: the peak so far in bytes, of whatever is measured.
    """

    def __init__(self, answers: int, device: str, memory: Callable[[], int] | None = None) -> None:
        self._answers = answers
        self.on_cuda = device.startswith("cuda")
        self._memory = memory or peak_memory
        self._base = self._memory()
        self._started: Any = None

    def ready(self, multiply_adds: int | None) -> None:
        """Say that the work has been done once, and what it is: how many multiply-adds, if one can tell."""
        self.answer(multiply_adds=multiply_adds, base=self._base)

    def wait(self) -> int:
        """Wait for the next turn, and return how often to run. When there is none any more, the process ends."""
        line = sys.stdin.readline()
        if not line.strip():
            # At once: a trainer that is asked to stop would save what nobody wants.
            os._exit(0)
        return int(line)

    def start(self) -> None:
        """Start the clock."""
        self._started = self._now()

    def stop(self, repeats: int) -> None:
        """Stop the clock, and answer how many seconds one of the repeats took, and the peak of memory so far."""
        before, after = self._started, self._now()
        if not self.on_cuda:
            self.answer(seconds=(after - before) / repeats, memory=self._memory(), device_memory=None)
            return
        import torch

        after.synchronize()
        memory = torch.cuda.max_memory_allocated()
        seconds = before.elapsed_time(after) / 1000 / repeats
        self.answer(seconds=seconds, memory=self._memory(), device_memory=memory)

    def _now(self) -> Any:
        if not self.on_cuda:
            return time.perf_counter()
        import torch

        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record()
        return event

    def answer(self, **values: Any) -> None:
        """Say something, as an object of JSON on a line."""
        os.write(self._answers, (json.dumps(values) + "\n").encode())


def serve(work: Callable[[], object], turns: Turns, multiply_adds: int | None) -> None:
    """Do the work, of so many multiply-adds (None: unknown), as often as one is told; before any turn, a few times."""
    # What is chosen, compiled and allocated at first is no part of a run; a GPU chooses in the second run as well.
    for _ in range(3 if turns.on_cuda else 1):
        work()
    turns.ready(multiply_adds)
    while True:
        repeats = turns.wait()
        turns.start()
        for _ in range(repeats):
            work()
        turns.stop(repeats)


def peak_memory() -> int:
    """Return the most physical memory that this process has had so far, in bytes."""
    # Not ru_maxrss where there is another way: on Linux it begins with the peak of the process that started this one.
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s*(\d+) kB", status.read_text()) if status.exists() else None
    return 1024 * int(found[1]) if found else _bytes(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def peak_memory_of_children() -> int:
    """Return the peak of the largest of the processes that this one has started and waited for, in bytes."""
    return _bytes(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)


def _bytes(maxrss: int) -> int:
    return maxrss if sys.platform == "darwin" else 1024 * maxrss
