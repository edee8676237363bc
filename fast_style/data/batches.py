"""Batches of training images, passed from worker processes through preallocated shared memory.

A DataLoader allocates new shared memory for every batch, and page faults on both sides take longer than making images
that need no decoding. Here each worker writes to a few slots in turn and sends only the slot's number; the training
process copies the slot, on CUDA into pinned memory for asynchronous transfer.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from typing import Any, NamedTuple, Protocol, TypeAlias

import torch
from jaxtyping import Int64, UInt8
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, get_worker_info

Batch: TypeAlias = tuple[UInt8[Tensor, "batch 3 size size"], Int64[Tensor, " batch"]]
_AHEAD = 2  # batches that each worker prefetches


class TrainingImages(Sized, Protocol):
    """A source of square training images."""

    def __getitem__(self, key: tuple[int, int], /) -> UInt8[Tensor, "3 size size"]:
        """Return image `index` as augmented in `epoch`, for the key (epoch, index)."""


class Batches(DataLoader[Any]):
    """Yields batches of images, channels last in memory, and turns (epoch + index) that select the style.

    Args:
        pictures: the images, all of one size.
        batch_size: images in a batch.
        sampler: yields (epoch, index), endlessly or a multiple of `batch_size` times.
        workers: processes that make images; 0: this process.
        worker_init_fn: called in each worker with its number.
    """

    def __init__(
        self,
        pictures: TrainingImages,
        batch_size: int,
        sampler: Iterable[tuple[int, int]],
        workers: int = 0,
        worker_init_fn: Callable[[int], None] | None = None,
    ) -> None:
        self.pictures = pictures
        super().__init__(
            _Numbered(pictures),
            batch_size,
            sampler=sampler,
            num_workers=workers,
            prefetch_factor=_AHEAD if workers else None,
            collate_fn=_collate,
            worker_init_fn=worker_init_fn,
        )

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]  # An iterator is enough.
        if not self.num_workers:
            return super().__iter__()
        assert self.batch_size is not None
        slots = _Slots(self.pictures, self.batch_size, self.num_workers)
        self.collate_fn = slots.fill  # used by the workers that start now
        return map(slots.take, super().__iter__())


class _Filled(NamedTuple):
    worker: int
    slot: int
    turns: list[int]


class _Slots:
    """Shared memory: for each worker, slots for the prefetched batches and the one being copied."""

    def __init__(self, pictures: TrainingImages, batch_size: int, workers: int) -> None:
        _, height, width = pictures[0, 0].shape
        self._memory = torch.empty(workers, _AHEAD + 1, batch_size, height, width, 3, dtype=torch.uint8)
        self._memory.share_memory_()  # type: ignore[no-untyped-call]
        self._filled = 0
        self._pinned = torch.cuda.is_available()

    def fill(self, samples: Sequence[tuple[Tensor, int]]) -> _Filled:
        """Write a batch to the next slot of this worker."""
        info = get_worker_info()
        assert info is not None
        # Safe to overwrite: a batch is requested when the one `_AHEAD` before it is delivered, so the one before that,
        # which used this slot, has been copied.
        slot = self._filled % (_AHEAD + 1)
        self._filled += 1
        for pixels, (picture, _) in zip(self._memory[info.id, slot], samples, strict=True):
            pixels.copy_(picture.permute(1, 2, 0))
        return _Filled(info.id, slot, [turn for _, turn in samples])

    def take(self, filled: _Filled) -> Batch:
        """Return a copy of a batch."""
        pixels = self._memory[filled.worker, filled.slot]
        batch = torch.empty(pixels.shape, dtype=torch.uint8, pin_memory=self._pinned).copy_(pixels)
        turns = torch.tensor(filled.turns)
        return batch.permute(0, 3, 1, 2), turns.pin_memory() if self._pinned else turns


class _Numbered(Dataset[tuple[Tensor, int]]):
    def __init__(self, pictures: TrainingImages) -> None:
        self.pictures = pictures

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, int]:
        # The sum, so that an image meets every style in turn across epochs.
        return self.pictures[key], sum(key)


def _collate(samples: Sequence[tuple[Tensor, int]]) -> Batch:
    pixels = torch.stack([picture.permute(1, 2, 0) for picture, _ in samples])
    return pixels.permute(0, 3, 1, 2), torch.tensor([turn for _, turn in samples])
