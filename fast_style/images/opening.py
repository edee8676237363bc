"""Files of pictures, opened but not decoded, and what to call what is wrong with one."""

import contextlib
import io

from PIL import Image, UnidentifiedImageError

from fast_style.images import colors, formats, jpeg2000, netpbm, tiff
from fast_style.images.gain_maps import has_gain_map
from fast_style.images.notes import notes_of

#: An open file. BytesIO is one by declaration, but lacks the attributes that checks at run time look for.
from fast_style.system.files import BinaryFile
from fast_style.system.input_limits import MAX_PIXELS
from fast_style.system.optional_packages import how_to_install


def open_image(file: BinaryFile) -> Image.Image:
    """Open a picture, within `pillow_limits`: its header is read, and no pixel.

    Raises:
        Exception: any, if it is none, or damaged.
    """
    # What a program has written into it just now ends where it stands.
    file.seek(0)
    head = file.read(64)
    file.seek(0)
    if not head:
        raise ValueError("the file is empty")
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        raise ValueError("it holds a web page or other markup")
    if head[4:8] == b"ftyp":
        if not formats.HAS_HEIF and head[8:11] in (b"hei", b"hev"):
            raise ValueError(f"HEIC, which needs the package pillow-heif; {how_to_install('formats')}")
        know_heif()
    if head.startswith(b"8BPS") and head[22:24] not in (b"\0\1", b"\0\x08"):
        raise ValueError(f"PSD of {head[23]} bits of each color, and only 8 can be read; save it as TIFF")
    if head.startswith(colors.PNG) and (short := colors.short_chunks(file)):
        file.seek(0)
        file = io.BytesIO(colors.without(file.read(), short))
    file.seek(0)
    tiff.register()
    names = [tiff.NAME if name == "TIFF" else name for name in formats.READABLE]
    image = Image.open(file, formats=[name for name in names if name in Image.OPEN or name != "HEIF"])
    if image.format == "PPM":
        netpbm.quicken(image)
    if image.format == "JPEG2000":
        # Damaged metadata makes no picture unreadable.
        with contextlib.suppress(Exception):
            header = jpeg2000.read_header(file)
            jpeg2000.correct(image, header)
            found = {"icc_profile": header.profile, "exif": header.exif, "xmp": header.xmp, "iptc": header.iptc}
            image.info.update({name: content for name, content in found.items() if content})
    place = file.tell()
    colors.find_colors(image, file)
    if has_gain_map(image, file):
        notes_of(image).append("a gain map, which brightens it on some screens: left out")
    file.seek(place)
    return image


def know_heif() -> None:
    """Have Pillow know HEIC, if what reads it is installed."""
    if formats.HAS_HEIF:
        # Only here, because every start would take longer.
        import pillow_heif

        pillow_heif.register_heif_opener()


def format_of_copy(image: Image.Image) -> str:
    """Return the format to write a copy of an opened picture in, as Pillow names it."""
    # An MPO, as some cameras write, is a JPEG with further views behind it.
    format = "JPEG" if image.format == "MPO" else image.format
    return format if format in formats.WRITABLE else "PNG"


def reason_of(error: Exception) -> str:
    """Return an error in one line without brackets, to stand in brackets."""
    if isinstance(error, Image.DecompressionBombError):
        return f"over {MAX_PIXELS:,} pixels"
    if isinstance(error, UnidentifiedImageError):
        return f"none of {', '.join(formats.READABLE)}, or its header is damaged"
    text = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
    return " ".join(text.split()).replace(" (", ", ").replace("(", "").replace(")", "")
