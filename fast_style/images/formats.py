"""Image formats: file suffixes, readers, and the format of a copy."""

from importlib.util import find_spec
from pathlib import Path

# Pixel formats only: EPS and PDF run programs, WMF is drawn by Windows, FITS and the like hold measurements.
_SUFFIXES = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
    "PNG": (".png", ".apng"),
    "WEBP": (".webp",),
    "AVIF": (".avif", ".avifs"),
    "TIFF": (".tif", ".tiff"),
    "BMP": (".bmp", ".dib"),
    "GIF": (".gif",),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
    "JPEG2000": (".jp2", ".j2k", ".jpx", ".jpf"),
    "QOI": (".qoi",),
    "PCX": (".pcx",),
    "SGI": (".sgi",),
    "DDS": (".dds",),
    "PSD": (".psd",),
    "ICO": (".ico",),
    "ICNS": (".icns",),
    "SUN": (".ras",),
    # Last, because TGA has no signature.
    "TGA": (".tga",),
}
#: Pillow's format name by lower-case suffix, for everything readable with the installed extras.
FORMATS = {suffix: name for name, suffixes in _SUFFIXES.items() for suffix in suffixes}
#: Suffixes that `pillow_heif` reads and writes.
HEIF_SUFFIXES = (".heic", ".heif", ".hif")
#: Suffixes of raw camera files, which `rawpy` reads.
RAW_SUFFIXES = (".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".raf", ".rw2", ".pef", ".srw")

#: Suffixes of animated images with Pillow's format names, and the names alone.
ANIMATIONS = {".gif": "GIF", ".webp": "WEBP", ".png": "PNG", ".apng": "PNG", ".avif": "AVIF", ".avifs": "AVIF"}
MOVING = ("GIF", "PNG", "WEBP", "AVIF")
_READ_ONLY = ("PSD", "ICO", "ICNS", "SUN")
WITH_ALPHA = ("PNG", "WEBP", "AVIF", "TIFF", "GIF", "JPEG2000", "QOI", "SGI", "TGA", "DDS", "HEIF")
#: Maximum width and height in pixels, where a format allows less than the readers do.
LARGEST_SIDES = {"WEBP": 16_383, "JPEG": 65_500, "GIF": 65_535, "AVIF": 65_536}
#: Formats that can hold more than 8 bits per channel, if the extra `formats` is installed.
CAN_BE_DEEP = ("PNG", "TIFF", "PPM", "JPEG2000", "AVIF", "HEIF")

HAS_HEIF, HAS_RAW = (find_spec(package) is not None for package in ("pillow_heif", "rawpy"))
HAS_CODECS = all(find_spec(package) is not None for package in ("imagecodecs", "tifffile"))
#: Formats that are written with more than 8 bits per channel.
DEEP = CAN_BE_DEEP if HAS_CODECS else ("PNG", "TIFF", "PPM", "HEIF")
if HAS_HEIF:
    FORMATS |= dict.fromkeys(HEIF_SUFFIXES, "HEIF")
#: Pillow's names, in the order in which the readers are tried.
READABLE = tuple(dict.fromkeys(FORMATS.values()))
WRITABLE = tuple(name for name in READABLE if name not in _READ_ONLY)
#: Lower-case suffixes of readable files, and of writable files.
PICTURE_SUFFIXES = (*FORMATS, *(RAW_SUFFIXES if HAS_RAW else ()))
WRITABLE_SUFFIXES = tuple(suffix for suffix, name in FORMATS.items() if name in WRITABLE)


def copy_suffix(path: Path) -> str:
    """Suffix of a copy: that of the source, or .tif for raw camera files and .png for read-only formats."""
    suffix = path.suffix.lower()
    if suffix in RAW_SUFFIXES:
        return ".tif"
    return ".png" if FORMATS.get(suffix) in _READ_ONLY else path.suffix
