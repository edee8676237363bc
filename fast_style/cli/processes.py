"""The processes of a run: which speaks for all, how they end together, and what is said when they end badly."""

import ctypes
import os
import platform
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import active_children
from subprocess import Popen
from types import FrameType
from typing import cast

import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, read_write

from fast_style.cli import program, words
from fast_style.errors import CheckpointError, Interrupted, TrainingError
from fast_style.system.files import FULL

#: What Lightning leaves behind for the processes that it starts.
_LEFT_BEHIND = ("LOCAL_RANK", "NODE_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")

#: How gloo and NCCL say that there is nobody at the other end.
_GONE = ("connection closed by peer", "connection reset by peer", "remote process exited", "timed out waiting")

#: Of glibc's <malloc.h>.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


def keep_freed_memory() -> None:
    """Have this process keep what it frees, instead of giving it back to the system and asking for it again.

    Every training step frees and takes the same gigabytes, and the system clears each page that it hands out: measured,
    a seventh of a step's time. See mallopt(3). Nothing is done without glibc, or where the environment says otherwise.
    """
    if platform.libc_ver()[0] == "glibc" and not os.environ.keys() & {"MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_MAX_"}:
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_MAX, 0)
        libc.mallopt(_M_TRIM_THRESHOLD, -1)


@contextmanager
def processes() -> Iterator[list[Popen[bytes]]]:
    """Let the trainer start processes for this job alone, also when it is one of several of a sweep.

    Lightning starts them with the command line of this process, which would be the whole sweep
    (https://github.com/Lightning-AI/pytorch-lightning/issues/11300), and leaves its addresses in the environment.

    Returns:
        Where to enter the processes that it has started. They are waited for: the next job takes their places.
    """
    arguments, environment = sys.argv[1:], {name: os.environ.get(name) for name in _LEFT_BEHIND}
    job = HydraConfig.get()
    sys.argv[1:] = [*words(), *arguments]
    if job.mode == RunMode.MULTIRUN:
        sys.argv[1:] = [*words(), *job.overrides.task]
        with read_write(cast(DictConfig, job)):
            job.run.dir = job.runtime.output_dir
    started: list[Popen[bytes]] = []
    try:
        yield started
        # All together, for each waits here for the others; after an error, some may never come.
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
        for process in started:
            process.wait()
    finally:
        sys.argv[1:] = arguments
        _end_workers()
        for name, value in environment.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def _end_workers() -> None:
    """End the processes that make pictures, if an error has left them behind; at its end Python would wait for them."""
    if left := active_children():
        if hasattr(signal, "SIGCHLD"):  # upon which PyTorch would raise another error for each of them
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for worker in left:
            worker.kill()


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Let SIGTERM and SIGINT stop what is outside of the training loop, too, and be told with what goes on."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise Interrupted(number, None)

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def end_when_stuck(patience: float = 30.0) -> None:
    """End this process when a signal has come and the main thread has not moved for so many seconds.

    Python handles signals between two of its own instructions. A thread that waits in C++ for a process that will
    never answer has no next instruction, and would have to be killed.
    """
    if threading.current_thread() is not threading.main_thread() or os.name != "posix":
        return
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    main = threading.main_thread().ident

    def place() -> tuple[int, int]:
        frame = sys._current_frames().get(main or 0)
        return (id(frame), frame.f_lasti) if frame else (0, 0)

    def watch() -> None:
        while number := os.read(reader, 1)[0]:
            if number not in (signal.SIGTERM, signal.SIGINT):
                continue
            since, before = time.monotonic(), place()
            while place() == before and time.monotonic() - since < patience:
                time.sleep(0.1)
            if place() == before:
                waits = "it waited for another process in vain"
                print(f"{program()}: stopped by {signal.Signals(number).name}; {waits}", file=sys.stderr)
                sys.stderr.flush()
                os._exit(128 + number)

    threading.Thread(target=watch, name="signal-watch", daemon=True).start()


def leave_errors_to_the_main_thread() -> None:
    """Let threads be silent about files that cannot be written: TensorBoard's hands such an error on."""
    usual = threading.excepthook
    threading.excepthook = lambda what: None if isinstance(what.exc_value, OSError) else usual(what)


def told(error: RuntimeError | OSError | CheckpointError) -> TrainingError | None:
    """Return in one line what PyTorch and others say in many, if it is about the machine and not about the program."""
    text = " ".join(str(error).split())
    if isinstance(error, CheckpointError):
        return TrainingError(text) if isinstance(error.__cause__, OSError) else None
    if text.startswith("Error(s) in loading state_dict"):
        return TrainingError(f"what was saved does not fit this version of fast_style; start a new run ({text[:120]})")
    if isinstance(error, OSError):
        full = error.errno in FULL
        return TrainingError(f"the disk is full ({error.strerror}): make room") if full else None
    if isinstance(error, torch.OutOfMemoryError):
        return TrainingError(f"out of memory on the GPU: lower batch_size or data.size ({text[:120]})")
    if text.startswith("DataLoader worker"):
        return TrainingError(
            f"a process that makes training pictures died, perhaps for want of memory: lower workers ({text[:120]})"
        )
    if any(words in text.lower() for words in _GONE):
        return TrainingError(f"another process of this run is gone, and all stop ({text[-120:]})")
    return None
