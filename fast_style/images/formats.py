"""Which files are pictures: what their names end in, which reader knows them, and what a copy is written as."""

from importlib.util import find_spec
from pathlib import Path

# Only formats of pixels: EPS and PDF run programs, WMF asks Windows to draw, FITS and its like hold measurements.
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
    # The last, because its files have nothing at their beginning by which to tell them.
    "TGA": (".tga",),
}
#: Pillow's name of the format by how the name of a file ends, in lower case, of all that is read without extras.
FORMATS = {suffix: name for name, suffixes in _SUFFIXES.items() for suffix in suffixes}
#: What `pillow_heif` reads and writes.
HEIF_SUFFIXES = (".heic", ".heif", ".hif")
#: What `rawpy` reads: what cameras write before it is a picture.
RAW_SUFFIXES = (".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".raf", ".rw2", ".pef", ".srw")

#: How the names of animated pictures end, with Pillow's names for their formats; and these names.
ANIMATIONS = {".gif": "GIF", ".webp": "WEBP", ".png": "PNG", ".apng": "PNG", ".avif": "AVIF", ".avifs": "AVIF"}
MOVING = ("GIF", "PNG", "WEBP", "AVIF")
_READ_ONLY = ("PSD", "ICO", "ICNS", "SUN")
WITH_ALPHA = ("PNG", "WEBP", "AVIF", "TIFF", "GIF", "JPEG2000", "QOI", "SGI", "TGA", "DDS", "HEIF")
#: How many pixels wide or high a picture can be, where that is less than what is read.
LARGEST_SIDES = {"WEBP": 16_383, "JPEG": 65_500, "GIF": 65_535, "AVIF": 65_536}
#: What can hold more than 8 bits of each color, if the extra `formats` is there.
CAN_BE_DEEP = ("PNG", "TIFF", "PPM", "JPEG2000", "AVIF", "HEIF")

HAS_HEIF, HAS_RAW = (find_spec(package) is not None for package in ("pillow_heif", "rawpy"))
HAS_CODECS = all(find_spec(package) is not None for package in ("imagecodecs", "tifffile"))
#: What is written with more than 8 bits.
DEEP = CAN_BE_DEEP if HAS_CODECS else ("PNG", "TIFF", "PPM", "HEIF")
if HAS_HEIF:
    FORMATS |= dict.fromkeys(HEIF_SUFFIXES, "HEIF")
#: Pillow's names, in the order in which they are tried.
READABLE = tuple(dict.fromkeys(FORMATS.values()))
WRITABLE = tuple(name for name in READABLE if name not in _READ_ONLY)
#: How the names of picture files end, in lower case: of those to be read, and of those to be written.
PICTURE_SUFFIXES = (*FORMATS, *(RAW_SUFFIXES if HAS_RAW else ()))
WRITABLE_SUFFIXES = tuple(suffix for suffix, name in FORMATS.items() if name in WRITABLE)


def copy_suffix(path: Path) -> str:
    """Return how the name of a copy of a picture ends: as its own, or else .tif for what a camera made, or .png."""
    suffix = path.suffix.lower()
    if suffix in RAW_SUFFIXES:
        return ".tif"
    return ".png" if FORMATS.get(suffix) in _READ_ONLY else path.suffix
