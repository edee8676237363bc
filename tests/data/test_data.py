"""Training batches, held-out photographs and previews, and the processes that read them."""

import os
import signal
from itertools import islice
from multiprocessing import active_children
from pathlib import Path

import pytest
import torch
from PIL import Image
from small_messages import raises
from torch import Tensor

from fast_style.data.datamodule import ContentData, EndlessSampler
from fast_style.errors import ConfigError, ImageError
from fast_style.images.photographs import packaged_photographs


class Plain:
    """Pictures of one level, the key's sum."""

    def __init__(self, length: int) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, key: tuple[int, int]) -> Tensor:
        return torch.full((3, 32, 32), sum(key), dtype=torch.uint8)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    Image.new("RGB", (60, 40)).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def first(count: int, stream: EndlessSampler) -> list[tuple[int, int]]:
    return list(islice(stream, count))


@pytest.mark.parametrize(("length", "world_size"), [(12, 1), (12, 3), (13, 3), (2, 4), (1, 1)])
def test_processes_share_every_epoch_without_overlap_or_remainder(length: int, world_size: int) -> None:
    # As many passes as there are processes, so that their shares are equal.
    shares = [first(length, EndlessSampler(length, 0, 0, rank, world_size)) for rank in range(world_size)]
    seen = sorted(key for share in shares for key in share)
    assert seen == [(epoch, index) for epoch in range(world_size) for index in range(length)]


def test_two_processes_see_together_what_one_sees_in_batches_of_twice_the_size() -> None:
    alone = first(24, EndlessSampler(7, seed=5))
    one, two = (first(12, EndlessSampler(7, 5, 0, rank, 2)) for rank in (0, 1))
    for step in range(6):
        assert set(alone[4 * step : 4 * step + 4]) == {*one[2 * step : 2 * step + 2], *two[2 * step : 2 * step + 2]}


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        keys = first(50, EndlessSampler(50, seed, start=50 * epoch))
        assert {epoch} == {key[0] for key in keys}
        return [index for _, index in keys]

    assert order(1, 2) == order(1, 2)
    assert len({tuple(order(seed, epoch)) for seed in range(3) for epoch in range(3)}) == 9


@pytest.mark.parametrize(("before", "after"), [(1, 1), (2, 3), (3, 1)])
def test_what_was_seen_does_not_come_again_whatever_the_number_of_processes(before: int, after: int) -> None:
    alone = first(30, EndlessSampler(7, 5))
    seen = [key for rank in range(before) for key in first(6 // before, EndlessSampler(7, 5, 0, rank, before))]
    rest = [key for rank in range(after) for key in first(24 // after, EndlessSampler(7, 5, 6, rank, after))]
    assert set(seen) == set(alone[:6])
    assert set(rest) == set(alone[6:])


def test_an_epoch_has_each_picture_once_and_gives_its_turn(photo: Path) -> None:
    data = ContentData(Plain(6), [photo], 32, batch_size=2, workers=0)
    batches = list(islice(data.train_dataloader(), 3))
    turns = torch.cat([turn for _, turn in batches])
    assert sorted(turns.tolist()) == [0, 1, 2, 3, 4, 5]
    for pictures, turn in batches:
        assert torch.equal(pictures[:, 0, 0, 0], turn.to(torch.uint8))


def test_a_batch_may_be_larger_than_an_epoch(photo: Path) -> None:
    data = ContentData(Plain(3), [photo], 32, batch_size=6, workers=0)
    _, turn = next(iter(data.train_dataloader()))
    assert sorted(turn.tolist()) == [0, 1, 1, 2, 2, 3]


def test_pictures_that_were_seen_are_counted_and_not_loaded_again(photo: Path) -> None:
    data = ContentData(Plain(6), [photo], 32, batch_size=2, workers=0)
    data.load_state_dict({"seen": 4})
    assert data.state_dict() == {"seen": 4}
    _, turn = next(iter(data.train_dataloader()))
    assert turn.tolist() == [index for _, index in first(6, EndlessSampler(6, 0))[4:]]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_a_worker_outlives_a_signal_to_all_processes(photo: Path, number: signal.Signals) -> None:
    data = ContentData(Plain(100), [photo], 32, batch_size=2, workers=1)
    batches = iter(data.train_dataloader())
    next(batches)
    (worker,) = active_children()
    assert worker.pid is not None
    os.kill(worker.pid, number)
    seen = [next(batches) for _ in range(20)]  # more than were made ahead of time
    assert len(seen) == 20
    assert worker.is_alive()


def test_bytes_become_numbers_between_0_and_1(photo: Path) -> None:
    data = ContentData(Plain(2), [photo], 32, batch_size=1, workers=0)
    pictures = torch.tensor([0, 51, 255], dtype=torch.uint8).expand(1, 3, 3)[..., None]
    moved, turn = data.on_after_batch_transfer((pictures, torch.tensor([7])), 0)
    torch.testing.assert_close(moved[0, 0, :, 0], torch.tensor([0.0, 0.2, 1.0]))
    assert torch.equal(moved, pictures.float() / 255)
    assert turn.tolist() == [7]


def test_pictures_kept_aside_come_one_by_one_at_their_size(photo: Path) -> None:
    data = ContentData(Plain(2), [photo, photo], 32, batch_size=1, workers=0)
    assert [tuple(image.shape) for image in data.val_dataloader()] == [(1, 3, 32, 48)] * 2


def test_free_photographs_are_at_hand() -> None:
    files = packaged_photographs()
    assert len(files) == 4
    assert all(file.exists() for file in files)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, "batch_size 1"),
        ({"workers": -1}, "workers negative"),
        ({"heldout_size": 8}, "heldout.size 32"),
    ],
)
def test_numbers_out_of_range_are_refused(photo: Path, arguments: dict[str, int], message: str) -> None:
    with raises(ConfigError, message):
        ContentData(Plain(4), [photo], **arguments)


def test_a_picture_kept_aside_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"nowhere\.png"):
        ContentData(Plain(4), [tmp_path / "nowhere.png"])
