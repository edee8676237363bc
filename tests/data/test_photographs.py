"""Content pictures for training, from folders and archives."""

import os
import pickle
import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from small_messages import assert_each, assert_names, raises
from torch import Tensor
from torch.utils.data import DataLoader

from fast_style.data.photographs import Photographs
from fast_style.errors import ConfigError, DataError
from fast_style.images.picture import Picture, flatten
from fast_style.images.tensors import to_tensor
from fast_style.system.files import BinaryFile


def noise(seed: int, width: int = 60, height: int = 40) -> Image.Image:
    """Smooth blotches, different for each seed."""
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five pictures at different depths, among files that are none."""
    root = tmp_path / "photos"
    for seed, name in enumerate(["a.jpg", "b.png", "train/c.JPEG", "train/deep/d.webp", "val/e.jpg"]):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        noise(seed).save(root / name)
    for name in ("notes.txt", "captions.json", ".hidden.jpg", "train/._c.jpg", ".cache/f.jpg"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(b"no picture")
    return root


def packed(folder: Path, kind: str) -> Path:
    """The folder itself, or an archive of it."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    if kind == "folder":
        return folder
    archive = folder.with_suffix(f".{kind}")
    if kind == "zip":
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed_zip:
            for path in files:
                packed_zip.write(path, path.relative_to(folder))
    else:
        with tarfile.open(archive, "w:gz" if kind == "tar.gz" else "w") as packed_tar:
            for path in files:
                packed_tar.add(path, path.relative_to(folder))
    return archive


def crops(photographs: Photographs, epochs: int = 2) -> Tensor:
    return torch.stack([photographs[epoch, index] for epoch in range(epochs) for index in range(len(photographs))])


def test_pictures_are_found_at_any_depth_and_nothing_else(folder: Path) -> None:
    photographs = Photographs(folder, 32)
    assert photographs.names == ["a.jpg", "b.png", "train/c.JPEG", "train/deep/d.webp", "val/e.jpg"]
    assert (len(photographs), photographs.bad) == (5, {})


def test_a_crop_is_bytes_of_the_given_size(folder: Path) -> None:
    crop = Photographs(folder, 32)[0, 0]
    assert (crop.shape, crop.dtype, crop.stride()) == ((3, 32, 32), torch.uint8, (1, 96, 3))


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_an_archive_is_read_in_place_and_gives_what_its_folder_gives(folder: Path, kind: str) -> None:
    archive = packed(folder, kind)
    before = sorted(folder.parent.rglob("*"))
    photographs = Photographs(archive, 32)
    assert photographs.names == Photographs(folder, 32).names
    assert torch.equal(crops(photographs), crops(Photographs(folder, 32)))
    assert sorted(folder.parent.rglob("*")) == before


# Python 3.12 and later warn of forking once torch has started threads.
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("kind", ["folder", "zip", "tar"])
def test_workers_give_what_one_process_gives(folder: Path, kind: str) -> None:
    photographs = Photographs(packed(folder, kind), 32)
    expected = crops(photographs)  # An archive is now open here, as the workers start.
    keys = [(epoch, index) for epoch in range(2) for index in range(5)]
    loader = DataLoader(photographs, sampler=keys, batch_size=2, num_workers=2, multiprocessing_context="fork")
    assert torch.equal(torch.cat(list(loader)), expected)


@pytest.mark.parametrize("kind", ["folder", "zip", "tar"])
def test_a_copy_sent_to_another_process_reads_on(folder: Path, kind: str) -> None:
    photographs = Photographs(packed(folder, kind), 32)
    assert torch.equal(crops(pickle.loads(pickle.dumps(photographs))), crops(photographs))


def test_a_crop_depends_on_seed_epoch_and_index_alone(folder: Path) -> None:
    photographs = Photographs(folder, 32, seed=3)
    forwards = crops(photographs)
    assert torch.equal(photographs[1, 2], forwards[5 + 2])
    assert torch.equal(crops(Photographs(folder, 32, seed=3)), forwards)
    assert not torch.equal(photographs[0, 2], photographs[1, 2])
    assert not torch.equal(crops(Photographs(folder, 32, seed=4)), forwards)


def test_crops_cover_half_to_all_of_the_short_side_anywhere_and_are_mirrored_half_the_time(tmp_path: Path) -> None:
    # Red is the column and green the row, so that a crop tells where it was cut.
    column, row = np.meshgrid(np.arange(240), np.arange(160))
    Image.fromarray(np.stack([column, row, row], axis=2).astype(np.uint8)).save(tmp_path / "map.png")
    many = torch.stack([Photographs(tmp_path, 40)[epoch, 0] for epoch in range(200)]).float()
    steps = many[:, 0, 20, 38] - many[:, 0, 20, 1]
    width = steps.abs() * 40 / 37
    assert 79 <= width.min() < 90
    assert 150 < width.max() <= 162
    assert 0.4 < (steps < 0).float().mean() < 0.6
    assert many[:, 0].min() < 5
    assert many[:, 0].max() > 234
    assert many[:, 1].min() < 5
    assert many[:, 1].max() > 154


def test_a_picture_smaller_than_the_crop_is_enlarged_whole(tmp_path: Path) -> None:
    noise(1, 20, 20).save(tmp_path / "small.png")
    whole = noise(1, 20, 20).resize((50, 50), Image.Resampling.BICUBIC)
    expected = (to_tensor(whole)[0] * 255).round().byte()
    photographs = Photographs(tmp_path, 50)
    for epoch in range(8):
        crop = photographs[epoch, 0]
        assert torch.equal(crop, expected) or torch.equal(crop, expected.flip(2))


def test_a_large_jpeg_gives_nearly_the_crop_of_its_lossless_copy(tmp_path: Path) -> None:
    for name in ("jpeg/large.jpg", "png/large.png"):
        (tmp_path / name).parent.mkdir()
        noise(2, 800, 600).save(tmp_path / name)
    jpeg, png = crops(Photographs(tmp_path / "jpeg", 32), 8), crops(Photographs(tmp_path / "png", 32), 8)
    assert (jpeg.float() - png.float()).abs().mean() < 2


def test_an_upright_crop_comes_from_a_turned_photograph(tmp_path: Path) -> None:
    sky_above_grass = Image.new("RGB", (40, 40), (0, 0, 255))
    sky_above_grass.paste((0, 255, 0), (0, 20, 40, 40))
    exif = Image.Exif()
    exif[0x0112] = 6
    sky_above_grass.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.jpg", exif=exif)
    crop = Photographs(tmp_path, 40)[0, 0]
    assert crop[2, 0].float().mean() > 200 > 50 > crop[2, -1].float().mean()


def damage(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("kind", ["folder", "zip", "tar"])
def test_unreadable_pictures_are_passed_over_and_counted(folder: Path, kind: str) -> None:
    damage(folder / "b.png")
    (folder / "train/c.JPEG").write_bytes(b"")
    (folder / "val/e.jpg").write_bytes(b"<html>Not found</html>")
    photographs = Photographs(packed(folder, kind), 32)
    first, again = crops(photographs), crops(photographs)
    assert torch.equal(first, again)
    assert list(photographs.bad) == ["b.png", "train/c.JPEG", "val/e.jpg"]
    assert_names(photographs.bad["train/c.JPEG"], "readable empty")
    assert len(photographs) == 5


def test_the_next_readable_picture_stands_in(tmp_path: Path) -> None:
    for name, color in (("a.png", "red"), ("b.png", "lime"), ("c.png", "blue")):
        Image.new("RGB", (20, 20), color).save(tmp_path / name)
    damage(tmp_path / "a.png")
    damage(tmp_path / "c.png")
    photographs = Photographs(tmp_path, 32)
    assert [photographs[0, index][:, 4, 4].tolist() for index in range(3)] == [[0, 255, 0]] * 3


def test_a_member_with_a_wrong_checksum_is_passed_over_and_one_with_a_password_refused(folder: Path) -> None:
    archive = packed(folder, "zip")
    content = bytearray(archive.read_bytes())
    with zipfile.ZipFile(archive) as opened:
        members = [opened.getinfo(name) for name in ("a.jpg", "b.png")]
    content[members[0].header_offset + 30 + len("a.jpg") + 60] ^= 0xFF
    directory = content.rindex(b"PK\x01\x02", 0, content.rindex(b"b.png"))
    for flags in (members[1].header_offset + 6, directory + 8):
        content[flags] |= 1
    archive.write_bytes(content)
    photographs = Photographs(archive, 32)
    crops(photographs)
    assert set(photographs.bad) == {"a.jpg"}
    assert photographs.refused == {"b.png": "encrypted"}
    assert "b.png" not in photographs.names


def test_a_photograph_that_vanishes_later_is_passed_over(folder: Path) -> None:
    photographs = Photographs(folder, 32)
    (folder / "b.png").unlink()
    assert photographs[0, 1].shape == (3, 32, 32)
    assert "No such file" in photographs.bad["b.png"]


def test_when_all_vanish_the_error_names_one(folder: Path) -> None:
    photographs = Photographs(folder, 32)
    for name in photographs.names:
        (folder / name).unlink()
    with raises(DataError, "photos 5 a.jpg No such"):
        photographs[0, 1]


def test_links_are_followed_but_not_in_circles(folder: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    noise(9).save(elsewhere / "linked.png")
    os.symlink(elsewhere, folder / "more")
    os.symlink(folder, folder / "val/back")
    names = ["a.jpg", "b.png", "more/linked.png", "train/c.JPEG", "train/deep/d.webp", "val/e.jpg"]
    assert Photographs(folder, 32).names == names


def test_an_index_outside_is_refused(folder: Path) -> None:
    with pytest.raises(IndexError, match="picture 5 of 5"):
        Photographs(folder, 32)[0, 5]


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("missing", "folder archive"),
        ("empty", "pictures .jpg .jpeg"),
        ("broken", "1 only.jpg readable"),
        ("cut.zip", "folder .zip .tar"),
        ("cut.tar", "folder .zip .tar"),
        ("other.bin", "folder .zip .tar"),
        ("photos.tar.gz", "compressed tar"),
        ("empty.zip", "pictures .jpg"),
    ],
)
def test_an_unusable_source_is_one_line_before_anything_starts(
    folder: Path, tmp_path: Path, case: str, words: str
) -> None:
    path = tmp_path / case
    match case:
        case "empty":
            path.mkdir()
        case "broken":
            path.mkdir()
            (path / "only.jpg").write_bytes(b"broken")
        case "cut.zip" | "cut.tar":
            packed(folder, case[-3:]).rename(path)
            path.write_bytes(path.read_bytes()[:1300])
        case "other.bin":
            path.write_bytes(b"neither nor" * 100)
        case "photos.tar.gz":
            packed(folder, "tar.gz")
        case "empty.zip":
            zipfile.ZipFile(path, "w").close()
    with raises(DataError, words) as caught:
        Photographs(path, 32)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


class Recorded:
    """A source that writes down, for all processes, what is opened."""

    def __init__(self, photographs: Photographs, record: Path) -> None:
        self.source, self.record = photographs._files, record
        self.refused = self.source.refused
        record.touch()

    def names(self) -> Iterable[str]:
        return self.source.names()

    def open(self, name: str) -> BinaryFile:
        with self.record.open("a") as record:
            print(name, file=record)
        return self.source.open(name)


# Python 3.12 and later warn of forking once torch has started threads.
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_what_one_worker_finds_bad_no_other_tries_again(folder: Path, tmp_path: Path) -> None:
    damage(folder / "b.png")
    photographs = Photographs(folder, 32)
    photographs._files = Recorded(photographs, tmp_path / "opened")
    keys = [(0, 1), (1, 1)]
    for _ in range(3):  # each time with a worker of its own
        list(DataLoader(photographs, sampler=keys, num_workers=1, multiprocessing_context="fork"))
    opened = (tmp_path / "opened").read_text().split()
    assert opened == ["b.png", *["train/c.JPEG"] * 6]


def test_what_stands_in_does_not_depend_on_who_has_found_what(folder: Path) -> None:
    damage(folder / "b.png")
    damage(folder / "train/c.JPEG")
    knowing, one, another = (Photographs(folder, 32) for _ in range(3))
    crops(knowing)
    expected = crops(knowing)
    # Backwards, and every other picture in another process.
    keys = [(epoch, index) for epoch in range(2) for index in range(5)]
    for place in reversed(range(10)):
        assert torch.equal((one, another)[place % 2][keys[place]], expected[place])


@pytest.mark.parametrize("max_bad", [0.25, 1])
def test_as_many_pictures_may_be_bad_as_max_bad_says(folder: Path, max_bad: float) -> None:
    (folder / "a.jpg").unlink()
    damage(folder / "b.png")
    photographs = Photographs(folder, 32, max_bad=max_bad)
    crops(photographs)
    photographs.check()


def test_too_many_are_one_line_with_what_to_do(folder: Path) -> None:
    (folder / "b.png").write_bytes(b"<html>Not found</html>")
    photographs = Photographs(folder, 32, max_bad=0.19)
    photographs.check()  # Nobody has looked yet.
    crops(photographs)
    with raises(DataError, f"{folder} 1 5 20.00% b.png markup runs/a/bad_files.txt data.max_bad"):
        photographs.check("runs/a/bad_files.txt")


def test_a_part_that_is_exactly_allowed_is_allowed(tmp_path: Path) -> None:
    # 0.29 * 100 is below 29 in floating point.
    noise(0).save(tmp_path / "a.png")
    for index in range(29):
        (tmp_path / f"b{index}.png").touch()
    for index in range(70):
        (tmp_path / f"c{index}.png").hardlink_to(tmp_path / "a.png")
    photographs = Photographs(tmp_path, 32, max_bad=0.29)
    crops(photographs, 1)
    assert len(photographs.skipped) == 29
    photographs.check()


@pytest.mark.parametrize("max_bad", [-0.01, 1.01, float("nan")])
def test_max_bad_outside_0_to_1_is_refused(folder: Path, max_bad: float) -> None:
    with raises(ConfigError, f"max_bad 0 1 {max_bad}"):
        Photographs(folder, 32, max_bad=max_bad)


def test_the_list_has_name_and_reason_also_of_what_others_found_and_of_what_is_refused(folder: Path) -> None:
    damage(folder / "b.png")
    (folder / "val/e.jpg").write_bytes(b"")
    with zipfile.ZipFile(packed(folder, "zip"), "a") as archive:
        archive.writestr("../f.jpg", b"")
    photographs = Photographs(folder.with_suffix(".zip"), 32)
    photographs.flags[[1, 4]] = 1
    photographs.flags[2] = 1  # as if reading it had failed for once
    lines = [line.split("\t") for line in photographs.listing().splitlines()]
    assert [name for name, _ in lines] == ["b.png", "train/c.JPEG", "val/e.jpg", "../f.jpg"]
    assert_each([reason for _, reason in lines][1:], "while", "readable empty", "refused leads out")


def test_mended_pictures_are_taken_again_and_others_known_at_once(folder: Path) -> None:
    (folder / "val/e.jpg").write_bytes(b"")
    photographs = Photographs(folder, 32)
    photographs.look_again(["b.png", "val/e.jpg", "no longer there.png"])
    assert photographs.skipped == ["val/e.jpg"]


def test_names_that_are_not_unicode_are_read_and_shown(tmp_path: Path) -> None:
    for name, content in ((b"caf\xe9.png", b""), (b"two\nlines\t.png", b""), (b"th\xe9.png", None)):
        path = tmp_path / os.fsdecode(name)
        noise(0).save(path, "PNG") if content is None else path.write_bytes(content)
    photographs = Photographs(tmp_path, 32, max_bad=0.5)
    crops(photographs)
    assert photographs.skipped == [r"caf\udce9.png", r"two\nlines\t.png"]
    assert_each(photographs.listing().splitlines(), *(f"{name} readable empty" for name in photographs.skipped))
    with pytest.raises(DataError, match="2 of 3 pictures") as caught:
        photographs.check()
    str(caught.value).encode()
    assert "\n" not in str(caught.value)


def test_pictures_of_every_shape_give_a_crop(tmp_path: Path) -> None:
    for width, height in ((1, 1), (1, 3000), (3000, 1), (2, 2), (31, 33)):
        noise(0, width, height).save(tmp_path / f"{width}x{height}.png")
    photographs = Photographs(tmp_path, 32)
    assert crops(photographs).shape == (10, 3, 32, 32)
    assert photographs.skipped == []


def test_a_picture_too_large_for_the_memory_is_passed_over(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photographs = Photographs(folder, 32)

    def flatten_little(picture: Picture) -> Image.Image:
        if picture.format == "PNG":
            raise MemoryError
        return flatten(picture)

    monkeypatch.setattr("fast_style.data.photographs.flatten", flatten_little)
    crops(photographs)
    assert list(photographs.bad) == ["b.png"]
    assert_names(photographs.bad["b.png"], "large memory")


def test_an_archive_of_nothing_but_refused_members_tells_why(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.writestr("../a.jpg", b"")
    with raises(DataError, "pictures ../a.jpg leads"):
        Photographs(tmp_path / "evil.zip", 32)


def test_what_workers_skip_is_known_to_all(folder: Path) -> None:
    (folder / "val/e.jpg").write_bytes(b"<html>Not found</html>")
    photographs = Photographs(folder, 32)
    assert photographs.skipped == []
    keys = [(0, index) for index in range(len(photographs))]
    for _ in DataLoader(photographs, batch_size=None, sampler=keys, num_workers=1):
        pass
    assert photographs.bad == {}
    assert photographs.skipped == ["val/e.jpg"]


def test_a_size_too_small_to_show_anything_is_refused(folder: Path) -> None:
    with raises(ConfigError, "size 32 8"):
        Photographs(folder, 8)
