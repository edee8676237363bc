"""The processes and signals of a run: how its processes are started, and how they end together."""

import logging
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import active_children
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import cast

import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from lightning.pytorch import Trainer
from omegaconf import DictConfig, read_write

from fast_style.cli import program, words
from fast_style.errors import Interrupted

#: What Lightning leaves in the environment, most of it for the processes that it starts.
_LEFT_BEHIND = (
    *("LOCAL_RANK", "NODE_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"),
    *("PL_GLOBAL_SEED", "PL_SEED_WORKERS", "CUBLAS_WORKSPACE_CONFIG"),
)


@contextmanager
def quiet() -> Iterator[None]:
    """Silence what is not the user's concern.

    That is Lightning's advertisements, its use of what PyTorch deprecates, and threads that cannot write a file:
    TensorBoard's hands such an error to the main thread.
    """
    loggers, hook = [logging.getLogger(f"lightning.{name}") for name in ("pytorch", "fabric")], threading.excepthook
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning")
        for logger in loggers:
            logger.setLevel(logging.WARNING)
        threading.excepthook = lambda what: None if isinstance(what.exc_value, OSError) else hook(what)
        try:
            yield
        finally:
            threading.excepthook = hook
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


@contextmanager
def interrupt_on_signals() -> Iterator[None]:
    """Let SIGTERM and SIGINT raise `Interrupted`, also outside of the training loop.

    Only the main thread of a program may handle signals; in another thread nothing is done.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise Interrupted(number, None)

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def child_processes() -> Iterator[list[Trainer]]:
    """Let the trainer start processes for this run alone, also when it is one of several of a sweep.

    Lightning starts them with the command line of this process, which would be the whole sweep
    (https://github.com/Lightning-AI/pytorch-lightning/issues/11300), and leaves its addresses in the environment.

    Yields:
        A list to enter the trainer in. The processes that it has started are waited for: those of the next run take
        their places.
    """
    arguments, environment = sys.argv[1:], {name: os.environ.get(name) for name in _LEFT_BEHIND}
    others = set(active_children())
    job = HydraConfig.get()
    sys.argv[1:] = [*words(), *arguments]
    if job.mode == RunMode.MULTIRUN:
        sys.argv[1:] = [*words(), *job.overrides.task]
        with read_write(cast(DictConfig, job)):
            job.run.dir = job.runtime.output_dir
    trainers: list[Trainer] = []
    try:
        yield trainers
        # All together, for each waits here for the others; after an error, some may never come.
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
        for trainer in trainers:
            for process in getattr(trainer.strategy.launcher, "procs", []):
                process.wait()
    finally:
        sys.argv[1:] = arguments
        for worker in set(active_children()) - others:
            _kill(worker)
        for name, value in environment.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def _kill(worker: BaseProcess) -> None:
    """Kill a process that makes images and that an error has left behind; at its end Python would wait for it."""
    if not hasattr(signal, "SIGCHLD") or threading.current_thread() is not threading.main_thread():
        worker.kill()
        return
    # At the end of a worker, PyTorch's handler would raise another error.
    handler = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    worker.kill()
    worker.join()
    signal.signal(signal.SIGCHLD, handler)


def exit_when_stuck(patience: float = 30.0) -> None:
    """End this process when a signal has come and the main thread has not moved for `patience` seconds.

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
