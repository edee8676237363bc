"""Colors that a file describes without a profile: brought to sRGB, or said."""

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pillow_heif
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms
from small_messages import assert_each, assert_names, raises

from fast_style.errors import ImageError
from fast_style.images import bitstreams, notes
from fast_style.images.boxes import box
from fast_style.images.opening import has_gain_map
from fast_style.images.picture import Picture, open_on_disk, open_picture, read_original
from fast_style.images.spaces import PRIMARIES, Space, numbered, to_linear_srgb

COLOR = (200, 120, 60)
HDR = "a high dynamic range: brought to the usual one"


def png(chunks: dict[bytes, bytes], color: Any = COLOR, mode: str = "RGB", **settings: Any) -> bytes:
    """A PNG with chunks before its pixels."""
    file = io.BytesIO()
    Image.new(mode, (16, 16), color).save(file, "PNG", **settings)
    content = file.getvalue()
    each = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks.items()
    )
    return content[:33] + b"".join(each) + content[33:]


def color_of(content: bytes) -> tuple[list[int], tuple[str, ...]]:
    """The color of a picture, which is all of one, and what is said of it; in memory as on disk."""
    picture = open_picture(io.BytesIO(content), "picture")
    return np.asarray(picture.rgb)[8, 8].tolist(), picture.notes


def exif(space: int, index: str = "") -> bytes:
    """EXIF of a color space, as cameras write it, in one directory after another."""
    interop = struct.pack("<HHHI4s", 1, 1, 2, 4, index.encode().ljust(4, b"\0")) + bytes(4)
    own = struct.pack("<HHHIHH", 1 + bool(index), 0xA001, 3, 1, space, 0)
    own += struct.pack("<HHII", 0xA005, 4, 1, 26 + 30) if index else b""
    head = b"II*\0" + struct.pack("<IHHHII", 8, 1, 0x8769, 4, 1, 26) + bytes(4)
    return b"Exif\0\0" + head + (own + bytes(4)).ljust(30, b"\0") + interop


def profile(colorants: list[tuple[float, float, float]]) -> ImageCms.ImageCmsProfile:
    """The profile of sRGB with other colorants, as ICC has them: of D50."""
    content = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for name, colorant in zip((b"rXYZ", b"gXYZ", b"bXYZ"), colorants, strict=True):
        entry = content.index(name, 128)
        place = int.from_bytes(content[entry + 4 : entry + 8]) + 8
        numbers = struct.pack(">3i", *(round(each * 65536) for each in colorant))
        content = content[:place] + numbers + content[place + 12 :]
    return ImageCms.ImageCmsProfile(io.BytesIO(content))


# By arithmetic with the matrices of Lindbloom and the curves of the standards, rounded.
@pytest.mark.parametrize(
    ("primaries", "transfer", "expected"),
    [
        (12, 13, (213, 115, 42)),  # Display P3.
        (1, 1, COLOR),
        (2, 2, COLOR),
        (6, 6, (196, 121, 59)),
        (9, 14, (237, 105, 40)),
        (1, 8, (229, 182, 133)),
        (1, 4, (201, 121, 57)),
    ],
)
def test_cicp_is_what_the_standards_say(primaries: int, transfer: int, expected: tuple[int, ...]) -> None:
    found, said = color_of(png({b"cICP": bytes([primaries, transfer, 0, 1])}))
    assert np.abs(np.subtract(found, expected)).max() <= 1
    assert said == ()


def test_display_p3_is_what_littlecms_makes_of_its_profile() -> None:
    # The colorants of Apple's profile of that name.
    colorants = [(0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407)]
    levels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    exact = ImageCms.Flags.NOOPTIMIZE
    transform = ImageCms.buildTransform(
        profile(colorants), ImageCms.createProfile("sRGB"), "RGB", "RGB", ImageCms.Intent.RELATIVE_COLORIMETRIC, exact
    )
    expected = np.asarray(transform.apply(Image.fromarray(levels))).astype(int)
    space = numbered(12, 13)
    assert space is not None
    assert np.abs(space.to_srgb(levels) - expected).max() <= 1
    deep = space.to_srgb(levels.astype(np.uint16) * 257)
    assert np.abs(deep / 257 - space.to_srgb(levels)).max() <= 0.51


def test_the_matrix_of_bt2020_is_that_of_bt2087() -> None:
    # ITU-R BT.2087-0, annex 2, M2 of BT.2020 to BT.709.
    expected = [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]]
    assert np.allclose(to_linear_srgb(PRIMARIES[9]), expected, atol=2e-4)
    for each in PRIMARIES.values():  # White stays white.
        assert np.allclose(to_linear_srgb(each).sum(axis=1), 1, atol=1e-9)


def pq(light: NDArray[np.float64]) -> NDArray[np.float64]:
    """SMPTE ST 2084's signal of light in candela to a square metre."""
    power = (light / 10_000) ** (1305 / 8192)
    return ((107 / 128 + 2413 / 128 * power) / (1 + 2392 / 128 * power)) ** (2523 / 32)


def test_a_usual_picture_in_pq_comes_back() -> None:
    # With the white of paper at 203 cd/m2 (ITU-R BT.2408), in the primaries of BT.709.
    levels = np.random.default_rng(0).integers(0, 256, (32, 32, 3))
    signal = levels / 255
    light = np.where(signal <= 0.04045, signal / 12.92, ((signal + 0.055) / 1.055) ** 2.4) * 203
    stored = np.rint(pq(light) * 65535).astype(np.uint16)
    space = numbered(1, 16)
    assert space is not None
    assert space.is_hdr
    assert np.abs(space.to_srgb(stored) / 257 - levels).max() <= 0.1
    # And what is brighter is white.
    assert space.to_srgb(np.full((1, 1), 60000, np.uint16)).tolist() == [[[65535] * 3]]


def test_hlg_is_what_bt2100_says() -> None:
    space = numbered(1, 18)
    assert space is not None
    # 75 % is the white of paper, and 50 % has 1 / 12 of the light of the scene, to the power of 1.2 on a display.
    scene = (1 / 12) / ((np.exp((0.75 - 0.55991073) / 0.17883277) + 0.28466892) / 12)
    expected = 1.055 * (scene**1.2) ** (1 / 2.4) - 0.055
    found = space.to_srgb(np.rint(np.array([[0.5, 0.75, 1]]) * 65535).astype(np.uint16))[0, :, 1] / 65535
    assert np.allclose(found, [expected, 1, 1], atol=1e-3)


def test_levels_of_television_have_black_at_16_and_white_at_235() -> None:
    space = Space(PRIMARIES[1], 13, limited=True)
    for levels, white in ((np.array([[16, 235, 5]], np.uint8), 255), (np.array([[4096, 60160, 9]], np.uint16), 65535)):
        assert space.to_srgb(levels)[0, :, 0].tolist() == [0, white, 0]


def test_which_chunk_of_a_png_goes_first() -> None:
    p3 = bytes([12, 13, 0, 1])
    linear = struct.pack(">I", 100_000)
    chromaticities = struct.pack(">8I", 31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)
    usual = struct.pack(">I", 45455)
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    in_p3, from_light = [213, 115, 42], [229, 182, 133]
    # cICP, iCCP, sRGB, and then gAMA and cHRM: PNG, third edition, 4.3.
    assert color_of(png({b"cICP": p3, b"sRGB": b"\0"}))[0] == in_p3
    assert color_of(png({b"cICP": p3}, icc_profile=srgb))[0] == in_p3
    assert color_of(png({b"gAMA": linear}, icc_profile=srgb))[0] == [*COLOR]
    assert color_of(png({b"gAMA": linear, b"sRGB": b"\0"}))[0] == [*COLOR]
    assert color_of(png({b"gAMA": linear}))[0] == from_light
    assert color_of(png({b"gAMA": linear}, 120, "L"))[0] == [182] * 3
    assert color_of(png({b"gAMA": usual, b"cHRM": chromaticities}))[0] == in_p3
    assert color_of(png({b"gAMA": usual}))[0] == [*COLOR]
    assert color_of(png({b"gAMA": usual, b"cHRM": bytes(32)}))[0] == [*COLOR]


def test_chunks_that_are_too_short_say_nothing(tmp_path: Path) -> None:
    names = (b"gAMA", b"cHRM", b"sRGB", b"pHYs", b"cICP")
    assert color_of(png(dict.fromkeys(names, b"\0\0"[:1])))[0] == [*COLOR]
    for name in (b"gAMA", b"cHRM", b"pHYs"):
        for length in range(4):
            assert color_of(png({name: bytes(length)}))[0] == [*COLOR]
    (tmp_path / "a.png").write_bytes(png({b"gAMA": b"\0"}))
    assert open_on_disk(tmp_path / "a.png", deep=True, room=1e9).rgb.read((0, 0, 1, 1)).tolist() == [[[*COLOR]]]


def bmp(kind: bytes, ends: Any = (0,) * 9, gammas: Any = (0,) * 3, data: bytes = b"") -> bytes:
    """A BMP with a header of version 5, the kind of its colors as Microsoft has it, and a profile."""
    file = io.BytesIO()
    Image.new("RGB", (16, 16), COLOR).save(file, "BMP")
    content = file.getvalue()
    more = kind[::-1] + struct.pack("<9i3I", *ends, *(round(each * 65536) for each in gammas))
    more = bytes(16) + more + struct.pack("<4I", 4, 124 + 768, len(data), 0)
    start = content[:10] + struct.pack("<2I", 14 + 124, 124) + content[18:54]
    return start + more + content[54:] + data


def test_a_bmp_is_in_the_colors_that_its_header_says() -> None:
    # Display P3 as XYZ of each primary: chromaticities times 2^30, as only their proportion counts.
    xyz = [(0.68, 0.32, 0), (0.265, 0.69, 0.045), (0.15, 0.06, 0.79)]
    p3 = [round(part * 2**30) for each in xyz for part in each]
    to_srgb = np.array([[1.2249, -0.2249, 0], [-0.0420, 1.0420, 0], [-0.0197, -0.0786, 1.0983]])
    light = to_srgb @ (np.array(COLOR) / 255) ** 2.2
    expected = np.rint((1.055 * light ** (1 / 2.4) - 0.055) * 255).tolist()
    assert color_of(bmp(bytes(4), p3, (2.2, 2.2, 2.2))) == (expected, ())
    assert color_of(bmp(bytes(4), p3, (1 / 2.2,) * 3))[0] == expected
    for kind in (b"sRGB", b"Win ", bytes(4)):
        assert color_of(bmp(kind)) == ([*COLOR], ())
    # As a PNG with the same profile.
    colorants = [(0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407)]
    content = profile(colorants).tobytes()
    assert color_of(bmp(b"MBED", data=content)) == color_of(png({}, icc_profile=content))
    assert color_of(bmp(b"MBED", data=content))[0] == [213, 115, 42]
    assert color_of(bmp(b"MBED", data=content[:50])) == ([*COLOR], ())
    for content, words in ((bmp(b"LINK", data=b"a.icc\0"), "another file"), (bmp(bytes(4), p3, (1, 2, 3)), "gamma")):
        found, (said,) = color_of(content)
        assert (found, words in said) == ([*COLOR], True)


@pytest.mark.parametrize(("primaries", "transfer"), [(3, 13), (1, 3), (200, 200)])
def test_an_unknown_number_is_said(primaries: int, transfer: int) -> None:
    found, (said,) = color_of(png({b"cICP": bytes([primaries, transfer, 0, 1])}))
    assert found == [*COLOR]
    assert f"unknown kind {primaries}/{transfer}" in said


@pytest.mark.parametrize(
    ("primaries", "transfer", "expected"), [(12, 13, (213, 115, 42)), (1, 13, COLOR), (9, 16, None)]
)
def test_nclx_in_avif_and_heic(tmp_path: Path, primaries: int, transfer: int, expected: Any) -> None:
    pixels = np.full((64, 64, 3), COLOR, np.uint8)
    space: Any = {"primaries": primaries, "transfer": transfer, "matrix": 6}
    avif = bytes(imagecodecs.avif_encode(pixels, 100, speed=8, pixelformat="444", **space))
    heic = io.BytesIO()
    numbers = {"color_primaries": primaries, "transfer_characteristics": transfer, "full_range_flag": 1}
    pillow_heif.from_pillow(Image.fromarray(pixels)).save(
        heic, quality=100, chroma=444, save_nclx_profile=True, matrix_coefficients=6, **numbers
    )
    # And without the box: the pictures' own headers say the same.
    boxed = (avif, heic.getvalue())
    for content in (*boxed, *(each.replace(b"colrnclx", b"freenclx") for each in boxed)):
        found, said = color_of(content)
        assert said == ((HDR,) if transfer == 16 else ())
        if expected is not None:
            assert np.abs(np.subtract(found, expected)).max() <= 4
    # With more bits, and on disk.
    deep = bytes(
        imagecodecs.avif_encode(
            np.array(COLOR, np.uint16) * np.ones((64, 64, 1), np.uint16) * 4, 100, bitspersample=10, **space
        )
    )
    (tmp_path / "a.avif").write_bytes(deep)
    picture, large = open_picture(tmp_path / "a.avif", deep=True), open_on_disk(tmp_path / "a.avif", True, 1e9)
    assert picture.deep is not None
    assert np.array_equal(picture.deep, large.rgb.read((0, 0, 64, 64)))
    if expected is not None:
        assert np.abs(picture.deep[32, 32] / 257 - expected).max() <= 3


def test_the_headers_of_other_encoders_are_read() -> None:
    # Display P3 (12, 13), by ffmpeg with libaom, SVT-AV1 and x265: of films, which say more before.
    for header in ("0a0d00000002afff9fff32181a0c08", "0a0d00000002afff9f7f22181a0c08", "12000a0938157ffd8430341a40"):
        assert bitstreams.av1_colors(bytes.fromhex(header) + bytes(9)) == (12, 13)
    sps = bytes.fromhex(
        "42010102200000030090000003000003003ca0208127c8d96566924caf016a181a0c08000003000800000300cb00a4b2f0007a12000f4244"
    )
    vps = b"\x20\0\1\0\3abc"
    config = bytes(22) + b"\2" + vps + b"\x21\0\1" + struct.pack(">H", len(sps)) + sps
    assert bitstreams.hevc_colors(config) == (12, 13)
    for length in range(len(config) - 30):
        with pytest.raises((LookupError, ValueError)):
            bitstreams.hevc_colors(config[:length])


def test_adobe_rgb_by_exif_is_what_littlecms_makes_of_its_profile(tmp_path: Path) -> None:
    # Of Ghostscript's a98.icc, by LittleCMS.
    for name, options in (("a.jpg", {"quality": 100, "subsampling": 0}), ("a.webp", {"lossless": True}), ("a.png", {})):
        for space, index, expected in ((65535, "R03", (224, 121, 53)), (2, "", (224, 121, 53)), (1, "R98", COLOR)):
            Image.new("RGB", (16, 16), COLOR).save(tmp_path / name, exif=exif(space, index), **options)
            picture = open_picture(tmp_path / name)
            assert np.abs(np.asarray(picture.rgb)[8, 8] - np.array(expected)).max() <= 2, (name, space)
            assert picture.notes == ()
        Image.new("RGB", (16, 16), COLOR).save(tmp_path / name, exif=exif(65535), **options)
        assert_each(open_picture(tmp_path / name).notes, "say")
    # What goes first is a profile.
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.new("RGB", (16, 16), COLOR).save(tmp_path / "a.png", exif=exif(65535, "R03"), icc_profile=srgb)
    assert np.asarray(open_picture(tmp_path / "a.png").rgb)[8, 8].tolist() == [*COLOR]
    image = Image.new("RGB", (16, 16), COLOR)
    image.info["exif"] = exif(65535, "R03")
    assert np.asarray(Picture.of(image).rgb)[8, 8].tolist() == [224, 121, 53]


def test_a_gain_map_and_a_high_range_are_said_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notes, "_told", set())
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(png({b"cICP": bytes([9, 16, 0, 1])}))
        read_original(tmp_path / name, tmp_path / "c.png")
    for name in ("a.jpg", "b.jpg"):
        xmp = b'<x xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" hdrgm:Version="1.0"/>'
        Image.new("RGB", (16, 16), COLOR).save(tmp_path / name, xmp=xmp)
        read_original(tmp_path / name, tmp_path / "c.jpg")
    first, second = capsys.readouterr().err.splitlines()
    assert first == f"{tmp_path}/a.png: {HDR}"
    assert_names(second, f"{tmp_path}/a.jpg gain map")


def test_a_gain_map_of_apple_is_said(tmp_path: Path) -> None:
    second = Image.new("RGB", (16, 16), COLOR)
    second.info["comment"] = b"urn:com:apple:photo:2020:aux:hdrgainmap"
    Image.new("RGB", (16, 16), COLOR).save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=[second])
    assert "a gain map" in " ".join(open_picture(tmp_path / "a.jpg").notes)
    heic = io.BytesIO()
    pillow_heif.from_pillow(Image.new("RGB", (64, 64), COLOR)).save(heic)
    # As one more property, in a box of its own at the end of "meta".
    content = heic.getvalue()
    start = content.index(b"meta") - 4
    end = start + int.from_bytes(content[start : start + 4])
    extra = box(b"free", b"auxC urn:com:apple:photo:2020:aux:hdrgainmap")
    grown = content[:end] + extra + content[end:]
    grown = grown[:start] + struct.pack(">I", end - start + len(extra)) + grown[start + 4 :]
    image = Image.new("RGB", (1, 1))
    for found, expected in ((grown, True), (content, False)):
        image.format = "HEIF"
        assert has_gain_map(image, io.BytesIO(found)) == expected


def test_photoshop_files_in_lab_are_read_and_those_of_16_bits_named() -> None:
    head = b"8BPS" + struct.pack(">H6xHII", 1, 3, 16, 16)
    # L* of 53.7, a* of 40 and b* of -20, which LittleCMS has as (181, 100, 164).
    planes = bytes([137] * 256 + [168] * 256 + [108] * 256)
    found, _ = color_of(head + struct.pack(">HHIIIH", 8, 9, 0, 0, 0, 0) + planes)
    assert np.abs(np.subtract(found, (181, 100, 164))).max() <= 1
    with raises(ImageError, "PSD 16"):
        color_of(head + struct.pack(">HHIIIH", 16, 3, 0, 0, 0, 0) + 2 * planes)


def test_jpeg_2000_with_a_sign_is_what_it_is_without() -> None:
    levels = np.random.default_rng(0).integers(0, 65536, (32, 32, 3))
    content = bytes(imagecodecs.jpeg2k_encode((levels - 32768).astype(np.int16), codecformat="jp2", reversible=True))
    picture = open_picture(io.BytesIO(content), "picture", deep=True)
    assert picture.deep is not None
    assert np.array_equal(picture.deep, levels)
    assert np.abs(np.asarray(picture.rgb) - levels / 257).max() <= 1
