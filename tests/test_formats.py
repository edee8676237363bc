"""Formats beyond the common ones, and what a copy of a photograph keeps besides its pixels."""

import io
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pillow_heif
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms

from fast_style.errors import ImageError
from fast_style.images import deep, formats, kept
from fast_style.images.deep import reduced
from fast_style.images.formats import DEEP, FORMATS, PICTURE_SUFFIXES, WITH_ALPHA, WRITABLE_SUFFIXES, copy_suffix
from fast_style.images.kept import NOTHING, Kept
from fast_style.images.picture import open_picture, write_image

TAGS, IFD = ExifTags.Base, ExifTags.IFD


def gradient(width: int = 48, height: int = 32) -> Image.Image:
    """Red grows to the right, green downwards."""
    red, green = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return Image.fromarray(np.stack([red, green, np.full_like(red, 90)], axis=2).round().astype(np.uint8))


def fine(channels: int = 3) -> NDArray[np.uint16]:
    """A picture of which no two neighbours have the same level of 65536, and few the same of 256."""
    across, down = np.meshgrid(np.arange(40), np.arange(30))
    return np.stack([(across * 37 + down * 91 + c * 7001) for c in range(channels)], axis=2).astype(np.uint16) * 9


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
    colours = 90 if suffix == ".gif" else 12  # 256 of them
    assert distance(open_picture(path).rgb, gradient()) <= colours


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
    with pytest.raises(ImageError, match=r"icon\.ico: cannot be written \(unknown format\); choose one of \.jpg"):
        write_image(gradient(), tmp_path / "icon.ico")


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "avif", "tif", "heic"])
def test_exif_is_kept_but_what_holds_of_the_file_only(tmp_path: Path, suffix: str) -> None:
    gradient().save(tmp_path / "photo.jpg", exif=photograph_exif(), dpi=(300, 200))
    picture = open_picture(tmp_path / "photo.jpg")
    assert picture.rgb.size == (32, 48)
    write_image(picture.rgb, tmp_path / f"copy.{suffix}", kept=picture.kept)
    copy = open_picture(tmp_path / f"copy.{suffix}")
    assert copy.rgb.size == (32, 48)  # It is not turned again.
    found = Image.Exif()
    found.load(copy.kept.exif)
    assert (found[TAGS.Make], found[TAGS.Copyright]) == ("Maker", "Nobody")
    assert found.get(TAGS.Orientation, 1) == 1
    taken, place = found.get_ifd(IFD.Exif), found.get_ifd(IFD.GPSInfo)
    assert (float(taken[TAGS.FNumber]), taken[TAGS.DateTimeOriginal]) == (2.8, "2026:01:31 20:15:00")
    assert place[ExifTags.GPS.GPSLatitude] == (59.0, 54.0, 36.0)
    assert TAGS.MakerNote not in taken
    assert TAGS.ExifImageWidth not in taken
    assert copy.kept.dpi == pytest.approx((300, 200), abs=0.1)


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "bmp"])
def test_dots_per_inch_are_kept(tmp_path: Path, suffix: str) -> None:
    gradient().save(tmp_path / "scan.png", dpi=(600, 600))
    scan = open_picture(tmp_path / "scan.png")
    assert scan.kept.exif == b""
    write_image(scan.rgb, tmp_path / f"copy.{suffix}", kept=scan.kept)
    with Image.open(tmp_path / f"copy.{suffix}") as copy:
        assert copy.info["dpi"] == pytest.approx((600, 600), abs=0.1)


@pytest.mark.parametrize("dpi", [(0, 0), (1, 1), (float("nan"), 72), ("a", "b"), 72, None])
def test_what_is_no_resolution_is_not_kept(dpi: Any) -> None:
    image = gradient()
    image.info["dpi"] = dpi
    assert Kept.of(image) == NOTHING


def test_damaged_or_huge_metadata_costs_no_picture(tmp_path: Path) -> None:
    gradient().save(tmp_path / "odd.jpg", exif=b"Exif\x00\x00MM\x00\x2a\x00\x00\x00\x08\x00\x09broken", dpi=(300, 300))
    odd = open_picture(tmp_path / "odd.jpg")
    write_image(odd.rgb, tmp_path / "copy.jpg", kept=odd.kept)
    exif = Image.Exif()
    exif[TAGS.ImageDescription] = "long" * 20_000
    gradient().save(tmp_path / "long.png", exif=exif)
    long = open_picture(tmp_path / "long.png")
    write_image(long.rgb, tmp_path / "copy.jpg", kept=long.kept)
    assert open_picture(tmp_path / "copy.jpg").rgb.size == (48, 32)


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("format", DEEP)
def test_files_of_16_bits_are_what_other_readers_find(tmp_path: Path, channels: int, format: str) -> None:
    path = tmp_path / f"fine.{format.lower()}"
    pixels = fine(channels)
    exif = photograph_exif()
    del exif[TAGS.Orientation]
    path.write_bytes(
        {"PNG": deep.encode_png, "TIFF": deep.encode_tiff}[format](pixels, Kept(exif.tobytes(), (300, 300)))
    )
    found = imagecodecs.png_decode(path.read_bytes()) if format == "PNG" else tifffile.imread(path)
    assert found.dtype == np.uint16
    assert np.array_equal(found, pixels)
    with Image.open(path) as image:
        assert image.mode == ("RGB", "RGBA")[channels - 3]
        assert np.abs(np.asarray(image).astype(int) - (pixels >> 8)).max() <= 1
        assert image.getexif()[TAGS.Make] == "Maker"
        assert image.getexif().get_ifd(IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] == "N"
        assert image.info["dpi"] == pytest.approx((300, 300), abs=0.1)


def encoded(kind: str, pixels: NDArray[np.uint16], **options: Any) -> bytes:
    if kind == "png":
        return bytes(imagecodecs.png_encode(pixels))
    file = io.BytesIO()
    photometric = "minisblack" if pixels.ndim == 2 else "rgb"
    tifffile.imwrite(file, pixels, photometric=photometric, compression=None if kind == "tif" else kind, **options)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["png", "tif", "zlib", "lzw"])
def test_16_bits_are_read_and_written_to_the_last(tmp_path: Path, kind: str) -> None:
    path = tmp_path / ("a.png" if kind == "png" else "a.tif")
    path.write_bytes(encoded(kind, fine()))
    assert open_picture(path).deep is None
    picture = open_picture(path, deep=True)
    assert picture.deep is not None
    assert np.array_equal(picture.deep, fine())
    assert np.abs(np.asarray(picture.rgb).astype(int) - reduced(fine())).max() <= 1
    write_image(picture.deep, path, None, picture.format, picture.kept)
    again = open_picture(path, deep=True).deep
    assert again is not None
    assert np.array_equal(again, fine())


def test_opacity_and_grey_go_with_16_bits(tmp_path: Path) -> None:
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
    for name, kind in (("grey.png", "png"), ("grey.tif", "tif")):
        (tmp_path / name).write_bytes(encoded(kind, fine(1)[:, :, 0]))
        found = open_picture(tmp_path / name, deep=True).deep
        assert found is not None
        assert np.array_equal(found, np.repeat(fine(1), 3, axis=2))


@pytest.mark.parametrize("orientation", range(1, 10))
@pytest.mark.parametrize("encode", [deep.encode_png, deep.encode_tiff])
def test_every_orientation_of_16_bits_comes_out_upright_as_of_8(
    tmp_path: Path, orientation: int, encode: Callable[[NDArray[np.uint16], Kept], bytes]
) -> None:
    exif = Image.Exif()
    exif[TAGS.Orientation] = orientation
    (tmp_path / "a.png").write_bytes(encode(fine(), Kept(exif.tobytes())))
    picture = open_picture(tmp_path / "a.png", deep=True)
    assert picture.deep is not None
    assert np.abs(np.asarray(picture.rgb).astype(int) - reduced(picture.deep)).max() <= 1
    assert picture.rgb.size == ((30, 40) if 5 <= orientation <= 8 else (40, 30))


def test_a_profile_is_honoured_with_16_bits_as_with_8(tmp_path: Path) -> None:
    # Lab-based XYZ is a profile far from sRGB that Pillow can make: red and blue change places in a matrix of it.
    srgb = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, blue = srgb.index(b"rXYZ"), srgb.index(b"bXYZ")
    srgb[red : red + 4], srgb[blue : blue + 4] = b"bXYZ", b"rXYZ"
    Image.fromarray(reduced(fine())).save(tmp_path / "small.png", icc_profile=bytes(srgb))
    expected = np.asarray(open_picture(tmp_path / "small.png").rgb).astype(int)
    png = encoded("png", fine())
    chunk = b"iCCP" + b"x\x00\x00" + zlib.compress(bytes(srgb))
    header = 8 + 25
    packed = (len(chunk) - 4).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big")
    (tmp_path / "fine.png").write_bytes(png[:header] + packed + png[header:])
    found = open_picture(tmp_path / "fine.png", deep=True).deep
    assert found is not None
    assert np.abs(expected - reduced(fine())).max() > 30
    assert np.abs(expected - reduced(found)).max() <= 2


def test_without_the_extra_8_bits_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deep, "_HAS_CODECS", False)
    (tmp_path / "a.png").write_bytes(encoded("png", fine()))
    picture = open_picture(tmp_path / "a.png", deep=True)
    assert picture.deep is None
    assert np.abs(np.asarray(picture.rgb).astype(int) - reduced(fine())).max() <= 1


def test_16_bits_become_8_where_the_format_has_no_more(tmp_path: Path) -> None:
    write_image(fine(), tmp_path / "a.bmp")
    assert np.array_equal(np.asarray(open_picture(tmp_path / "a.bmp").rgb), reduced(fine()))


def test_heic_is_read_upright_and_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pillow_heif.register_heif_opener()
    gradient().save(tmp_path / "a.heic", exif=photograph_exif(), quality=-1)
    picture = open_picture(tmp_path / "a.heic")
    # What turns such a picture is not its EXIF, and libheif has done it.
    assert (picture.rgb.size, picture.format) == ((48, 32), "HEIF")
    assert distance(picture.rgb, gradient()) <= 8
    monkeypatch.setattr(formats, "HAS_HEIF", False)
    with pytest.raises(
        ImageError, match=r"HEIC, which needs the package pillow-heif; install fast_style\[formats\]\)$"
    ):
        open_picture(tmp_path / "a.heic")


def raw_file(path: Path, side: int = 64) -> None:
    """A DNG as simple as one may be: a mosaic of red, green, green and blue, grey for a neutral of 1."""
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
    exif.load(picture.kept.exif)
    assert exif[TAGS.Make] == "Maker"
    (tmp_path / "cut.dng").write_bytes((tmp_path / "a.dng").read_bytes()[:300])
    with pytest.raises(ImageError, match=r"cut\.dng: not a readable picture \("):
        open_picture(tmp_path / "cut.dng")
    monkeypatch.setattr(deep, "HAS_RAW", False)
    with pytest.raises(ImageError, match=r"raw file, which needs the package rawpy; install fast_style\[formats\]\)$"):
        open_picture(tmp_path / "a.dng")


def test_nothing_kept_is_nothing_written() -> None:
    assert all(NOTHING.options(format) == {} for format in FORMATS.values())
    assert kept.Kept.of(gradient()) == NOTHING
