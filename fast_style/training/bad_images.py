"""What becomes of training pictures that cannot be read, as a callback."""

import contextlib
import os
import re
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger

from fast_style.data.photographs import Photographs
from fast_style.errors import ConfigError, FastStyleError
from fast_style.system.files import atomic_write


class BadPictures(Callback):
    """Counts the training pictures that cannot be read, names them, and ends the run when they are too many.

    All processes come to know what each has found. The list is bad_files.txt in the run's folder: on each line a
    name, a tab and the reason. A run that is resumed tries again what its list names.

    Pictures that are made by program cannot be bad.

    Args:
        every_n_steps: how often; also at the first step and at the last.

    Raises:
        DataError: from the training loop, if too many are bad.
    """

    def __init__(self, every_n_steps: int = 50) -> None:
        if every_n_steps < 1:
            raise ConfigError(f"every_n_steps must be at least 1, not {every_n_steps}")
        self.every_n_steps = every_n_steps
        self._path: Path | None = None
        self._looked: int | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Try again what an earlier part of this run found bad."""
        # All processes ask: the trainer lets the first one answer.
        self._path = Path(trainer.log_dir or trainer.default_root_dir) / "bad_files.txt"
        pictures = _photographs(trainer)
        if pictures is not None and trainer.is_global_zero and self._path.exists():
            lines = self._path.read_text("utf-8", "replace").splitlines()
            pictures.look_again(line.partition("\t")[0] for line in lines)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Look if it is time."""
        step = trainer.global_step
        if self._looked is None or (step != self._looked and step % self.every_n_steps == 0):
            self._look(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look for the last time."""
        self._look(trainer)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Name what has been found so far, and let an error from a worker be one line like any other."""
        if isinstance(exception, FastStyleError) and "\n" in str(exception):
            # It comes as the worker's traceback, of which this is the end.
            exception.args = (re.sub(r"^[\w.]+: ", "", str(exception).splitlines()[-1]),)
        with contextlib.suppress(OSError):  # which would hide what happened
            self._write_list(trainer)

    def _look(self, trainer: Trainer) -> None:
        self._looked = trainer.global_step
        pictures = _photographs(trainer)
        if pictures is None:
            return
        if trainer.world_size > 1:
            mine = pictures.flags.to(trainer.strategy.root_device, copy=True)
            joined = trainer.strategy.reduce(mine, reduce_op="max")
            # Nothing but ones: a worker may set another meanwhile.
            pictures.flags[joined.cpu() > 0] = 1
        self._write_list(trainer)
        if trainer.is_global_zero and isinstance(trainer.logger, TensorBoardLogger):
            for name, count in (("bad_pictures", int(pictures.flags.sum())), ("refused", len(pictures.refused))):
                trainer.logger.experiment.add_scalar(f"data/{name}", count, trainer.global_step)
        trainer.strategy.barrier()  # The list comes first: one process that ends may end them all.
        pictures.check(os.path.relpath(self._path) if self._path else "")

    def _write_list(self, trainer: Trainer) -> None:
        pictures, path = _photographs(trainer), self._path
        if pictures is None or path is None or not trainer.is_global_zero:
            return
        content = pictures.listing().encode()
        if content != (path.read_bytes() if path.exists() else b""):
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(path) as file:
                file.write(content)


def _photographs(trainer: Trainer) -> Photographs | None:
    """Return what is trained on if it is read from files."""
    pictures = getattr(getattr(trainer, "datamodule", None), "pictures", None)
    return pictures if isinstance(pictures, Photographs) else None
