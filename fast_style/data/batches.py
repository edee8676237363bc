"""Batches of pictures, made ahead of time by workers in memory that they and the training process share throughout.

A DataLoader takes new shared memory for every batch, and both sides touch each page of it for the first time: with
pictures that need no decoding, that takes longer than making them. Here a worker writes into the same few places in
turn, and says only which; the training process takes a copy, on CUDA into pinned memory, from where a GPU fetches it
while the process goes on.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from typing import Any, NamedTuple, Protocol, TypeAlias

import torch
from jaxtyping import Int64, UInt8
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, get_worker_info

Batch: TypeAlias = tuple[UInt8[Tensor, "batch 3 size size"], Int64[Tensor, " batch"]]
_AHEAD = 2  # batches of each worker


class TrainingImages(Sized, Protocol):
    """A source of square pictures for training."""

    def __getitem__(self, key: tuple[int, int], /) -> UInt8[Tensor, "3 size size"]:
        """Return picture `index` as it looks in `epoch`, for the key (epoch, index)."""


class Batches(DataLoader[Any]):
    """Batches of pictures with the numbers of their turns, the channels last in memory.

    Args:
        pictures: of one size.
        batch_size: pictures in a batch.
        sampler: yields (epoch, index), a multiple of `batch_size` times or without end.
        workers: processes that make pictures; 0 makes them in this one.
        worker_init_fn: is called in each worker with its number.
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
            collate_fn=_join,
            worker_init_fn=worker_init_fn,
        )

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]  # It iterates, and promises no more.
        if not self.num_workers:
            return super().__iter__()
        assert self.batch_size is not None
        places = _Places(self.pictures, self.batch_size, self.num_workers)
        self.collate_fn = places.fill  # of the workers that are started now
        return map(places.take, super().__iter__())


class _Filled(NamedTuple):
    worker: int
    place: int
    turns: list[int]


class _Places:
    """Memory for the batches of each worker: as many as may wait for the training process, and the one it copies."""

    def __init__(self, pictures: TrainingImages, batch_size: int, workers: int) -> None:
        _, height, width = pictures[0, 0].shape
        self._memory = torch.empty(workers, _AHEAD + 1, batch_size, height, width, 3, dtype=torch.uint8)
        self._memory.share_memory_()  # type: ignore[no-untyped-call]
        self._filled = 0
        self._pinned = torch.cuda.is_available()

    def fill(self, samples: Sequence[tuple[Tensor, int]]) -> _Filled:
        """Write a batch into the next place of this worker."""
        info = get_worker_info()
        assert info is not None
        # What was there has been copied: a batch is asked for when the one that is `_AHEAD` before it has been handed
        # over, and the copy of that one ends before the next is.
        place = self._filled % (_AHEAD + 1)
        self._filled += 1
        for pixels, (picture, _) in zip(self._memory[info.id, place], samples, strict=True):
            pixels.copy_(picture.permute(1, 2, 0))
        return _Filled(info.id, place, [turn for _, turn in samples])

    def take(self, filled: _Filled) -> Batch:
        """Return a copy of a batch."""
        pixels = self._memory[filled.worker, filled.place]
        batch = torch.empty(pixels.shape, dtype=torch.uint8, pin_memory=self._pinned).copy_(pixels)
        turns = torch.tensor(filled.turns)
        return batch.permute(0, 3, 1, 2), turns.pin_memory() if self._pinned else turns


class _Numbered(Dataset[tuple[Tensor, int]]):
    def __init__(self, pictures: TrainingImages) -> None:
        self.pictures = pictures

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, int]:
        # Across epochs, a picture gets each style in turn.
        return self.pictures[key], sum(key)


def _join(samples: Sequence[tuple[Tensor, int]]) -> Batch:
    pixels = torch.stack([picture.permute(1, 2, 0) for picture, _ in samples])
    return pixels.permute(0, 3, 1, 2), torch.tensor([turn for _, turn in samples])
