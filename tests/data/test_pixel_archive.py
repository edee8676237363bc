"""Pictures as plain pixels: what is cut from them, and what becomes of damaged and lying files."""

import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from small_messages import assert_each, assert_names, raises
from torch import Tensor

from fast_style.data.photographs import Photographs
from fast_style.data.pixel_archive import PixelArchive, crop_size_note
from fast_style.data.prepare.check import check_images
from fast_style.data.prepare.pack import pack
from fast_style.errors import ConfigError, DataError, FastStyleError


def noise(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def saved(path: Path, **pictures: NDArray[np.uint8]) -> Path:
    """What NumPy itself writes."""
    np.savez(path, **pictures)  # type: ignore[arg-type]
    return path


def crops(photographs: Photographs, epochs: int) -> Tensor:
    return torch.stack([photographs[epoch, index] for epoch in range(epochs) for index in range(len(photographs))])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Pictures of 300x200, and two of less than 64 and 128 pixels."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for seed in range(20):
        Image.fromarray(noise(200, 300, seed)).save(folder / f"{seed:02}.png")
    Image.fromarray(noise(50, 80)).save(folder / "less than a crop.png")
    Image.fromarray(noise(100, 130)).save(folder / "less than two.png")
    return folder


# What is packed


def test_numpy_reads_what_is_packed_and_scales_are_spread_evenly(folder: Path, tmp_path: Path) -> None:
    packed = pack(folder, tmp_path / "packed.npz", 128, size=64)
    assert (packed.pictures, packed.untouched) == (22, 0)
    with np.load(tmp_path / "packed.npz") as arrays:
        shapes = {name: arrays[name].shape for name in arrays}
        assert {arrays[name].dtype for name in arrays} == {np.dtype(np.uint8)}
    assert shapes.pop("less than a crop.png") == (64, 102, 3)  # enlarged, as a crop of it would be
    assert 64 <= shapes.pop("less than two.png")[0] <= 100  # and otherwise never
    assert all(abs(width - 1.5 * height) <= 1 for height, width, _ in shapes.values())
    assert {channels for _, _, channels in shapes.values()} == {3}
    heights = sorted(height for height, _, _ in shapes.values())
    assert 64 <= heights[0] < 70
    assert 122 < heights[-1] <= 128
    assert max(np.diff(heights)) <= 8


def test_at_one_scale_it_is_the_picture_reduced_as_a_crop_is(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    picture = Image.fromarray(noise(200, 200))
    picture.save(tmp_path / "photos/a.png")
    pack(tmp_path / "photos", tmp_path / "packed.npz", 64, size=64)
    expected = torch.from_numpy(np.array(picture.resize((64, 64), Image.Resampling.BICUBIC))).permute(2, 0, 1)
    crop = Photographs(tmp_path / "packed.npz", 64)[0, 0]
    assert torch.equal(crop, expected) or torch.equal(crop, expected.flip(2))


def test_the_same_pictures_give_the_same_file(folder: Path, tmp_path: Path) -> None:
    for number, workers in enumerate((0, 0, 1)):
        pack(folder, tmp_path / f"{number}.npz", 96, workers, size=48)
    assert len({(tmp_path / f"{number}.npz").read_bytes() for number in range(3)}) == 1


def test_names_stay_apart_and_keep_their_folders(tmp_path: Path) -> None:
    for seed, name in enumerate(("a.jpg", "a.png", "x/a.jpg", "a.jpg.npy.jpg")):
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise(32, 32 + seed)).save(tmp_path / "photos" / name)
    pack(tmp_path / "photos", tmp_path / "packed.npz", 32, size=32)
    with np.load(tmp_path / "packed.npz") as arrays:
        assert {name: arrays[name].shape[1] for name in arrays} == {
            "a.jpg": 32,
            "a.png": 33,
            "x/a.jpg": 34,
            "a.jpg.npy.jpg": 35,
        }


def test_settings_that_do_not_fit_are_refused(folder: Path, tmp_path: Path) -> None:
    with raises(ConfigError, "size 32 short_side 64 65"):
        pack(folder, tmp_path / "packed.npz", 64, size=65)
    pack(folder, tmp_path / "packed.npz", 64)
    with raises(ConfigError, "source pixels packed.npz"):
        pack(tmp_path / "packed.npz", tmp_path / "again.zip", 64)
    # Half of the short side, where nothing is said.
    with raises(ConfigError, "size 32 packed.npz 48"):
        Photographs(tmp_path / "packed.npz", 48)


# What is cut


def test_a_crop_is_a_square_of_the_picture_pixel_for_pixel_or_mirrored(tmp_path: Path) -> None:
    # Red is the column and green the row, so that a crop tells where it was cut.
    column, row = np.meshgrid(np.arange(60), np.arange(40))
    picture = np.stack([column, row, row], axis=2).astype(np.uint8)
    photographs = Photographs(saved(tmp_path / "map.npz", map=picture), 32)
    places, mirrored = set(), 0
    for epoch in range(400):
        crop = photographs[epoch, 0].permute(1, 2, 0).numpy()
        if crop[0, 0, 0] > crop[0, 1, 0]:
            crop, mirrored = crop[:, ::-1], mirrored + 1
        x, y = int(crop[0, 0, 0]), int(crop[0, 0, 1])
        assert np.array_equal(crop, picture[y : y + 32, x : x + 32])
        places.add((x, y))
    assert 160 < mirrored < 240
    assert {x for x, _ in places} == set(range(29))  # up to 60 - 32
    assert {y for _, y in places} == set(range(9))


def test_a_crop_depends_on_seed_epoch_and_index_alone(folder: Path, tmp_path: Path) -> None:
    pack(folder, tmp_path / "packed.npz", 64)
    photographs = Photographs(tmp_path / "packed.npz", 32, seed=3)
    forwards = crops(photographs, 2)
    assert torch.equal(photographs[1, 2], forwards[22 + 2])
    assert torch.equal(crops(pickle.loads(pickle.dumps(photographs)), 2), forwards)
    assert not torch.equal(photographs[0, 2], photographs[1, 2])
    assert not torch.equal(crops(Photographs(tmp_path / "packed.npz", 32, seed=4), 2), forwards)


# What is not as it should be


def test_a_picture_smaller_than_a_crop_and_what_is_no_picture_are_passed_over(tmp_path: Path) -> None:
    arrays = {"small": noise(31, 60), "gray": np.zeros((40, 40), np.uint8), "good": noise(40, 40)}
    arrays["deep"] = np.zeros((40, 40, 3), np.uint16)
    photographs = Photographs(saved(tmp_path / "mixed.npz", **arrays), 32)
    crops(photographs, 1)
    assert list(photographs.bad) == ["deep.npy", "gray.npy", "small.npy"]
    assert_each(photographs.bad.values(), *["(height, width, 3) bytes"] * 2, "60x31 32")


def test_objects_are_not_unpickled(tmp_path: Path) -> None:
    np.savez(tmp_path / "objects.npz", a=np.array([print], object), b=noise(32, 32))
    photographs = Photographs(tmp_path / "objects.npz", 32)
    assert list(photographs.bad) == ["a.npy"]
    assert_names(photographs.bad["a.npy"], "(height, width, 3) bytes")


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("missing", "folder archive"),
        ("no zip", "folder .zip .tar"),
        ("folder", ".npz pack"),
        ("empty", "pictures .npy"),
        ("compressed", "1 a.npy compressed"),
    ],
)
def test_an_unusable_file_is_one_line(tmp_path: Path, case: str, words: str) -> None:
    path = tmp_path / "a.npz"
    match case:
        case "no zip":
            path.write_bytes(b"neither nor" * 100)
        case "folder":
            path.mkdir()
        case "empty":
            zipfile.ZipFile(path, "w").close()
        case "compressed":
            np.savez_compressed(path, a=noise(40, 40))
    with raises(DataError, words) as caught:
        Photographs(path, 32)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def lying(path: Path, height: int, width: int) -> Path:
    """An .npz with a good picture, and one that claims a size."""
    saved(path, a=noise(40, 40), b=noise(40, 40))
    content = path.read_bytes()
    start = content.rindex(b"\x93NUMPY")
    text = f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({height}, {width}, 3), }}".ljust(117) + "\n"
    assert struct.unpack("<H", content[start + 8 : start + 10]) == (118,)
    path.write_bytes(content[: start + 10] + text.encode() + content[start + 128 :])
    return path


@pytest.mark.parametrize(
    ("height", "width", "reason"),
    [
        (40, 41, "4,928 41x40"),
        (10, 40, "4,928 40x10"),
        (99999999, 99999999, "200,000,000"),
        (10**12, 40, "(height, width, 3) bytes"),
    ],
)
def test_a_size_that_is_claimed_is_not_believed(tmp_path: Path, height: int, width: int, reason: str) -> None:
    photographs = Photographs(lying(tmp_path / "a.npz", height, width), 32)
    crops(photographs, 1)
    assert list(photographs.bad) == ["b.npy"]
    assert_names(photographs.bad["b.npy"], reason)


def test_a_file_that_is_cut_short_meanwhile_kills_no_process(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.npz", a=noise(64, 64), b=noise(64, 64))
    photographs = Photographs(path, 32)
    photographs[0, 1]
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)
    assert torch.equal(photographs[0, 1], photographs[0, 1])
    assert list(photographs.bad) == ["b.npy"]
    with path.open("r+b") as file:
        file.truncate(50)
    with raises(DataError, "2 a.npy"):
        photographs[0, 0]


def test_a_check_compares_the_checksums(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.npz", a=noise(40, 50), b=noise(40, 40))
    content = bytearray(path.read_bytes())
    content[content.rindex(b"\x93NUMPY") + 2000] ^= 1
    path.write_bytes(content)
    found = check_images(path)
    assert [(finding.name, finding.format, finding.width, finding.height) for finding in found.good] == [
        ("a.npy", "NPY", 50, 40)
    ]
    assert list(found.bad) == ["b.npy"]
    assert_names(found.bad["b.npy"], "unpacked CRC-32")


def test_damage_anywhere_but_in_the_pixels_is_one_line_or_does_no_harm(tmp_path: Path) -> None:
    whole = saved(tmp_path / "a.npz", a=noise(32, 36), b=noise(34, 32)).read_bytes()
    with zipfile.ZipFile(tmp_path / "a.npz") as archive:
        starts = [member.header_offset for member in archive.infolist()]
        ends = archive.start_dir
    headers = [place for start in starts for place in range(start, start + 190)] + list(range(ends, len(whole)))
    cuts = [whole[:length] for length in range(0, len(whole), 97)]
    flips = [whole[:place] + bytes([value]) + whole[place + 1 :] for place in headers for value in (0, 0x80, 0xFF)]

    def outcome(content: bytes) -> str:
        (tmp_path / "b.npz").write_bytes(content)
        try:
            return str(crops(Photographs(tmp_path / "b.npz", 32), 1).shape)
        except FastStyleError as error:
            return f"{len(str(error).splitlines())} line"

    crop = "torch.Size([{}, 3, 32, 32])"
    assert {outcome(content) for content in cuts + flips} == {crop.format(1), crop.format(2), "1 line"}


def test_the_size_it_was_made_for_is_read_from_its_note(tmp_path: Path) -> None:
    saved(tmp_path / "a.npz", a=noise(40, 40))
    assert PixelArchive(tmp_path / "a.npz").crop_size is None
    with zipfile.ZipFile(tmp_path / "a.npz", "a") as archive:
        archive.comment = crop_size_note(40)
    assert PixelArchive(tmp_path / "a.npz").crop_size == 40
