"""Large files from the web: fetched in as many goes as it takes, under their real name only once verified.

The standard library carries them. Of the packages made for it, pooch starts from nothing after an interruption, and
pypdl takes any file of that name for the right one and needs room for two; requests and urllib3 notice an answer that
is too short, but here the size is known beforehand.
"""

import hashlib
import re
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.filesize import decimal

from fast_style.data.prepare.transfers import TransferError, discard, forget, held, receive
from fast_style.errors import ConfigError, DataError
from fast_style.system.file_lock import claimed
from fast_style.system.files import take_place

#: Is told how it goes: "downloading" or "verifying", and the bytes done.
OnProgress = Callable[[str, int], None]
#: Seconds to wait after each failure in a row; with one more the download ends.
PAUSES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)

_KEPT = "what has come is kept, and the same command goes on from there"


@dataclass(frozen=True)
class Archive:
    """A published file, of which every byte is known beforehand.

    Attributes:
        name: what it is called, here and at the end of its address.
        size: in bytes.
        sha256: of its content, in hexadecimal.
    """

    name: str
    size: int
    sha256: str


#: The photographs of COCO 2017 (Lin et al. 2014, https://arxiv.org/abs/1405.0312). They come from Flickr, and their
#: owners' terms hold.
COCO = {
    "val2017": Archive("val2017.zip", 815_585_330, "4f7e2ccb2866ec5041993c9cf2a952bbed69647b115d0f74da7ce8f4bef82f05"),
    "train2017": Archive(
        "train2017.zip", 19_336_861_798, "69a8bb58ea5f8f99d24875f21416de2e9ded3178e903f1f7603e283b9e06d929"
    ),
}


def download(
    archive: Archive,
    mirror: str,
    folder: Path,
    on_progress: OnProgress = lambda task, done: None,
    say: Callable[[str], None] = print,
    pauses: Sequence[float] = PAUSES,
) -> bool:
    """Fetch a file into a folder, or the rest of it; nothing if it is there and right.

    Until it is whole and its SHA-256 is right it is called NAME.part, which stays when anything goes wrong, Ctrl-C
    included: the next call goes on from there. A whole one that is wrong is fetched once more.

    Args:
        archive: what to fetch.
        mirror: the address of the folder that it is in, http or https.
        folder: where to put it; it must exist.
        on_progress: is told of the bytes that are here, and then of those that are verified.
        say: is told, in a line, of each failure but the last.
        pauses: seconds to wait after each failure in a row. One that brought a hundredth of the file ends the row.

    Returns:
        Whether there was anything to fetch.

    Raises:
        ConfigError: if `mirror` is no such address.
        DataError: if the file cannot be had, is not what it should be, or has no room.
    """
    url, path = f"{mirror.rstrip('/')}/{archive.name}", folder / archive.name
    if not re.fullmatch(r"https?://[!-.0-~]+(/[!-~]*)?", url):
        raise ConfigError(f"mirror must be an address such as http://localhost:8000/zips, not {mirror!r}")
    try:
        with claimed(path) as part:
            if path.exists():
                _check_finished(archive, path, on_progress)
                return False
            for again in (True, False):
                _check_room(archive, part)
                _fetch(archive, url, part, partial(on_progress, "downloading"), say, pauses)
                if _digest(part, on_progress) == archive.sha256:
                    take_place(part, path)
                    forget(part)
                    return True
                discard(part)
                if again:
                    say(f"{archive.name}: damaged on the way (its SHA-256 is wrong); fetching it once more")
    except OSError as error:
        raise DataError(
            f"{path}: cannot be written ({error.strerror or error}); "
            "make room or mend the folder, and the same command goes on from what is there"
        ) from error
    raise DataError(f"{url}: is not the published {archive.name} (its SHA-256 is wrong, twice); set mirror")


def _check_finished(archive: Archive, path: Path, on_progress: OnProgress) -> None:
    size = path.stat().st_size
    if size != archive.size:
        raise DataError(
            f"{path}: is not the published file ({size:,} bytes instead of {archive.size:,}); "
            f"move it away, or rename it to {path.name}.part if it is the beginning of it"
        )
    if _digest(path, on_progress) != archive.sha256:
        raise DataError(f"{path}: is not the published file (its SHA-256 is wrong); move it away and fetch it again")


def _check_room(archive: Archive, part: Path) -> None:
    needed, free = archive.size - held(part), shutil.disk_usage(part.parent).free
    if free < needed:
        raise DataError(
            f"{part.parent}: {archive.name} needs {decimal(needed)} more, and {decimal(free)} are free; make room there"
        )


def _fetch(
    archive: Archive,
    url: str,
    part: Path,
    on_bytes: Callable[[int], None],
    say: Callable[[str], None],
    pauses: Sequence[float],
) -> None:
    """Bring a part to its full size, in as many connections as the pauses allow."""
    if held(part) > archive.size:
        discard(part)
    waits = iter(pauses)
    while (before := held(part)) < archive.size:
        try:
            receive(url, part, archive.size, on_bytes)
        except TransferError as error:
            if held(part) - before >= archive.size / 100:
                waits = iter(pauses)
            wait = next(waits, None)
            if wait is None:
                raise DataError(f"{url}: {error}, {len(pauses) + 1} times in a row; {_KEPT}") from error
            say(f"{archive.name}: {error}; trying again in {wait:g} s")
            time.sleep(wait)


def _digest(path: Path, on_progress: OnProgress) -> str:
    digest, done = hashlib.sha256(), 0
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
            done += len(block)
            on_progress("verifying", done)
    return digest.hexdigest()
