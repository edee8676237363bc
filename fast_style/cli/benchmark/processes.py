"""A process that is measured, as seen from the program that measures."""

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any

from fast_style.errors import FastStyleError

WORKER = "fast_style.cli.benchmark.worker"


class WorkerError(FastStyleError):
    """A process that was to be measured has ended before its time. The message says why."""


class Worker:
    """A process that does one thing when it is told to, after `begin`. See benchmark_turns.

    Args:
        job: what it does, as benchmark_worker understands it.
        environment: its environment variables.

    Attributes:
        multiply_adds: of one run; None: unknown.
        base: bytes of memory before the first run.
        memory: the peak so far, in bytes.
        device_memory: likewise on the GPU; None: there is none.

    Raises:
        WorkerError: from each method, if the process has ended.
    """

    def __init__(self, job: Mapping[str, Any], environment: Mapping[str, str]) -> None:
        self._errors = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115  # closed with the process
        self._process = subprocess.Popen(
            [sys.executable, "-m", WORKER, json.dumps(dict(job))],
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        self.multiply_adds: int | None = None
        self.base = self.memory = 0
        self.device_memory: int | None = None

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.end()

    def begin(self) -> "Worker":
        """Wait until the process has run once, and return this; several of them get there side by side."""
        first = self._read()
        self.multiply_adds = first["multiply_adds"]
        self.base = self.memory = first["base"]
        return self

    def answers(self) -> Iterator[dict[str, Any]]:
        """Yield all that the process says until it has ended well."""
        while (answer := self._answer()) is not None:
            yield answer

    def run(self, repeats: int = 1) -> float:
        """Run so often, and return how many seconds one run took."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # reading says why
            self._process.stdin.write(f"{repeats}\n")
            self._process.stdin.flush()
        answer = self._read()
        self.memory, self.device_memory = answer["memory"], answer["device_memory"]
        return float(answer["seconds"])

    def end(self) -> None:
        """End the process."""
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(BrokenPipeError):
                if pipe is not None:
                    pipe.close()
        try:
            self._process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._errors.close()

    def _read(self) -> dict[str, Any]:
        answer = self._answer()
        if answer is None:
            raise WorkerError("exit status 0")
        return answer

    def _answer(self) -> dict[str, Any] | None:
        """Return what the process says next; None: it has ended well."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if line:
            return dict(json.loads(line))
        status = self._process.wait()
        if status == 0:
            return None
        if status < 0:
            raise WorkerError(f"its process was killed by signal {-status}, as when memory runs out")
        self._errors.seek(0)
        lines = self._errors.read().split("\n")
        last = next((text.strip() for text in reversed(lines) if text.strip()), f"exit status {status}")
        raise WorkerError(re.sub(r"^fast_style\.errors\.\w+: ", "", last))
