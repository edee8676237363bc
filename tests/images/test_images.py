"""Pictures on disk, and in memory."""

import errno
import io
import os
import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, JpegImagePlugin
from small_messages import assert_names, raises

from fast_style.errors import ImageError
from fast_style.images import deep
from fast_style.images.picture import (
    Picture,
    contact_sheet,
    flatten,
    open_picture,
    resize_short_side,
    write_image,
)
from fast_style.system.input_limits import MAX_BYTES, MAX_PIXELS

RED, GREEN, WHITE = (255, 0, 0), (0, 255, 0), (255, 255, 255)


def gradient(width: int = 48, height: int = 32) -> Image.Image:
    """Red grows to the right, green downwards."""
    red, green = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return Image.fromarray(np.stack([red, green, np.full_like(red, 90)], axis=2).round().astype(np.uint8))


def srgb_profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def distance(a: Image.Image, b: Image.Image) -> int:
    assert a.size == b.size
    return int(np.abs(np.asarray(a).astype(int) - np.asarray(b)).max())


def png_of_claimed_size(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
def test_every_exif_orientation_comes_out_upright(tmp_path: Path, orientation: int, suffix: str) -> None:
    turn = Image.Transpose
    # What a camera in each position stores of the same scene.
    stored = {
        1: None,
        2: turn.FLIP_LEFT_RIGHT,
        3: turn.ROTATE_180,
        4: turn.FLIP_TOP_BOTTOM,
        5: turn.TRANSPOSE,
        6: turn.ROTATE_90,
        7: turn.TRANSVERSE,
        8: turn.ROTATE_270,
    }[orientation]
    scene = gradient()
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"turned.{suffix}"
    (scene if stored is None else scene.transpose(stored)).save(path, exif=exif, quality=95)
    assert distance(open_picture(path).rgb, scene) < 16


def test_damaged_metadata_leaves_the_picture_readable(tmp_path: Path) -> None:
    path = tmp_path / "odd.jpg"
    gradient().save(path, exif=b"Exif\x00\x00MM\x00\x2a\x00\x00\x00\x08\x00\x09broken")
    assert open_picture(path).rgb.size == (48, 32)


def test_gray_of_16_bits_is_scaled_and_not_clipped(tmp_path: Path) -> None:
    gray = np.array([[0, 257, 128 * 257, 200 * 257 + 128, 65535]], dtype=np.uint16)
    Image.fromarray(gray).save(tmp_path / "deep.png")
    Image.fromarray(gray).save(tmp_path / "deep.tif")
    (tmp_path / "deep.pgm").write_bytes(b"P5 5 1 65535\n" + gray.astype(">u2").tobytes())
    for name in ("deep.png", "deep.tif", "deep.pgm"):
        levels = np.asarray(open_picture(tmp_path / name).rgb)
        assert levels[0].tolist() == [[v] * 3 for v in (0, 1, 128, 200, 255)], name


def test_floating_point_gray_counts_from_0_to_1(tmp_path: Path) -> None:
    Image.fromarray(np.array([[-1, 0, 0.2, 1, np.nan]], dtype=np.float32)).save(tmp_path / "float.tif")
    assert np.asarray(open_picture(tmp_path / "float.tif").rgb)[0, :, 1].tolist() == [0, 0, 51, 255, 0]


@pytest.mark.parametrize(("mode", "suffix"), [("L", "jpg"), ("CMYK", "jpg"), ("1", "png"), ("P", "png"), ("P", "gif")])
def test_every_mode_becomes_rgb(tmp_path: Path, mode: str, suffix: str) -> None:
    path = tmp_path / f"picture.{suffix}"
    Image.new("RGB", (20, 10), WHITE).convert(mode).save(path)
    picture = open_picture(path)
    assert (picture.rgb.mode, picture.rgb.size, picture.alpha) == ("RGB", (20, 10), None)
    assert picture.rgb.getpixel((5, 5)) == WHITE


def test_cmyk_keeps_its_colors(tmp_path: Path) -> None:
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / "ink.jpg", quality=100)
    assert distance(open_picture(tmp_path / "ink.jpg").rgb, Image.new("RGB", (16, 16), RED)) <= 2


def transparent_on_the_left(mode: str) -> Image.Image:
    """Two pixels, the left one fully transparent."""
    if mode == "P":
        image = Image.new("P", (2, 1), 1)
        image.putpalette([*GREEN, *RED])
        image.putpixel((0, 0), 0)
        image.info["transparency"] = 0
        return image
    opacity = Image.new("L", (2, 1), 255)
    opacity.putpixel((0, 0), 0)
    image = Image.new("L" if mode == "LA" else "RGB", (2, 1), 76 if mode == "LA" else RED)
    image.putalpha(opacity)
    return image


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_is_set_apart_and_put_on_white_when_flattened(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "window.png"
    transparent_on_the_left(mode).save(path)
    picture = open_picture(path)
    assert picture.alpha is not None
    assert [picture.alpha.getpixel((x, 0)) for x in (0, 1)] == [0, 255]
    color = (76, 76, 76) if mode == "LA" else RED
    assert [flatten(picture).getpixel((x, 0)) for x in (0, 1)] == [WHITE, color]
    assert flatten(picture, background=GREEN).getpixel((0, 0)) == GREEN
    assert flatten(open_picture(path)).getpixel((0, 0)) == WHITE


def test_a_single_color_can_be_transparent(tmp_path: Path) -> None:
    image = Image.new("RGB", (2, 1), RED)
    image.putpixel((0, 0), GREEN)
    image.save(tmp_path / "key.png", transparency=GREEN)
    alpha = open_picture(tmp_path / "key.png").alpha
    assert alpha is not None
    assert [alpha.getpixel((x, 0)) for x in (0, 1)] == [0, 255]


@pytest.mark.parametrize("codecs", [False, True])
@pytest.mark.parametrize("colors", [1, 3])
def test_so_can_one_of_16_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, colors: int, codecs: bool) -> None:
    monkeypatch.setattr(deep, "HAS_CODECS", codecs)
    pixels = np.array([[[40_000] * colors, [1000] * colors]], np.uint16)
    header = struct.pack(">IIBBBBB", 2, 1, 16, 0 if colors == 1 else 2, 0, 0, 0)
    key = struct.pack(f">{colors}H", *[40_000] * colors)
    rows = zlib.compress(b"\0" + pixels.astype(">u2").tobytes())
    chunks = [(b"IHDR", header), (b"tRNS", key), (b"IDAT", rows), (b"IEND", b"")]
    parts = [
        len(data).to_bytes(4, "big") + name + data + zlib.crc32(name + data).to_bytes(4, "big") for name, data in chunks
    ]
    (tmp_path / "key.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    for wanted in (False, True):
        alpha = open_picture(tmp_path / "key.png", deep=wanted).alpha
        assert alpha is not None
        assert [alpha.getpixel((x, 0)) for x in (0, 1)] == [0, 255]


def test_a_color_profile_is_converted_to_srgb(tmp_path: Path) -> None:
    # With the primaries of red and green exchanged, pure red is shown as pure green.
    exchanged = srgb_profile().replace(b"rXYZ", b"****").replace(b"gXYZ", b"rXYZ").replace(b"****", b"gXYZ")
    Image.new("RGB", (8, 8), RED).save(tmp_path / "profiled.png", icc_profile=exchanged)
    picture = open_picture(tmp_path / "profiled.png")
    assert distance(picture.rgb, Image.new("RGB", (8, 8), GREEN)) <= 2
    assert "icc_profile" not in picture.rgb.info


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
def test_the_srgb_profile_changes_nothing(tmp_path: Path, mode: str) -> None:
    gradient().convert(mode).save(tmp_path / "plain.png")
    gradient().convert(mode).save(tmp_path / "tagged.png", icc_profile=srgb_profile())
    assert distance(open_picture(tmp_path / "plain.png").rgb, open_picture(tmp_path / "tagged.png").rgb) == 0


def test_a_damaged_profile_is_ignored(tmp_path: Path) -> None:
    gradient().save(tmp_path / "damaged.png", icc_profile=srgb_profile()[:200])
    assert distance(open_picture(tmp_path / "damaged.png").rgb, gradient()) == 0


@pytest.mark.parametrize("suffix", ["gif", "webp", "png", "tif"])
def test_an_animation_is_its_first_frame(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"moving.{suffix}"
    frames = [Image.new("RGB", (16, 16), color) for color in (RED, GREEN, WHITE)]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    assert distance(open_picture(path).rgb, frames[0]) <= 4


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "avif", "bmp", "gif", "tif", "ppm"])
def test_every_format_is_read_and_written(tmp_path: Path, suffix: str) -> None:
    first, second = tmp_path / f"one.{suffix}", tmp_path / f"two.{suffix}"
    write_image(Image.new("RGB", (24, 16), (200, 100, 50)), first)
    picture = open_picture(first)
    write_image(picture.rgb, second, picture.alpha, picture.format)
    assert distance(open_picture(second).rgb, Image.new("RGB", (24, 16), (200, 100, 50))) <= 3
    with Image.open(first) as a, Image.open(second) as b:
        assert a.format == b.format == picture.format


def test_stereo_jpegs_are_written_back_as_jpeg(tmp_path: Path) -> None:
    gradient().save(tmp_path / "stereo.jpg", "MPO", save_all=True, append_images=[gradient()])
    with Image.open(tmp_path / "stereo.jpg") as image:
        assert image.format == "MPO"
    assert open_picture(tmp_path / "stereo.jpg").format == "JPEG"


def test_the_name_of_a_file_does_not_decide_its_format(tmp_path: Path) -> None:
    gradient().save(tmp_path / "really_a.png", "JPEG")
    assert open_picture(tmp_path / "really_a.png").format == "JPEG"


def test_an_open_file_is_read_like_a_path(tmp_path: Path) -> None:
    encoded = io.BytesIO()
    gradient().save(encoded, "PNG")
    encoded.seek(0)
    assert distance(open_picture(encoded).rgb, gradient()) == 0
    with raises(ImageError, "upload 7 readable empty"):
        open_picture(io.BytesIO(), name="upload 7")


def test_a_large_jpeg_is_decoded_smaller_but_large_enough(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    gradient(640, 480).save(tmp_path / "large.jpg", exif=exif)
    assert open_picture(tmp_path / "large.jpg").rgb.size == (480, 640)
    assert open_picture(tmp_path / "large.jpg", short_side=100).rgb.size == (120, 160)
    assert open_picture(tmp_path / "large.jpg", short_side=500).rgb.size == (480, 640)


def unreadable(tmp_path: Path) -> dict[str, tuple[Path, str]]:
    """A path for each way of not being a picture, and words that its message must have."""
    jpeg = io.BytesIO()
    gradient().save(jpeg, "JPEG")
    png = io.BytesIO()
    gradient().save(png, "PNG")
    contents = {
        "empty": (b"", "empty"),
        "cut": (jpeg.getvalue()[:-100], "truncated"),
        "cut_png": (png.getvalue()[:-60], "truncated"),
        "cut_header": (png.getvalue()[:20], ""),
        "html": (b"\n<!DOCTYPE html><title>404</title>", "markup"),
        "text": (b"not a picture at all", "JPEG, PNG"),
        "eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "JPEG, PNG"),
        "bomb": (png_of_claimed_size(50_000, 50_000), f"{MAX_PIXELS:,}"),
    }
    (tmp_path / "huge.webp").touch()
    os.truncate(tmp_path / "huge.webp", MAX_BYTES + 1)  # nothing but a hole
    cases = {"huge": (tmp_path / "huge.webp", "600,000,001 600,000,000")}
    cases |= {
        "missing": (tmp_path / "missing.jpg", "file"),
        "folder": (tmp_path, "folder"),
        "pipe": (tmp_path / "pipe", "regular"),
    }
    os.mkfifo(tmp_path / "pipe")
    for name, (content, words) in contents.items():
        cases[name] = (tmp_path / f"{name}.jpg", words)
        cases[name][0].write_bytes(content)
    return cases


@pytest.mark.parametrize(
    "case",
    ["missing", "folder", "pipe", "huge", "empty", "cut", "cut_png", "cut_header", "html", "text", "eps", "bomb"],
)
def test_what_is_no_picture_is_one_line_with_file_and_reason(tmp_path: Path, case: str) -> None:
    path, words = unreadable(tmp_path)[case]
    with pytest.raises(ImageError) as caught:
        open_picture(path)
    message = str(caught.value)
    assert_names(message, f"{path} readable {words}" + (" check path" if case == "missing" else ""))


def test_a_file_that_may_not_be_read_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr("os.open", refuse)
    with raises(ImageError, "secret.png readable Permission denied"):
        open_picture(tmp_path / "secret.png")


@pytest.mark.parametrize(
    "error",
    [
        Image.DecompressionBombError("bomb"),
        MemoryError(),
        RecursionError("maximum recursion depth exceeded"),
        SyntaxError("broken PNG file"),
        struct.error("unpack requires a buffer"),
        zlib.error("Error -3 while decompressing data"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
        KeyError("a tag"),
        OverflowError("several\nlines"),
        AssertionError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_whatever_a_decoder_raises_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(self: object) -> None:
        raise error

    gradient().save(tmp_path / "scene.png")
    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", fail)
    with raises(ImageError, "scene.png readable") as caught:
        open_picture(tmp_path / "scene.png")
    assert "\n" not in str(caught.value)


def test_what_decoders_have_to_say_besides_is_not_heard(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    gradient().save(tmp_path / "odd.png")
    encoded = (tmp_path / "odd.png").read_bytes()
    frames = b"acTL" + bytes(8)  # An animation of no pictures, told of after the picture.
    chunk = struct.pack(">I", 8) + frames + struct.pack(">I", zlib.crc32(frames))
    (tmp_path / "odd.png").write_bytes(encoded[:-12] + chunk + encoded[-12:])
    gradient().save(tmp_path / "damaged.tif", compression="tiff_deflate")
    damaged = bytearray((tmp_path / "damaged.tif").read_bytes())
    damaged[20:40] = bytes(20)
    (tmp_path / "damaged.tif").write_bytes(damaged)
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        assert distance(open_picture(tmp_path / "odd.png").rgb, gradient()) == 0
        with pytest.raises(ImageError):
            open_picture(tmp_path / "damaged.tif")
    assert heard == []
    assert capfd.readouterr() == ("", "")


def test_sizes_are_limited_by_our_limit_and_not_by_pillows(tmp_path: Path) -> None:
    before = Image.MAX_IMAGE_PIXELS
    # Pillow alone would warn above 89 megapixels and refuse above 179; here only the missing content is at fault.
    (tmp_path / "phone.png").write_bytes(png_of_claimed_size(16_320, 12_240))
    (tmp_path / "above.png").write_bytes(png_of_claimed_size(16_320, 12_260))
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        with pytest.raises(ImageError, match="truncated"):
            open_picture(tmp_path / "phone.png")
        with raises(ImageError, "200,000,000"):
            open_picture(tmp_path / "above.png")
    assert heard == []
    assert before == Image.MAX_IMAGE_PIXELS


def test_threads_may_read_at_once_and_leave_pillow_as_it_was(tmp_path: Path) -> None:
    gradient().save(tmp_path / "shared.jpg")
    before = Image.MAX_IMAGE_PIXELS, list(warnings.filters)
    with ThreadPoolExecutor(8) as pool:
        pictures = list(pool.map(open_picture, [tmp_path / "shared.jpg"] * 64))
    assert {picture.rgb.tobytes() for picture in pictures} == {pictures[0].rgb.tobytes()}
    assert before == (Image.MAX_IMAGE_PIXELS, list(warnings.filters))


@pytest.mark.parametrize("size", [(60, 30), (30, 60), (30, 30), (31, 30), (1, 200)])
def test_resizing_sets_the_short_side_and_keeps_the_aspect(size: tuple[int, int]) -> None:
    width, height = resize_short_side(Image.new("RGB", size), 12).size
    assert min(width, height) == 12
    assert width / height == pytest.approx(size[0] / size[1], rel=0.05)


def test_shrinking_is_antialiased() -> None:
    stripes = Image.fromarray(np.tile(np.array([[0, 255]], dtype=np.uint8), (64, 32))).convert("RGB")
    inner = np.asarray(resize_short_side(stripes, 8))[:, 1:-1]
    assert abs(inner.astype(float) - 127.5).max() < 4


@pytest.mark.parametrize("suffix", ["png", "webp", "tif", "avif", "gif"])
def test_alpha_is_put_back_where_the_format_has_it(tmp_path: Path, suffix: str) -> None:
    alpha = Image.new("L", (16, 16), 255)
    alpha.paste(0, (0, 0, 8, 16))
    path = tmp_path / f"cut_out.{suffix}"
    write_image(Image.new("RGB", (16, 16), RED), path, alpha)
    picture = open_picture(path)
    assert picture.alpha is not None
    assert distance(picture.alpha, alpha) <= 4
    assert distance(flatten(picture).crop((10, 0, 16, 16)), Image.new("RGB", (6, 16), RED)) <= 4


def test_a_format_without_alpha_gets_the_picture_on_white(tmp_path: Path) -> None:
    write_image(Image.new("RGB", (16, 16), RED), tmp_path / "flat.jpg", Image.new("L", (16, 16), 0))
    assert distance(open_picture(tmp_path / "flat.jpg").rgb, Image.new("RGB", (16, 16), WHITE)) == 0


def test_jpegs_keep_the_full_resolution_of_color(tmp_path: Path) -> None:
    write_image(gradient(), tmp_path / "fine.jpg")
    with Image.open(tmp_path / "fine.jpg") as image:
        assert JpegImagePlugin.get_sampling(image) == 0  # 4:4:4
    assert distance(open_picture(tmp_path / "fine.jpg").rgb, gradient()) <= 6


def test_a_given_format_wins_over_the_suffix(tmp_path: Path) -> None:
    write_image(gradient(), tmp_path / "upload.tmp", format="PNG")
    assert open_picture(tmp_path / "upload.tmp").format == "PNG"


def test_a_picture_in_memory_becomes_upright_too() -> None:
    turned = gradient().transpose(Image.Transpose.ROTATE_90)
    turned.getexif()[0x0112] = 6
    picture = Picture.of(turned)
    assert distance(picture.rgb, gradient()) == 0
    assert (turned.size, picture.format) == ((32, 48), "PNG")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("picture.xyz", "format .jpg .jpeg"),
        ("picture", "format .jpg .jpeg"),
        ("nowhere/picture.png", "folder"),
        ("taken.png", "directory"),
    ],
)
def test_what_cannot_be_written_is_one_line_with_file_and_reason(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / "taken.png").mkdir()
    with pytest.raises(ImageError) as caught:
        write_image(gradient(), tmp_path / name)
    assert_names(caught.value, f"{tmp_path / name} written")
    assert_names(caught.value, words)
    assert [path.name for path in tmp_path.iterdir()] == ["taken.png"]


@pytest.mark.parametrize("reason", [errno.ENOSPC, errno.EACCES, errno.EROFS])
def test_a_failed_write_leaves_the_old_file_whole_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: int
) -> None:
    path = tmp_path / "kept.png"
    write_image(gradient(), path)

    def refuse(descriptor: int) -> None:
        # Some of it is there by now, and where is to be seen.
        assert os.fstat(descriptor).st_size > 0
        assert len(list(tmp_path.iterdir())) == 2
        raise OSError(reason, os.strerror(reason))

    monkeypatch.setattr(os, "fsync", refuse)
    with raises(ImageError, f"kept.png written {os.strerror(reason)}"):
        write_image(Image.new("RGB", (9, 9)), path)
    assert list(tmp_path.iterdir()) == [path]
    assert distance(open_picture(path).rgb, gradient()) == 0


def test_a_written_file_has_the_usual_permissions(tmp_path: Path) -> None:
    write_image(gradient(), tmp_path / "picture.png")
    (tmp_path / "other").write_bytes(b"")
    assert (tmp_path / "picture.png").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_a_contact_sheet_has_rows_of_one_height() -> None:
    rows = [
        [Image.new("RGB", (20, 10), RED), Image.new("RGB", (40, 40), GREEN)],
        [Image.new("RGB", (5, 10), GREEN)],
    ]
    sheet = contact_sheet(rows, height=20, gap=4)
    assert sheet.size == (40 + 4 + 20, 20 + 4 + 20)
    assert [sheet.getpixel((x, 10)) for x in (0, 39, 41, 44, 63)] == [RED, RED, WHITE, GREEN, GREEN]
    assert [sheet.getpixel(at) for at in ((0, 22), (0, 24), (9, 43), (10, 43))] == [WHITE, GREEN, GREEN, WHITE]
