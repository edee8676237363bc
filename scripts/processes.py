"""The processes of a run: which speaks for all, how they end together, and what is said when they end badly."""

import errno
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import active_children
from pathlib import Path
from typing import cast

import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from lightning.pytorch import Trainer
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig, read_write

from fast_style.errors import CheckpointError, TrainingError

#: What Lightning leaves behind for the processes that it starts.
_LEFT_BEHIND = ("LOCAL_RANK", "NODE_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def is_first_process() -> bool:
    """Return whether this is the process that writes and speaks for all."""
    # Until the trainer has met the others, Lightning knows the rank on this machine only.
    return not getattr(rank_zero_only, "rank", 0) and os.environ.get("NODE_RANK", "0") == "0"


def started_by_trainer() -> bool:
    """Return whether the trainer in another process has started this one."""
    return str(HydraConfig.get().job.name).startswith("train_ddp_process_")


@contextmanager
def processes() -> Iterator[None]:
    """Let the trainer start processes for this job alone, also when it is one of several of a sweep.

    Lightning starts them with the command line of this process, which would be the whole sweep
    (https://github.com/Lightning-AI/pytorch-lightning/issues/11300), and leaves its addresses in the environment.
    """
    arguments, environment = sys.argv[1:], {name: os.environ.get(name) for name in _LEFT_BEHIND}
    job = HydraConfig.get()
    if job.mode == RunMode.MULTIRUN:
        sys.argv[1:] = list(job.overrides.task)
        with read_write(cast(DictConfig, job)):
            job.run.dir = job.runtime.output_dir
    try:
        yield
    finally:
        sys.argv[1:] = arguments
        _end_workers()
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
        for name, value in environment.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def _end_workers() -> None:
    """End the processes that make pictures, if an error has left them behind; at its end Python would wait for them."""
    if left := active_children():
        # PyTorch would raise another error for each of them.
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for worker in left:
            worker.kill()


def wait_for_processes(trainer: Trainer) -> None:
    """Wait for the processes that the trainer has started: the next run takes their places."""
    for process in getattr(trainer.strategy.launcher, "procs", []):
        process.wait()


def end_with_parent() -> None:
    """End this process when the one that started it is gone: alone, it might wait for it for ever.

    Only if that one is a trainer or torchrun: who starts a training by hand may leave.
    """
    if not started_by_trainer() and "TORCHELASTIC_RUN_ID" not in os.environ:
        return
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        # Not sys.exit: the main thread may hang in an exchange with processes that are gone.
        os._exit(1)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()


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
                print(f"{Path(sys.argv[0]).name}: stopped by {signal.Signals(number).name}; {waits}", file=sys.stderr)
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
    if isinstance(error, OSError):
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        return TrainingError(f"the disk is full ({error.strerror}): make room") if full else None
    if isinstance(error, torch.OutOfMemoryError):
        return TrainingError(f"out of memory on the GPU: lower batch_size or data.size ({text[:120]})")
    if text.startswith("DataLoader worker"):
        return TrainingError(
            f"a process that makes training pictures died, perhaps for want of memory: lower workers ({text[:120]})"
        )
    if any(word in text.lower() for word in ("gloo", "nccl", "connection closed", "connection reset")):
        return TrainingError(f"another process of this run is gone, and all stop ({text[:120]})")
    return None
