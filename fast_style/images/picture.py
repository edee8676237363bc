"""Pictures on disk, and in memory: every decision about formats, colour and size, made once."""

import contextlib
import io
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TypeAlias

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from fast_style.errors import ImageError
from fast_style.files import written_whole
from fast_style.images import formats
from fast_style.images.deep import Deep, develop, encode_png, encode_tiff, read_deep, reduced
from fast_style.images.kept import NOTHING, Kept
from fast_style.images.profiles import deep_to_srgb, transform_to_srgb
from fast_style.untrusted import MAX_PIXELS, open_regular, own_limits

_T = Image.Transpose  # What undoes each EXIF orientation:
_TURNS = {2: _T.FLIP_LEFT_RIGHT, 3: _T.ROTATE_180, 4: _T.FLIP_TOP_BOTTOM, 5: _T.TRANSPOSE}
_TURNS |= {6: _T.ROTATE_270, 7: _T.TRANSVERSE, 8: _T.ROTATE_90}

#: An open file. BytesIO is one by declaration, but lacks the attributes that checks at run time look for.
BinaryFile: TypeAlias = IO[bytes] | io.BytesIO
#: How the names of picture files end, in lower case.
PICTURE_SUFFIXES = formats.PICTURE_SUFFIXES


@dataclass(frozen=True)
class Picture:
    """A decoded picture, and what a stylised copy of it must keep.

    Attributes:
        rgb: the colours in mode RGB: upright, sRGB, as if opaque.
        alpha: the opacity in mode L and of the same size, or None.
        format: the format to write a copy in, as Pillow names it, such as "JPEG".
        kept: what a copy keeps besides.
        deep: the colours with 16 bits each, if the file has them and they were asked for.
    """

    rgb: Image.Image
    alpha: Image.Image | None
    format: str
    kept: Kept = NOTHING
    deep: Deep | None = None

    @classmethod
    def of(cls, image: Image.Image, file: BinaryFile | None = None) -> "Picture":
        """Bring an image of any mode, orientation and colour profile to this form; `deep` with its file only."""
        image.load()
        # An MPO, as some cameras write, is a JPEG with further views behind it.
        written = "JPEG" if image.format == "MPO" else image.format if image.format in formats.WRITABLE else "PNG"
        orientation = _orientation(image)
        turn = _TURNS.get(orientation)
        # Not with ImageOps.exif_transpose: it writes the metadata anew, and fails where that cannot be done.
        colours, alpha = _split_alpha(image if turn is None else image.transpose(turn))
        profile: bytes = image.info.get("icc_profile", b"")
        transform = transform_to_srgb(profile, colours.mode)
        rgb = transform.apply(colours) if transform else colours.convert("RGB")
        rgb.info.clear()  # Profile, orientation and transparency no longer hold, and PNG would write them.
        deep = None if file is None else read_deep(file, image, orientation)
        if deep is not None:
            deep = deep_to_srgb(deep, profile) if transform else np.stack([deep] * 3, 2) if deep.ndim == 2 else deep
        with own_limits():
            return cls(rgb, alpha, written, Kept.of(image), deep)

    def resized(self, long_side: int) -> "Picture":
        """Return the picture with its long side of so many pixels; what there is in 16 bits stays as it is."""
        scale = long_side / max(self.rgb.size)
        size = (max(1, round(self.rgb.width * scale)), max(1, round(self.rgb.height * scale)))
        alpha = self.alpha.resize(size, Image.Resampling.LANCZOS) if self.alpha else None
        return replace(self, rgb=self.rgb.resize(size, Image.Resampling.LANCZOS), alpha=alpha)


def open_picture(
    source: str | Path | BinaryFile, name: str | None = None, short_side: int | None = None, deep: bool = False
) -> Picture:
    """Read a picture: upright, in sRGB, the alpha channel set apart, the first frame of an animation.

    Args:
        source: a path, or a binary file that can seek.
        name: what messages call the picture; by default its path.
        short_side: in pixels, what suffices. A larger JPEG is then decoded at 1/2, 1/4 or 1/8 of its
            size, several times as fast, and never with a short side below this.
        deep: whether to look for 16 bits of each colour as well.

    Raises:
        ImageError: if there is no such picture, or it is damaged, of an unknown format or above MAX_PIXELS.
    """
    name = name or str(source if isinstance(source, str | Path) else getattr(source, "name", "picture"))
    try:
        with open_regular(source) if isinstance(source, str | Path) else contextlib.nullcontext(source) as file:
            if Path(name).suffix.lower() in formats.RAW_SUFFIXES:
                return _develop(file)
            return _decode(file, short_side, deep)
    except Exception as error:  # Any: on damaged files, decoders raise whatever comes up.
        raise ImageError(f"{name}: not a readable picture ({_reason(error)})") from error


def flatten(picture: Picture, background: tuple[int, int, int] = (255, 255, 255)) -> Image.Image:
    """The picture in mode RGB as it looks on a background, which is white unless given."""
    if picture.alpha is None:
        return picture.rgb
    return Image.composite(picture.rgb, Image.new("RGB", picture.rgb.size, background), picture.alpha)


def resize_short_side(image: Image.Image, size: int) -> Image.Image:
    """Resize, antialiased, so that the short side has `size` pixels and the aspect ratio stays."""
    scale = size / min(image.size)
    width, height = (max(1, round(side * scale)) for side in image.size)
    return image if (width, height) == image.size else image.resize((width, height), Image.Resampling.LANCZOS)


def write_image(
    image: Image.Image | Deep,
    path: str | Path,
    alpha: Image.Image | None = None,
    format: str | None = None,
    kept: Kept = NOTHING,
) -> None:
    """Write a picture; a file that was there stays whole until the new one is complete.

    Args:
        image: the picture, in mode RGB, or with 16 bits of each colour; a format of 8 gets those.
        path: where to write it.
        alpha: the opacity to put back, in mode L; a format without opacity gets the picture on white.
        format: the format as Pillow names it, such as "PNG"; by default what the suffix of `path` says.
        kept: what to write besides, where the format has a place for it.

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
        # Encoded in memory first: Pillow's own writing hides why the disk refused.
        encoded = _encode(image, alpha, format, kept)
        with written_whole(path) as file:
            file.write(encoded)
    except Exception as error:
        reason = _reason(error) if path.parent.is_dir() else f"there is no folder {path.parent}"
        raise ImageError(f"{path}: cannot be written ({reason})") from error


def contact_sheet(rows: list[list[Image.Image]], height: int, gap: int = 8) -> Image.Image:
    """Rows of pictures side by side on white, each scaled to one height; sizes in pixels."""
    scaled = [[ImageOps.scale(image, height / image.height, Image.Resampling.LANCZOS) for image in row] for row in rows]
    width = max(sum(image.width + gap for image in row) for row in scaled) - gap
    sheet = Image.new("RGB", (width, len(rows) * (height + gap) - gap), "white")
    for index, row in enumerate(scaled):
        left = 0
        for image in row:
            sheet.paste(image, (left, index * (height + gap)))
            left += image.width + gap
    return sheet


def _encode(image: Image.Image | Deep, alpha: Image.Image | None, format: str, kept: Kept) -> bytes | memoryview:
    if isinstance(image, np.ndarray):
        if format in formats.DEEP:
            opacity = [] if alpha is None else [np.asarray(alpha, np.uint16)[:, :, None] * np.uint16(257)]
            pixels = np.concatenate([image, *opacity], axis=2)
            return encode_png(pixels, kept) if format == "PNG" else encode_tiff(pixels, kept)
        image = Image.fromarray(reduced(image))
    if alpha is not None and format in formats.WITH_ALPHA:
        image = Image.merge("RGBA", (*image.split(), alpha))
    elif alpha is not None:
        image = flatten(Picture(image, alpha, format))
    if format == "TIFF":
        return encode_tiff(np.asarray(image), kept)
    if format == "HEIF":
        _know_heif()
    encoded = io.BytesIO()
    image.save(encoded, format, quality=95, subsampling="4:4:4", chroma=444, **kept.options(format))
    return encoded.getbuffer()


def _decode(file: BinaryFile, short_side: int | None, deep: bool) -> Picture:
    head = file.read(64)
    file.seek(0)
    if not head:
        raise ValueError("the file is empty")
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        raise ValueError("it holds a web page or other markup")
    if head[4:8] == b"ftyp":
        if not formats.HAS_HEIF and head[8:11] in (b"hei", b"hev"):
            raise ValueError("HEIC, which needs the package pillow-heif; install fast_style[formats]")
        _know_heif()
    with own_limits():
        image = Image.open(file, formats=[name for name in formats.READABLE if name in Image.OPEN or name != "HEIF"])
        if short_side is not None:
            image.draft(None, (short_side, short_side))
        return Picture.of(image, file if deep else None)


def _know_heif() -> None:
    if formats.HAS_HEIF:
        # Only here, because every start would take longer.
        import pillow_heif

        pillow_heif.register_heif_opener()


def _develop(file: BinaryFile) -> Picture:
    """The picture of what a camera's sensor saw."""
    deep = develop(file)
    file.seek(0)
    with own_limits():
        kept = Kept.of_tiff(file.read())
    return Picture(Image.fromarray(reduced(deep)), None, "TIFF", kept, deep)


def _orientation(image: Image.Image) -> int:
    try:
        with own_limits():
            return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # Any: damaged metadata makes no picture unreadable.
        return 1


def _split_alpha(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """The colours in mode L, RGB or CMYK, and the opacity if there is any."""
    if image.mode == "F" or image.mode.startswith("I"):
        # Pillow would clip to 255. Floats are in [0, 1], integers have 16 bits: 65535 / 257 = 255.
        levels = np.nan_to_num(np.asarray(image)) * (255.0 if image.mode == "F" else 1 / 257)
        return Image.fromarray(np.rint(levels).clip(0, 255).astype(np.uint8)), None
    if image.has_transparency_data:
        image = image.convert("LA" if image.mode in ("1", "L", "LA", "La") else "RGBA")
        return image.convert(image.mode[:-1]), image.getchannel("A")
    return (image if image.mode in ("L", "RGB", "CMYK") else image.convert("RGB")), None


def _reason(error: Exception) -> str:
    """The error in one line without brackets, to stand in brackets."""
    if isinstance(error, Image.DecompressionBombError):
        return f"over {MAX_PIXELS:,} pixels"
    if isinstance(error, UnidentifiedImageError):
        return f"none of {', '.join(formats.READABLE)}, or its header is damaged"
    text = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
    return " ".join(text.split()).replace(" (", ", ").replace("(", "").replace(")", "")
