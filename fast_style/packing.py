"""A collection of pictures brought down to what training can see of it, in one archive that is quick to read."""

import io
import re
import time
import zipfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from PIL import Image

from fast_style.errors import ConfigError, DataError
from fast_style.files import take_place
from fast_style.images import flatten, open_picture, resize_short_side
from fast_style.inspection import OnProgress, list_pictures, look_at_each
from fast_style.parts import claimed
from fast_style.photographs import Photographs
from fast_style.sources import printable

#: At 95 and with colours at half the resolution, as cameras write them.
_JPEG = {"quality": 95, "subsampling": "4:2:0"}


@dataclass(frozen=True)
class Packed:
    """What became of a collection.

    Attributes:
        pictures: how many are in the archive.
        untouched: how many of them are the very files of the source.
        file_size: of the archive, in bytes.
        bad: the names of the pictures that could not be read, and are left out, with the reasons.
        refused: what is no picture to this program, by name, with the reasons.
    """

    pictures: int
    untouched: int
    file_size: int
    bad: Mapping[str, str]
    refused: Mapping[str, str]


def pack(
    source: Path,
    output: Path,
    short_side: int,
    workers: int = 0,
    overwrite: bool = False,
    on_progress: OnProgress = lambda done, total: None,
) -> Packed:
    """Write the pictures of a source into a zip, as JPEGs whose short side has at most so many pixels.

    A crop for training is cut from at least half of a picture's short side: with twice the size of the crops, all
    that training can see is there. Pictures are never enlarged, and a JPEG that is small enough stays as it is. The
    same source gives the same archive, byte for byte. It is there when it is whole, and not before.

    Args:
        source: a folder of any depth, a .zip or an uncompressed .tar.
        output: the archive to write, in a folder that exists.
        short_side: in pixels.
        workers: how many processes read and write pictures; 0: this one.
        overwrite: whether an archive that is there may be replaced.
        on_progress: is told how many pictures are done, of how many.

    Raises:
        ConfigError: if a setting does not fit.
        DataError: if the source has no usable picture, or the archive cannot be written.
    """
    check_output(source, output, overwrite)
    if short_side < 32:
        raise ConfigError(f"short_side must be at least 32 pixels, not {short_side}")
    names, files = list_pictures(source)
    inside, bad, taken, untouched = _names_inside(names), {}, 0, 0
    shrunk = look_at_each(files, names, partial(_shrink, short_side=short_side), workers)
    try:
        with claimed(output) as part:
            try:
                with zipfile.ZipFile(part, "w") as archive:
                    for done, (name, content) in enumerate(zip(names, shrunk, strict=True), 1):
                        if isinstance(content, str):
                            bad[name] = content
                        else:
                            archive.writestr(_member(inside[name]), content.jpeg)
                            taken, untouched = taken + 1, untouched + content.untouched
                        on_progress(done, len(names))
                take_place(part, output)
            finally:
                part.unlink(missing_ok=True)
    except OSError as error:
        raise DataError(
            f"{output}: cannot be written ({error.strerror or error}); make room, or give another output"
        ) from error
    return Packed(taken, untouched, output.stat().st_size, bad, files.refused)


def check_output(source: Path, output: Path, overwrite: bool) -> None:
    """Make sure that an archive may be written.

    Raises:
        ConfigError: if it is the source itself, no .zip, or there already.
    """
    if output.suffix.lower() != ".zip":
        raise ConfigError(f"output must be a file ending in .zip, not {output}")
    if output.resolve() == source.resolve():
        raise ConfigError(f"output must not be the source itself, {source}; give another name")
    if output.is_dir() or (output.exists() and not overwrite):
        raise ConfigError(f"{output}: exists already; add overwrite=true to replace it, or give another output")


def loading_rates(sources: Collection[Path], size: int, seconds: float = 4.0) -> list[float]:
    """Return how many crops a second one process cuts from each source.

    The sources take turns, picture by picture: whatever else the machine does meets them alike.
    """
    readers = [Photographs(source, size) for source in sources]
    spent, count, turns = [0.0] * len(readers), 0, min(len(reader) for reader in readers)
    while sum(spent) < seconds:
        # To and fro: who comes after whom matters.
        for turn, reader in list(enumerate(readers))[:: 1 if count % 2 else -1]:
            # Evenly over the whole source, the second time in the next epoch.
            index = count * 7919 % turns * len(reader) // turns
            started = time.perf_counter()
            reader[count // turns, index]
            spent[turn] += time.perf_counter() - started
        count += 1
    return [count / time_spent for time_spent in spent]


@dataclass(frozen=True)
class _Content:
    jpeg: bytes
    untouched: bool


def _shrink(name: str, content: bytes, short_side: int) -> _Content:
    # All of the file has to be good; twice the pixels suffice for the reduction to be as good as from all of them.
    picture = open_picture(io.BytesIO(content), printable(name), 2 * short_side)
    image = flatten(picture)
    if min(image.size) <= short_side and picture.format == "JPEG" and _is_plain_jpeg(content):
        return _Content(content, untouched=True)
    if min(image.size) > short_side:
        image = resize_short_side(image, short_side)
    encoded = io.BytesIO()
    image.save(encoded, "JPEG", **_JPEG)
    return _Content(encoded.getvalue(), untouched=False)


def _is_plain_jpeg(content: bytes) -> bool:
    """Whether this is one picture, stored from top to bottom: progressive ones take twice as long to read."""
    with Image.open(io.BytesIO(content), formats=["JPEG"]) as image:
        return image.format == "JPEG" and not image.info.get("progressive")


def _names_inside(names: Collection[str]) -> dict[str, str]:
    """Return a name for each picture in the archive, such that no two are the same and no reader refuses it."""
    inside: dict[str, str] = {}
    taken = set(names)
    for name in names:
        path = PurePosixPath(re.sub(r"[\\:]", "_", printable(name)))
        if path.suffix.lower() not in (".jpg", ".jpeg"):
            path = path.with_name(f"{path.name}.jpg")
        while (new := str(path)) in taken and new != name:
            path = path.with_stem(f"{path.stem}_")
        inside[name] = new
        taken.add(new)
    return inside


def _member(name: str) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(name)  # of the year 1980, whatever the clock says
    member.create_system, member.external_attr = 3, 0o100644 << 16
    return member
