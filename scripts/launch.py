"""Where a run keeps its files, on one machine or many, and how it goes on after it was stopped."""

import errno
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from multiprocessing import active_children
from pathlib import Path
from typing import Any, cast

import hydra
import torch
from filelock import FileLock, Timeout
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.types import RunMode
from lightning.pytorch import Trainer
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig, OmegaConf, read_write
from overrides import CONFIGS

from fast_style.errors import CheckpointError, ConfigError, TrainingError
from fast_style.files import sweep, written_whole

#: What a run that goes on may have otherwise than before: where it computes, and what it shows.
FREE = (
    *("resume", "checkpoint", "workers", "preview", "heldout", "callback", "data.source", "data.max_bad"),
    *(f"trainer.{name}" for name in ("accelerator", "devices", "num_nodes", "strategy", "log_every_n_steps")),
)
#: What Lightning leaves behind for the processes that it starts.
_LEFT_BEHIND = ("LOCAL_RANK", "NODE_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def resumed(arguments: list[str]) -> list[str]:
    """Return the command line with `resume=FOLDER` or `resume=last` spelt out: what that run was started with.

    What else is given takes the place of what was given then.

    Raises:
        ConfigError: if there is no such run.
    """
    wanted = [argument for argument in arguments if argument.partition("=")[0] == "resume"]
    value = OverridesParser.create().parse_override(wanted[-1]).value() if wanted else None
    if value is None:
        return arguments
    others = [argument for argument in arguments if argument not in wanted]
    if {"-m", "--multirun"} & set(others):
        raise ConfigError("resume: only one run at a time goes on; leave out -m")
    folder = _last_run(others) if value == "last" else Path(str(value))
    before = folder / ".hydra" / "overrides.yaml"
    if not before.is_file():
        raise ConfigError(f"resume={value}: there is no run in this folder; give one of runs/*/*, or resume=last")
    path = QuotedString(str(folder), Quote.single).with_quotes()
    # The settings that the run began with stay beside it as they were.
    place = [f"hydra.run.dir={path}", "hydra.output_subdir=null", f"resume={path}"]
    given = {text.partition("=")[0]: text for text in (*map(str, OmegaConf.load(before)), *others, *place)}
    return list(given.values())


def _last_run(arguments: list[str]) -> Path:
    """Return the folder of the run that was saved last; if anything is given with it, of that name."""
    name = None
    if arguments:
        with hydra.initialize_config_dir(str(CONFIGS), version_base="1.3"):
            name = hydra.compose("train", overrides=arguments).name
    saved = []
    for file in Path("runs").glob("**/checkpoints/last.ckpt"):
        settings = file.parent.parent / ".hydra" / "config.yaml"
        if settings.is_file() and name in (None, OmegaConf.load(settings).name):
            saved.append(file)
    if not saved:
        of_name = "" if name is None else f" of {name}"
        raise ConfigError(f"resume=last: there is no saved run{of_name} in runs; start one without resume")
    return max(saved, key=lambda file: file.stat().st_mtime).parent.parent


@contextmanager
def run_folder(config: DictConfig) -> Iterator[Path]:
    """Give the folder of this run to the program, for it alone.

    Raises:
        ConfigError: if another run is using it, or it holds a run with other settings.
    """
    folder = Path(HydraConfig.get().runtime.output_dir)
    if config.trainer.num_nodes > 1 and "run.dir" not in str(HydraConfig.get().overrides.hydra):
        known = ("FAST_STYLE_RUN_ID", "SLURM_JOB_ID", "TORCHELASTIC_RUN_ID")
        if not any(name in os.environ for name in known):
            raise ConfigError(
                "trainer.num_nodes: set FAST_STYLE_RUN_ID to the same text on each machine, "
                "by which they find the folder of their run"
            )
    if not is_first_process():
        _end_with_parent()
        yield folder
        return
    # Its place tells which folder is meant, its lock that someone is there; the system drops it with the process.
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ConfigError(f"{folder}: another run is writing there; wait for its end, or stop it") from None
    with lock:
        for place, age in ((folder, 0.0), (folder / "checkpoints", 0.0), (Path(config.checkpoint).parent, 3600.0)):
            sweep(place, older_than=age)
        _check_settings(folder / "settings.yaml", config)
        yield folder


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


def is_first_process() -> bool:
    """Return whether this is the process that writes and speaks for all."""
    # Until the trainer has met the others, Lightning knows the rank on this machine only.
    return not getattr(rank_zero_only, "rank", 0) and os.environ.get("NODE_RANK", "0") == "0"


def _check_settings(path: Path, config: DictConfig) -> None:
    """Make sure that a run goes on with the settings it began with; or write them down, if it begins."""
    if not path.exists():
        with written_whole(path) as file:
            file.write(OmegaConf.to_yaml(config).encode())
        return
    before, now = (dict(_flat(OmegaConf.to_container(node))) for node in (OmegaConf.load(path), config))
    for key in before.keys() & now.keys():
        free = any(f"{key}.".startswith(f"{name}.") for name in FREE)
        if before[key] != now[key] and not free:
            raise ConfigError(
                f"{key} was {before[key]} when this run began and is {now[key]} now; "
                "leave it, or start a new run without resume"
            )


def _flat(node: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(node, Mapping):
        for key, child in node.items():
            yield from _flat(child, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, node


def started_by_trainer() -> bool:
    """Return whether the trainer in another process has started this one."""
    return str(HydraConfig.get().job.name).startswith("train_ddp_process_")


def _end_with_parent() -> None:
    """End this process when the one that started it is gone: alone, it might wait for it for ever."""
    if not started_by_trainer() and "TORCHELASTIC_RUN_ID" not in os.environ:
        return
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        # Not sys.exit: the main thread may hang in an exchange with processes that are gone.
        os._exit(1)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()


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
