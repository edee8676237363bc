"""Context managers around a training: signals, locks, child processes, errors in one line."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch
from lightning.pytorch import Trainer
from omegaconf import DictConfig

from fast_style.cli.processes import child_processes, exit_when_stuck, interrupt_on_signals, quiet
from fast_style.cli.resume import locked_folder
from fast_style.cli.run_folder import has_progress, is_first_process, started_by_lightning
from fast_style.errors import CheckpointError, Interrupted, TrainingError
from fast_style.system.files import DISK_FULL
from fast_style.system.memory import keep_freed_memory
from fast_style.training.checkpoints import read_checkpoint

#: The resume checkpoint in a run's folder.
LAST = Path("checkpoints", "last.ckpt")
#: Messages of gloo and NCCL for a lost process.
_GONE = ("connection closed by peer", "connection reset by peer", "remote process exited", "timed out waiting")


@dataclass(frozen=True)
class Run:
    """A guarded training: its locked folder, and the trainers whose processes are waited for."""

    folder: Path
    trainers: list[Trainer] = field(default_factory=list)

    @property
    def last(self) -> Path:
        """Path of the resume checkpoint; it may not exist yet."""
        return self.folder / LAST

    def watch(self, trainer: Trainer) -> None:
        """Register a trainer: its processes are waited for, and a stuck one is ended."""
        self.trainers.append(trainer)
        if trainer.world_size > 1:
            exit_when_stuck()


@contextmanager
def safe_run(config: DictConfig, how_to_resume: Callable[[Path], str]) -> Iterator[Run]:
    """Guard a training, from outside in.

    1. `quiet` and `keep_freed_memory`: no advertisements; freed memory is reused, not cleared for each step.
    2. `interrupt_on_signals`: SIGTERM and SIGINT raise `Interrupted`; inside the training loop, the callback `Recovery`
       saves the step first.
    3. `locked_folder`: no other run writes there, and a resumed run keeps its settings.
    4. `child_processes`: the trainer's processes see this run alone, and end with it.
    5. `errors_in_one_line`: PyTorch's long messages about the machine in one line, with the command that resumes, which
       `how_to_resume` returns for a folder.
    """
    with (
        quiet(),
        keep_freed_memory(),
        interrupt_on_signals(),
        locked_folder(config) as folder,
        child_processes() as trainers,
        errors_in_one_line(folder, how_to_resume),
    ):
        yield Run(folder, trainers)


@contextmanager
def errors_in_one_line(folder: Path, how_to_resume: Callable[[Path], str]) -> Iterator[None]:
    """Say in one line why a run ended and, if it has taken a step, how to resume it."""

    def remedy(words: str) -> str:
        return f"; {words}: {how_to_resume(folder)}" if has_progress(folder) else ""

    try:
        yield
    except TrainingError as error:
        raise TrainingError(f"{error}{remedy('with that, go on with')}") from None
    except (RuntimeError, OSError, CheckpointError) as error:
        if (known := explain_error(error)) is None:
            raise
        raise type(known)(f"{known}{remedy('go on with')}") from error
    except Interrupted as interrupted:
        if started_by_lightning() or not is_first_process():
            # Lightning treats another exit status of its child processes as a failure.
            sys.exit(0 if started_by_lightning() else interrupted.status)
        if interrupted.step is None and (last := folder / LAST).exists():
            interrupted = Interrupted(interrupted.signal, read_checkpoint(last)["global_step"])
        interrupted.args = (f"{interrupted}{remedy('go on with') or ': it had not taken a step'}",)
        raise interrupted from None


def explain_error(error: RuntimeError | OSError | CheckpointError) -> TrainingError | None:
    """Return a one-line error if the cause is the machine, not the program."""
    text, known = " ".join(str(error).split()), None
    if isinstance(error, CheckpointError):
        known = text if isinstance(error.__cause__, OSError) else None
    elif text.startswith("Error(s) in loading state_dict"):
        known = f"what was saved does not fit this version of fast_style; start a new run ({text[:120]})"
    elif isinstance(error, OSError):
        known = f"the disk is full ({error.strerror}): make room" if error.errno in DISK_FULL else None
    elif isinstance(error, torch.OutOfMemoryError):
        known = f"out of memory on the GPU: lower batch_size or data.size ({text[:120]})"
    elif text.startswith("DataLoader worker"):
        known = f"a process that makes training pictures died, perhaps for want of memory: lower workers ({text[:120]})"
    elif any(words in text.lower() for words in _GONE):
        known = f"another process of this run is gone, and all stop ({text[-120:]})"
    return None if known is None else TrainingError(known)
