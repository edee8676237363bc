"""Pictures on disk: read, brought to another size, stylized and written in parts, and the same as in memory."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms
from small_messages import assert_names, raises
from small_networks import varied

import fast_style.stylizing.memory_budget
from fast_style.backends.pytorch import TorchBackend
from fast_style.errors import ImageError
from fast_style.images import disk_image
from fast_style.images.deep import encode_pixels
from fast_style.images.disk_image import DiskImage
from fast_style.images.levels import to_8_bits
from fast_style.images.metadata import NOTHING, ImageMetadata
from fast_style.images.opening import picture_size
from fast_style.images.picture import open_on_disk, open_picture, write_image
from fast_style.images.upright import upright, upright_part, upright_size
from fast_style.networks import BalancedNet
from fast_style.stylizing.controls import Controls
from fast_style.stylizing.memory_budget import MemoryBudget
from fast_style.stylizing.stylizer import Stylizer
from fast_style.zoo.network_file import Metadata

PLENTY = 1e12


@pytest.fixture(autouse=True)
def narrow_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several strips of even a small picture."""
    monkeypatch.setattr(disk_image.DiskImage.strips, "__defaults__", (800,))


def levels(height: int = 61, width: int = 83, channels: int = 3, dtype: Any = np.uint8) -> NDArray[Any]:
    top = np.iinfo(dtype).max
    y, x = np.mgrid[:height, :width]
    planes = [np.sin(x / 9 + c) + np.cos(y / 7 - c) + np.sin((x * y) / 500) for c in range(channels)]
    return ((np.stack(planes, axis=2) + 3) / 6 * top).round().astype(dtype)


def on_disk(pixels: NDArray[Any]) -> DiskImage:
    raster = DiskImage((pixels.shape[1], pixels.shape[0]), pixels.shape[2], pixels.dtype)
    raster.write(0, 0, pixels)
    return raster


def difference(a: Any, b: Any) -> int:
    assert np.shape(a) == np.shape(b)
    return int(np.abs(np.asarray(a).astype(int) - np.asarray(b)).max())


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3])
def test_what_is_written_in_parts_is_read_in_others(dtype: Any, channels: int) -> None:
    pixels = levels(channels=channels, dtype=dtype)
    raster = DiskImage((83, 61), channels, dtype)
    for left, top in ((0, 0), (40, 0), (0, 30), (40, 30)):
        right, bottom = (left + 40 if left == 0 else 83), (top + 30 if top == 0 else 61)
        raster.write(left, top, pixels[top:bottom, left:right])
    for box in ((0, 0, 83, 61), (0, 7, 83, 9), (5, 20, 62, 50), (82, 60, 83, 61)):
        left, top, right, bottom = box
        assert (raster.read(box) == pixels[top:bottom, left:right]).all()
    few = pixels if dtype is np.uint8 else to_8_bits(pixels)
    assert (np.asarray(raster.image()) == (few[:, :, 0] if channels == 1 else few)).all()


@pytest.mark.parametrize("size", [(83, 61), (40, 29), (120, 200), (9, 61), (1, 1)])
def test_a_raster_is_resized_as_pillow_resizes_a_picture(
    size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk_image, "_STRIP", 800)
    monkeypatch.setattr(disk_image, "_COLUMNS", 800)
    image = Image.fromarray(levels())
    expected = image.resize(size, Image.Resampling.LANCZOS)
    assert difference(DiskImage.of(image).resized(size).image(), expected) == 0
    deep = on_disk(levels(dtype=np.uint16)).resized(size)
    # Pillow rounds 8 bits after the rows and after the columns.
    assert difference(deep.image(), expected) <= 2
    assert deep.white == 65535


def test_without_room_on_disk_one_line_says_where(
    small_disk: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(small_disk("64k")))
    with raises(ImageError, "disk 0.1 GB No space left on device TMPDIR"):
        DiskImage((5000, 5000))
    monkeypatch.setenv("TMPDIR", "/nowhere")
    with raises(ImageError, "/nowhere written No such file"):
        DiskImage((5000, 5000))


@pytest.mark.parametrize("orientation", range(1, 10))
def test_a_part_of_a_turned_picture_is_that_of_the_upright_one(orientation: int) -> None:
    image = Image.fromarray(levels())
    whole = upright(image, orientation)
    assert upright_size(image, orientation) == whole.size
    box = (5, 11, 37, 30)
    assert difference(upright_part(image, orientation, box), whole.crop(box)) == 0


def exchanged_profile() -> bytes:
    """SRGB with red and green exchanged."""
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return srgb.replace(b"rXYZ", b"****").replace(b"gXYZ", b"rXYZ").replace(b"****", b"gXYZ")


def write_samples(folder: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation], exif[ExifTags.Base.Make] = 6, "Maker"
    image = Image.fromarray(levels())
    image.save(folder / "turned.jpg", exif=exif, dpi=(300, 300))
    image.save(folder / "profile.png", icc_profile=exchanged_profile())
    image.convert("CMYK").save(folder / "cmyk.tif")
    clear = image.copy()
    clear.putalpha(Image.linear_gradient("L").resize(image.size))
    clear.save(folder / "clear.png", icc_profile=exchanged_profile(), exif=exif)
    image.quantize(9).save(folder / "palette.png", transparency=3)
    Image.fromarray(levels(channels=1)[:, :, 0]).save(folder / "gray.webp", lossless=True)
    deep = levels(dtype=np.uint16)
    (folder / "deep.png").write_bytes(encode_pixels(deep, None, "PNG", ImageMetadata(exif.tobytes())))
    clear_deep = np.concatenate([deep, levels(channels=1, dtype=np.uint16)], axis=2)
    (folder / "deep.tif").write_bytes(encode_pixels(clear_deep, None, "TIFF", NOTHING))
    Image.fromarray(levels(channels=1, dtype=np.uint16)[:, :, 0]).save(folder / "deep_gray.png")
    tifffile.imwrite(folder / "deep_profile.tif", deep, photometric="rgb", iccprofile=exchanged_profile())


SAMPLES = (
    *("turned.jpg", "profile.png", "cmyk.tif", "clear.png", "palette.png", "gray.webp", "deep.png", "deep.tif"),
    *("deep_gray.png", "deep_profile.tif"),
)


@pytest.mark.parametrize("name", SAMPLES)
def test_a_picture_is_on_disk_what_it_is_in_memory(tmp_path: Path, name: str) -> None:
    write_samples(tmp_path)
    picture = open_picture(tmp_path / name, deep=True)
    large = open_on_disk(tmp_path / name, deep=True, room=PLENTY)
    assert sorted(picture_size(tmp_path / name) or ()) == sorted(picture.rgb.size)
    assert difference(large.rgb.image(), picture.rgb) <= (1 if picture.deep is not None else 0)
    assert (large.alpha is None) == (picture.alpha is None)
    if large.alpha is not None and picture.alpha is not None:
        assert difference(large.alpha.image(), picture.alpha) == 0
    assert (large.format, large.metadata, large.reduced) == (picture.format, picture.metadata, False)
    assert (large.rgb.white == 65535) == (picture.deep is not None) == name.startswith("deep")
    if picture.deep is not None:
        assert difference(large.rgb.read((0, 0, *large.rgb.size)), picture.deep) == 0
    # Without room, or where nobody asks for more, there are 8 bits.
    for settings in ({"deep": True, "room": 1000.0}, {"deep": False, "room": PLENTY}):
        few = open_on_disk(tmp_path / name, **settings)  # type: ignore[arg-type]
        assert (few.rgb.white, few.reduced) == (255, name.startswith("deep") and settings["deep"])
        assert difference(few.rgb.image(), picture.rgb) == 0


@pytest.mark.parametrize("suffix", ["png", "tif", "jpg", "webp", "bmp", "gif"])
@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_raster_is_written_as_a_picture_is(tmp_path: Path, suffix: str, alpha: bool, dtype: Any) -> None:
    pixels = levels(dtype=dtype)
    opacity = Image.linear_gradient("L").resize((83, 61)) if alpha else None
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "Maker"
    kept = ImageMetadata(exif.tobytes(), (300.0, 300.0))
    image = Image.fromarray(pixels) if dtype is np.uint8 else pixels
    write_image(image, tmp_path / f"a.{suffix}", opacity, metadata=kept)
    write_image(on_disk(pixels), tmp_path / f"b.{suffix}", opacity and DiskImage.of(opacity), metadata=kept)
    a, b = (open_picture(tmp_path / f"{name}.{suffix}", deep=True) for name in "ab")
    # On white, the last bit is rounded in another way, and a JPEG makes more of it.
    assert difference(a.rgb, b.rgb) <= (4 if alpha and suffix in ("jpg", "bmp") else 0)
    assert (a.metadata, a.alpha is None, a.deep is None) == (b.metadata, b.alpha is None, b.deep is None)
    if a.alpha is not None and b.alpha is not None:
        assert difference(a.alpha, b.alpha) == 0
    if a.deep is not None and b.deep is not None:
        assert difference(a.deep, b.deep) == 0
        assert difference(a.deep, pixels) == 0


@pytest.fixture
def stylizer() -> Stylizer:
    torch.manual_seed(2)
    network = varied(BalancedNet(styles=2, width=8, blocks=1)).to(memory_format=torch.channels_last)
    return Stylizer(TorchBackend(network, "cpu", "fp32"), Metadata({"a": {}, "b": {}}))


def too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast_style.stylizing.memory_budget, "_SMALL", 0)
    monkeypatch.setattr(MemoryBudget, "left", lambda self: 0.0)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("turned.jpg", {}),
        ("clear.png", {"grain": 0.3, "brush": 1.5}),
        ("deep.png", {"preserve_color": "luminance"}),
        ("deep.tif", {"size": 120, "strength": 0.7}),
        ("clear.png", {"size": 70, "sharpen": 1, "brush": 0.5}),
        ("clear.png", {"preserve_color": "histogram", "sharpen": 1, "mask": Image.linear_gradient("L")}),
        ("deep.png", {"preserve_color": "histogram", "brush": 1.5}),
        ("deep.png", {"strength": 0}),
    ],
)
def test_a_file_that_does_not_fit_becomes_what_it_does_whole(
    stylizer: Stylizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, settings: dict[str, Any]
) -> None:
    write_samples(tmp_path)
    whole, parts = tmp_path / f"whole_{name}", tmp_path / f"parts_{name}"
    settings = {"style": "b", **settings}
    stylizer.stylize_file(tmp_path / name, whole, **settings)
    too_large(monkeypatch)

    def fails(*_: object) -> None:
        raise AssertionError("was read whole")

    monkeypatch.setattr("fast_style.stylizing.stylizer.read_original", fails)
    stylizer.stylize_file(tmp_path / name, parts, **settings)
    a, b = (open_picture(path, deep=True) for path in (whole, parts))
    # What a JPEG makes of two levels.
    assert difference(a.rgb, b.rgb) <= (8 if name.endswith("jpg") else 2)
    assert (a.metadata, a.format) == (b.metadata, b.format)
    if a.alpha is not None and b.alpha is not None:
        assert difference(a.alpha, b.alpha) <= 1
    assert (a.deep is None) == (b.deep is None) == (not name.startswith("deep"))
    if a.deep is not None and b.deep is not None:
        assert difference(a.deep, b.deep) <= 2 * 257


def test_where_16_bits_do_not_fit_one_line_says_so(
    stylizer: Stylizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_samples(tmp_path)
    too_large(monkeypatch)
    monkeypatch.setattr("fast_style.stylizing.tiling.free_memory", lambda: 0.0)
    stylizer.stylize_file(tmp_path / "deep.png", tmp_path / "a.png")
    assert open_picture(tmp_path / "a.png", deep=True).deep is None
    assert_names(capsys.readouterr().err, f"{tmp_path}/deep.png memory 16 8")


def test_a_limit_counts_what_controls_and_reading_take(
    stylizer: Stylizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("RGB", (400, 300)).save(tmp_path / "a.png")
    per_pixel = stylizer.backend.bytes_per_pixel()
    room = 400 * 300 * (per_pixel + 20)
    monkeypatch.setattr(fast_style.stylizing.memory_budget, "_SMALL", 0)
    monkeypatch.setattr(MemoryBudget, "left", lambda self: room)
    fits = stylizer.budget.fits_file
    assert fits(tmp_path / "a.png", None, Controls())
    # The network is shown four times as many pixels, or there are two results and two masks at a time.
    assert not fits(tmp_path / "a.png", None, Controls(brush=0.5))
    white = Image.new("L", (1, 1), 255)
    assert not fits(tmp_path / "a.png", None, Controls(masks={"a": white, "b": white}))
    # What becomes small is large before.
    room = 400 * 300 * 10.0
    assert not fits(tmp_path / "a.png", 60, Controls())


def test_a_limit_counts_what_it_takes_to_read_a_file(stylizer: Stylizer, tmp_path: Path) -> None:
    Image.new("L", (20_000, 9_000)).save(tmp_path / "large.png")
    strict = Stylizer(stylizer.backend, stylizer.metadata, memory="1MB")
    with raises(ImageError, "large.png memory GB 20000x9000"):
        strict.stylize_file(tmp_path / "large.png", tmp_path / "a.png")


def test_what_cannot_be_read_or_written_is_named_once(
    stylizer: Stylizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_samples(tmp_path)
    content = (tmp_path / "clear.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(content[: len(content) // 2])
    too_large(monkeypatch)
    with monkeypatch.context() as patch:
        patch.setattr("fast_style.stylizing.tiling.open_on_disk", lambda *_: pytest.fail("was read for nothing"))
        with raises(ImageError, "none/a.png written folder"):
            stylizer.stylize_file(tmp_path / "clear.png", tmp_path / "none" / "a.png")
        patch.setattr("os.access", lambda *_: False)
        with raises(ImageError, "/a.png written Permission denied"):
            stylizer.stylize_file(tmp_path / "clear.png", tmp_path / "a.png")
    with raises(ImageError, f"{tmp_path}/cut.png readable truncated"):
        stylizer.stylize_file(tmp_path / "cut.png", tmp_path / "a.png")
    assert not (tmp_path / "a.png").exists()


def test_who_wants_it_is_told_the_progress_of_tiles(
    stylizer: Stylizer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told: list[tuple[int, int, int]] = []
    watched = Stylizer(stylizer.backend, stylizer.metadata, progress=lambda *each: told.append(each))
    watched(Image.fromarray(levels(300, 400)))
    assert told == []
    too_large(monkeypatch)
    watched(Image.fromarray(levels(300, 400)))
    number, done, total = zip(*told, strict=True)
    assert (number[0], done[0]) == (1, 1)
    assert len(set(total)) == 1
    assert list(number) == sorted(number)
    assert done == tuple(range(1, total[0] + 1)) * number[-1]
    # The library shows nothing by itself.
    stylizer(Image.fromarray(levels(300, 400)))
    assert capsys.readouterr() == ("", "")
