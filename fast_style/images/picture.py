"""Reads an image and writes a stylized copy; all decisions on format, color and size are made here."""

import contextlib
import errno
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from numbers import Integral
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageOps

from fast_style.errors import ConfigError, ImageError
from fast_style.images import colors, formats, jpeg2000, notes, spaces
from fast_style.images.deep import STREAMED, Deep, encode_pixels, has_16_bits, loses_bits, read_deep, tell_of_lost_bits
from fast_style.images.disk_image import DiskImage
from fast_style.images.levels import to_8_bits, with_opacity
from fast_style.images.metadata import NOTHING, ImageMetadata
from fast_style.images.opening import DEEP_BYTES, decoder_reason, format_of_copy, know_heif, open_image
from fast_style.images.raw import develop
from fast_style.images.spaces import deep_to_srgb
from fast_style.images.upright import orientation_of, resized_to, to_srgb, upright, upright_part, upright_size
from fast_style.system.files import BinaryFile, atomic_write, explain_url, is_url
from fast_style.system.input_limits import open_regular_file, pillow_limits

PICTURE_SUFFIXES = formats.PICTURE_SUFFIXES

# Bytes per pixel in decoders that use planes of their own.
_PLANAR_BYTES, _PLANAR_FORMATS = 40, ("JPEG2000", "AVIF", "HEIF")


@dataclass(frozen=True)
class Picture:
    """A decoded image, and what a stylized copy of it keeps."""

    rgb: Image.Image  #: the colors in mode RGB: upright, sRGB, as if opaque
    alpha: Image.Image | None  #: the opacity in mode L and of the same size, or None
    format: str  #: Pillow's name of the format for a copy, such as "JPEG"; empty if unknown
    metadata: ImageMetadata = NOTHING  #: what a copy keeps besides
    deep: Deep | None = None  #: the colors at 16 bits, if requested and the file has more than 8
    reduced: bool = False  #: whether 16 bits were requested and exist, but their reader is not installed
    notes: tuple[str, ...] = ()  #: short remarks on the image

    @classmethod
    def of(cls, image: Image.Image, file: BinaryFile | None = None) -> "Picture":
        """Convert an image of any mode, orientation and color profile; `deep` is read only if `file` is given."""
        image.load()
        orientation = orientation_of(image)
        colors.find_exif_colors(image)
        rgb, alpha, converted = to_srgb(upright(image, orientation))
        deep = None if file is None else read_deep(file, image, orientation)
        if deep is not None:
            deep = deep_to_srgb(deep, image.info.get("icc_profile", b"") if converted else b"", spaces.declared(image))
        if deep is not None and (spaces.declared(image) or getattr(image, "ours", False)):
            # Converted at 16 bits: linear light, as in HDR and renderings, shows banding at 8.
            rgb = Image.fromarray(to_8_bits(deep))
        lost_bits, remarks = file is not None and deep is None and loses_bits(file, image), notes.notes_of(image)
        with pillow_limits():
            return cls(rgb, alpha, format_of_copy(image), ImageMetadata.of(image), deep, lost_bits, tuple(remarks))

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.rgb.size

    def resized(self, long_side: int) -> "Picture":
        """Resize to a long side in pixels; `deep` keeps its size."""
        size = resized_to(self.rgb.size, long_side)
        alpha = self.alpha.resize(size, Image.Resampling.LANCZOS) if self.alpha else None
        return replace(self, rgb=self.rgb.resize(size, Image.Resampling.LANCZOS), alpha=alpha)

    def write_copy(self, stylized: Image.Image | Deep, path: Path) -> None:
        """Write other colors with the opacity and metadata of this image. See `write_image`.

        Raises:
            ImageError: if the format is unknown or the file cannot be written.
        """
        write_image(stylized, path, self.alpha, self.format, self.metadata)


@dataclass(frozen=True)
class PictureOnDisk:
    """A picture that does not fit into memory, decoded to disk; see Picture."""

    rgb: DiskImage
    alpha: DiskImage | None
    format: str
    metadata: ImageMetadata = NOTHING
    reduced: bool = False


def open_picture(
    source: str | Path | BinaryFile,
    name: str | None = None,
    short_side: int | None = None,
    deep: bool = False,
    page: int | None = None,
) -> Picture:
    """Read an image, upright and in sRGB, with separate opacity; of an animation, the first frame.

    Args:
        source: a path, or a seekable binary file.
        name: the name in messages; by default the path.
        short_side: required size in pixels. A larger JPEG is decoded at 1/2, 1/4 or 1/8 of its size, several
            times as fast, but never with a short side below this.
        deep: whether to read 16 bits per channel as well.
        page: index of the image in a file of several; by default the primary one.

    Raises:
        ImageError: if the image does not exist, is damaged, of an unknown format or above MAX_PIXELS.
    """
    if not (isinstance(source, str | Path) or hasattr(source, "read")):
        raise ImageError(f"{type(source).__name__}: neither a picture (PIL, NumPy or torch) nor its path or open file")
    name = name or str(source if isinstance(source, str | Path) else getattr(source, "name", "picture"))
    if is_url(name) and isinstance(source, str | Path):
        raise ImageError(explain_url(name))
    try:
        opened = open_regular_file(source) if isinstance(source, str | Path) else contextlib.nullcontext(source)
        with opened as file, pillow_limits():
            if Path(name).suffix.lower() in formats.RAW_SUFFIXES:
                levels, metadata = _decode_raw(file)
                return Picture(Image.fromarray(to_8_bits(levels)), None, "TIFF", metadata, levels)
            image = open_image(file)
            if page is not None:
                image.seek(page)
            if short_side is not None:
                image.draft(None, (short_side, short_side))
            return Picture.of(image, file if deep else None)
    except Exception as error:  # Any: on damaged files, decoders raise whatever comes up.
        remedy = "; check the path" if isinstance(error, FileNotFoundError) else ""
        raise ImageError(f"{name}: not a readable picture ({decoder_reason(error)}){remedy}") from error


def read_original(
    source: Path | BinaryFile, target: Path, size: int | None = None, name: str = "", page: int | None = None
) -> Picture:
    """Read an image for a stylized copy, at the size, format and depth of that copy.

    Args:
        source: the file, or its content.
        target: path of the copy; another suffix than that of the source changes the format.
        size: long side of the copy in pixels; by default that of the image.
        name: the name of the source in messages; by default its path.
        page: as for `open_picture`.

    Raises:
        ImageError: if the picture cannot be read, or is too large for the format of the copy.
        ConfigError: if `size` is out of range.
    """
    require_size(size)
    name = name or str(source)
    picture = open_picture(source, name, deep=True, page=page)
    picture = picture if size is None else picture.resized(size)
    same = Path(name).suffix.lower() == target.suffix.lower()
    format = picture.format if same else formats.FORMATS.get(target.suffix.lower())
    if (side := max(picture.rgb.size)) > (largest := formats.LARGEST_SIDES.get(format or "", side)):
        remedy = f"give size={largest} or less, or write it as another, such as .png"
        raise ImageError(f"{name}: {side:,} pixels are more than a {format} can have ({largest:,}); {remedy}")
    if format in formats.CAN_BE_DEEP and (picture.reduced or (picture.deep is not None and format not in formats.DEEP)):
        tell_of_lost_bits(name)
    notes.tell(name, picture.notes)
    return replace(picture, format=format or "", deep=picture.deep if format in formats.DEEP else None)


def require_size(size: int | None) -> None:
    """Check that a file can have this long side, in pixels.

    Raises:
        ConfigError: if it is not.
    """
    if size is None:
        return
    if isinstance(size, bool) or not isinstance(size, Integral):
        raise ConfigError(f"size must be a whole number of pixels, such as 1024, not {size!r}")
    if not 1 <= size <= 65_535:
        raise ConfigError(f"size must be from 1 to 65535 pixels, not {size}")


def open_on_disk(path: Path, deep: bool, room: float) -> PictureOnDisk:
    """Decode an image to disk; decoding itself takes 4 bytes of memory per pixel.

    Args:
        path: the file.
        deep: whether to keep 16 bits per channel, if the file has them.
        room: bytes of memory available. 16 bits need 20 per pixel, or 40 for JPEG 2000, AVIF and HEIC; otherwise
            8 bits are kept.

    Raises:
        ImageError: if it cannot be read, or the disk is full; the message does not name the file.
    """
    try:
        with open_regular_file(path) as file, pillow_limits():
            if path.suffix.lower() in formats.RAW_SUFFIXES:
                levels, metadata = _decode_raw(file)
                rgb = DiskImage((levels.shape[1], levels.shape[0]), dtype=np.uint16)
                rgb.write(0, 0, levels)
                return PictureOnDisk(rgb, None, "TIFF", metadata)
            image = open_image(file)
            lost_bits = deep and loses_bits(file, image)
            if lost_bits:
                tell_of_lost_bits(str(path))
            has_bits = deep and not lost_bits and has_16_bits(file, image)
            needed = image.width * image.height * (_PLANAR_BYTES if image.format in _PLANAR_FORMATS else DEEP_BYTES)
            picture = _decode_to_disk(file, image, has_bits and needed <= room, reduced=has_bits)
            notes.tell(str(path), notes.notes_of(image))
            return picture
    except ImageError:  # From DiskImage.
        raise
    except Exception as error:  # Any: on damaged files, decoders raise whatever comes up.
        raise ImageError(f"not a readable picture ({decoder_reason(error)})") from error


def flatten(picture: Picture, background: tuple[int, int, int] = (255, 255, 255)) -> Image.Image:
    """Composite an image on a background, white by default; returns mode RGB."""
    if picture.alpha is None:
        return picture.rgb
    return Image.composite(picture.rgb, Image.new("RGB", picture.rgb.size, background), picture.alpha)


def resize_short_side(image: Image.Image, size: int) -> Image.Image:
    """Resize to a short side of `size` pixels, antialiased, keeping the aspect ratio."""
    scale = size / min(image.size)
    width, height = (max(1, round(side * scale)) for side in image.size)
    return image if (width, height) == image.size else image.resize((width, height), Image.Resampling.LANCZOS)


def write_image(
    image: Image.Image | Deep | DiskImage,
    path: str | Path,
    alpha: Image.Image | DiskImage | None = None,
    format: str | None = None,
    metadata: ImageMetadata = NOTHING,
) -> None:
    """Write an image atomically: an existing file stays intact until the new one is complete.

    Args:
        image: an image in mode RGB, on disk, or of 16 bits per channel, reduced to 8 if the format has no more.
        path: where to write it.
        alpha: the opacity, in mode L or of one channel; if the format has none, the image is put on white.
        format: Pillow's name of the format, such as "PNG"; by default from the suffix of `path`.
        metadata: written where the format has a place for it.

    Raises:
        ImageError: if the format is unknown or the file cannot be written.
    """
    path = Path(path)
    format = format or formats.FORMATS.get(path.suffix.lower())
    if format not in formats.WRITABLE:
        raise ImageError(
            f"{path}: cannot be written (unknown format); choose one of {', '.join(formats.WRITABLE_SUFFIXES)}"
        )
    try:
        with atomic_write(path) as file:
            _write(file, image, alpha, format, metadata)
        notes.tell(str(path), metadata.notes(format))
    except Exception as error:
        require_folder(path)
        raise ImageError(f"{path}: cannot be written ({decoder_reason(error)})") from error


def require_folder(path: Path) -> None:
    """Check, before long computations, that a file can be written to its folder.

    Raises:
        ImageError: if the folder does not exist or is not writable.
    """
    if not path.parent.is_dir():
        raise ImageError(f"{path}: cannot be written (there is no folder {path.parent}); create it")
    if not os.access(path.parent, os.W_OK):
        raise ImageError(f"{path}: cannot be written ({os.strerror(errno.EACCES)})")


def require_free(path: Path) -> None:
    """Check that a path does not exist yet.

    Raises:
        ImageError: if it does.
    """
    # A dangling symbolic link also counts as existing.
    if os.path.lexists(path):
        raise ImageError(f"{path}: exists already; choose overwrite or resume, or give another output")


def contact_sheet(rows: list[list[Image.Image]], height: int, gap: int = 8) -> Image.Image:
    """Rows of images side by side on white, each scaled to `height`; sizes in pixels."""
    scaled = [[ImageOps.scale(image, height / image.height, Image.Resampling.LANCZOS) for image in row] for row in rows]
    width = max(sum(image.width + gap for image in row) for row in scaled) - gap
    sheet = Image.new("RGB", (width, len(rows) * (height + gap) - gap), "white")
    for index, row in enumerate(scaled):
        left = 0
        for image in row:
            sheet.paste(image, (left, index * (height + gap)))
            left += image.width + gap
    return sheet


def _write(
    file: IO[bytes],
    image: Image.Image | Deep | DiskImage,
    alpha: Image.Image | DiskImage | None,
    format: str,
    metadata: ImageMetadata,
) -> None:
    if isinstance(image, DiskImage):
        deep = image.white == 65535 and format in formats.DEEP
        if format in ("PNG", "TIFF") or (deep and format in STREAMED):
            opacity = DiskImage.of(alpha) if isinstance(alpha, Image.Image) else alpha
            STREAMED[format](file, _rows(image, opacity, format in formats.WITH_ALPHA), image.size, metadata)
            return
        image = image.read((0, 0, *image.size)) if deep else image.image()
    elif isinstance(image, Image.Image) and alpha is not None:
        image = image.copy()
    alpha = alpha.image() if isinstance(alpha, DiskImage) else alpha
    # Encoded in memory first, because Pillow's writer hides the reason of a disk error.
    file.write(_encode(image, alpha, format, metadata))


def _rows(image: DiskImage, alpha: DiskImage | None, with_alpha: bool) -> Iterator[NDArray[Any]]:
    for top, bottom in image.strips():
        box = (0, top, image.size[0], bottom)
        rows = image.read(box)
        yield rows if alpha is None else with_opacity(rows, alpha.read(box), with_alpha)


def _encode(
    image: Image.Image | Deep, alpha: Image.Image | None, format: str, metadata: ImageMetadata
) -> bytes | memoryview:
    """Encode an image, which gets the opacity, or white behind it, in place: a large one has no room for a copy."""
    if isinstance(image, np.ndarray):
        if format in formats.DEEP:
            return encode_pixels(image, alpha, format, metadata)
        image = Image.fromarray(to_8_bits(image))
    if format == "TIFF":
        return encode_pixels(np.asarray(image), alpha, format, metadata)
    if alpha is not None and format in formats.WITH_ALPHA:
        image.putalpha(alpha)
    elif alpha is not None:
        image.paste((255, 255, 255), mask=ImageChops.invert(alpha))
    if format == "HEIF":
        know_heif()
    encoded = io.BytesIO()
    if format == "JPEG2000":
        image.save(encoded, format, no_jp2=True)
        return jpeg2000.contained(encoded.getvalue(), image.size, len(image.getbands()), 8, metadata)
    image.save(encoded, format, quality=95, subsampling="4:4:4", chroma=444, **metadata.options(format))
    return encoded.getbuffer()


def _decode_raw(file: BinaryFile) -> tuple[Deep, ImageMetadata]:
    levels = develop(file)
    file.seek(0)
    return levels, ImageMetadata.of_tiff(file.read())


def _decode_to_disk(file: BinaryFile, image: Image.Image, deep: bool, reduced: bool) -> PictureOnDisk:
    image.load()
    orientation = orientation_of(image)
    colors.find_exif_colors(image)
    size = upright_size(image, orientation)
    levels = read_deep(file, image, orientation) if deep else None
    profile = image.info.get("icc_profile", b"")
    rgb, alpha = DiskImage(size, dtype=np.uint8 if levels is None else np.uint16), None
    for top, bottom in rgb.strips():
        shown, opacity, converted = to_srgb(upright_part(image, orientation, (0, top, size[0], bottom)))
        rows: Any = np.asarray(shown)
        if levels is not None:
            rows = deep_to_srgb(levels[top:bottom], profile if converted else b"", spaces.declared(image))
        rgb.write(0, top, rows)
        if opacity is not None:
            alpha = alpha or DiskImage(size, channels=1)
            alpha.write(0, top, np.asarray(opacity))
    return PictureOnDisk(rgb, alpha, format_of_copy(image), ImageMetadata.of(image), reduced and levels is None)
