"""What a copy of a photograph keeps besides its pixels: EXIF of how it was taken, XMP, IPTC, and dots per inch."""

import contextlib
import math
import struct
from dataclasses import dataclass
from typing import Any

from PIL import ExifTags, Image, PngImagePlugin

from fast_style.images import captions

_TAGS = ExifTags.Base
# The others describe the file, or how its pixels are to be turned or read.
_OF_THE_PHOTOGRAPH = (
    *(_TAGS.ImageDescription, _TAGS.Make, _TAGS.Model, _TAGS.Software, _TAGS.DateTime, _TAGS.Artist),
    *(_TAGS.HostComputer, _TAGS.Rating, _TAGS.RatingPercent, _TAGS.Copyright, _TAGS.XPTitle, _TAGS.XPComment),
    *(_TAGS.XPAuthor, _TAGS.XPKeywords, _TAGS.XPSubject),
)
# A maker's note leads by its place in the file to other places of it.
_OF_THE_FILE = (
    *(_TAGS.MakerNote, _TAGS.ColorSpace, _TAGS.ExifImageWidth, _TAGS.ExifImageHeight, _TAGS.ExifInteroperabilityOffset),
)
_RESOLUTION = (_TAGS.XResolution, _TAGS.YResolution, _TAGS.ResolutionUnit)
_PNG_XMP = "XML:com.adobe.xmp"
_WITH_XMP = ("JPEG", "PNG", "WEBP", "AVIF", "HEIF", "TIFF", "JPEG2000")
_WITH_IPTC = ("JPEG", "PNG", "TIFF", "JPEG2000")
# More than a JPEG has room for.
_MAX_BYTES = 65_000


@dataclass(frozen=True)
class Kept:
    """What a copy of a picture keeps besides its pixels.

    Attributes:
        exif: as Pillow writes it; empty: none.
        dpi: horizontally and vertically, None if the picture does not say.
        xmp: a whole packet; empty: none.
        iptc: its records; empty: none.
    """

    exif: bytes = b""
    dpi: tuple[float, float] | None = None
    xmp: str = ""
    iptc: bytes = b""

    @classmethod
    def of(cls, image: Image.Image) -> "Kept":
        """Take it from a loaded image; damaged metadata is none."""
        xmp, iptc = "", b""
        with contextlib.suppress(Exception):  # Any: it comes from anyone, and no picture is lost for it.
            xmp = captions.xmp_of(image)
        with contextlib.suppress(Exception):
            iptc = captions.iptc_of(image)
        dpi = _dpi(image.info.get("dpi"))
        try:
            exif = image.getexif()
            across, down, unit = (exif.get(tag) for tag in _RESOLUTION)
            # In dots to an inch; 3 is to a centimetre.
            dpi = dpi or _dpi(each * (2.54 if unit == 3 else 1) for each in (across, down) if each)
            return cls(_exif(exif, dpi), dpi, xmp, iptc)
        except Exception:  # Any, as above.
            return cls(b"", dpi, xmp, iptc)

    @classmethod
    def of_tiff(cls, content: bytes) -> "Kept":
        """Take it from a file that is built as a TIFF is, as most of those are that cameras write."""
        exif = Image.Exif()
        try:
            exif.load(content)
            return cls(_exif(exif, None))
        except Exception:  # Any, as above.
            return NOTHING

    def options(self, format: str) -> dict[str, Any]:
        """Return what to hand to Pillow's `save`, for a format that it names."""
        options: dict[str, Any] = {}
        if self.exif and format in ("JPEG", "PNG", "WEBP", "AVIF", "HEIF"):
            options["exif"] = self.exif
        if self.dpi and format in ("JPEG", "PNG", "BMP"):
            options["dpi"] = self.dpi
        xmp, iptc = self.fitting(format)
        if xmp and format in ("JPEG", "WEBP", "AVIF", "HEIF"):
            options["xmp"] = xmp.encode()
        if iptc and format == "JPEG":
            content = b"Photoshop 3.0\0" + captions.resource(iptc)
            options["extra"] = b"\xff\xed" + struct.pack(">H", len(content) + 2) + content
        if format == "PNG" and (xmp or iptc):
            options["pnginfo"] = info = PngImagePlugin.PngInfo()
            if xmp:
                info.add_itxt(_PNG_XMP, xmp)
            if iptc:
                info.add_text(*captions.raw_profile(iptc), zip=True)
        return options

    def fitting(self, format: str) -> tuple[str, bytes]:
        """Return XMP and IPTC, each only if a format, as Pillow names it, has room for it."""
        fits = format != "JPEG" or len(self.xmp.encode()) <= _MAX_BYTES
        xmp = self.xmp if format in _WITH_XMP and fits else ""
        return xmp, self.iptc if format in _WITH_IPTC and len(self.iptc) <= _MAX_BYTES else b""

    def notes(self, format: str) -> list[str]:
        """Return what there is to say of what a copy in a format cannot keep."""
        kept = self.fitting(format)
        found = zip(("XMP", "IPTC"), (self.xmp, self.iptc), kept, strict=True)
        return [f"its {name} has no place in a {format}: left out" for name, had, has in found if had and not has]


#: No more than the pixels.
NOTHING = Kept()


def _dpi(found: Any) -> tuple[float, float] | None:
    try:
        across, down = (float(each) for each in found)
    except (TypeError, ValueError, ArithmeticError):
        return None
    # One dot to an inch is what some programs write for none.
    fits = all(math.isfinite(each) and 1 < each < 65_536 for each in (across, down))
    return (across, down) if fits else None


def _exif(found: Image.Exif, dpi: tuple[float, float] | None) -> bytes:
    exif = Image.Exif()
    for tag in _OF_THE_PHOTOGRAPH:
        if tag in found:
            exif[tag] = found[tag]
    for part in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo):
        values = {tag: value for tag, value in found.get_ifd(part).items() if tag not in _OF_THE_FILE}
        if values:
            exif.get_ifd(part).update(values)
    if not exif and not any(exif.get_ifd(part) for part in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo)):
        return b""
    if dpi:
        exif.update(zip(_RESOLUTION, (*dpi, 2), strict=True))
    written = exif.tobytes()
    return written if len(written) < _MAX_BYTES else b""
