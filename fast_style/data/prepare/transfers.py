"""One connection's worth of a large file: what it brings goes behind what is there, or what is there is no use."""

import contextlib
import re
import ssl
from collections.abc import Callable, Iterator
from http.client import HTTPException, HTTPResponse, InvalidURL
from pathlib import Path
from typing import NoReturn
from urllib import request
from urllib.error import HTTPError, URLError

from fast_style.errors import ConfigError, DataError

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


class TransferError(Exception):
    """The connection failed, not the file: worth another attempt."""


def receive(url: str, part: Path, size: int, on_bytes: Callable[[int], None]) -> None:
    """Ask for what a part lacks of its file, and append what comes.

    The part keeps its ETag beside it, so that the server can tell whether its file is still the same; if it is not,
    the part starts again.

    Args:
        url: the address of the file.
        part: the beginning of the file, or nothing yet.
        size: of the whole file, in bytes. It says when all has come: an answer need not.
        on_bytes: called with the size of the part as it grows.

    Raises:
        TransferError: if the connection breaks, or the server is busy or has changed its mind.
        DataError: if the server does not have this file.
        ConfigError: if the address is none.
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
    """Return the size of a part in bytes, 0 if there is none."""
    return part.stat().st_size if part.exists() else 0


def discard(part: Path) -> None:
    """Remove a part, and what is kept beside it."""
    part.unlink(missing_ok=True)
    forget(part)


def forget(part: Path) -> None:
    """Remove what is kept beside a part, which is whole now."""
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
        raise ConfigError(f"mirror does not make an address: {url} ({_reason(error)})") from error
    except (OSError, HTTPException) as error:
        reason = error.reason if isinstance(error, URLError) else error
        if isinstance(reason, ssl.SSLCertVerificationError):
            raise DataError(f"{url}: not to be trusted ({reason.verify_message}); set mirror") from error
        raise TransferError(f"no answer ({_reason(reason)})") from error
    return response


def _refuse(error: HTTPError, url: str, part: Path) -> NoReturn:
    answer = f"the server answers {error.code} {_reason(error.reason)}"
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
            raise TransferError(f"the connection broke ({_reason(error)})") from error
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


def _reason(error: object) -> str:
    text = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
    return " ".join(text.split())
