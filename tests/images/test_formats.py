"""Formats beyond the common ones, and what a copy of a photograph keeps besides its pixels."""

import io
import struct
import threading
import zlib
from pathlib import Path
from typing import Any

import cv2
import imagecodecs
import numpy as np
import pillow_heif
import pytest
import tifffile
import torch
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms
from small_messages import assert_each, assert_names, raises
from small_networks import varied

from fast_style.backends.pytorch import TorchBackend
from fast_style.errors import ImageError
from fast_style.images import deep, formats, jpeg2000, notes, raw
from fast_style.images.boxes import box
from fast_style.images.deep import encode_pixels
from fast_style.images.disk_image import DiskImage
from fast_style.images.formats import FORMATS, PICTURE_SUFFIXES, WITH_ALPHA, WRITABLE_SUFFIXES, copy_suffix
from fast_style.images.levels import to_8_bits
from fast_style.images.metadata import NOTHING, ImageMetadata
from fast_style.images.picture import open_on_disk, open_picture, read_original, write_image
from fast_style.networks import LightNet
from fast_style.stylizing.stylizer import Stylizer
from fast_style.system.optional_packages import how_to_install
from fast_style.zoo.saving import Metadata

TAGS, IFD = ExifTags.Base, ExifTags.IFD


def gradient(width: int = 48, height: int = 32) -> Image.Image:
    """Red grows to the right, green downwards."""
    red, green = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return Image.fromarray(np.stack([red, green, np.full_like(red, 90)], axis=2).round().astype(np.uint8))


def fine(channels: int = 3) -> NDArray[np.uint16]:
    """A picture of which no two neighbors have the same level of 65536, and few the same of 256."""
    across, down = np.meshgrid(np.arange(40), np.arange(30))
    return np.stack([(across * 37 + down * 91 + c * 7001) for c in range(channels)], axis=2).astype(np.uint16) * 9


def smooth() -> NDArray[np.uint16]:
    """Red grows from black to white through each of 1200 levels, and so that no codec has much to lose."""
    red, green = np.meshgrid(np.linspace(0, 65535, 1200), np.linspace(0, 65535, 24))
    return np.stack([red, green, (red + green) / 2], axis=2).round().astype(np.uint16)


def distance(a: Image.Image, b: Image.Image) -> int:
    assert a.size == b.size
    return int(np.abs(np.asarray(a).astype(int) - np.asarray(b)).max())


def photograph_exif() -> Image.Exif:
    """As a camera writes it, turned on its side."""
    exif = Image.Exif()
    exif[TAGS.Make], exif[TAGS.Copyright], exif[TAGS.Orientation] = "Maker", "Nobody", 6
    exif.get_ifd(IFD.Exif).update({TAGS.FNumber: 2.8, TAGS.DateTimeOriginal: "2026:01:31 20:15:00"})
    exif.get_ifd(IFD.Exif).update({TAGS.MakerNote: b"secret" * 9, TAGS.ExifImageWidth: 9999})
    exif.get_ifd(IFD.GPSInfo).update({ExifTags.GPS.GPSLatitudeRef: "N", ExifTags.GPS.GPSLatitude: (59.0, 54.0, 36.0)})
    return exif


@pytest.mark.parametrize("suffix", WRITABLE_SUFFIXES)
def test_every_format_that_is_written_is_read_again(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"picture{suffix}"
    alpha = Image.new("L", (48, 32), 255)
    alpha.paste(0, (0, 0, 20, 32))
    write_image(gradient(), path, alpha)
    picture = open_picture(path)
    assert picture.format == FORMATS[suffix]
    assert (picture.alpha is not None) == (picture.format in WITH_ALPHA)
    write_image(gradient(), path)
    colors = 90 if suffix == ".gif" else 12  # 256 of them
    assert distance(open_picture(path).rgb, gradient()) <= colors


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.jpg", ".jpg"),
        ("a.PNG", ".PNG"),
        ("a.CR2", ".tif"),
        ("a.psd", ".png"),
        ("a.ico", ".png"),
        ("a.heic", ".heic"),
    ],
)
def test_a_copy_ends_as_the_picture_does_if_that_can_be_written(name: str, expected: str) -> None:
    assert copy_suffix(Path(name)) == expected
    assert {copy_suffix(Path(f"a{suffix}")) for suffix in PICTURE_SUFFIXES} <= set(WRITABLE_SUFFIXES)


def test_icons_are_read_and_their_copies_are_png(tmp_path: Path) -> None:
    gradient(64, 64).save(tmp_path / "icon.ico", sizes=[(16, 16), (64, 64)])
    picture = open_picture(tmp_path / "icon.ico")
    assert (picture.rgb.size, picture.format) == ((64, 64), "PNG")
    with raises(ImageError, "icon.ico written .jpg"):
        write_image(gradient(), tmp_path / "icon.ico")


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "avif", "tif", "heic", "jp2"])
def test_exif_is_kept_but_what_holds_of_the_file_only(tmp_path: Path, suffix: str, deep: bool) -> None:
    gradient().save(tmp_path / "photo.jpg", exif=photograph_exif(), dpi=(300, 200))
    picture = open_picture(tmp_path / "photo.jpg")
    assert picture.rgb.size == (32, 48)
    pixels = np.asarray(picture.rgb).astype(np.uint16) * np.uint16(257)
    write_image(pixels if deep else picture.rgb, tmp_path / f"copy.{suffix}", metadata=picture.metadata)
    copy = open_picture(tmp_path / f"copy.{suffix}")
    assert copy.rgb.size == (32, 48)  # It is not turned again.
    found = Image.Exif()
    found.load(copy.metadata.exif)
    assert (found[TAGS.Make], found[TAGS.Copyright]) == ("Maker", "Nobody")
    assert found.get(TAGS.Orientation, 1) == 1
    taken, place = found.get_ifd(IFD.Exif), found.get_ifd(IFD.GPSInfo)
    assert (float(taken[TAGS.FNumber]), taken[TAGS.DateTimeOriginal]) == (2.8, "2026:01:31 20:15:00")
    assert place[ExifTags.GPS.GPSLatitude] == (59.0, 54.0, 36.0)
    assert TAGS.MakerNote not in taken
    assert TAGS.ExifImageWidth not in taken
    assert copy.metadata.dpi == pytest.approx((300, 200), abs=0.1)


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "bmp", "jp2"])
def test_dots_per_inch_are_kept(tmp_path: Path, suffix: str) -> None:
    gradient().save(tmp_path / "scan.png", dpi=(600, 600))
    scan = open_picture(tmp_path / "scan.png")
    assert scan.metadata.exif == b""
    write_image(scan.rgb, tmp_path / f"copy.{suffix}", metadata=scan.metadata)
    with Image.open(tmp_path / f"copy.{suffix}") as copy:
        assert copy.info["dpi"] == pytest.approx((600, 600), abs=0.1)


@pytest.mark.parametrize("dpi", [(0, 0), (1, 1), (float("nan"), 72), ("a", "b"), 72, None])
def test_what_is_no_resolution_is_not_kept(dpi: Any) -> None:
    image = gradient()
    image.info["dpi"] = dpi
    assert ImageMetadata.of(image) == NOTHING


def test_damaged_metadata_costs_no_picture(tmp_path: Path) -> None:
    gradient().save(tmp_path / "odd.jpg", exif=b"Exif\x00\x00MM\x00\x2a\x00\x00\x00\x08\x00\x09broken", dpi=(300, 300))
    odd = open_picture(tmp_path / "odd.jpg")
    write_image(odd.rgb, tmp_path / "copy.jpg", metadata=odd.metadata)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "avif", "tif", "heic", "jp2"])
@pytest.mark.parametrize("deep", [False, True])
def test_exif_above_64_kb_is_kept_or_said(
    tmp_path: Path, suffix: str, deep: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notes, "_told", set())
    exif = Image.Exif()
    exif[TAGS.ImageDescription] = words = "long" * 20_000
    gradient().save(tmp_path / "long.png", exif=exif)
    long = open_picture(tmp_path / "long.png")
    pixels = np.asarray(long.rgb).astype(np.uint16) * np.uint16(257)
    write_image(pixels if deep else long.rgb, tmp_path / f"copy.{suffix}", metadata=long.metadata)
    found = Image.Exif()
    found.load(open_picture(tmp_path / f"copy.{suffix}").metadata.exif)
    assert found.get(TAGS.ImageDescription) == (None if suffix == "jpg" else words)
    lost = [f"{tmp_path}/copy.jpg EXIF longer JPEG"] if suffix == "jpg" else []
    assert_each(capsys.readouterr().err.splitlines(), *lost)


@pytest.mark.parametrize("clear", [False, True])
@pytest.mark.parametrize("suffix", ["png", "tif", "ppm", "jp2"])
def test_files_of_16_bits_are_what_other_readers_find(tmp_path: Path, clear: bool, suffix: str) -> None:
    path = tmp_path / f"fine.{suffix}"
    alpha = Image.linear_gradient("L").resize((40, 30)) if clear else None
    exif = photograph_exif()
    del exif[TAGS.Orientation]
    path.write_bytes(encode_pixels(fine(), alpha, FORMATS[f".{suffix}"], ImageMetadata(exif.tobytes(), (300, 200))))
    found = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert found is not None
    assert found.dtype == np.uint16
    opacity = np.asarray(alpha)[:, :, None] / 255 if alpha else np.ones((30, 40, 1))
    if suffix == "ppm":
        assert np.abs(found[:, :, ::-1] - (fine() * opacity + 65535 * (1 - opacity))).max() <= 1
        return
    assert np.array_equal(found[:, :, 2::-1], fine())
    assert not clear or np.array_equal(found[:, :, 3], np.asarray(alpha).astype(np.uint16) * 257)
    with Image.open(path) as image:
        assert image.mode == ("RGBA" if clear else "RGB")
        assert image.info["dpi"] == pytest.approx((300, 200), abs=0.1)
        if suffix != "jp2":  # Of which Pillow reads no EXIF.
            assert image.getexif()[TAGS.Make] == "Maker"
            assert image.getexif().get_ifd(IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] == "N"


def encoded(kind: str, pixels: NDArray[np.uint16], **options: Any) -> bytes:
    if kind == "png":
        return bytes(imagecodecs.png_encode(pixels))
    if kind in ("jp2", "j2k"):
        return bytes(imagecodecs.jpeg2k_encode(pixels, codecformat=kind, reversible=True))
    if kind in ("ppm", "plain"):
        head = f"P{6 if kind == 'ppm' else 3} # of {kind}\n{pixels.shape[1]} {pixels.shape[0]}\n65535\n".encode()
        return head + (
            pixels.astype(">u2").tobytes() if kind == "ppm" else b" ".join(b"%d" % each for each in pixels.flat)
        )
    file = io.BytesIO()
    photometric = "minisblack" if pixels.ndim == 2 else "rgb"
    tifffile.imwrite(file, pixels, photometric=photometric, compression=None if kind == "tif" else kind, **options)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["png", "tif", "zlib", "lzw", "jp2", "j2k", "ppm", "plain"])
def test_16_bits_are_read_and_written_to_the_last(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"a.{ {'zlib': 'tif', 'lzw': 'tif', 'plain': 'ppm'}.get(kind, kind) }"
    path.write_bytes(encoded(kind, fine()))
    assert open_picture(path).deep is None
    picture = open_picture(path, deep=True)
    assert picture.deep is not None
    assert np.array_equal(picture.deep, fine())
    assert np.abs(np.asarray(picture.rgb).astype(int) - to_8_bits(fine())).max() <= 1
    write_image(picture.deep, path, None, picture.format, picture.metadata)
    again = open_picture(path, deep=True).deep
    assert again is not None
    assert np.array_equal(again, fine())


@pytest.mark.parametrize("suffix", ["avif", "heic"])
def test_avif_and_heic_keep_the_10_bits_that_they_have(tmp_path: Path, suffix: str) -> None:
    alpha, exif = Image.linear_gradient("L").resize((1200, 24)), Image.Exif()
    exif[TAGS.Make] = "Maker"
    write_image(smooth(), tmp_path / f"a.{suffix}", alpha, metadata=ImageMetadata(exif.tobytes()))
    original = read_original(tmp_path / f"a.{suffix}", tmp_path / f"b.{suffix}")
    first = original.deep
    assert first is not None
    assert len(np.unique(first[:, :, 0])) > 1000
    assert np.abs(first.astype(int) - smooth()).max() <= 8 * 64
    original.write_copy(first, tmp_path / f"b.{suffix}")
    second = open_picture(tmp_path / f"b.{suffix}", deep=True)
    assert second.deep is not None
    assert second.alpha is not None
    assert np.abs(second.deep.astype(int) - smooth()).max() <= 8 * 64
    assert distance(second.alpha, alpha) <= 2
    assert b"Maker" in second.metadata.exif
    # What Pillow makes of it, which has never more than 8 bits.
    with Image.open(tmp_path / f"b.{suffix}") as image:
        assert np.abs(np.asarray(image)[:, :, :3].astype(int) - to_8_bits(smooth())).max() <= 3
    (tmp_path / f"b.{suffix}").write_bytes((tmp_path / f"b.{suffix}").read_bytes()[:-300])
    with raises(ImageError, f"b.{suffix} readable"):
        open_picture(tmp_path / f"b.{suffix}", deep=True)


@pytest.mark.parametrize("bits", [10, 12, 16])
@pytest.mark.parametrize("kind", ["jp2", "ppm", "avif"])
def test_white_is_white_at_every_depth(kind: str, bits: int) -> None:
    pixels = np.full((8, 9, 3), 2**bits - 1, np.uint16)
    pixels[:, :4] = 0
    match kind:
        case "jp2":  # Which Pillow alone reads as black.
            content = bytes(imagecodecs.jpeg2k_encode(pixels, bitspersample=bits, reversible=True))
        case "ppm":
            content = f"P6 9 8 {2**bits - 1} ".encode() + pixels.astype(">u2").tobytes()
        case _:
            depth = min(bits, 12)
            levels = pixels >> (bits - depth)
            content = bytes(imagecodecs.avif_encode(levels, 100, bitspersample=depth, pixelformat="444"))
    picture = open_picture(io.BytesIO(content), deep=True)
    assert picture.deep is not None
    assert [picture.deep[0, x].tolist() for x in (0, 8)] == [[0] * 3, [65535] * 3]
    assert [picture.rgb.getpixel((x, 0)) for x in (0, 8)] == [(0, 0, 0), (255, 255, 255)]


@pytest.mark.parametrize("white", [7, 255, 1000, 65535])
@pytest.mark.parametrize("channels", [1, 3])
def test_netpbm_of_any_white_is_read_as_pillow_does(white: int, channels: int) -> None:
    levels = np.random.default_rng(0).integers(0, white + 1, (9, 7, channels))
    head = f"P{ {1: 5, 3: 6}[channels] }\n# a comment\n7 9\n{white}\n".encode()
    content = head + levels.astype("u1" if white < 256 else ">u2").tobytes()
    with Image.open(io.BytesIO(content)) as image:
        expected = np.asarray(image).astype(float) / (257 if image.mode == "I" else 1)
    found = open_picture(io.BytesIO(content), deep=True)
    assert np.abs(np.asarray(found.rgb)[:, :, 0] - expected.reshape(9, 7, channels)[:, :, 0]).max() <= 0.5
    assert (found.deep is None) == (white < 256)
    assert found.deep is None or np.abs(found.deep / 65535 - levels / white).max() < 1 / 65535


@pytest.mark.parametrize("kind", ["jp2", "j2k", "ppm"])
def test_a_cut_or_lying_file_of_16_bits_is_one_line(kind: str) -> None:
    whole = encoded(kind, fine())
    lies = [whole[: len(whole) // 2], whole[:-9]]
    if kind == "ppm":
        lies.append(whole.replace(b"40 30", b"9999 9999"))
    else:
        # Of the codestream: the file around it, if there is one, says otherwise.
        at = whole.index(b"\xff\x4f\xff\x51") + 8
        lies.append(whole[:at] + struct.pack(">II", 14_000, 14_000) + whole[at + 8 :])
    for content in lies:
        with raises(ImageError, "lie readable"):
            open_picture(io.BytesIO(content), "lie", deep=True)


@pytest.mark.parametrize("suffix", ["ppm", "jp2", "avif", "heic"])
def test_16_bits_on_disk_become_the_same_file_as_in_memory(tmp_path: Path, suffix: str) -> None:
    alpha = Image.linear_gradient("L").resize((1200, 24))
    disk, opacity = DiskImage((1200, 24), dtype=np.uint16), DiskImage.of(alpha)
    disk.write(0, 0, smooth())
    write_image(smooth(), tmp_path / f"a.{suffix}", alpha)
    write_image(disk, tmp_path / f"b.{suffix}", opacity)
    assert (tmp_path / f"a.{suffix}").read_bytes() == (tmp_path / f"b.{suffix}").read_bytes()
    found = open_on_disk(tmp_path / f"a.{suffix}", deep=True, room=1e9).rgb
    expected = open_picture(tmp_path / f"a.{suffix}", deep=True).deep
    assert expected is not None
    assert np.array_equal(found.read((0, 0, 1200, 24)), expected)


@pytest.mark.parametrize("suffix", ["ppm", "jp2", "avif", "heic"])
def test_a_stylized_copy_has_the_depth_of_its_picture(tmp_path: Path, suffix: str) -> None:
    torch.manual_seed(0)
    stylizer = Stylizer(TorchBackend(varied(LightNet(styles=1, width=4, blocks=1)), "cpu", "fp32"), Metadata({"a": {}}))
    path, copy = tmp_path / f"a.{suffix}", tmp_path / f"b.{suffix}"
    write_image(smooth(), path)
    original = open_picture(path, deep=True)
    assert original.deep is not None
    for settings, png in (({"strength": 0.0}, "same.png"), ({}, "stylized.png")):
        for target in (copy, tmp_path / png):
            stylizer.stylize_file(path, target, **settings)  # type: ignore[arg-type]
        found, expected = open_picture(copy, deep=True), cv2.imread(str(tmp_path / png), cv2.IMREAD_UNCHANGED)
        assert found.deep is not None
        assert expected is not None
        assert found.format == FORMATS[f".{suffix}"]
        assert len(np.unique(found.deep)) > 256
        lossless = suffix in ("ppm", "jp2")
        assert np.abs(found.deep.astype(int) - expected[:, :, ::-1]).max() <= (0 if lossless else 4 * 257)
        if settings:
            assert np.array_equal(expected[:, :, ::-1], original.deep)


def test_opacity_and_gray_go_with_16_bits(tmp_path: Path) -> None:
    clear = fine(4)
    clear[:, :, 3] = np.arange(40) * 257
    (tmp_path / "clear.png").write_bytes(encoded("png", clear))
    picture = open_picture(tmp_path / "clear.png", deep=True)
    assert picture.deep is not None
    write_image(picture.deep, tmp_path / "copy.png", picture.alpha)
    assert np.array_equal(imagecodecs.png_decode((tmp_path / "copy.png").read_bytes()), clear)
    write_image(picture.deep, tmp_path / "copy.tif", picture.alpha)
    assert np.array_equal(tifffile.imread(tmp_path / "copy.tif"), clear)
    again = open_picture(tmp_path / "copy.tif", deep=True)
    assert again.alpha is not None
    assert again.deep is not None
    assert np.array_equal(again.deep, clear[:, :, :3])
    assert np.array_equal(np.asarray(again.alpha)[0], np.arange(40))
    for name, kind in (("gray.png", "png"), ("gray.tif", "tif")):
        (tmp_path / name).write_bytes(encoded(kind, fine(1)[:, :, 0]))
        found = open_picture(tmp_path / name, deep=True).deep
        assert found is not None
        assert np.array_equal(found, np.repeat(fine(1), 3, axis=2))


@pytest.mark.parametrize("orientation", range(1, 10))
@pytest.mark.parametrize("format", ["PNG", "TIFF", "JPEG2000"])
def test_every_orientation_of_16_bits_comes_out_upright_as_of_8(orientation: int, format: str) -> None:
    exif = Image.Exif()
    exif[TAGS.Orientation] = orientation
    picture = open_picture(io.BytesIO(encode_pixels(fine(), None, format, ImageMetadata(exif.tobytes()))), deep=True)
    assert picture.deep is not None
    assert np.abs(np.asarray(picture.rgb).astype(int) - to_8_bits(picture.deep)).max() <= 1
    assert picture.rgb.size == ((30, 40) if 5 <= orientation <= 8 else (40, 30))


def test_a_profile_is_honoured_with_16_bits_as_with_8(tmp_path: Path) -> None:
    # Lab-based XYZ is a profile far from sRGB that Pillow can make: red and blue change places in a matrix of it.
    srgb = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, blue = srgb.index(b"rXYZ"), srgb.index(b"bXYZ")
    srgb[red : red + 4], srgb[blue : blue + 4] = b"bXYZ", b"rXYZ"
    Image.fromarray(to_8_bits(fine())).save(tmp_path / "small.png", icc_profile=bytes(srgb))
    expected = np.asarray(open_picture(tmp_path / "small.png").rgb).astype(int)
    png = encoded("png", fine())
    chunk = b"iCCP" + b"x\x00\x00" + zlib.compress(bytes(srgb))
    header = 8 + 25
    packed = (len(chunk) - 4).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big")
    (tmp_path / "fine.png").write_bytes(png[:header] + packed + png[header:])
    jp2 = encoded("jp2", fine())
    of_srgb, of_profile = box(b"colr", bytes([1, 0, 0, 0, 0, 0, 16])), box(b"colr", bytes([2, 0, 0]), bytes(srgb))
    start = jp2.index(b"jp2h") - 4
    end = start + int.from_bytes(jp2[start : start + 4])
    changed = box(b"jp2h", jp2[start + 8 : end].replace(of_srgb, of_profile))
    (tmp_path / "fine.jp2").write_bytes(jp2[:start] + changed + jp2[end:])
    assert np.abs(expected - to_8_bits(fine())).max() > 30
    for name in ("fine.png", "fine.jp2"):
        picture = open_picture(tmp_path / name, deep=True)
        assert picture.deep is not None
        assert np.abs(expected - to_8_bits(picture.deep)).max() <= 2
        assert np.abs(expected - np.asarray(picture.rgb)).max() <= 2


def test_without_the_extra_8_bits_are_read_and_one_line_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_image(fine(), tmp_path / "a.avif")
    for module in (deep, jpeg2000):
        monkeypatch.setattr(module, "HAS_CODECS", False)
    monkeypatch.setattr(formats, "DEEP", ("PNG", "TIFF", "PPM", "HEIF"))
    monkeypatch.setattr(deep, "_warned", threading.Lock())
    (tmp_path / "a.png").write_bytes(encoded("png", fine()))
    (tmp_path / "a.ppm").write_bytes(encoded("ppm", fine()))
    (tmp_path / "gray.png").write_bytes(encoded("png", fine(1)[:, :, 0]))
    # Nothing is lost: what reads these is there, and a JPEG has 8 bits.
    for name, target in (("a.ppm", "b.png"), ("gray.png", "b.tif"), ("a.png", "b.jpg")):
        assert (read_original(tmp_path / name, tmp_path / target).deep is None) == (target == "b.jpg")
    assert capsys.readouterr().err == ""
    for name in ("a.png", "a.avif", "a.png"):
        picture = read_original(tmp_path / name, tmp_path / f"b{name[1:]}")
        assert (picture.deep, picture.reduced) == (None, True)
        assert np.abs(np.asarray(picture.rgb).astype(int) - to_8_bits(fine())).max() <= (9 if name == "a.avif" else 1)
    words = f"{tmp_path}/a.png 8 bits {how_to_install('formats')}"
    assert_names(capsys.readouterr().err, words)
    # On disk, it is said as well; and Pillow makes black of what is white in JPEG 2000.
    monkeypatch.setattr(deep, "_warned", threading.Lock())
    assert open_on_disk(tmp_path / "a.png", deep=True, room=1e9).rgb.white == 255
    assert_names(capsys.readouterr().err, words)
    with raises(ImageError, "16 imagecodecs [formats]'"):
        open_picture(io.BytesIO(encoded("jp2", fine())))


def test_16_bits_become_8_where_the_format_has_no_more(tmp_path: Path) -> None:
    write_image(fine(), tmp_path / "a.bmp")
    assert np.array_equal(np.asarray(open_picture(tmp_path / "a.bmp").rgb), to_8_bits(fine()))


def test_heic_is_read_upright_and_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pillow_heif.register_heif_opener()
    gradient().save(tmp_path / "a.heic", exif=photograph_exif(), quality=-1)
    picture = open_picture(tmp_path / "a.heic")
    # What turns such a picture is not its EXIF, and libheif has done it.
    assert (picture.rgb.size, picture.format) == ((48, 32), "HEIF")
    assert distance(picture.rgb, gradient()) <= 8
    monkeypatch.setattr(formats, "HAS_HEIF", False)
    with raises(ImageError, "HEIC pillow-heif [formats]'"):
        open_picture(tmp_path / "a.heic")


def raw_file(path: Path, side: int = 64) -> None:
    """A DNG as simple as one may be: a mosaic of red, green, green and blue, gray for a neutral of 1."""
    mosaic = np.full((side, side), 16_000, np.uint16)
    mosaic[: side // 2] = 48_000
    to_camera = (3.24, -1.54, -0.5, -0.97, 1.88, 0.04, 0.06, -0.2, 1.06)
    matrix = [part for value in to_camera for part in (round(value * 10_000), 10_000)]
    tags: list[Any] = [
        (50706, 1, 4, (1, 4, 0, 0), True),  # the version of DNG
        (50708, 2, 0, "Maker Model", True),
        (271, 2, 0, "Maker", True),
        (33421, 3, 2, (2, 2), True),
        (33422, 1, 4, (0, 1, 1, 2), True),
        (50721, 10, 9, tuple(matrix), True),
        (50728, 5, 3, (1, 1, 1, 1, 1, 1), True),
        (50778, 3, 1, 21, True),
        (50717, 4, 1, 65535, True),
    ]
    tifffile.imwrite(path, mosaic, photometric=32803, extratags=tags, metadata=None)


def test_a_raw_file_is_developed_with_16_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw_file(tmp_path / "a.dng")
    picture = open_picture(tmp_path / "a.dng")
    assert picture.format == "TIFF"
    assert picture.deep is not None
    levels = np.asarray(picture.rgb).astype(int)
    assert levels.shape == (64, 64, 3)
    bright, dark = levels[10:20, 20:40].mean((0, 1)), levels[44:54, 20:40].mean((0, 1))
    assert np.ptp(bright) < 12
    assert (bright > dark + 50).all()
    exif = Image.Exif()
    exif.load(picture.metadata.exif)
    assert exif[TAGS.Make] == "Maker"
    (tmp_path / "cut.dng").write_bytes((tmp_path / "a.dng").read_bytes()[:300])
    with raises(ImageError, "cut.dng readable"):
        open_picture(tmp_path / "cut.dng")
    monkeypatch.setattr(raw, "HAS_RAW", False)
    with raises(ImageError, "raw rawpy [formats]'"):
        open_picture(tmp_path / "a.dng")


def test_nothing_kept_is_nothing_written() -> None:
    assert all(NOTHING.options(format) == {} for format in FORMATS.values())
    assert ImageMetadata.of(gradient()) == NOTHING
