"""Processes and signals of a run: how its processes start, and how they end together."""

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

from fast_style.cli import command_words, program
from fast_style.errors import Interrupted

#: Environment variables that Lightning sets and leaves, most of them for its child processes.
_LEFT_BEHIND = (
    *("LOCAL_RANK", "NODE_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"),
    *("PL_GLOBAL_SEED", "PL_SEED_WORKERS", "CUBLAS_WORKSPACE_CONFIG"),
)


@contextmanager
def quiet() -> Iterator[None]:
    """Silence Lightning's advertisements and deprecated calls, and OSErrors in threads, which TensorBoard passes on."""
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
    """Make SIGTERM and SIGINT raise `Interrupted`, also outside of the training loop; main thread only."""
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
    """Let the trainer start processes for this run alone, even if it is one of a sweep.

    Lightning starts them with the command line of this process, which would be the whole sweep
    (https://github.com/Lightning-AI/pytorch-lightning/issues/11300), and leaves its addresses in the environment. The
    processes of the trainers in the yielded list are waited for, since those of the next run reuse their ports.
    """
    arguments, environment = sys.argv[1:], {name: os.environ.get(name) for name in _LEFT_BEHIND}
    others = set(active_children())
    job = HydraConfig.get()
    sys.argv[1:] = [*command_words(), *arguments]
    if job.mode == RunMode.MULTIRUN:
        sys.argv[1:] = [*command_words(), *job.overrides.task]
        with read_write(cast(DictConfig, job)):
            job.run.dir = job.runtime.output_dir
    trainers: list[Trainer] = []
    try:
        yield trainers
        # Only without an error: each process waits here for the others, and after an error some may never come.
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
    """Kill a data loader's worker left by an error: Python would wait for it at exit."""
    if not hasattr(signal, "SIGCHLD") or threading.current_thread() is not threading.main_thread():
        worker.kill()
        return
    # PyTorch's SIGCHLD handler would raise another error when the worker ends.
    handler = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    worker.kill()
    worker.join()
    signal.signal(signal.SIGCHLD, handler)


def exit_when_stuck(patience: float = 30.0) -> None:
    """End this process if, after a signal, the main thread does not move for `patience` seconds.

    Python handles signals between two of its instructions: a thread that waits in C++ for a dead process would never
    handle them.
    """
    if threading.current_thread() is not threading.main_thread() or os.name != "posix":
        return
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    main = threading.main_thread().ident

    def position() -> tuple[int, int]:
        frame = sys._current_frames().get(main or 0)
        return (id(frame), frame.f_lasti) if frame else (0, 0)

    def watch() -> None:
        while number := os.read(reader, 1)[0]:
            if number not in (signal.SIGTERM, signal.SIGINT):
                continue
            since, before = time.monotonic(), position()
            while position() == before and time.monotonic() - since < patience:
                time.sleep(0.1)
            if position() == before:
                waits = "it waited for another process in vain"
                print(f"{program()}: stopped by {signal.Signals(number).name}; {waits}", file=sys.stderr)
                sys.stderr.flush()
                os._exit(128 + number)

    threading.Thread(target=watch, name="signal-watch", daemon=True).start()
