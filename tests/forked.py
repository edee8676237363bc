"""Runs of train.py whose processes need not import PyTorch and Lightning first, which takes longer than a small run.

A process that has imported them (the fork server of multiprocessing) is forked for each run. From there on it is a
process like any other: with a folder, an environment, an output and signals of its own, and the script as its
`__main__`.
"""

import multiprocessing
import os
import runpy
import subprocess
import sys
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from small_runs import ROOT, environment

TRAIN = str(ROOT / "scripts" / "train.py")

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


def run(folder: Path, *overrides: str, program: str = TRAIN) -> "subprocess.CompletedProcess[str]":
    """Run train.py, or another program, in a folder.

    Raises:
        TimeoutExpired: after four minutes.
    """
    output, errors = folder / ".output", folder / ".errors"
    process = start(folder, *overrides, output=output, errors=errors, program=program)
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
    sys.argv = arguments
    runpy.run_path(arguments[0], run_name="__main__")
