"""Metadata that a copy of a photograph keeps: EXIF, dots per inch, XMP (ISO 16684) and IPTC."""

import contextlib
import math
import re
import struct
import textwrap
from dataclasses import dataclass
from typing import Any

from PIL import ExifTags, Image, PngImagePlugin

_UTF8_MARK = "\ufeff"
_IPTC_RESOURCE, _XMP_RESOURCE = 0x0404, 0x0424
_TIFF_XMP, _TIFF_IPTC, _TIFF_RESOURCES = 700, 33723, 34377
_RAW_IPTC = "Raw profile type iptc"
# XMP properties that describe the old file, by namespace: a copy is upright, resized and in sRGB. Empty: all of them.
_XMP_FILE_PROPERTIES: dict[str, tuple[str, ...]] = {
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
    """Read the XMP of a loaded image, without properties of the file itself; empty if none.

    Raises:
        Exception: any, if the metadata is damaged.
    """
    found: Any = image.info.get("xmp") or dict(_resources(image)).get(_XMP_RESOURCE) or b""
    text = found if isinstance(found, str) else bytes(found).decode()
    text = text.removeprefix(_UTF8_MARK).rstrip("\0")
    return _without_file_properties(text) if "<" in text else ""


def iptc_of(image: Image.Image) -> bytes:
    """Read the IPTC of a loaded image; empty if none.

    Raises:
        Exception: any, if the metadata is damaged.
    """
    # The raw bytes, because Photoshop declares them as 32-bit numbers, of which Pillow returns the first.
    tags: dict[int, bytes] = getattr(getattr(image, "tag_v2", None), "_tagdata", {})
    found = image.info.get("iptc") or dict(_resources(image)).get(_IPTC_RESOURCE) or tags.get(_TIFF_IPTC)
    if found is None and _TIFF_RESOURCES in tags:
        found = _iptc_resource(tags[_TIFF_RESOURCES])
    if found is None and isinstance(image, PngImagePlugin.PngImageFile) and _RAW_IPTC in image.text:
        content = bytes.fromhex("".join(str(image.text[_RAW_IPTC]).split("\n")[3:]))
        found = _iptc_resource(content) if content.startswith(b"8BIM") else content
    # Tag marker of the first IPTC record.
    return bytes(found) if found and bytes(found).startswith(b"\x1c") else b""


def resource(iptc: bytes) -> bytes:
    """Wrap IPTC as a Photoshop image resource, as in a JPEG."""
    return b"8BIM" + struct.pack(">HHI", _IPTC_RESOURCE, 0, len(iptc)) + iptc + b"\0" * (len(iptc) % 2)


def _resources(image: Image.Image) -> Any:
    """Photoshop's image resources in a JPEG or PSD, by number."""
    found = image.info.get("photoshop")
    if isinstance(found, dict):
        return found
    return [(number, data) for number, _, data in getattr(image, "resources", ())]


def _iptc_resource(content: bytes) -> bytes | None:
    place = 0
    while content[place : place + 4] == b"8BIM" and place + 12 <= len(content):
        number, name_length = struct.unpack(">HB", content[place + 4 : place + 7])
        start = place + 6 + (name_length + 2) // 2 * 2
        (length,) = struct.unpack(">I", content[start : start + 4])
        if number == _IPTC_RESOURCE:
            return content[start + 4 : start + 4 + length]
        place = start + 4 + (length + 1) // 2 * 2
    return None


def _without_file_properties(text: str) -> str:
    for namespace, names in _XMP_FILE_PROPERTIES.items():
        for prefix in set(re.findall(rf"xmlns:([\w.-]+)\s*=\s*[\"']{re.escape(namespace)}[\"']", text)):
            name = f"{re.escape(prefix)}:(?:{'|'.join(names) or '[-.A-Za-z0-9_]+'})"
            text = re.sub(rf"\s{name}\s*=\s*(?:\"[^\"]*\"|'[^']*')", "", text)
            text = re.sub(rf"<({name})\b[^<>]*?(?:/>|>.*?</\1\s*>)", "", text, flags=re.DOTALL)
    return text


_TAGS = ExifTags.Base
# Other tags describe the file, or how to turn or decode its pixels.
_PHOTOGRAPH_TAGS = (
    *(_TAGS.ImageDescription, _TAGS.Make, _TAGS.Model, _TAGS.Software, _TAGS.DateTime, _TAGS.Artist),
    *(_TAGS.HostComputer, _TAGS.Rating, _TAGS.RatingPercent, _TAGS.Copyright, _TAGS.XPTitle, _TAGS.XPComment),
    *(_TAGS.XPAuthor, _TAGS.XPKeywords, _TAGS.XPSubject),
)
# A maker note contains offsets into its file.
_FILE_TAGS = (
    *(_TAGS.MakerNote, _TAGS.ColorSpace, _TAGS.ExifImageWidth, _TAGS.ExifImageHeight, _TAGS.ExifInteroperabilityOffset),
)
_RESOLUTION = (_TAGS.XResolution, _TAGS.YResolution, _TAGS.ResolutionUnit)
_PNG_XMP = "XML:com.adobe.xmp"
_WITH_IPTC = ("JPEG", "PNG", "TIFF", "JPEG2000")
_WITH_EXIF_AND_XMP = (*_WITH_IPTC, "WEBP", "AVIF", "HEIF")
# The maximum of a JPEG segment.
_MAX_BYTES = 65_000


@dataclass(frozen=True)
class ImageMetadata:
    """Metadata that a copy keeps; empty fields mean none."""

    exif: bytes = b""  #: as Pillow writes it
    dpi: tuple[float, float] | None = None  #: horizontal and vertical
    xmp: str = ""  #: a whole packet
    iptc: bytes = b""  #: the records

    @classmethod
    def of(cls, image: Image.Image) -> "ImageMetadata":
        """Read the metadata of a loaded image; damaged metadata is ignored."""
        xmp, iptc = "", b""
        with contextlib.suppress(Exception):  # Any: damaged metadata does not make an image unreadable.
            xmp = xmp_of(image)
        with contextlib.suppress(Exception):
            iptc = iptc_of(image)
        kept, dpi = b"", _valid_dpi(image.info.get("dpi"))
        with contextlib.suppress(Exception):
            exif = image.getexif()
            across, down, unit = (exif.get(tag) for tag in _RESOLUTION)
            # Unit 3 is dots per centimeter.
            dpi = dpi or _valid_dpi(each * (2.54 if unit == 3 else 1) for each in (across, down) if each)
            kept = _kept_exif(exif, dpi)
        return cls(kept, dpi, xmp, iptc)

    @classmethod
    def of_tiff(cls, content: bytes) -> "ImageMetadata":
        """Read the metadata of a file with the structure of a TIFF, such as most raw camera files."""
        exif = Image.Exif()
        with contextlib.suppress(Exception):  # Any, as above.
            exif.load(content)
            return cls(_kept_exif(exif, None))
        return NOTHING

    def options(self, format: str) -> dict[str, Any]:
        """Return options for Pillow's `save`, for a format by Pillow's name."""
        options: dict[str, Any] = {}
        exif, xmp, iptc = self.fitting(format)
        if exif and format in ("JPEG", "PNG", "WEBP", "AVIF", "HEIF"):
            options["exif"] = exif
        if self.dpi and format in ("JPEG", "PNG", "BMP"):
            options["dpi"] = self.dpi
        if xmp and format in ("JPEG", "WEBP", "AVIF", "HEIF"):
            options["xmp"] = xmp.encode()
        if iptc and format == "JPEG":
            content = b"Photoshop 3.0\0" + resource(iptc)
            options["extra"] = b"\xff\xed" + struct.pack(">H", len(content) + 2) + content
        if format == "PNG" and (xmp or iptc):
            options["pnginfo"] = info = PngImagePlugin.PngInfo()
            if xmp:
                info.add_itxt(_PNG_XMP, xmp)
            if iptc:
                # As ImageMagick and ExifTool store it.
                digits = resource(iptc).hex()
                info.add_text(_RAW_IPTC, f"\niptc\n{len(digits) // 2:8d}\n{textwrap.fill(digits, 72)}\n", zip=True)
        return options

    def fitting(self, format: str) -> tuple[bytes, str, bytes]:
        """Return EXIF, XMP and IPTC, each empty if the format (by Pillow's name) has no room for it."""

        def fits(content: bytes, places: tuple[str, ...]) -> bool:
            return format in places and (format != "JPEG" or len(content) <= _MAX_BYTES)

        exif = self.exif if fits(self.exif, _WITH_EXIF_AND_XMP) else b""
        xmp = self.xmp if fits(self.xmp.encode(), _WITH_EXIF_AND_XMP) else ""
        return exif, xmp, self.iptc if fits(self.iptc, _WITH_IPTC) else b""

    def notes(self, format: str) -> list[str]:
        """Describe the metadata that a copy in this format loses."""
        blocks = zip(("EXIF", "XMP", "IPTC"), (self.exif, self.xmp, self.iptc), self.fitting(format), strict=True)
        reason = "is longer than a JPEG can hold" if format == "JPEG" else f"has no place in a {format}"
        return [f"its {name} {reason}: left out" for name, own, fitting in blocks if own and not fitting]


#: No metadata.
NOTHING = ImageMetadata()


def _valid_dpi(value: Any) -> tuple[float, float] | None:
    try:
        across, down = (float(each) for each in value)
    except (TypeError, ValueError, ArithmeticError):
        return None
    # Some programs write 1 dpi for an unknown resolution.
    fits = all(math.isfinite(each) and 1 < each < 65_536 for each in (across, down))
    return (across, down) if fits else None


def _kept_exif(source: Image.Exif, dpi: tuple[float, float] | None) -> bytes:
    exif = Image.Exif()
    for tag in _PHOTOGRAPH_TAGS:
        if tag in source:
            exif[tag] = source[tag]
    empty = not exif
    for part in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo):
        values = {tag: value for tag, value in source.get_ifd(part).items() if tag not in _FILE_TAGS}
        if values:
            exif.get_ifd(part).update(values)
            empty = False
    if empty:
        return b""
    if dpi:
        exif.update(zip(_RESOLUTION, (*dpi, 2), strict=True))
    return exif.tobytes()
