"""Training callbacks: speed, progress, previews and unreadable training pictures."""

import contextlib
import os
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, ProgressBar
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from fast_style.data.photographs import Photographs
from fast_style.errors import ConfigError, FastStyleError
from fast_style.images.photographs import packaged_photographs
from fast_style.images.picture import contact_sheet
from fast_style.images.tensors import read_image, to_pil, to_tensor
from fast_style.losses.styles import Style
from fast_style.system.files import atomic_write
from fast_style.training.loggers import show_image
from fast_style.training.task import StyleTransferTask, seconds_left

#: The metric of `Throughput`. TensorBoard sorts groups by name, so this one follows the losses and the preview.
SPEED = "speed/pictures_per_second"
#: Seconds from the start in which previews are also made at time intervals.
SHORT = 600.0


class Throughput(Callback):
    """Logs the training speed in pictures per second, over all processes and without validation time.

    Args:
        every_n_steps: steps over which the speed is averaged.
    """

    def __init__(self, every_n_steps: int = 10) -> None:
        if every_n_steps < 1:
            raise ConfigError(f"every_n_steps must be at least 1, not {every_n_steps}")
        self.every_n_steps = every_n_steps
        self._time = self._paused = 0.0
        self._step = 0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Log the mean speed since the last log."""
        now, step = time.monotonic(), trainer.global_step
        if self._time == 0.0:  # the first step is slow: warm-up
            self._time, self._step = now, step
        elif step > self._step and (step % self.every_n_steps == 0 or self._step == 1):
            pictures = (step - self._step) * len(batch[0]) * trainer.world_size
            pl_module.log(SPEED, pictures / (now - self._time))
            self._time, self._step = now, step

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Pause the clock."""
        self._paused = time.monotonic()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Resume the clock."""
        if self._time:
            self._time += time.monotonic() - self._paused


class StepProgress(ProgressBar):
    """Shows progress in steps: a bar on a terminal, otherwise a line at intervals.

    Lightning's own bars count the steps of an epoch and do not show when the run ends.

    Args:
        every_n_seconds: interval between lines without a terminal.
    """

    def __init__(self, every_n_seconds: float = 15.0) -> None:
        super().__init__()
        if not every_n_seconds >= 0:
            raise ConfigError(f"every_n_seconds must not be negative, not {every_n_seconds}")
        self.every_n_seconds = every_n_seconds
        self._enabled = True
        self._bar: Progress | None = None
        self._task = TaskID(0)
        self._started = self._printed = 0.0
        self._first_step = 0

    def disable(self) -> None:
        """Hide progress. Lightning calls this on every process but the first."""
        self._enabled = False

    def enable(self) -> None:
        """Show progress again."""
        self._enabled = True

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Open the bar."""
        self._started = self._printed = time.monotonic()
        self._first_step = trainer.global_step
        console = Console()
        if self._enabled and console.is_terminal:
            columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
            self._bar = Progress(*columns, TextColumn("left"), console=console)
            self._task = self._bar.add_task("", total=_total_steps(trainer), completed=trainer.global_step)
            self._bar.start()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Move the bar, or print a line if one is due."""
        now, step, total = time.monotonic(), trainer.global_step, _total_steps(trainer)
        # At intervals only: reading the loss synchronizes with the GPU.
        interval = 0.2 if self._bar is not None else self.every_n_seconds
        if not self._enabled or (now - self._printed < interval and step != total):
            return
        self._printed = now
        metrics = trainer.callback_metrics
        text = f"loss {metrics['train/total']:.4g}" if "train/total" in metrics else ""
        if SPEED in metrics:
            text += f"  {metrics[SPEED]:.1f} pictures/s"
        if self._bar is not None:
            self._bar.update(self._task, completed=step, description=text)
        else:
            left = (now - self._started) / max(1, step - self._first_step) * (total - step) if total else 0.0
            until = seconds_left(trainer)
            left = left if until is None else min(left, max(0.0, until))
            print(f"step {step}/{total or '?'}  {text}  {_duration(left)} left", flush=True)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Close the bar."""
        self._close()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Close the bar, so that the message gets its own line."""
        self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


class Preview(Callback):
    """Logs the style images, and fixed images with their stylizations; writes the last preview to preview.png.

    Args:
        styles: the styles being trained, in the order of the style weights.
        images: files of the images to show; None: the photographs that scikit-image ships.
        every_n_steps: interval between previews in steps.
        every_n_seconds: additional interval in the first ten minutes.
        size: height of an image in pixels.

    Raises:
        ImageError: if an image cannot be read.
    """

    def __init__(
        self,
        styles: Sequence[Style],
        images: Sequence[str | Path] | None = None,
        every_n_steps: int = 100,
        every_n_seconds: float = 30.0,
        size: int = 256,
    ) -> None:
        if every_n_steps < 1:
            raise ConfigError(f"preview.every_n_steps must be at least 1, not {every_n_steps}")
        if size < 32:
            raise ConfigError(f"preview.size must be at least 32 pixels, not {size}")
        self.styles = styles
        self.images = [read_image(Path(file), size=size) for file in images or packaged_photographs()]
        self.every_n_steps = every_n_steps
        self.every_n_seconds = every_n_seconds
        self.size = size
        self._started = self._shown = 0.0
        self._step = 0

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the style images."""
        for style in self.styles:
            show_image(trainer, f"style/{style.name}", style.read()[0])
        self._started = self._shown = time.monotonic()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Log a preview if it is due."""
        now, step = time.monotonic(), trainer.global_step
        if step == self._step or not trainer.is_global_zero or not isinstance(pl_module, StyleTransferTask):
            return
        by_clock = now - self._shown >= self.every_n_seconds and now - self._started < SHORT
        if by_clock or step % self.every_n_steps == 0 or step == 1:
            self._shown, self._step = now, step
            show_image(trainer, "preview", self.sheet(pl_module), step)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log and write a preview of the final network."""
        if trainer.is_global_zero and isinstance(pl_module, StyleTransferTask):
            sheet = self.sheet(pl_module)
            show_image(trainer, "preview", sheet, trainer.global_step)
            with atomic_write(Path(trainer.default_root_dir) / "preview.png") as file:
                to_pil(sheet[None])[0].save(file, "png")

    @torch.no_grad()
    def sheet(self, task: StyleTransferTask) -> torch.Tensor:
        """Return a contact sheet of shape (3, height, width): one row per image, the image and then each style."""
        eye = torch.eye(len(self.styles), device=task.device)
        rows = []
        for image in self.images:
            content = image.to(task.device)
            stylized = [task.network(content, style[None]).float().clamp(0, 1).cpu() for style in eye]
            rows.append([picture for batch in (image, *stylized) for picture in to_pil(batch)])
        return to_tensor(contact_sheet(rows, height=self.size))[0]


class BadPictures(Callback):
    """Counts and lists unreadable training pictures, and ends the run when there are too many.

    All processes share their findings. The list is bad_files.txt in the run's folder, with a name, a tab and the reason
    on each line. A resumed run tries the listed pictures again. Procedural pictures are not checked.

    Args:
        every_n_steps: interval between checks; the first and the last step are checked, too.

    Raises:
        DataError: from the training loop, if too many are unreadable.
    """

    def __init__(self, every_n_steps: int = 50) -> None:
        if every_n_steps < 1:
            raise ConfigError(f"every_n_steps must be at least 1, not {every_n_steps}")
        self.every_n_steps = every_n_steps
        self._path: Path | None = None
        self._checked: int | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Try the pictures again that an earlier part of this run found unreadable."""
        self._path = Path(trainer.default_root_dir) / "bad_files.txt"
        pictures = _photographs(trainer)
        if pictures is not None and trainer.is_global_zero and self._path.exists():
            lines = self._path.read_text("utf-8", "replace").splitlines()
            pictures.look_again(line.partition("\t")[0] for line in lines)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Check if it is due."""
        step = trainer.global_step
        if self._checked is None or (step != self._checked and step % self.every_n_steps == 0):
            self._check(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check for the last time."""
        self._check(trainer)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Write the list so far, and reduce an error from a worker to one line."""
        if isinstance(exception, FastStyleError) and "\n" in str(exception):
            # The message is the worker's traceback; its last line is the error.
            exception.args = (re.sub(r"^[\w.]+: ", "", str(exception).splitlines()[-1]),)
        with contextlib.suppress(OSError):  # It would hide the original error.
            self._write_list(trainer)

    def _check(self, trainer: Trainer) -> None:
        self._checked = trainer.global_step
        pictures = _photographs(trainer)
        if pictures is None:
            return
        if trainer.world_size > 1:
            mine = pictures.flags.to(trainer.strategy.root_device, copy=True)
            joined = trainer.strategy.reduce(mine, reduce_op="max")
            # Set only ones: a worker may set another flag meanwhile.
            pictures.flags[joined.cpu() > 0] = 1
        self._write_list(trainer)
        if trainer.is_global_zero and trainer.logger is not None:
            counts = {"pictures/bad": float(pictures.flags.sum()), "pictures/refused": float(len(pictures.refused))}
            trainer.logger.log_metrics(counts, trainer.global_step)
        trainer.strategy.barrier()  # Wait for the list: one process that ends may end them all.
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


def _total_steps(trainer: Trainer) -> int | None:
    steps = trainer.estimated_stepping_batches
    return None if steps == float("inf") else int(steps)


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes}:{seconds:02d}"


def _photographs(trainer: Trainer) -> Photographs | None:
    """Return the training pictures if they are read from files."""
    pictures = getattr(getattr(trainer, "datamodule", None), "pictures", None)
    return pictures if isinstance(pictures, Photographs) else None
