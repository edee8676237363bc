"""TIFF: numbers of every depth, sign and meaning become the picture that they are, or are refused by name."""

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageCms
from small_messages import assert_each, assert_names, raises
from small_networks import varied

from fast_style.backends.pytorch import TorchBackend
from fast_style.errors import ImageError
from fast_style.images import notes, tiff
from fast_style.images.opening import open_image
from fast_style.images.picture import Picture, open_on_disk, open_picture, read_original
from fast_style.networks import LightNet
from fast_style.stylizing.controls import Controls
from fast_style.stylizing.stylizer import Stylizer
from fast_style.zoo.saving import Metadata

WIDTH, HEIGHT = 37, 21
PLENTY = 1e9


def levels() -> NDArray[np.float64]:
    """Whole levels from 0 to 255, of shape (height, width, 3)."""
    down, across = np.mgrid[0:HEIGHT, 0:WIDTH]
    each = (across / (WIDTH - 1), down / (HEIGHT - 1), (across + down) / (WIDTH + HEIGHT - 2))
    found: NDArray[np.float64] = np.rint(np.stack(each, axis=2) * 255)
    return found


def numbers(found: NDArray[np.float64], dtype: str) -> NDArray[Any]:
    """Levels from 0 to 255 as numbers that fill what a type can hold; floating point ones are from 0 to 1."""
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return (found / 255).astype(kind)
    lowest, highest = int(np.iinfo(kind).min), int(np.iinfo(kind).max)
    whole = [lowest + int(level) * (highest - lowest) // 255 for level in found.ravel()]
    return np.array(whole, kind).reshape(found.shape)


def packed(found: NDArray[Any], bits: int, reverse: bool) -> bytes:
    """Numbers of so many bits one after another, each row from a new byte on."""
    rows = []
    for row in found.reshape(len(found), -1):
        digits = "".join(f"{int(level):0{bits}b}" for level in row)
        each = [digits[place : place + 8].ljust(8, "0") for place in range(0, len(digits), 8)]
        rows.append(bytes(int(byte[::-1] if reverse else byte, 2) for byte in each))
    return b"".join(rows)


def file_of(data: bytes, tags: Mapping[int, Sequence[int]], order: str = "<") -> bytes:
    """A TIFF of one strip, with all tags as 16 bits but those that must have 32."""
    tags = {256: [WIDTH], 257: [HEIGHT], 259: [1], 273: [8], 278: [HEIGHT], 279: [len(data)], **tags}
    start = 8 + len(data) + len(data) % 2
    place, entries, beyond = start + 2 + 12 * len(tags) + 4, b"", b""
    for tag, values in sorted(tags.items()):
        letter, kind = ("I", 4) if tag in (273, 279) else ("H", 3)
        content = struct.pack(f"{order}{len(values)}{letter}", *values)
        entries += struct.pack(f"{order}HHI", tag, kind, len(values))
        if len(content) > 4:
            entries += struct.pack(f"{order}I", place + len(beyond))
            beyond += content + b"\0" * (len(content) % 2)
        else:
            entries += content.ljust(4, b"\0")
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", start)
    return head + data + b"\0" * (len(data) % 2) + struct.pack(f"{order}H", len(tags)) + entries + bytes(4) + beyond


def require(path: Path, expected: NDArray[np.float64], alpha: NDArray[np.float64] | None = None) -> Picture:
    """The picture of a file, which is as expected, with 8 bits, with 16 and on disk; where it is hardly clear."""
    picture = open_picture(path, deep=True)
    large = open_on_disk(path, deep=True, room=PLENTY)
    expected = expected if expected.ndim == 3 else np.stack([expected] * 3, axis=2)
    seen = np.full(expected.shape[:2], True) if alpha is None else alpha > 60
    on_disk = large.rgb.read((0, 0, *large.rgb.size)) / (257 if large.rgb.white == 65535 else 1)
    few = np.asarray(open_picture(path).rgb)
    for found in (np.asarray(picture.rgb), few, on_disk, *(() if picture.deep is None else (picture.deep / 257,))):
        # Of premultiplied levels, rounding leaves up to 255 / 60 / 2.
        assert np.abs(found.astype(float) - expected)[seen].max() <= (1 if alpha is None else 2.2)
    assert (picture.alpha is None) == (large.alpha is None) == (alpha is None)
    if alpha is not None and picture.alpha is not None:
        assert np.abs(np.asarray(picture.alpha) - alpha).max() <= 1
    return picture


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "u8", "i1", "i2", "i4", "f2", "f4", "f8"])
def test_every_type_of_number_is_the_picture_it_is(tmp_path: Path, dtype: str, order: Any) -> None:
    path = tmp_path / "a.tif"
    layouts: list[dict[str, Any]] = [{}, {"compression": "lzw", "bigtiff": True, "rowsperstrip": 4}]
    if order == ">":
        layouts = layouts[:1]
    elif dtype not in ("u8", "i1"):  # tifffile does not write these.
        layouts.append({"compression": "deflate", "predictor": True, "tile": (16, 16)})
    for layout in layouts:
        for meaning, found in (("rgb", levels()), ("minisblack", levels()[:, :, 0]), ("miniswhite", levels()[:, :, 0])):
            stored = numbers(255 - found if meaning == "miniswhite" else found, dtype)
            tifffile.imwrite(path, stored, photometric=meaning, byteorder=order, metadata=None, **layout)
            picture = require(path, found)
            assert (picture.deep is not None) == (np.dtype(dtype).itemsize > 1)
    planes = numbers(levels(), dtype).transpose(2, 0, 1)
    tifffile.imwrite(path, planes, photometric="rgb", planarconfig="separate", byteorder=order, metadata=None)
    require(path, levels())


@pytest.mark.parametrize(("order", "reverse"), [("<", False), (">", True)])
@pytest.mark.parametrize("bits", [1, 4, 6, 8, 10, 12, 14])
def test_levels_of_any_number_of_bits_are_unpacked(tmp_path: Path, bits: int, reverse: bool, order: str) -> None:
    white = 2**bits - 1
    for photometric in (0, 1, 2):
        found = np.rint((levels() if photometric == 2 else levels()[:, :, :1]) / 255 * white)
        data = packed(white - found if photometric == 0 else found, bits, reverse)
        tags = {258: [bits] * found.shape[2], 262: [photometric], 266: [1 + reverse], 277: [found.shape[2]]}
        (tmp_path / "a.tif").write_bytes(file_of(data, tags, order))
        require(tmp_path / "a.tif", np.broadcast_to(found / white * 255, (HEIGHT, WIDTH, 3)))


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
@pytest.mark.parametrize("kind", ["assocalpha", "unassalpha", "unspecified"])
def test_an_extra_channel_is_what_it_is_said_to_be(tmp_path: Path, kind: str, dtype: str) -> None:
    path = tmp_path / "a.tif"
    alpha = np.rint(np.broadcast_to(np.linspace(255, 0, HEIGHT)[:, None], (HEIGHT, WIDTH)))
    shown = None if kind == "unspecified" else alpha
    for colors, meaning in ((levels(), "rgb"), (levels()[:, :, :1], "minisblack")):
        stored = colors * alpha[:, :, None] / 255 if kind == "assocalpha" else colors
        found = numbers(np.rint(np.concatenate([stored, alpha[:, :, None]], axis=2)), dtype)
        for planar in ("contig", "separate"):
            if planar == "separate" and meaning == "minisblack":
                continue
            pixels = found.transpose(2, 0, 1) if planar == "separate" else found
            settings: Any = {"photometric": meaning, "planarconfig": planar, "extrasamples": [kind]}
            tifffile.imwrite(path, pixels, metadata=None, **settings)
            picture = require(path, np.broadcast_to(colors, (HEIGHT, WIDTH, 3)), shown)
            assert any("left out" in note for note in picture.notes) == (kind == "unspecified")


@pytest.mark.parametrize(
    ("stored", "words"),
    [
        (levels().astype(np.float32), "0 255"),
        # As a filter that sharpens leaves it.
        ((levels() * 1.0 + (levels() == 255) * 20 - (levels() == 0) * 9).astype(np.float64), "0 255"),
        ((levels() * 257).astype(np.float32), "0 65535"),
        (levels().astype(np.int32), "0 255"),
        ((levels() * 257).astype(np.uint32), "0 65535"),
        (np.rint(levels() * 32767 / 255).astype(np.int16), "0 32767"),
        ((levels() * 257 - 32768).astype(np.int16), "-32768 black"),
        (np.where(levels() == 0, np.nan, levels() / 255).astype(np.float32), "(NaN) black"),
    ],
)
def test_which_numbers_are_black_and_white_is_found_and_said(tmp_path: Path, stored: Any, words: str) -> None:
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="rgb", metadata=None)
    picture = require(tmp_path / "a.tif", levels())
    assert_names(" ".join(picture.notes), words)
    assert bool(picture.notes) == bool(words)


def test_floating_point_colors_to_255_go_with_an_opacity_to_1(tmp_path: Path) -> None:
    alpha = np.full((HEIGHT, WIDTH, 1), 204.0)
    stored = np.concatenate([levels(), alpha / 255], axis=2).astype(np.float32)
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="rgb", extrasamples=["unassalpha"], metadata=None)
    require(tmp_path / "a.tif", levels(), alpha[:, :, 0])


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("factor", [257, 256, 1])  # The last as old programs write it.
def test_a_palette_has_the_colors_it_says(tmp_path: Path, bits: int, factor: int) -> None:
    random = np.random.default_rng(bits)
    colors = np.vstack([[0, 255, 30], random.integers(0, 256, (2**bits - 1, 3))])
    found = random.integers(0, 2**bits, (HEIGHT, WIDTH, 1))
    tags = {258: [bits], 262: [3], 277: [1], 320: (colors.T * factor).ravel().tolist()}
    (tmp_path / "a.tif").write_bytes(file_of(packed(found, bits, False), tags))
    require(tmp_path / "a.tif", colors[found[:, :, 0]].astype(float))


@pytest.mark.parametrize("photometric", [8, 9])
@pytest.mark.parametrize("bits", [8, 16])
def test_lab_is_what_littlecms_makes_of_it(tmp_path: Path, photometric: int, bits: int) -> None:
    lab = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3))
    lab[:, :, 1:] = 128 + (lab[:, :, 1:] - 128) // 5
    signed = np.stack([lab[:, :, 0], lab[:, :, 1] ^ 128, lab[:, :, 2] ^ 128], axis=2).astype(np.uint8)
    image = Image.frombytes("LAB", (WIDTH, HEIGHT), signed.tobytes())
    both = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    exact = ImageCms.Flags.NOOPTIMIZE
    intent = ImageCms.Intent.RELATIVE_COLORIMETRIC
    transform = ImageCms.buildTransform(*both, "LAB", "RGB", intent, exact)
    expected = np.asarray(transform.apply(image)).astype(float)
    stored = (signed if photometric == 8 else lab).astype(np.uint16)
    if bits == 16:
        # Lightness to 65535, or as ICC has it to 65280; 256 for each of a* and b*.
        stored = np.concatenate([stored[:, :, :1] * (257 if photometric == 8 else 256), stored[:, :, 1:] * 256], axis=2)
    (tmp_path / "a.tif").write_bytes(
        file_of(stored.astype(f"<u{bits // 8}").tobytes(), {258: [bits] * 3, 262: [photometric], 277: [3]})
    )
    picture = open_picture(tmp_path / "a.tif", deep=True)
    inside = ((expected > 8) & (expected < 247)).all(axis=2)
    assert inside.sum() > 200
    assert np.abs(np.asarray(picture.rgb) - expected)[inside].max() <= 1
    assert (picture.deep is not None) == (bits == 16)
    # Of Pillow's own mode of that name, too.
    assert np.abs(np.asarray(Picture.of(image).rgb) - expected)[inside].max() <= 1


def test_cmyk_of_any_depth_and_television_levels_of_ycbcr(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    for dtype in ("u1", "u2", "f4"):
        inks = np.concatenate([255 - levels(), np.zeros((HEIGHT, WIDTH, 1))], axis=2)
        tifffile.imwrite(path, numbers(inks, dtype), photometric="separated", metadata=None)
        assert np.abs(np.asarray(open_picture(path).rgb) - levels()).max() <= 1
    # Uncompressed, 4:2:2, and with black at 16, white at 235 and no color at 128, as FFmpeg writes it: a gray of half
    # is at 16 + 219 / 2. Pillow's own reading has it truncated.
    data = bytes([16, 235, 128, 128, 126, 126, 128, 128]) * 4
    tags = {256: [4], 257: [4], 258: [8, 8, 8], 262: [6], 277: [3], 278: [4], 530: [2, 1]}
    rationals = struct.pack("<12I", 16, 1, 235, 1, 128, 1, 240, 1, 128, 1, 240, 1)
    content = file_of(data, {**tags, 532: [0] * 24})
    # The type and the count of the tag that must have fractions.
    entry = content.index(struct.pack("<HHI", 532, 3, 24))
    place = int.from_bytes(content[entry + 8 : entry + 12], "little")
    content = content[: entry + 2] + struct.pack("<HI", 5, 6) + content[entry + 8 : place] + rationals
    path.write_bytes(content)
    assert np.abs(np.asarray(open_picture(path).rgb)[0, :, 1] - [0, 255, 128, 128]).max() <= 1


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ({258: [8] * 4, 262: [5], 277: [4], 332: [2]}, "inks CMYK"),
        ({258: [8], 262: [32803], 277: [1]}, "mosaic sensor"),
        ({258: [16] * 3, 262: [32845], 277: [3]}, "LogLuv"),
        ({258: [64], 262: [1], 277: [1], 339: [6]}, "6 64"),
        ({258: [5, 6, 5], 262: [2], 277: [3]}, "unsigned 5, 6, 5"),
        ({258: [16] * 3, 262: [6], 277: [3]}, "YCbCr 16"),
        ({258: [8] * 5, 262: [1], 277: [5], 338: [0] * 4}, "5 channels 4"),
    ],
)
def test_what_no_picture_can_be_made_of_is_refused_by_name(tmp_path: Path, tags: Any, words: str) -> None:
    (tmp_path / "a.tif").write_bytes(file_of(bytes(WIDTH * HEIGHT * 8), tags))
    with raises(ImageError, words):
        open_picture(tmp_path / "a.tif")


def test_measurements_are_no_picture_nor_is_what_pillow_cannot_open(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, levels().astype(np.uint8), byteorder=">", bigtiff=True)
    with raises(ImageError, "BigTIFF"):
        open_picture(path)
    for data in (np.linspace(-4000, 4000, 640), np.linspace(0, 1e9, 640)):
        tifffile.imwrite(path, data.astype(np.float32).reshape(20, 32), photometric="minisblack", metadata=None)
        with raises(ImageError, "floating"):
            open_picture(path)


def test_without_the_extra_nothing_is_misread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, small = tmp_path / "plain.tif", tmp_path / "lzw.tif"
    tifffile.imwrite(plain, numbers(levels(), "f4"), photometric="rgb", metadata=None)
    tifffile.imwrite(small, numbers(levels(), "f4"), photometric="rgb", metadata=None, compression="lzw")
    monkeypatch.setattr(tiff, "HAS_CODECS", False)

    def decode(*_: Any, **__: Any) -> Any:
        raise ValueError("<COMPRESSION.LZW: 5> requires the 'imagecodecs' package")

    assert np.abs(np.asarray(open_picture(plain).rgb) - levels()).max() <= 1
    monkeypatch.setattr(tifffile.TiffPage, "segments", decode)
    with raises(ImageError, "floating 32 LZW fast_style[formats]"):
        open_picture(small)


def test_orientation_and_pages_of_such_files(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    turned = np.rot90(levels(), 1)  # 6: to be turned by a quarter to the right.
    tifffile.imwrite(path, numbers(turned, "f4"), photometric="rgb", metadata=None, extratags=[(274, 3, 1, 6, True)])
    require(path, levels())
    with tifffile.TiffWriter(path) as file:
        for factor in (0.5, 1):
            file.write(numbers(levels() * factor, "i4"), photometric="rgb", metadata=None)
    with path.open("rb") as opened:
        image: Any = open_image(opened)
        assert image.n_frames == 2
        image.seek(1)
        assert np.abs(np.asarray(image.convert("RGB")) - levels()).max() <= 1


@pytest.mark.parametrize("in_tiles", [False, True])
def test_without_strength_the_picture_comes_back(tmp_path: Path, in_tiles: bool) -> None:
    stylizer = Stylizer(TorchBackend(varied(LightNet(styles=1, width=4, blocks=1)), "cpu", "fp32"), Metadata({"a": {}}))
    tifffile.imwrite(
        tmp_path / "a.tif", numbers(255 - levels()[:, :, 0], "u2"), photometric="miniswhite", metadata=None
    )
    if in_tiles:
        row = np.ones(1, np.float32)
        stylizer.tiling.stylize_file(tmp_path / "a.tif", tmp_path / "b.tif", [row], Controls(strength=0))
    else:
        stylizer.stylize_file(tmp_path / "a.tif", tmp_path / "b.tif", strength=0)
    found = tifffile.imread(tmp_path / "b.tif")
    assert np.array_equal(found, np.stack([numbers(levels()[:, :, 0], "u2")] * 3, axis=2))


def test_what_is_guessed_is_said_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notes, "_told", set())
    for name in ("a.tif", "b.tif"):
        tifffile.imwrite(tmp_path / name, levels().astype(np.float32), photometric="rgb", metadata=None)
        read_original(tmp_path / name, tmp_path / "c.png")
    assert_names(capsys.readouterr().err, f"{tmp_path}/a.tif floating 1 0 255")


@pytest.mark.parametrize(
    ("levels", "white", "said"),
    [
        # Light, with a peak, or a few.
        ([0, 0.25, 0.5, 3], 1, "white"),
        ([0.25, 0.5, 0.75, 900.5], 1, "white"),
        ([0, 1.5, 3.5, 12.5], 1, "white"),
        ([0, 1, 2, 3], 255, "0 255"),
        ([0.5, 63.75, 127.5, 254.5], 255, "0 255"),
    ],
)
def test_peaks_of_light_make_no_picture_black(tmp_path: Path, levels: list[float], white: int, said: str) -> None:
    data = np.repeat(np.array(levels, np.float32).reshape(2, 2, 1), 3, axis=2)
    tifffile.imwrite(tmp_path / "a.tif", data, photometric="rgb", metadata=None)
    picture = open_picture(tmp_path / "a.tif")
    assert np.abs(np.asarray(picture.rgb) - (data / white).clip(0, 1) * 255).max() <= 1
    assert_each(dict.fromkeys(picture.notes), f"floating above 1 {said}")


def test_what_is_no_number_is_said(tmp_path: Path) -> None:
    data = np.full((2, 2, 3), 0.5, np.float32)
    data[0, 0] = np.nan
    tifffile.imwrite(tmp_path / "a.tif", data, photometric="rgb", metadata=None)
    picture = open_picture(tmp_path / "a.tif")
    assert np.asarray(picture.rgb)[:, :, 0].tolist() == [[0, 128], [128, 128]]
    assert_each(set(picture.notes), "floating (NaN) black")
