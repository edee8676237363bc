"""Training that can be stopped anywhere, by anyone, and goes on as if it had not been."""

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
    """Saves the run every so often, and at once when it is told to stop: SIGTERM, SIGINT, and SIGUSR1 under SLURM.

    Saved is always the state between two steps, and before a measurement on held-out pictures if one is due then:
    the run that goes on from there measures first. A signal that comes during a step takes effect at its end; under
    several processes, at the end of the same step for all, whichever of them got it.

    Lightning runs this after all other callbacks, so that what they keep is that of the same step.

    Args:
        path: the checkpoint's file; the newest replaces the one before.
        every_n_steps: how often it is written.

    Raises:
        Interrupted: from the training loop, when a signal has come and the step is saved.
    """

    def __init__(self, path: str | Path, every_n_steps: int = 100) -> None:
        if every_n_steps < 1:
            raise ConfigError(f"every_n_steps must be at least 1, not {every_n_steps}")
        self.path = Path(path)
        self.every_n_steps = every_n_steps
        self._seen = 0
        self._stopping = 0
        self._signals = _Signals()

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Listen to signals: one that comes before the first step stops the run at once."""
        self._signals.listen(at_once=True)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure, if the checkpoint that the run goes on from was saved before a measurement."""
        self._seen = trainer.global_step
        # Lightning has put its own handlers in the place of ours; they would talk to other processes from within.
        self._signals.listen(at_once=False)
        if trainer.ckpt_path:
            self._signals.saved = trainer.global_step
            if _measurement_due(trainer):
                # As the training loop does it.
                trainer.validating = True
                trainer.fit_loop.epoch_loop.val_loop.run()
                trainer.training = True

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save if it is time, and stop if a signal has come."""
        step = trainer.global_step
        if step == self._seen:  # gradients are still being gathered
            return
        self._seen = step
        last = trainer.should_stop or step == trainer.max_steps
        due = last or step % self.every_n_steps == 0 or _measurement_due(trainer)
        # On a GPU, asking how the training does, or whether others have got a signal, is a wait.
        if trainer.world_size == 1:
            if not due and not self._signals.received:
                return
        elif not due and pl_module.device.type != "cpu" and step % 10 > 0:
            return
        suspicious = isinstance(pl_module, StyleTransferTask) and pl_module.suspicious
        number, doubt = self._agreed(trainer, self._signals.received, int(suspicious))
        # While the numbers look wrong, the last good checkpoint is worth more than the newest.
        if (due or number) and not doubt:
            if isinstance(pl_module, StyleTransferTask):
                pl_module.check_weights()
            trainer.save_checkpoint(self.path)
            self._signals.saved = step
        self._stopping = number

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Stop if a signal has come: the last step is saved, and by now its losses are logged."""
        self._end(trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Listen again: for the measurement after the training, too, Lightning has put its own handlers in place."""
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
        """Stop if a signal has come: what there is to save was saved before the measurement."""
        (self._stopping,) = self._agreed(trainer, self._signals.received)
        self._end(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Let a signal stop what follows at once: the last step is saved."""
        self._end(trainer)
        self._signals.listen(at_once=True)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Leave the signals as they were."""
        self._signals.release()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Leave the signals as they were."""
        self._signals.release()

    def _agreed(self, trainer: Trainer, *numbers: int) -> list[int]:
        """Return the largest of each number over the processes."""
        if trainer.world_size == 1:
            return list(numbers)
        tensor = torch.tensor(numbers, device=trainer.strategy.root_device)
        reduced = trainer.strategy.reduce(tensor, reduce_op="max")
        return [int(number) for number in reduced]

    def _end(self, trainer: Trainer) -> None:
        if self._stopping:
            if self._stopping == getattr(signal, "SIGUSR1", None):
                if trainer.is_global_zero:
                    requeue_slurm_job()
                # A scheduler may end all when one has ended.
                trainer.strategy.barrier()
            self._signals.stop(self._stopping)


def _measurement_due(trainer: Trainer) -> bool:
    """Whether held-out pictures are measured after the present batch."""
    interval = trainer.val_check_batch
    batches = trainer.fit_loop.total_batch_idx + 1
    return isinstance(interval, int) and batches > 0 and batches % interval == 0


class _Signals:
    """Stops the run at once when a signal comes, or remembers which came first.

    It knows nothing of the run: Lightning may leave it in the process for good, and what it knew would stay with it.

    Attributes:
        received: the signal that came first, or 0.
        saved: the step that is saved.
    """

    def __init__(self) -> None:
        self.received = 0
        self.saved: int | None = None
        self._when = 0.0
        self._listening = self._at_once = False
        self._before: dict[int, Any] = {}

    def listen(self, at_once: bool) -> None:
        """Take over the signals, which only the main thread of a program may."""
        if threading.current_thread() is not threading.main_thread():
            return
        self._at_once, self._listening = at_once, True
        numbers = [signal.SIGTERM, signal.SIGINT]
        if slurm_job_id():
            numbers.append(signal.SIGUSR1)
        for number in numbers:
            self._before.setdefault(number, signal.signal(number, self._handle))

    def release(self) -> None:
        """Give the signals back to whom they belonged to."""
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
            # Lightning has put back what it found, which was this.
            signal.signal(number, self._before[number])
            os.kill(os.getpid(), number)
        elif self._at_once:
            self.stop(number)
        elif not self.received:
            self.received, self._when = number, time.monotonic()
        elif number == signal.SIGINT and time.monotonic() - self._when > 2:
            # Someone presses Ctrl-C again and means it. What comes at once is one press that arrived twice,
            # from the terminal and from a program around this one.
            self.stop(number)
