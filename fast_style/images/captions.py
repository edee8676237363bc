"""What is said of a photograph in XMP (ISO 16684) and IPTC: read from any format, and without what no copy is."""

import re
import struct
from typing import Any

from PIL import Image, PngImagePlugin

_UTF8_MARK = "\ufeff"
_IPTC_RESOURCE, _XMP_RESOURCE = 0x0404, 0x0424
_TIFF_XMP, _TIFF_IPTC, _TIFF_RESOURCES = 700, 33723, 34377
_RAW_IPTC = "Raw profile type iptc"
# By namespace, what describes the file: its pixels are now upright, of another size and in sRGB. Nothing: all of it.
_OF_THE_FILE: dict[str, tuple[str, ...]] = {
    "http://ns.adobe.com/tiff/1.0/": (
        *("Orientation", "ImageWidth", "ImageLength", "BitsPerSample", "SamplesPerPixel", "PhotometricInterpretation"),
        *("Compression", "PlanarConfiguration", "YCbCrSubSampling", "YCbCrPositioning"),
    ),
    "http://ns.adobe.com/exif/1.0/": ("PixelXDimension", "PixelYDimension", "ColorSpace"),
    "http://ns.adobe.com/photoshop/1.0/": ("ICCProfile", "ColorMode"),
    "http://ns.adobe.com/xmp/note/": ("HasExtendedXMP",),
    "http://ns.adobe.com/hdr-gain-map/1.0/": (),
    "http://ns.google.com/photos/1.0/container/": (),
    "http://ns.google.com/photos/1.0/container/item/": (),
    "http://ns.apple.com/HDRGainMap/1.0/": (),
}


def xmp_of(image: Image.Image) -> str:
    """Return the XMP of a loaded image without what describes its file; empty: none.

    Raises:
        Exception: any, if it is damaged.
    """
    found: Any = image.info.get("xmp") or dict(_resources(image)).get(_XMP_RESOURCE) or b""
    text = found if isinstance(found, str) else bytes(found).decode()
    text = text.removeprefix(_UTF8_MARK).rstrip("\0")
    return _of_the_photograph(text) if "<" in text else ""


def iptc_of(image: Image.Image) -> bytes:
    """Return the IPTC of a loaded image; empty: none.

    Raises:
        Exception: any, if it is damaged.
    """
    # As bytes, because Photoshop calls it a row of long numbers, of which Pillow gives the first.
    tags: dict[int, bytes] = getattr(getattr(image, "tag_v2", None), "_tagdata", {})
    resources: dict[Any, Any] = dict(_resources(image))
    found = image.info.get("iptc") or resources.get(_IPTC_RESOURCE) or tags.get(_TIFF_IPTC)
    if found is None and _TIFF_RESOURCES in tags:
        found = _resource_in(tags[_TIFF_RESOURCES])
    if found is None and isinstance(image, PngImagePlugin.PngImageFile) and _RAW_IPTC in image.text:
        content = bytes.fromhex("".join(str(image.text[_RAW_IPTC]).split("\n")[3:]))
        found = _resource_in(content) if content.startswith(b"8BIM") else content
    # Its first record begins with this.
    return bytes(found) if found and bytes(found).startswith(b"\x1c") else b""


def resource(iptc: bytes) -> bytes:
    """Return IPTC as one of Photoshop's image resources, as a JPEG has it."""
    return b"8BIM" + struct.pack(">HHI", _IPTC_RESOURCE, 0, len(iptc)) + iptc + b"\0" * (len(iptc) % 2)


def raw_profile(iptc: bytes) -> tuple[str, str]:
    """Return the key and the text in a PNG, where ImageMagick and ExifTool have IPTC."""
    digits = resource(iptc).hex()
    lines = [digits[place : place + 72] for place in range(0, len(digits), 72)]
    return _RAW_IPTC, "\n".join(["", "iptc", f"{len(digits) // 2:8d}", *lines, ""])


def _resources(image: Image.Image) -> Any:
    """Return what Photoshop keeps in a JPEG or a PSD, by number."""
    found = image.info.get("photoshop")
    if isinstance(found, dict):
        return found
    return [(number, data) for number, _, data in getattr(image, "resources", ())]


def _resource_in(content: bytes) -> bytes | None:
    place = 0
    while content[place : place + 4] == b"8BIM" and place + 12 <= len(content):
        number, named = struct.unpack(">HB", content[place + 4 : place + 7])
        start = place + 6 + (named + 2) // 2 * 2
        (length,) = struct.unpack(">I", content[start : start + 4])
        if number == _IPTC_RESOURCE:
            return content[start + 4 : start + 4 + length]
        place = start + 4 + (length + 1) // 2 * 2
    return None


def _of_the_photograph(text: str) -> str:
    for namespace, names in _OF_THE_FILE.items():
        for prefix in set(re.findall(rf"xmlns:([\w.-]+)\s*=\s*[\"']{re.escape(namespace)}[\"']", text)):
            name = f"{re.escape(prefix)}:(?:{'|'.join(names) or '[-.A-Za-z0-9_]+'})"
            text = re.sub(rf"\s{name}\s*=\s*(?:\"[^\"]*\"|'[^']*')", "", text)
            text = re.sub(rf"<({name})\b[^<>]*?(?:/>|>.*?</\1\s*>)", "", text, flags=re.DOTALL)
    return text
