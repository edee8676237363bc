"""Packing of training images: reduced to what training can see, in one archive that is fast to read."""

import io
import math
import re
import time
import zipfile
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

import torch
from PIL import Image

from fast_style.data.photographs import Photographs
from fast_style.data.pixel_archive import SUFFIX, crop_size_note, to_npy
from fast_style.data.prepare.check import OnProgress, list_images, map_images
from fast_style.errors import ConfigError, DataError, ImageError
from fast_style.images.picture import flatten, open_picture, resize_short_side
from fast_style.system.file_locks import locked_part_file
from fast_style.system.files import replace_file
from fast_style.system.input_limits import MAX_PIXELS
from fast_style.system.text import printable

#: At 95 and with colors at half the resolution, as cameras write them.
_JPEG = {"quality": 95, "subsampling": "4:2:0"}


@dataclass(frozen=True)
class PackReport:
    """The result of packing."""

    pictures: int  #: the number of images in the archive
    untouched: int  #: how many of them are unchanged copies of the files
    file_size: int  #: of the archive, in bytes
    bad: Mapping[str, str]  #: the reasons why images could not be read and are left out, by name
    refused: Mapping[str, str]  #: the reasons why files are never read, by name


def pack(
    source: Path,
    output: Path,
    short_side: int,
    workers: int = 0,
    overwrite: bool = False,
    on_progress: OnProgress = lambda done, total: None,
    size: int | None = None,
) -> PackReport:
    """Write the pictures of a source into a .zip, as JPEGs, or into an .npz, as pixels that nothing has to decode.

    A crop for training is cut from at least half of a picture's short side: with twice the size of the crops, all
    that training can see is there. JPEGs have at most that short side; they are never enlarged, and one that is small
    enough stays as it is.

    Pixels are for crops of one size, which training cuts without a change of scale. So the pictures themselves come
    in all scales, short sides spread evenly from the size of the crops to the one given: over the collection that is
    what training draws for each crop of other sources, but here each picture has one scale for good.

    The same source gives the same archive, byte for byte. It is there when it is whole, and not before.

    Args:
        source: a folder of any depth, a .zip or an uncompressed .tar.
        output: the archive to write, in a folder that exists: a .zip or an .npz.
        short_side: in pixels, at most.
        workers: how many processes read and write pictures; 0: this one.
        overwrite: whether an archive that is there may be replaced.
        on_progress: is told how many pictures are done, of how many.
        size: of the crops, in pixels, for an .npz; nothing: half of `short_side`.

    Raises:
        ConfigError: if a setting does not fit.
        DataError: if the source has no usable picture, or the archive cannot be written.
    """
    check_output(source, output, overwrite)
    if short_side < 32:
        raise ConfigError(f"short_side must be at least 32 pixels, not {short_side}")
    as_pixels, size = output.suffix.lower() == SUFFIX, short_side // 2 if size is None else size
    if as_pixels and not 32 <= size <= short_side:
        raise ConfigError(f"size must be from 32 to the short_side, {short_side}, not {size}")
    names, files = list_images(source)
    inside, bad, taken, untouched = _names_inside(names, ".npy" if as_pixels else ".jpg"), {}, 0, 0
    # Returns the content of a file, and whether it is unchanged.
    shrink: Callable[[str, bytes], tuple[bytes, bool]] = partial(_shrink, short_side=short_side)
    if as_pixels:
        shrink = partial(_to_pixels, size=size, short_sides=_spread(names, size, short_side))
    shrunk = map_images(files, names, shrink, workers)
    try:
        with locked_part_file(output) as part:
            try:
                with zipfile.ZipFile(part, "w") as archive:
                    for done, (name, content) in enumerate(zip(names, shrunk, strict=True), 1):
                        if isinstance(content, str):
                            bad[name] = content
                        else:
                            packed, unchanged = content
                            archive.writestr(_member(inside[name]), packed)
                            taken, untouched = taken + 1, untouched + unchanged
                        on_progress(done, len(names))
                    archive.comment = crop_size_note(size) if as_pixels else b""
                replace_file(part, output)
            finally:
                part.unlink(missing_ok=True)
    except OSError as error:
        remedy = "give another output" if isinstance(error, PermissionError) else "make room, or give another output"
        raise DataError(f"{output}: cannot be written ({error.strerror or error}); {remedy}") from error
    return PackReport(taken, untouched, output.stat().st_size, bad, files.refused)


def check_output(source: Path, output: Path, overwrite: bool) -> None:
    """Make sure that an archive may be written.

    Raises:
        ConfigError: if it is the source itself, neither .zip nor .npz, or there already, or if the source is an .npz.
    """
    if output.suffix.lower() not in (".zip", SUFFIX):
        raise ConfigError(f"output must be a file ending in .zip or {SUFFIX}, not {output}")
    if output.resolve() == source.resolve():
        raise ConfigError(f"output must not be the source itself, {source}; give another name")
    if source.suffix.lower() == SUFFIX:
        raise ConfigError(f"source must not be pixels already, as {source} is; give the pictures it was made from")
    if output.is_dir() or (output.exists() and not overwrite):
        raise ConfigError(f"{output}: exists already; add overwrite=True to replace it, or give another output")


def loading_rates(sources: Collection[Path], size: int, seconds: float = 4.0) -> list[float]:
    """Return how many crops a second one process cuts from each source.

    The sources take turns, picture by picture: whatever else the machine does meets them alike.
    """
    readers = [Photographs(source, size) for source in sources]
    spent, count, turns = [0.0] * len(readers), 0, min(len(reader) for reader in readers)
    with one_thread():
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


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch compute in one thread, as it does in the workers of a training."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _shrink(name: str, content: bytes, short_side: int) -> tuple[bytes, bool]:
    # All of the file has to be good; twice the pixels suffice for the reduction to be as good as from all of them.
    picture = open_picture(io.BytesIO(content), printable(name), 2 * short_side)
    image = flatten(picture)
    if min(image.size) <= short_side and picture.format == "JPEG" and _is_plain_jpeg(content):
        return content, True
    if min(image.size) > short_side:
        image = resize_short_side(image, short_side)
    encoded = io.BytesIO()
    image.save(encoded, "JPEG", **_JPEG)
    return encoded.getvalue(), False


def _to_pixels(name: str, content: bytes, size: int, short_sides: Mapping[str, float]) -> tuple[bytes, bool]:
    picture = open_picture(io.BytesIO(content), printable(name), 2 * math.ceil(short_sides[name]))
    image = flatten(picture)
    # As training brings pictures to scale: enlarged only if it is smaller than a crop.
    scale = min(short_sides[name], max(size, min(image.size))) / min(image.size)
    width, height = (max(size, round(side * scale)) for side in image.size)
    if width * height > MAX_PIXELS:
        raise ImageError(f"{printable(name)}: {width:,}x{height:,} pixels at the size of a crop; cut it in pieces")
    if (width, height) != image.size:
        image = image.resize((width, height), Image.Resampling.BICUBIC)
    return to_npy(image), False


def _spread(names: Collection[str], smallest: int, largest: int) -> dict[str, float]:
    """Return a number for each name, such that neighbors differ and any run of names has them evenly."""
    golden = (math.sqrt(5) - 1) / 2
    return {name: smallest + (index * golden % 1) * (largest - smallest) for index, name in enumerate(names)}


def _is_plain_jpeg(content: bytes) -> bool:
    """Whether this is one picture, stored from top to bottom: progressive ones take twice as long to read."""
    with Image.open(io.BytesIO(content), formats=["JPEG"]) as image:
        return image.format == "JPEG" and not image.info.get("progressive")


def _names_inside(names: Collection[str], suffix: str) -> dict[str, str]:
    """Return a name for each picture in the archive, such that no two are the same and no reader refuses it."""
    usual = (".jpg", ".jpeg") if suffix == ".jpg" else (suffix,)
    inside: dict[str, str] = {}
    taken = set(names)
    for name in names:
        path = PurePosixPath(re.sub(r"[\\:]", "_", printable(name)))
        if path.suffix.lower() not in usual:
            path = path.with_name(f"{path.name}{suffix}")
        while (new := str(path)) in taken and new != name:
            path = path.with_stem(f"{path.stem}_")
        inside[name] = new
        taken.add(new)
    return inside


def _member(name: str) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(name)  # of the year 1980, whatever the clock says
    member.create_system, member.external_attr = 3, 0o100644 << 16
    return member
