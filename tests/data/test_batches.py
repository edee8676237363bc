"""Batches that workers make ahead of time, in memory that is used again and again."""

import time
from itertools import islice

import pytest
import torch
from torch import Tensor

from fast_style.data.batches import Batches
from fast_style.data.datamodule import EndlessSampler


class Noise:
    """Pictures that are each a function of its key."""

    size = 16

    def __len__(self) -> int:
        return 7

    def __getitem__(self, key: tuple[int, int]) -> Tensor:
        generator = torch.Generator().manual_seed(100 * key[0] + key[1])
        return torch.randint(0, 256, (3, self.size, self.size), generator=generator, dtype=torch.uint8)


class Growing(Noise):
    """Pictures of different sizes, which no batch can hold."""

    def __getitem__(self, key: tuple[int, int]) -> Tensor:
        return torch.zeros(3, 16, 16 + key[1], dtype=torch.uint8)


def batches(count: int, workers: int, batch_size: int = 3) -> list[tuple[Tensor, Tensor]]:
    return list(islice(Batches(Noise(), batch_size, EndlessSampler(7, 0), workers), count))


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_give_what_one_process_gives_however_fast_it_is_taken(workers: int) -> None:
    expected = batches(60, 0)
    taken = []
    for number, batch in enumerate(islice(Batches(Noise(), 3, EndlessSampler(7, 0), workers), 60)):
        # What is kept must not change while workers go on, and they go on as far as they can.
        taken.append(batch)
        time.sleep(0.02 if number % 10 == 0 else 0)
    for (pictures, turns), (same, numbers) in zip(taken, expected, strict=True):
        assert torch.equal(pictures, same)
        assert torch.equal(turns, numbers)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_batch_is_bytes_with_the_channels_last_in_memory(workers: int) -> None:
    ((pictures, turns),) = batches(1, workers)
    assert (pictures.shape, pictures.dtype, turns.dtype) == ((3, 3, 16, 16), torch.uint8, torch.int64)
    assert pictures.is_contiguous(memory_format=torch.channels_last)
    assert not pictures.is_shared()  # type: ignore[no-untyped-call]


def test_two_passes_at_once_do_not_disturb_each_other() -> None:
    loader = Batches(Noise(), 2, EndlessSampler(7, 0), 1)
    expected = batches(20, 0, 2)
    one, two = iter(loader), iter(loader)
    for number in range(10):
        assert torch.equal(next(one)[0], expected[2 * number][0])
        assert torch.equal(next(two)[0], expected[number][0])
        assert torch.equal(next(one)[0], expected[2 * number + 1][0])


@pytest.mark.parametrize("workers", [0, 1])
def test_pictures_of_different_sizes_are_an_error(workers: int) -> None:
    with pytest.raises(RuntimeError, match="size"):
        next(iter(Batches(Growing(), 2, EndlessSampler(7, 0), workers)))
