"""Damaged files by the hundred: whatever is in a file, a reader returns what it should or says one line.

The inputs are the same in every run. With -m nightly there are twenty times as many, new ones each time.
"""

import contextlib
import io
import json
import resource
import struct
import tempfile
import warnings
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms
from safetensors import SafetensorError
from safetensors.torch import load

from fast_style.data.photographs import Photographs
from fast_style.errors import CheckpointError, FastStyleError
from fast_style.images.deep import encode_pixels
from fast_style.images.metadata import ImageMetadata
from fast_style.images.picture import open_picture
from fast_style.images.tensors import read_image
from fast_style.networks import LightNet, ResidualNet, TransformNet
from fast_style.system import input_limits
from fast_style.zoo import saving
from fast_style.zoo.saving import Metadata, load_network, save_network

COMMON = settings(deadline=None, database=None, suppress_health_check=list(HealthCheck))
EACH_TIME = settings(COMMON, max_examples=500, derandomize=True)
NIGHTLY = settings(COMMON, max_examples=10_000)

#: Sizes, counts and offsets on which programs stumble.
EXTREMES = (0, 1, 2, 127, 128, 255, 256, 2**15 - 1, 2**15, 2**16 - 1, 2**24, 2**31 - 1, 2**31, 2**32 - 2, 2**32 - 1)


def encoded(image: Image.Image, format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def small_pictures() -> Iterator[bytes]:
    """A picture of each kind that the readers know."""
    rgb = Image.fromarray(np.random.default_rng(0).integers(0, 256, (12, 20, 3), np.uint8))
    deep = Image.fromarray(np.arange(240, dtype=np.uint16).reshape(12, 20) * 257)
    clear = rgb.copy()
    clear.putalpha(128)
    exif = Image.Exif()
    exif[0x0112] = 6
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    yield encoded(rgb, "JPEG", exif=exif, icc_profile=profile)
    yield encoded(rgb, "JPEG", progressive=True)
    yield encoded(rgb.convert("CMYK"), "JPEG")
    yield encoded(rgb, "MPO", save_all=True, append_images=[rgb])
    yield encoded(rgb, "PNG", exif=exif, icc_profile=profile)
    yield encoded(clear, "PNG")
    yield encoded(deep, "PNG")
    yield encoded(rgb.convert("P"), "PNG", transparency=3)
    yield encoded(rgb, "PNG", save_all=True, append_images=[rgb.transpose(Image.Transpose.FLIP_LEFT_RIGHT)])
    yield encoded(rgb, "WEBP", exif=exif, icc_profile=profile)
    yield encoded(clear, "WEBP", lossless=True)
    yield encoded(rgb, "WEBP", save_all=True, append_images=[clear.convert("RGB")])
    yield encoded(rgb, "TIFF", exif=exif, icc_profile=profile)
    for compression in ("tiff_lzw", "tiff_deflate", "packbits", "jpeg"):
        yield encoded(rgb, "TIFF", compression=compression)
    yield encoded(deep, "TIFF")
    yield encoded(rgb.convert("1"), "TIFF", compression="group4")
    yield encoded(rgb, "BMP")
    yield encoded(rgb.convert("P"), "BMP")
    yield encoded(rgb, "GIF")
    yield encoded(rgb, "GIF", save_all=True, append_images=[rgb.transpose(Image.Transpose.FLIP_LEFT_RIGHT)])
    yield encoded(rgb, "PPM")
    yield encoded(rgb, "AVIF")
    for format in ("JPEG2000", "QOI", "PCX", "SGI", "DDS", "ICO", "TGA"):
        yield encoded(rgb, format)
    pillow_heif.register_heif_opener()
    yield encoded(rgb, "HEIF", exif=exif)
    fine = np.random.default_rng(0).integers(0, 65536, (12, 20, 3), np.uint16)
    yield encode_pixels(fine, None, "PNG", ImageMetadata(exif.tobytes()))
    yield encode_pixels(fine, None, "TIFF", ImageMetadata(exif.tobytes()))


PICTURES = list(small_pictures())


def png_chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    chunks, at = [], 8
    while at + 8 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    return chunks


def png_of(chunks: list[tuple[bytes, bytes]]) -> bytes:
    """The file, with checksums that are right, so that what is wrong comes to be read."""
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


@st.composite
def damaged(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    """One of the files, with some bytes flipped, cut, repeated, put elsewhere, or at an extreme."""
    data = bytearray(draw(st.sampled_from(seeds)))
    if data.startswith(b"\x89PNG") and draw(st.booleans()):
        chunks = png_chunks(bytes(data))
        for _ in range(draw(st.integers(1, 3))):
            at = draw(st.integers(0, len(chunks) - 1))
            kind, content = chunks[at]
            match draw(st.sampled_from(("damage", "repeat", "drop", "move", "rename"))):
                case "damage":
                    chunks[at] = kind, bytes(damage(draw, bytearray(content), seeds))
                case "repeat":
                    chunks[at:at] = [chunks[at]] * draw(st.integers(1, 3))
                case "drop" if len(chunks) > 1:
                    del chunks[at]
                case "move":
                    chunks.insert(draw(st.integers(0, len(chunks))), chunks[at])
                case "rename":
                    other = draw(
                        st.sampled_from((b"PLTE", b"tRNS", b"iCCP", b"zTXt", b"iTXt", b"eXIf", b"acTL", b"fcTL"))
                    )
                    chunks[at] = other, content
        return png_of(chunks)
    for _ in range(draw(st.integers(1, 3))):
        data = damage(draw, data, seeds)
    return bytes(data)


def damage(draw: st.DrawFn, data: bytearray, seeds: list[bytes]) -> bytearray:
    if not data:
        return bytearray(draw(st.binary(max_size=8)))
    # What is interesting stands at the beginning; what is at the very beginning ends the reading at once.
    first = draw(st.sampled_from((0, 4, 16)))
    last = draw(st.sampled_from((64, len(data), len(data)))) - 1
    at = min(first, len(data) - 1) + draw(st.integers(0, max(0, min(last, len(data) - 1) - first)))
    length = draw(st.integers(1, 64))
    match draw(st.sampled_from(("flip", "set", "extreme", "cut", "drop", "repeat", "splice"))):
        case "flip":
            data[at] ^= 1 << draw(st.integers(0, 7))
        case "set":
            data[at] = draw(st.integers(0, 255))
        case "extreme":
            width = draw(st.sampled_from((2, 4)))
            value = draw(st.sampled_from(EXTREMES)) % 256**width
            data[at : at + width] = value.to_bytes(width, draw(st.sampled_from(("big", "little"))))
        case "cut":
            del data[at:]
        case "drop":
            del data[at : at + length]
        case "repeat":
            data[at:at] = data[at : at + length] * draw(st.integers(1, 3))
        case "splice":
            other = draw(st.sampled_from(seeds))
            start = draw(st.integers(0, len(other) - 1))
            data[at : at + length] = other[start : start + length]
    return data


@pytest.fixture
def quiet(capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    """Neither a warning nor a line on the terminal, not even from a library that is not Python, and little memory."""
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        yield
    assert [str(warning.message) for warning in heard] == []
    assert capfd.readouterr() == ("", "")
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory
    assert grown < 256 * 1024  # KiB


@pytest.fixture
def read_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quiet: None) -> Callable[[bytes], None]:
    """Every way in which this package reads a picture."""
    # What may be large may take its time; here it would take it hundreds of times.
    monkeypatch.setattr(input_limits, "MAX_PIXELS", 2**20)
    folder = tmp_path / "photos"
    folder.mkdir()
    Image.new("RGB", (40, 40)).save(folder / "good.png")

    def read(data: bytes) -> None:
        (folder / "damaged.jpg").write_bytes(data)
        shape: tuple[int, ...] | None
        try:
            shape = read_image(folder / "damaged.jpg").shape
            assert shape[:2] == (1, 3)
        except FastStyleError as error:
            one_line(error)
            shape = None
        try:
            picture = open_picture(io.BytesIO(data), "upload", short_side=1, deep=True)
            assert picture.deep is None or picture.deep.shape == (picture.rgb.height, picture.rgb.width, 3)
            assert picture.rgb.mode == "RGB"
            assert picture.alpha is None or picture.alpha.size == picture.rgb.size
        except FastStyleError as error:
            one_line(error)
        photographs = Photographs(folder, 32)
        assert photographs[0, 0].shape == (3, 32, 32)
        assert photographs.skipped == ([] if shape else ["damaged.jpg"])

    return read


def one_line(error: FastStyleError) -> None:
    assert "\n" not in str(error)
    assert len(str(error)) < 1000


@EACH_TIME
@given(damaged(PICTURES))
def test_a_damaged_picture_is_read_or_told(read_picture: Callable[[bytes], None], data: bytes) -> None:
    read_picture(data)


@pytest.mark.nightly
@pytest.mark.timeout(3600)
@NIGHTLY
@given(damaged(PICTURES))
def test_ten_thousand_damaged_pictures_are_read_or_told(read_picture: Callable[[bytes], None], data: bytes) -> None:
    read_picture(data)


def small_networks() -> Iterator[bytes]:
    torch.manual_seed(0)
    network: TransformNet
    for network in (LightNet(styles=2, width=4, blocks=1), ResidualNet(styles=1, width=2, blocks=1)):
        styles: dict[str, dict[str, str | int | None]] = {
            f"style{index}": {"artist": "nobody", "year": 2024} for index in range(network.styles)
        }
        metadata = Metadata(styles, {"seed": 0, "style": {"a": [1, 2.5, None]}}, {"heldout/total": 1.5})
        with tempfile.TemporaryDirectory() as folder:
            save_network(Path(folder, "network.safetensors"), network, metadata)
            yield Path(folder, "network.safetensors").read_bytes()


NETWORKS = list(small_networks())

VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from((*EXTREMES, -1, -(2**31), 2**63 - 1, 2**63, 2**64, 10**40, 0.5, 1e308, float("inf"), float("nan"))),
    st.sampled_from(
        ("", "F64", "F16", "BF16", "I64", "BOOL", "U8", "F8_E4M3", "F4", "C64", "TransformNet", "os.system")
    ),
    st.sampled_from(("LightNet", "ResidualNet", "ConditionalInstanceNorm", "styles", "__class__", "0" * 64)),
    st.lists(st.sampled_from((0, 1, 4, -1, 2**62)), max_size=4),
    st.builds(dict),
)


def places(node: Any) -> Iterator[tuple[Any, Any]]:
    """Every value in nested containers, as its container and its key."""
    for key in list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ():
        yield node, key
        yield from places(node[key])


def edit(draw: st.DrawFn, node: Any) -> None:
    found = list(places(node))
    if not found:
        return
    container, key = found[draw(st.integers(0, len(found) - 1))]
    match draw(st.sampled_from(("set", "drop", "repeat"))):
        case "set":
            container[key] = draw(VALUES)
        case "drop":
            del container[key]
        case "repeat" if isinstance(container, list):
            container.append(container[key])
        case "repeat":
            container[draw(st.sampled_from(("width", "styles", "blocks", "x", "data_offsets")))] = container[key]


@st.composite
def damaged_network(draw: st.DrawFn) -> bytes:
    """One of the files, with damage to its bytes or to one of the two layers of JSON in it."""
    data, kind = draw(st.sampled_from(NETWORKS)), draw(st.sampled_from(("bytes", "header", "description", "both")))
    if kind == "bytes":
        return bytes(damage(draw, bytearray(data), NETWORKS))
    length = int.from_bytes(data[:8], "little")
    header, payload = json.loads(data[8 : 8 + length]), data[8 + length :]
    description = json.loads(header["__metadata__"]["fast_style"])
    for _ in range(draw(st.integers(1, 3))):
        if kind in ("description", "both"):
            edit(draw, draw(st.sampled_from((description, description.get("network")))))
        header["__metadata__"]["fast_style"] = json.dumps(description)
    if kind in ("header", "both"):
        edit(draw, header)
        # As one would who means it: with the right checksum.
        with contextlib.suppress(SafetensorError, KeyError, TypeError, ValueError, RuntimeError):
            description["sha256"] = saving._digest(load(_safetensors(header, payload)))
            header["__metadata__"]["fast_style"] = json.dumps(description)
    return _safetensors(header, payload)


def _safetensors(header: Any, payload: bytes) -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + payload


@pytest.fixture
def read_network(tmp_path: Path, quiet: None) -> Callable[[bytes], None]:
    def read(data: bytes) -> None:
        path = tmp_path / "damaged.safetensors"
        path.write_bytes(data)
        try:
            network, metadata = load_network(path)
        except CheckpointError as error:
            one_line(error)
            return
        assert len(metadata.styles) == network.styles
        with torch.no_grad():
            style = torch.full((1, network.styles), 1 / network.styles)
            assert network(torch.rand(1, 3, 16, 16), style).shape == (1, 3, 16, 16)

    return read


@EACH_TIME
@given(damaged_network())
def test_a_damaged_network_file_is_read_or_told(read_network: Callable[[bytes], None], data: bytes) -> None:
    read_network(data)


@pytest.mark.nightly
@pytest.mark.timeout(3600)
@NIGHTLY
@given(damaged_network())
def test_ten_thousand_damaged_network_files_are_read_or_told(
    read_network: Callable[[bytes], None], data: bytes
) -> None:
    read_network(data)
