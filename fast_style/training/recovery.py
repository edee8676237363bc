"""Checkpoints at intervals and on signals, so that a stopped run resumes as if it had never stopped."""

import os
import signal
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.trainer.states import TrainerFn

from fast_style.errors import ConfigError, Interrupted
from fast_style.system.processes import requeue_slurm_job, slurm_job_id
from fast_style.training.task import StyleTransferTask


class Recovery(Checkpoint):
    """Saves a checkpoint at intervals and on a signal: SIGTERM, SIGINT, and SIGUSR1 under SLURM.

    Checkpoints hold the state between two steps, and before a validation that is due: the resumed run validates first.
    A signal takes effect at the end of the step; with several processes, at the same step in all of them, whichever
    received it.

    Lightning runs `Checkpoint` callbacks last, so the other callbacks' state is of the same step.

    Args:
        path: the checkpoint; each replaces the one before.
        every_n_steps: interval between checkpoints in steps.

    Raises:
        Interrupted: from the training loop, after a signal, once the step is saved.
    """

    def __init__(self, path: str | Path, every_n_steps: int = 100) -> None:
        if every_n_steps < 1:
            raise ConfigError(f"every_n_steps must be at least 1, not {every_n_steps}")
        self.path = Path(path)
        self.every_n_steps = every_n_steps
        self._last_step = 0
        self._stopping = 0
        self._signals = _Signals()

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Handle signals: before the first step, they stop the run at once."""
        self._signals.listen(at_once=True)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Validate, if the resumed checkpoint was saved before a validation."""
        self._last_step = trainer.global_step
        # Lightning has replaced our handlers with its own, which communicate between processes inside the handler.
        self._signals.listen(at_once=False)
        if trainer.ckpt_path:
            self._signals.saved = trainer.global_step
            if _validation_due(trainer):
                # As in Lightning's training loop.
                trainer.validating = True
                trainer.fit_loop.epoch_loop.val_loop.run()
                trainer.training = True

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save if it is due or a signal has arrived."""
        step = trainer.global_step
        if step == self._last_step:  # gradients are still accumulating
            return
        self._last_step = step
        last = trainer.should_stop or step == trainer.max_steps
        due = last or step % self.every_n_steps == 0 or _validation_due(trainer)
        # Checking the run's health, or other processes for signals, synchronizes with the GPU.
        if trainer.world_size == 1:
            if not due and not self._signals.received:
                return
        elif not due and pl_module.device.type != "cpu" and step % 10 > 0:
            return
        suspicious = int(isinstance(pl_module, StyleTransferTask) and pl_module.suspicious)
        number, suspicious = self._max_over_processes(trainer, self._signals.received, suspicious)
        # Keep the last good checkpoint while the run looks wrong.
        if (due or number) and not suspicious:
            if isinstance(pl_module, StyleTransferTask):
                pl_module.check_weights()
            trainer.save_checkpoint(self.path)
            self._signals.saved = step
        self._stopping = number

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Stop if a signal has arrived: the last step is saved and its losses are logged."""
        self._stop_if_signaled(trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Handle signals again: before the final validation, Lightning has installed its own handlers."""
        if trainer.state.fn == TrainerFn.VALIDATING:
            self._signals.listen(at_once=True)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Stop if a signal has arrived: the checkpoint was saved before the validation."""
        (self._stopping,) = self._max_over_processes(trainer, self._signals.received)
        self._stop_if_signaled(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """From here on, let signals stop the run at once: the last step is saved."""
        self._stop_if_signaled(trainer)
        self._signals.listen(at_once=True)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Restore the signal handlers."""
        self._signals.release()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Restore the signal handlers."""
        self._signals.release()

    def _max_over_processes(self, trainer: Trainer, *numbers: int) -> list[int]:
        """Return the maximum of each number over all processes."""
        if trainer.world_size == 1:
            return list(numbers)
        tensor = torch.tensor(numbers, device=trainer.strategy.root_device)
        reduced = trainer.strategy.reduce(tensor, reduce_op="max")
        return [int(number) for number in reduced]

    def _stop_if_signaled(self, trainer: Trainer) -> None:
        if self._stopping:
            if self._stopping == getattr(signal, "SIGUSR1", None):
                if trainer.is_global_zero:
                    requeue_slurm_job()
                # Wait for the requeue: a scheduler may end all processes when one has ended.
                trainer.strategy.barrier()
            self._signals.stop(self._stopping)


def _validation_due(trainer: Trainer) -> bool:
    """Return whether a validation follows the current batch."""
    interval = trainer.val_check_batch
    batches = trainer.fit_loop.total_batch_idx + 1
    return isinstance(interval, int) and batches > 0 and batches % interval == 0


class _Signals:
    """Signal handlers that stop the run at once, or record the first signal.

    They hold no reference to the run: Lightning may leave them installed and would keep it alive.

    Attributes:
        received: the first signal, or 0.
        saved: the step of the last checkpoint.
    """

    def __init__(self) -> None:
        self.received = 0
        self.saved: int | None = None
        self._received_at = 0.0
        self._listening = self._at_once = False
        self._before: dict[int, Any] = {}

    def listen(self, at_once: bool) -> None:
        """Install the handlers; only the main thread may."""
        if threading.current_thread() is not threading.main_thread():
            return
        self._at_once, self._listening = at_once, True
        numbers = [signal.SIGTERM, signal.SIGINT]
        if slurm_job_id():
            numbers.append(signal.SIGUSR1)
        for number in numbers:
            self._before.setdefault(number, signal.signal(number, self._handle))

    def release(self) -> None:
        """Restore the previous handlers."""
        self._listening = False
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def stop(self, number: int) -> NoReturn:
        """Stop the run.

        Raises:
            Interrupted: always.
        """
        raise Interrupted(number, self.saved)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if not self._listening:
            # Lightning has reinstalled this handler after `release`: pass the signal on.
            signal.signal(number, self._before[number])
            os.kill(os.getpid(), number)
        elif self._at_once:
            self.stop(number)
        elif not self.received:
            self.received, self._received_at = number, time.monotonic()
        elif number == signal.SIGINT and time.monotonic() - self._received_at > 2:
            # A second Ctrl-C. Within 2 s it may be the same one, sent by the terminal and by a parent program.
            self.stop(number)
