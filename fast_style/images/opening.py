"""Opening image files without decoding: format, size, number of images, and errors."""

import contextlib
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar

from PIL import Image, TiffImagePlugin, UnidentifiedImageError

from fast_style.images import colors, formats, jpeg2000, netpbm, tiff
from fast_style.images.boxes import find
from fast_style.images.notes import notes_of
from fast_style.images.raw import raw_size
from fast_style.system.files import BinaryFile
from fast_style.system.input_limits import MAX_PIXELS, open_regular_file, pillow_limits
from fast_style.system.optional_packages import how_to_install
from fast_style.system.text import reason_of

T = TypeVar("T")
Kind: TypeAlias = Literal["frame", "page", "view"]

#: Bytes per pixel in memory while Pillow decodes a file.
DECODED_BYTES = 4
#: Bytes per pixel at 16 bits per channel: the file, its levels and their conversion.
DEEP_BYTES = 20
#: Formats that can hold pages of different sizes.
_PAGED = ("TIFF", "HEIF")
# TIFF tags: NewSubfileType (bit 0: reduced copy of a page, bit 2: mask), SubfileType (2: reduced copy), SubIFDs.
_SUBFILE, _OLD_SUBFILE, _SUB_IFDS = 254, 255, 330
#: Note on a PNG with a default image that is not part of its animation.
STILL_LEFT_OUT = "its still picture, for programs that show no animation, is left out"
# Tag in the MP index of a JPEG: its further images, in file order.
_MP_ENTRIES = 0xB002
# Markers of gain maps.
_ADOBE, _APPLE, _ISO = b"http://ns.adobe.com/hdr-gain-map/1.0/", b"aux:hdrgainmap", b"urn:iso:std:iso:ts:21496:-1"
# Prefix of XMP parts that exceed one JPEG segment.
_EXTENDED_XMP = b"http://ns.adobe.com/xmp/extension/\0"
_MAX_BOX = 2**22
# A TIFF with more sub-images is made to keep its reader busy.
_MAX_SUB_IFDS = 1000


def open_image(file: BinaryFile) -> Image.Image:
    """Open an image and read its header, but no pixels; to be called within `pillow_limits`.

    Raises:
        Exception: any, if it is no image or damaged.
    """
    # A file just written by the program is positioned at its end.
    file.seek(0)
    head = file.read(64)
    file.seek(0)
    if not head:
        raise ValueError("the file is empty")
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        raise ValueError("it holds a web page or other markup")
    if head.removeprefix(b"\xef\xbb\xbf").startswith((b"#EXTM3U", b"ffconcat version")):
        raise ValueError("it is a playlist, which only names other files; give those, or the video made of them")
    if head[4:8] == b"ftyp":
        if not formats.HAS_HEIF and head[8:11] in (b"hei", b"hev"):
            raise ValueError(f"HEIC, which needs the package pillow-heif; {how_to_install('formats')}")
        know_heif()
    if head.startswith(b"8BPS") and head[22:24] not in (b"\0\1", b"\0\x08"):
        raise ValueError(f"PSD of {head[23]} bits of each color, and only 8 can be read; save it as TIFF")
    if head.startswith(colors.PNG):
        file = colors.without_short_chunks(file)
    file.seek(0)
    tiff.register()
    names = [tiff.NAME if name == "TIFF" else name for name in formats.READABLE]
    image = Image.open(file, formats=[name for name in names if name in Image.OPEN or name != "HEIF"])
    if image.format == "PPM":
        netpbm.quicken(image)
    if image.format == "JPEG2000":
        # Damaged metadata does not make an image unreadable.
        with contextlib.suppress(Exception):
            header = jpeg2000.read_header(file)
            jpeg2000.correct(image, header)
            metadata = {"icc_profile": header.profile, "exif": header.exif, "xmp": header.xmp, "iptc": header.iptc}
            image.info.update({name: content for name, content in metadata.items() if content})
    position = file.tell()
    colors.find_colors(image, file)
    if has_gain_map(image, file):
        notes_of(image).append("a gain map, which brightens it on some screens: left out")
    if any(part.startswith(_EXTENDED_XMP) for _, part in getattr(image, "applist", ())):
        notes_of(image).append("what there is of its XMP beyond 64 KB: left out")
    file.seek(position)
    return image


def know_heif() -> None:
    """Register pillow_heif with Pillow, if it is installed."""
    if formats.HAS_HEIF:
        # Imported lazily: it would slow down every start.
        import pillow_heif

        pillow_heif.register_heif_opener()


def format_of_copy(image: Image.Image) -> str:
    """Return Pillow's name of the format in which to write a copy of an opened image."""
    # MPO, written by some cameras, is a JPEG followed by further views.
    format = "JPEG" if image.format == "MPO" else image.format
    return format if format in formats.WRITABLE else "PNG"


def decoder_reason(error: Exception) -> str:
    """Describe an error in one line without parentheses, to be put in parentheses."""
    if isinstance(error, Image.DecompressionBombError):
        return f"over {MAX_PIXELS:,} pixels"
    if isinstance(error, UnidentifiedImageError):
        return f"none of {', '.join(formats.READABLE)}, or its header is damaged"
    return reason_of(error).replace(" (", ", ").replace("(", "").replace(")", "")


@dataclass(frozen=True)
class Contents:
    """The images in a file."""

    places: tuple[int, ...] = (0,)  #: index of each image
    kind: Kind = "page"  #: frames of an animation, pages, or views of one subject
    smaller: int = 0  #: number of further images that are reduced copies or masks
    primary: int = 0  #: index of the image shown by programs that show only one
    below: int = 0  #: number of images in SubIFDs of a TIFF's pages, without reduced copies and masks

    @property
    def count(self) -> int:
        """Number of images."""
        return len(self.places)

    def left_out(self, target: Path) -> list[str]:
        """Describe what a copy with only one of the images loses; empty if nothing."""
        notes = []
        if self.count > 1:
            remedy = {"frame": "a .gif, .webp, .png or .avif holds all", "page": "a .tif holds all"}
            left = self.count - 1
            are = f"{left:,} of {self.count:,} {self.kind}s {'is' if left == 1 else 'are'} left out"
            holder = target.suffix if target.suffix and self.kind != "view" else "the copy"
            notes.append(f"{are}: {holder} holds one; {remedy.get(self.kind, 'split the file for the others')}")
        return notes + self.masks_left_out()

    def masks_left_out(self) -> list[str]:
        """Describe the images that no copy keeps."""
        notes = [f"{self.smaller:,} smaller copies or masks of its pages are left out"] * bool(self.smaller)
        return notes + [f"{self.below:,} pictures below its pages, SubIFDs, are left out"] * bool(self.below)


def peek(source: Path | BinaryFile, look: Callable[[BinaryFile], T]) -> T | None:
    """Apply a function to an opened file, within `pillow_limits`; None if that fails. An open file is then rewound."""
    try:
        opened = open_regular_file(source) if isinstance(source, Path) else contextlib.nullcontext(source)
        with opened as file, pillow_limits():
            return look(file)
    except Exception:  # Any: on damaged files, decoders raise whatever comes up. Reading the file reports it.
        return None
    finally:
        if not isinstance(source, Path):
            source.seek(0)


def contents_of(source: Path | BinaryFile, name: str = "") -> Contents:
    """Count the images in a file from its headers; a damaged file counts as one, and reading it reports the error."""
    if Path(name or str(source)).suffix.lower() in formats.RAW_SUFFIXES:
        return Contents()
    return peek(source, lambda file: _contents(open_image(file))) or Contents()


def is_paged(source: Path, target: Path, found: Contents) -> bool:
    """Whether a copy keeps all images of a file as pages, given the suffixes of both."""
    format = formats.FORMATS.get(target.suffix.lower())
    # HEIC only from HEIC: elsewhere nobody expects several images in one.
    same = format == formats.FORMATS.get(source.suffix.lower())
    return found.count > 1 and found.kind != "view" and (format == "TIFF" or (format in _PAGED and same))


def picture_size(path: Path) -> tuple[int, int] | None:
    """Read width and height of the stored image from its header; None if it cannot be read."""
    return peek(path, raw_size) if path.suffix.lower() in formats.RAW_SUFFIXES else size_in_header(path)


def size_in_header(source: Path | BinaryFile, name: str = "") -> tuple[int, int] | None:
    """Read width and height from the header only, in a fraction of the time of decoding.

    Returns:
        None if the header does not tell; that of a raw camera file describes a thumbnail.
    """
    is_raw = Path(name or str(source)).suffix.lower() in formats.RAW_SUFFIXES
    return None if is_raw else peek(source, lambda file: open_image(file).size)


def picture_format(path: Path) -> str | None:
    """Return Pillow's name for the format of an image or animation; None if it is neither."""
    format = peek(path, lambda file: open_image(file).format)
    # TGA has no signature: half of all other files look like one.
    return None if format == "TGA" and formats.FORMATS.get(path.suffix.lower()) != "TGA" else format


def suffix_of(path: Path) -> str:
    """Return the suffix that matches the content of an image file."""
    format = picture_format(path)
    format = "JPEG" if format == "MPO" else format
    return next((suffix for suffix, name in formats.FORMATS.items() if name == format), ".png")


def has_gain_map(image: Image.Image, file: Any) -> bool:
    """Whether an image contains a gain map, which brightens it on HDR screens.

    Recognized without decoding; see ISO 21496-1, Ultra HDR and Apple.

    Args:
        image: the image as opened by Pillow.
        file: its file; the position changes.
    """
    signs: tuple[bytes, ...] = (_APPLE, _ADOBE, _ISO)
    content = b""
    with contextlib.suppress(Exception):  # Any: a damaged file has none.
        if image.format in ("AVIF", "HEIF"):
            start, end = find(file, b"meta")
            file.seek(start)
            signs, content = (_APPLE, b"tmap", _ISO), file.read(min(end - start, _MAX_BOX))
        elif image.format == "JPEG":
            signs, content = (_ADOBE, _ISO), b"".join(part for _, part in getattr(image, "applist", ()))
        elif image.format == "MPO":
            file.seek(0)
            content = file.read()
    return any(sign in content for sign in signs)


def _contents(image: Any) -> Contents:
    if image.format in formats.MOVING and getattr(image, "is_animated", False):
        # The default image of an APNG need not be part of the animation.
        first = int(bool(getattr(image, "default_image", False)))
        return Contents(tuple(range(first, image.n_frames)), "frame", primary=first)
    if image.format == "TIFF":
        return _tiff_pages(image)
    if image.format == "HEIF":
        return Contents(tuple(range(image.n_frames)), primary=image.tell())
    if image.format == "MPO":
        # Without thumbnails and gain maps.
        entries = image.mpinfo[_MP_ENTRIES]
        views = [index for index, each in enumerate(entries) if "Thumbnail" not in each["Attribute"]["MPType"]]
        gain = b"hdrgm:" in image.info.get("xmp", b"")
        return Contents(tuple(views[: len(views) - gain]) or (0,), "view")
    return Contents()


def _tiff_pages(image: Any) -> Contents:
    places, smaller, below = [0], 0, _count_sub_images(image)
    for index in itertools.count(1):
        try:
            image.seek(index)
        except EOFError:
            break
        except Exception:  # Any: reading this page reports its error; the pages after it cannot be found.
            places.append(index)
            break
        kind = image.tag_v2.get(_SUBFILE, 0)
        if kind & 0b101 or image.tag_v2.get(_OLD_SUBFILE) == 2:
            smaller += 1
        else:
            places.append(index)
            below += _count_sub_images(image)
    return Contents(tuple(places), "page", smaller, below=below)


def _count_sub_images(image: Any) -> int:
    """Number of images in SubIFDs of a TIFF page, without reduced copies and masks."""
    offsets, file = image.tag_v2.get(_SUB_IFDS, ()), image.fp
    count = 0
    with contextlib.suppress(Exception):  # Any: damaged metadata does not make an image unreadable.
        file.seek(0)
        header = file.read(8)
        header += file.read(8) if 43 in header[2:4] else b""  # BigTIFF.
        for offset in offsets[:_MAX_SUB_IFDS] if isinstance(offsets, tuple) else (offsets,):
            directory = TiffImagePlugin.ImageFileDirectory_v2(header)
            file.seek(offset)
            directory.load(file)
            count += not directory.get(_SUBFILE, 0) & 0b101
    return count
