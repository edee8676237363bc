"""Downloads of large files: resumed after interruptions, and under their real name only once verified.

The standard library is used. Of the packages made for this, pooch starts from nothing after an interruption, and
pypdl takes any file of that name for the right one and needs room for two; requests and urllib3 notice an answer that
is too short, but here the size is known beforehand.
"""

import contextlib
import hashlib
import logging
import re
import shutil
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from http.client import HTTPException, HTTPResponse, InvalidURL
from pathlib import Path
from typing import NoReturn
from urllib import request
from urllib.error import HTTPError, URLError

from rich.filesize import decimal

from fast_style.errors import ConfigError, DataError
from fast_style.system.file_locks import locked_part_file
from fast_style.system.files import replace_file
from fast_style.system.text import reason_of

#: Called with the progress: "downloading" or "verifying", and the bytes done.
OnProgress = Callable[[str, int], None]
#: Seconds to wait after each failure in a row; with one more the download ends.
PAUSES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)

_log = logging.getLogger(__name__)
_KEPT = "what has come is kept, and the same command goes on from there"
_STALLED = 30.0  # seconds without a byte
_BLOCK = 1 << 20  # bytes
# The library's, but for those that a redirection could lead to another kind of server by.
_HANDLERS: tuple[type[request.BaseHandler], ...] = (
    request.ProxyHandler,
    request.UnknownHandler,
    request.HTTPHandler,
    request.HTTPSHandler,
    request.HTTPDefaultErrorHandler,
    request.HTTPRedirectHandler,
    request.HTTPErrorProcessor,
)


@dataclass(frozen=True)
class PublishedFile:
    """A published file of known size and content."""

    name: str  #: what it is called, here and at the end of its address
    size: int  #: in bytes
    sha256: str  #: of its content, in hexadecimal


#: The photographs of COCO 2017 (Lin et al. 2014, https://arxiv.org/abs/1405.0312). They come from Flickr, and their
#: owners' terms hold.
COCO = {
    "val2017": PublishedFile(
        "val2017.zip", 815_585_330, "4f7e2ccb2866ec5041993c9cf2a952bbed69647b115d0f74da7ce8f4bef82f05"
    ),
    "train2017": PublishedFile(
        "train2017.zip", 19_336_861_798, "69a8bb58ea5f8f99d24875f21416de2e9ded3178e903f1f7603e283b9e06d929"
    ),
}


def download(
    archive: PublishedFile,
    mirror: str,
    folder: Path,
    on_progress: OnProgress = lambda task, done: None,
    say: Callable[[str], None] = _log.info,
    pauses: Sequence[float] = PAUSES,
) -> bool:
    """Download a file into a folder, or the rest of it; nothing if it is there and verified.

    Until it is complete and its SHA-256 is right it is called NAME.part. The part stays after any failure, Ctrl-C
    included, and the next call goes on from there. A complete file with a wrong SHA-256 is downloaded once more.

    Args:
        archive: what to fetch.
        mirror: the address of the folder that it is in, http or https.
        folder: where to put it; it must exist.
        on_progress: called with the bytes downloaded, then with the bytes verified.
        say: is told of each failure but the last, in a line; by default, a log.
        pauses: seconds to wait after each failure in a row; an attempt that brings a hundredth of the file starts anew.

    Returns:
        Whether anything was downloaded.

    Raises:
        ConfigError: if `mirror` is no such address.
        DataError: if the file cannot be downloaded, is another one, or does not fit on the disk.
    """
    url, path = f"{mirror.rstrip('/')}/{archive.name}", folder / archive.name
    if not re.fullmatch(r"https?://[!-.0-~]+(/[!-~]*)?", url):
        raise ConfigError(f"mirror must be an address such as http://localhost:8000/zips, not {mirror!r}")
    try:
        with locked_part_file(path) as part:
            if path.exists():
                _check_finished(archive, path, on_progress)
                return False
            for again in (True, False):
                needed, free = archive.size - held(part), shutil.disk_usage(part.parent).free
                if free < needed:
                    lacking = f"{archive.name} needs {decimal(needed)} more, and {decimal(free)} are free"
                    raise DataError(f"{part.parent}: {lacking}; make room there")
                _fetch(archive, url, part, partial(on_progress, "downloading"), say, pauses)
                if _digest(part, on_progress) == archive.sha256:
                    replace_file(part, path)
                    _etag_file(part).unlink(missing_ok=True)
                    return True
                discard(part)
                if again:
                    say(f"{archive.name}: damaged on the way (its SHA-256 is wrong); fetching it once more")
    except OSError as error:
        remedy = "make room or mend the folder, and the same command goes on from what is there"
        raise DataError(f"{path}: cannot be written ({error.strerror or error}); {remedy}") from error
    raise DataError(f"{url}: is not the published {archive.name} (its SHA-256 is wrong, twice); set mirror")


def _check_finished(archive: PublishedFile, path: Path, on_progress: OnProgress) -> None:
    size = path.stat().st_size
    if size != archive.size:
        remedy = f"move it away, or rename it to {path.name}.part if it is the beginning of it"
        raise DataError(f"{path}: is not the published file ({size:,} bytes instead of {archive.size:,}); {remedy}")
    if _digest(path, on_progress) != archive.sha256:
        raise DataError(f"{path}: is not the published file (its SHA-256 is wrong); move it away and fetch it again")


def _fetch(
    archive: PublishedFile,
    url: str,
    part: Path,
    on_bytes: Callable[[int], None],
    say: Callable[[str], None],
    pauses: Sequence[float],
) -> None:
    """Complete a part, in as many connections as the pauses allow."""
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
        while block := file.read(_BLOCK):
            digest.update(block)
            done += len(block)
            on_progress("verifying", done)
    return digest.hexdigest()


class TransferError(Exception):
    """The connection failed, not the file: worth another attempt."""


def receive(url: str, part: Path, size: int, on_bytes: Callable[[int], None]) -> None:
    """Request the rest of a file in one connection, and append it to the part.

    The ETag is kept beside the part, by which the server tells whether its file has changed; then the part starts
    again.

    Args:
        url: the address of the file.
        part: the beginning of the file, or nothing yet.
        size: of the whole file, in bytes; answers need not say it.
        on_bytes: called with the size of the part as it grows.

    Raises:
        TransferError: if the connection breaks, or the server is busy or has another file by now.
        DataError: if the server does not have this file.
        ConfigError: if the address is not valid.
        OSError: if the part cannot be written.
    """
    done = held(part)
    with _answer(url, part, done) as response:
        if "html" in response.headers.get("Content-Type", ""):
            raise DataError(f"{url}: a web page came in its place; log in to the network if it asks, or set mirror")
        start, total = _range(response)
        if total not in (None, size):
            raise DataError(f"{url}: is another file ({total:,} bytes instead of {size:,}); set mirror")
        ours, theirs = _read_etag(part), _strong(response.headers.get("ETag", ""))
        if response.status == 206 and (start != done or (ours and theirs and ours != theirs)):
            discard(part)
            raise TransferError("the server goes on with something else")
        with open(part, "ab" if start else "wb") as file:
            if not start:
                # When the part is empty, and before it is not: wherever this stops, they belong together.
                _etag_file(part).write_text(theirs or "")
            done = start
            for block in _blocks(response):
                if done + len(block) > size:
                    discard(part)
                    raise DataError(f"{url}: is another file (more than {size:,} bytes); set mirror")
                file.write(block)
                done += len(block)
                on_bytes(done)
    if done < size:
        raise TransferError("the connection ended early")


def held(part: Path) -> int:
    """Return the size of a part in bytes; 0 if there is none."""
    return part.stat().st_size if part.exists() else 0


def discard(part: Path) -> None:
    """Remove a part and its ETag."""
    part.unlink(missing_ok=True)
    _etag_file(part).unlink(missing_ok=True)


def _answer(url: str, part: Path, done: int) -> HTTPResponse:
    headers = {"Accept-Encoding": "identity", "User-Agent": "fast_style"}
    if done:
        headers["Range"] = f"bytes={done}-"
        if etag := _read_etag(part):
            headers["If-Range"] = etag
    opener = request.OpenerDirector()
    for handler in _HANDLERS:
        opener.add_handler(handler())
    try:
        response: HTTPResponse = opener.open(request.Request(url, headers=headers), timeout=_STALLED)
    except HTTPError as error:
        error.close()
        _refuse(error, url, part)
    except InvalidURL as error:
        raise ConfigError(f"mirror does not make an address: {url} ({reason_of(error)})") from error
    except (OSError, HTTPException) as error:
        reason = error.reason if isinstance(error, URLError) else error
        if isinstance(reason, ssl.SSLCertVerificationError):
            raise DataError(f"{url}: not to be trusted ({reason.verify_message}); set mirror") from error
        raise TransferError(f"no answer ({reason_of(reason)})") from error
    return response


def _refuse(error: HTTPError, url: str, part: Path) -> NoReturn:
    answer = f"the server answers {error.code} {reason_of(error.reason)}"
    if error.code == 416:
        # The file there is shorter than the part.
        discard(part)
    elif error.code < 500 and error.code not in (408, 429):
        raise DataError(f"{url}: {answer}; set mirror") from error
    raise TransferError(answer) from error


def _range(response: HTTPResponse) -> tuple[int, int | None]:
    """Return where an answer starts in the file, and how long the file is, if the server says."""
    if response.status == 206:
        matched = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
        if matched is None:
            return -1, None
        return int(matched[1]), None if matched[2] == "*" else int(matched[2])
    length = response.headers.get("Content-Length", "")
    return 0, int(length) if length.isdecimal() else None


def _blocks(response: HTTPResponse) -> Iterator[bytes]:
    while True:
        try:
            block = response.read1(_BLOCK)
        except (OSError, HTTPException) as error:
            raise TransferError(f"the connection broke ({reason_of(error)})") from error
        if not block:
            return
        yield block


def _etag_file(part: Path) -> Path:
    return part.with_name(f"{part.name}.etag")


def _read_etag(part: Path) -> str | None:
    with contextlib.suppress(OSError, ValueError):
        return _strong(_etag_file(part).read_text())
    return None


def _strong(etag: str) -> str | None:
    # Weak ones, W/"...", promise the same meaning, not the same bytes.
    return etag if re.fullmatch(r'"[!#-~]*"', etag) else None
