"""Pages of one file, stylized one after the other into the pages of another."""

from collections.abc import Callable
from pathlib import Path

from PIL import Image

from fast_style.errors import ImageError
from fast_style.images.copies import Original, read_original
from fast_style.images.deep import Deep
from fast_style.images.pages import Several, pages_written
from fast_style.system.files import BinaryFile


def stylize_pages(
    stylize: Callable[[Original], Image.Image | Deep],
    source: Path | BinaryFile,
    target: Path,
    found: Several,
    size: int | None = None,
    name: str = "",
) -> list[str]:
    """Stylize each page of a file, with its own size, depth and metadata. Only one is in memory at a time.

    Args:
        stylize: what makes one.
        source: the file, or its content.
        target: where the copy goes; it is there only when it is whole.
        found: what pages there are.
        size: long side of each page of the copy in pixels; nothing: that of the page.
        name: what the source is called; by default its path.

    Returns:
        What has been left out, because it could not be read, in a few words each.

    Raises:
        ImageError: if no page can be read, or the copy cannot be written.
    """
    name = name or str(source)
    notes: list[str] = []
    with pages_written(target, found.places.index(found.primary)) as pages:
        for number, place in enumerate(found.places, 1):
            try:
                original = read_original(source, target, size, name, place)
            except ImageError as error:
                if len(notes) + 1 == found.count:
                    raise
                reason = str(error).removeprefix(f"{name}: ")
                notes.append(f"{found.kind} {number} of {found.count} is left out: {reason}")
                continue
            pages.add(stylize(original), original)
    return notes
