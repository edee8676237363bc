"""Content pictures, in an order that every process can work out for itself."""

from collections.abc import Iterator, Sequence, Sized
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import torch
from jaxtyping import Int64, UInt8
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from fast_style.errors import ConfigError
from fast_style.images import read_image
from fast_style.types import Images

Batch = tuple[UInt8[Tensor, "batch 3 size size"], Int64[Tensor, " batch"]]


class Pictures(Sized, Protocol):
    """A source of square pictures for training."""

    def __getitem__(self, key: tuple[int, int], /) -> UInt8[Tensor, "3 size size"]:
        """Return picture `index` as it looks in `epoch`, for the key (epoch, index)."""


class ShardedSampler(Sampler[tuple[int, int]]):
    """Yields (epoch, index): each picture once an epoch, in an order that depends on seed and epoch alone.

    Every process takes each `world_size`-th key, so that N processes with batches of B together see just what one
    process with batches of N*B sees. What does not divide evenly is left for another epoch.
    """

    def __init__(self, length: int, seed: int, rank: int = 0, world_size: int = 1) -> None:
        self.length = length
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the next pass. Lightning calls this."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.length // self.world_size

    def __iter__(self) -> Iterator[tuple[int, int]]:
        # One number from the two: no pair (seed, epoch) shares its order with its neighbours.
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        order = torch.randperm(self.length, generator=generator)
        mine = order[self.rank :: self.world_size][: len(self)]
        return iter([(self.epoch, index) for index in mine.tolist()])


class ContentData(LightningDataModule):
    """Batches of content pictures to train on, and fixed ones, kept aside, to measure and look at.

    Args:
        pictures: what to train on.
        heldout: files of the pictures kept aside; nothing: four photographs that scikit-image ships.
        heldout_size: their short side in pixels.
        batch_size: pictures a step, of each process.
        workers: processes that make or read pictures ahead of time; 0 does it in the training process.
        seed: decides the order.

    Raises:
        ImageError: if a picture kept aside cannot be read.
        ConfigError: if there are fewer pictures than one batch takes, or a number is out of range.
    """

    def __init__(
        self,
        pictures: Pictures,
        heldout: Sequence[str | Path] | None = None,
        heldout_size: int = 256,
        batch_size: int = 4,
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
        self.pictures = pictures
        self.batch_size = batch_size
        self.workers = workers
        self.seed = seed
        self.heldout: list[Images] = [
            read_image(Path(file), size=heldout_size) for file in heldout or packaged_photographs()
        ]

    def train_dataloader(self) -> DataLoader[Batch]:
        """Return batches of pictures, each with the number of its turn, by which the task chooses its style."""
        trainer = self.trainer
        sampler = ShardedSampler(
            len(self.pictures), self.seed, *((trainer.global_rank, trainer.world_size) if trainer else (0, 1))
        )
        if len(sampler) < self.batch_size:
            raise ConfigError(
                f"batch_size is {self.batch_size}, but there are only {len(self.pictures)} pictures "
                f"for {sampler.world_size} processes; lower it or give more pictures"
            )
        return DataLoader(
            _Numbered(self.pictures),
            self.batch_size,
            sampler=sampler,
            num_workers=self.workers,
            persistent_workers=self.workers > 0,
            drop_last=True,
            pin_memory=torch.cuda.is_available(),
        )

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Turn bytes into numbers in [0, 1], on the device: a quarter of the data has to go there."""
        images, *rest = batch if isinstance(batch, (tuple, list)) else (batch,)
        images = images.float() / 255 if images.dtype == torch.uint8 else images
        images = images.contiguous(memory_format=torch.channels_last)
        return (images, *rest) if rest else images

    def val_dataloader(self) -> DataLoader[Images]:
        """Return the pictures kept aside, one by one: their sizes differ."""
        return DataLoader(_Listed(self.heldout), batch_size=None)


class _Numbered(Dataset[Batch]):
    def __init__(self, pictures: Pictures) -> None:
        self.pictures = pictures

    def __getitem__(self, key: tuple[int, int]) -> Any:
        # Across epochs, a picture gets each style in turn.
        return self.pictures[key], sum(key)


class _Listed(Dataset[Images]):
    def __init__(self, images: Sequence[Images]) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Images:
        return self.images[index]


def packaged_photographs() -> list[Path]:
    """Return the files of four photographs under free licences that scikit-image ships."""
    package = find_spec("skimage")
    if package is None or not package.submodule_search_locations:
        raise ConfigError("heldout.images must be given: the package scikit-image, which ships some, is missing")
    # The files, without an import: scikit-image takes long to load.
    folder = Path(package.submodule_search_locations[0]) / "data"
    return [folder / name for name in ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg")]
