"""From a picture in one file to its stylized copy in another: what is read once, and what the copy keeps."""

import contextlib
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from fast_style.errors import ConfigError, ImageError
from fast_style.images.deep import Deep, tell_of_lost_bits
from fast_style.images.formats import CAN_BE_DEEP, DEEP, FORMATS, LARGEST_SIDES, RAW_SUFFIXES
from fast_style.images.notes import tell
from fast_style.images.opening import open_image
from fast_style.images.picture import Picture, open_picture, write_image
from fast_style.system.files import BinaryFile
from fast_style.system.input_limits import open_regular_file, pillow_limits


@dataclass(frozen=True)
class Original:
    """A picture that is to have a stylized copy.

    Attributes:
        picture: as it was read, at the size of the copy; its `deep` only if the copy can have 16 bits, too.
        format: what to write the copy as, as Pillow names it; None: nothing that is known.
    """

    picture: Picture
    format: str | None

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the copy."""
        return self.picture.rgb.size

    def write(self, stylized: Image.Image | Deep, target: Path) -> None:
        """Write the copy, with opacity, EXIF and dots per inch of the original. See `write_image`.

        Raises:
            ImageError: if the format is unknown or the file cannot be written.
        """
        write_image(stylized, target, self.picture.alpha, self.format, self.picture.kept)


def read_original(
    source: Path | BinaryFile, target: Path, size: int | None = None, name: str = "", page: int | None = None
) -> Original:
    """Read a picture for a copy of it.

    Args:
        source: the file, or its content.
        target: where the copy goes. A suffix other than that of the source changes the format.
        size: long side of the copy in pixels; nothing: that of the picture.
        name: what the source is called; by default its path.
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
    format = picture.format if same else FORMATS.get(target.suffix.lower())
    if (side := max(picture.rgb.size)) > (largest := LARGEST_SIDES.get(format or "", side)):
        remedy = f"give size={largest} or less, or write it as another, such as .png"
        raise ImageError(f"{name}: {side:,} pixels are more than a {format} can have ({largest:,}); {remedy}")
    if format in CAN_BE_DEEP and (picture.reduced or (picture.deep is not None and format not in DEEP)):
        tell_of_lost_bits(name)
    tell(name, picture.notes)
    return Original(picture if format in DEEP else replace(picture, deep=None), format)


def require_size(size: int | None) -> None:
    """Make sure that a long side in pixels is one that a file can have.

    Raises:
        ConfigError: if it is not.
    """
    if size is not None and not 1 <= size <= 65_535:
        raise ConfigError(f"size must be from 1 to 65535 pixels, not {size}")


def size_in_header(source: Path | BinaryFile, name: str = "") -> tuple[int, int] | None:
    """Return width and height as a picture's header tells them, in a fraction of the time that reading it takes.

    Returns:
        None if the header does not tell: that of a raw file is of a thumbnail.
    """
    if Path(name or str(source)).suffix.lower() in RAW_SUFFIXES:
        return None
    try:
        with contextlib.ExitStack() as held:
            file = held.enter_context(open_regular_file(source)) if isinstance(source, Path) else source
            with pillow_limits():
                return open_image(file).size
    except Exception:  # Any: who reads the whole of it says what is wrong.
        return None
    finally:
        if not isinstance(source, Path):
            source.seek(0)
