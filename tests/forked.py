"""Processes of the scripts that need not import PyTorch and Lightning first, which takes seconds.

A process that has imported them (the fork server of multiprocessing) is forked for each run. From there on it is a
process like any other: with a folder, an environment, an output and signals of its own, and the script as its
`__main__`.
"""

import multiprocessing
import os
import runpy
import subprocess
import sys
from collections.abc import Mapping
from multiprocessing.context import ForkServerProcess
from multiprocessing.reduction import DupFd
from pathlib import Path
from typing import IO, Any

from small_runs import ROOT, environment

TRAIN, STYLIZE = (str(ROOT / "scripts" / name) for name in ("train.py", "stylize.py"))

_context = multiprocessing.get_context("forkserver")
# The last is what the first optimizer imports.
_context.set_forkserver_preload(
    ["fast_style.training.task", "fast_style.training.warm_start", "hydra", "tensorboard", "torch._dynamo"]
)


def start(
    folder: Path,
    *overrides: str,
    output: Path,
    errors: Path,
    program: str = TRAIN,
    **variables: str,
) -> ForkServerProcess:
    """Start train.py, or another program, in a folder, with more variables.

    What it writes goes to two files, which may be the same.
    """
    process = _context.Process(
        target=_run,
        args=([program, *overrides], folder, environment(**variables), output, errors),
        daemon=False,  # that it may have processes itself
    )
    process.start()
    return process


def run(folder: Path, *overrides: str, program: str = TRAIN, **variables: str) -> "subprocess.CompletedProcess[str]":
    """Run train.py, or another program, in a folder, with more variables.

    Raises:
        TimeoutExpired: after four minutes.
    """
    output, errors = folder / ".output", folder / ".errors"
    process = start(folder, *overrides, output=output, errors=errors, program=program, **variables)
    process.join(240)
    if process.exitcode is None:
        process.kill()
        raise subprocess.TimeoutExpired(overrides, 240)
    texts = [path.read_text() for path in (output, errors)]
    for path in (output, errors):
        path.unlink()
    return subprocess.CompletedProcess(overrides, process.exitcode, *texts)


def _run(arguments: list[str], folder: Path, variables: dict[str, str], output: Path, errors: Path) -> None:
    for stream, path in ((sys.stdout, output), (sys.stderr, errors)):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(file, stream.fileno())
        os.close(file)
    # The system's own, by which it starts processes of its own; here it would be that of this server.
    multiprocessing.set_start_method(multiprocessing.get_all_start_methods()[0], force=True)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(variables)
    # As for an interpreter that starts.
    sys.path[:0] = [path for path in variables.get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.argv = arguments
    runpy.run_path(arguments[0], run_name="__main__")


class Module:
    """In place of subprocess.Popen of `python -m MODULE ARGUMENTS`."""

    def __init__(self, command: list[str], env: Mapping[str, str], stderr: IO[str], **pipes: Any) -> None:
        (read, stdin), (stdout, write) = os.pipe(), os.pipe()
        self.stdin, self.stdout = os.fdopen(stdin, "w"), os.fdopen(stdout)
        self._process = _context.Process(
            target=_run_module, args=(command[2:], dict(env), *map(_Stream, (read, write, stderr.fileno())))
        )
        self._process.start()
        os.close(read)
        os.close(write)
        self.kill = self._process.kill

    def wait(self) -> int:
        self._process.join()
        assert self._process.exitcode is not None
        return self._process.exitcode

    def __enter__(self) -> "Module":
        return self

    def __exit__(self, *error: object) -> None:
        self.wait()
        self.stdout.close()
        self.stdin.close()


class _Stream:
    """A file descriptor that a process is started with."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __reduce__(self) -> Any:
        return _received, (DupFd(self.number),)


def _received(stream: Any) -> int:
    return int(stream.detach())


def _run_module(arguments: list[str], variables: dict[str, str], *streams: int) -> None:
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    os.environ.clear()
    os.environ.update(variables)
    sys.argv = arguments
    sys.stdin = os.fdopen(0)  # a process of multiprocessing has none
    runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
