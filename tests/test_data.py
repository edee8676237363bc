from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from fast_style.data import ContentData, ShardedSampler, packaged_photographs
from fast_style.errors import ConfigError, ImageError


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


@pytest.mark.parametrize(("length", "world_size"), [(12, 1), (12, 3), (13, 3), (2, 4)])
def test_processes_share_the_pictures_without_overlap(length: int, world_size: int) -> None:
    shares = [list(ShardedSampler(length, 0, rank, world_size)) for rank in range(world_size)]
    assert {len(share) for share in shares} == {length // world_size}
    seen = [index for share in shares for _, index in share]
    assert len(seen) == len(set(seen))
    assert set(seen) <= set(range(length))


def test_two_processes_see_together_what_one_sees_in_batches_of_twice_the_size() -> None:
    alone = list(ShardedSampler(8, seed=5))
    first, second = (list(ShardedSampler(8, 5, rank, 2)) for rank in (0, 1))
    for step in range(2):
        assert set(alone[4 * step : 4 * step + 4]) == {
            *first[2 * step : 2 * step + 2],
            *second[2 * step : 2 * step + 2],
        }


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        sampler = ShardedSampler(50, seed)
        sampler.set_epoch(epoch)
        keys = list(sampler)
        assert {epoch} == {key[0] for key in keys}
        return [index for _, index in keys]

    assert order(1, 2) == order(1, 2)
    assert len({tuple(order(seed, epoch)) for seed in range(3) for epoch in range(3)}) == 9


def test_an_epoch_has_each_picture_once_and_gives_its_turn(photo: Path) -> None:
    data = ContentData(Plain(6), [photo], 32, batch_size=2, workers=0)
    batches = list(data.train_dataloader())
    turns = torch.cat([turn for _, turn in batches])
    assert sorted(turns.tolist()) == [0, 1, 2, 3, 4, 5]
    for pictures, turn in batches:
        assert torch.equal(pictures[:, 0, 0, 0], turn.to(torch.uint8))


def test_bytes_become_numbers_between_0_and_1(photo: Path) -> None:
    data = ContentData(Plain(2), [photo], 32, batch_size=1, workers=0)
    pictures = torch.tensor([0, 51, 255], dtype=torch.uint8).expand(1, 3, 3)[..., None]
    moved, turn = data.on_after_batch_transfer((pictures, torch.tensor([7])), 0)
    torch.testing.assert_close(moved[0, 0, :, 0], torch.tensor([0.0, 0.2, 1.0]))
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
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"workers": -1}, "workers must not be negative"),
        ({"heldout_size": 8}, "heldout.size must be at least 32"),
    ],
)
def test_numbers_out_of_range_are_refused(photo: Path, arguments: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ContentData(Plain(4), [photo], **arguments)


def test_too_few_pictures_for_a_batch_are_told(photo: Path) -> None:
    data = ContentData(Plain(3), [photo], 32, batch_size=4, workers=0)
    with pytest.raises(ConfigError, match="batch_size is 4, but there are only 3 pictures"):
        data.train_dataloader()


def test_a_picture_kept_aside_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"nowhere\.png"):
        ContentData(Plain(4), [tmp_path / "nowhere.png"])
