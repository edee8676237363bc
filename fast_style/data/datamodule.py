"""The Lightning data module: training images in a reproducible order, and held-out images."""

import signal
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, Sampler

from fast_style.data.batches import Batches, TrainingImages
from fast_style.errors import ConfigError
from fast_style.images.photographs import packaged_photographs
from fast_style.images.tensors import read_image
from fast_style.types import Images


class EndlessSampler(Sampler[tuple[int, int]]):
    """Yields (epoch, index) endlessly: each image once per epoch, in an order that depends only on the seed.

    All processes share one sequence, of which each takes every `world_size`-th key: N processes with batches of B
    together see the same images as one process with batches of N*B. No image is dropped: a batch may span two epochs.

    Args:
        length: images in an epoch.
        seed: seed of the order.
        start: images that all processes together have already seen.
        rank: the number of this process, from 0.
        world_size: the number of processes.
    """

    def __init__(self, length: int, seed: int, start: int = 0, rank: int = 0, world_size: int = 1) -> None:
        self.length, self.seed, self.start = length, seed, start
        self.rank, self.world_size = rank, world_size

    def __iter__(self) -> Iterator[tuple[int, int]]:
        shuffled, order = -1, torch.empty(0)
        for position in count(self.start + self.rank, self.world_size):
            epoch, place = divmod(position, self.length)
            if epoch != shuffled:
                # A large factor, so that neighboring (seed, epoch) pairs get different orders.
                generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
                shuffled, order = epoch, torch.randperm(self.length, generator=generator)
            yield epoch, int(order[place])


class ContentData(LightningDataModule):
    """Batches of content images for training, and held-out images for validation and previews.

    Args:
        pictures: the training images.
        heldout: files of the held-out images; None: four photographs that scikit-image ships.
        heldout_size: their short side in pixels.
        batch_size: images per step and process.
        workers: processes that prefetch images; 0: the training process.
        seed: seed of the order.

    Raises:
        ImageError: if a held-out image cannot be read.
        ConfigError: if a number is out of range.
    """

    def __init__(
        self,
        pictures: TrainingImages,
        heldout: Sequence[str | Path] | None = None,
        heldout_size: int = 256,
        batch_size: int = 2,
        workers: int = 1,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if batch_size < 1:
            raise ConfigError(f"batch_size must be at least 1, not {batch_size}")
        if workers < 0:
            raise ConfigError(f"workers must not be negative, not {workers}")
        if not heldout_size >= 32:
            raise ConfigError(f"heldout.size must be at least 32 pixels, not {heldout_size}")
        self.pictures, self.batch_size, self.workers, self.seed = pictures, batch_size, workers, seed
        files = heldout or packaged_photographs()
        self.heldout: list[Images] = [read_image(Path(file), size=heldout_size) for file in files]
        self._seen = 0
        self._loaded_at: int | None = None

    @property
    def seen(self) -> int:
        """Number of images that all processes together have trained on, including the runs that this one resumes."""
        trainer = self.trainer
        if trainer is None or self._loaded_at is None:
            return self._seen
        pictures = self.batch_size * trainer.world_size * trainer.accumulate_grad_batches
        return self._seen + (trainer.global_step - self._loaded_at) * pictures

    def state_dict(self) -> dict[str, int]:
        """Return the state for a checkpoint. Lightning calls this."""
        return {"seen": self.seen}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Restore the state of a checkpoint, to continue after the images seen. Lightning calls this."""
        self._seen = state_dict["seen"]

    def train_dataloader(self) -> Batches:
        """Return batches of images, and turns by which the task selects each image's style. See `Batches`."""
        trainer = self.trainer
        rank, world_size = (trainer.global_rank, trainer.world_size) if trainer else (0, 1)
        # Only from here on does the trainer know the step at which it resumes.
        self._loaded_at = trainer.global_step if trainer else None
        stream = EndlessSampler(len(self.pictures), self.seed, self._seen, rank, world_size)
        return Batches(self.pictures, self.batch_size, stream, self.workers, _leave_signals_to_the_trainer)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Convert uint8 to floats in [0, 1] on the device: the copy to the device then moves a quarter of the data."""
        images, *rest = batch if isinstance(batch, (tuple, list)) else (batch,)
        images = images / 255 if images.dtype == torch.uint8 else images
        images = images.contiguous(memory_format=torch.channels_last)
        return (images, *rest) if rest else images

    def val_dataloader(self) -> DataLoader[Images]:
        """Return the held-out images one by one: their sizes differ."""
        return DataLoader(self.heldout, batch_size=None)  # type: ignore[arg-type]  # A list is enough.


def _leave_signals_to_the_trainer(worker: int) -> None:
    # Terminals and schedulers signal every process. A worker that obeyed would lose the batch that the trainer waits
    # for. SIGTERM ends the worker only after 10 s: it must still end orphaned workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "SIGALRM"):
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, lambda number, frame: signal.alarm(10))
