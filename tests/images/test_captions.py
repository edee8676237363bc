"""XMP and IPTC: a copy keeps what is said of the photograph, and not what is said of its file."""

import io
import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import ExifTags, Image, IptcImagePlugin, PngImagePlugin
from small_messages import assert_each, assert_names

from fast_style.images import metadata, notes
from fast_style.images.metadata import ImageMetadata
from fast_style.images.picture import open_picture, read_original, write_image

IPTC = b"\x1c\x02\x05\x00\x07Big day" + b"\x1c\x02\x19\x00\x03one"
XMP = (
    "<?xpacket begin='\ufeff' id='W5M0MpCehiHzreSzNTczkc9d'?><x:xmpmeta xmlns:x='adobe:ns:meta/'>"
    "<rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#'><rdf:Description rdf:about=''"
    " xmlns:dc='http://purl.org/dc/elements/1.1/' xmlns:t='http://ns.adobe.com/tiff/1.0/'"
    " xmlns:xmp='http://ns.adobe.com/xap/1.0/' xmp:Rating='4' t:Orientation='6'{more}>"
    "<t:ImageWidth>99</t:ImageWidth><dc:title><rdf:Alt><rdf:li xml:lang='x-default'>Grüße</rdf:li></rdf:Alt></dc:title>"
    "</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end='w'?>"
)
PLAIN = XMP.format(more="")


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "avif", "heic", "tif", "jp2"])
@pytest.mark.parametrize("deep", [False, True])
def test_a_copy_says_what_its_picture_says(tmp_path: Path, suffix: str, deep: bool) -> None:
    path = tmp_path / f"a.{suffix}"
    pixels = np.full((24, 32, 3), 90, np.uint16 if deep else np.uint8)
    write_image(pixels if deep else Image.fromarray(pixels), path, None, None, ImageMetadata(xmp=PLAIN, iptc=IPTC))
    kept = open_picture(path, deep=True).metadata
    assert "Grüße" in kept.xmp
    assert "Rating" in kept.xmp
    assert not re.search("Orientation|ImageWidth", kept.xmp)
    # The others have no place for it.
    assert kept.iptc == (IPTC if suffix in ("jpg", "png", "tif", "jp2") else b"")
    if suffix in ("jpg", "tif"):
        with Image.open(path) as image:
            assert IptcImagePlugin.getiptcinfo(image) == {(2, 5): b"Big day", (2, 25): b"one"}


def test_what_has_no_place_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notes, "_told", set())
    write_image(Image.new("RGB", (16, 16)), tmp_path / "a.jpg", None, None, ImageMetadata(xmp=PLAIN, iptc=IPTC))
    assert capsys.readouterr().err == ""
    for name in ("b.webp", "b.gif", "c.gif"):
        original = read_original(tmp_path / "a.jpg", tmp_path / name)
        original.write_copy(original.rgb, tmp_path / name)
    lost = ("b.webp IPTC WEBP", "b.gif XMP GIF", "b.gif IPTC GIF")
    assert_each(capsys.readouterr().err.splitlines(), *(f"{tmp_path}/{words}" for words in lost))


def test_what_describes_the_file_goes_whatever_it_is_called() -> None:
    image = Image.new("RGB", (1, 1))
    more = (
        " xmlns:g='http://ns.adobe.com/hdr-gain-map/1.0/' g:Version='1.0'"
        " xmlns:e='http://ns.adobe.com/exif/1.0/' e:ColorSpace='65535' e:PixelXDimension='4000' e:FNumber='28/10'"
        " xmlns:n='http://ns.adobe.com/xmp/note/' n:HasExtendedXMP='ABC'"
    )
    image.info["xmp"] = XMP.format(more=more).encode()
    found = metadata.xmp_of(image)
    assert "e:FNumber='28/10'" in found
    assert not re.search("g:Version|ColorSpace|PixelX|HasExtended|Orientation=|ImageWidth", found)


def test_iptc_is_found_where_photoshop_and_imagemagick_leave_it(tmp_path: Path) -> None:
    pixels = np.zeros((8, 8, 3), np.uint8)
    whole = IPTC + bytes(-len(IPTC) % 4)
    orders: tuple[Any, ...] = ("<", ">")
    for order in orders:
        tags = [(33723, 4, len(whole) // 4, np.frombuffer(whole, f"{order}u4").tolist(), True)]
        tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", extratags=tags, byteorder=order, metadata=None)
        assert open_picture(tmp_path / "a.tif").metadata.iptc.startswith(IPTC)
    block = b"8BIM\x03\xed\0\0\0\0\0\2ab" + metadata.resource(IPTC)
    tags = [(34377, 7, len(block), block, True)]
    tifffile.imwrite(tmp_path / "b.tif", pixels, photometric="rgb", extratags=tags, metadata=None)
    assert open_picture(tmp_path / "b.tif").metadata.iptc == IPTC
    info = PngImagePlugin.PngInfo()
    info.add_text("Raw profile type iptc", f"\nIPTC profile\n{len(block):8d}\n{block.hex()}\n", zip=True)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", pnginfo=info)
    file.seek(0)
    assert open_picture(file).metadata.iptc == IPTC


@pytest.mark.parametrize("xmp", [b"\xff\xfe<\0x\0", b"none", b"<a" * 1000, b""])
def test_damaged_xmp_costs_no_picture(tmp_path: Path, xmp: bytes) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.jpg", xmp=xmp)
    picture = open_picture(tmp_path / "a.jpg")
    write_image(picture.rgb, tmp_path / "b.png", None, None, picture.metadata)
    assert open_picture(tmp_path / "b.png").rgb.size == (8, 8)


def test_exif_without_a_place_and_xmp_of_several_segments_are_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notes, "_told", set())
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = "Nobody"
    extended = b"http://ns.adobe.com/xmp/extension/\0" + b"A" * 32 + struct.pack(">II", 70_000, 0) + b"<x/>"
    segment = b"\xff\xe1" + struct.pack(">H", len(extended) + 2) + extended
    Image.new("RGB", (16, 16)).save(tmp_path / "a.jpg", exif=exif, xmp=PLAIN.encode(), extra=segment)
    for name in ("b.bmp", "b.png"):
        original = read_original(tmp_path / "a.jpg", tmp_path / name)
        original.write_copy(original.rgb, tmp_path / name)
    first, *others = capsys.readouterr().err.splitlines()
    assert_names(first, f"{tmp_path}/a.jpg XMP 64 KB")
    assert_each(others, *(f"{tmp_path}/b.bmp {name} BMP" for name in ("EXIF", "XMP")))
    with Image.open(tmp_path / "b.png") as image:
        assert metadata.xmp_of(image)
