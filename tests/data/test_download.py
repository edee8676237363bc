"""Downloads from a server on this machine that does everything a server should not.

Each ends in the file, byte for byte, or in one line; never in another file under its name.
"""

import hashlib
import random
import re
import resource
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from small_messages import assert_each, assert_names, raises

from fast_style.data.prepare.download import COCO, PublishedFile, download
from fast_style.errors import ConfigError, DataError

CONTENT = random.Random(0).randbytes(300_000)
OTHER = random.Random(1).randbytes(len(CONTENT))
ARCHIVE = PublishedFile("photos.zip", len(CONTENT), hashlib.sha256(CONTENT).hexdigest())
TWICE = (0.0, 0.0)

Answer = Callable[[BaseHTTPRequestHandler], None]


class Server(ThreadingHTTPServer):
    """Gives its answers in turn, the last for ever, and remembers what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: list[Answer] = [file]
        self.asked: list[dict[str, str]] = []
        self.address = f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients that hang up are part of the tests."""


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Server)
        self.server.asked.append({"path": self.path, **{key.lower(): text for key, text in self.headers.items()}})
        answers = self.server.answers
        (answers.pop(0) if len(answers) > 1 else answers[0])(self)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def file(
    handler: BaseHTTPRequestHandler,
    *,
    content: bytes = CONTENT,
    etag: str | None = '"1"',
    ranges: bool = True,
    heeds_if_range: bool = True,
    cut: int | None = None,
    reset: bool = False,
    claim: Callable[[int], int | None] = lambda length: length,
    kind: str = "application/zip",
    pace: float = 0.0,
) -> None:
    """Answer with a file, or with `cut` bytes of it; `claim` is the length that the headers claim, or None."""
    asked = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
    same = handler.headers.get("If-Range", etag) == etag or not heeds_if_range
    start = int(asked[1]) if asked and ranges and same else 0
    if start >= len(content):
        return status(handler, 416)
    handler.send_response(206 if start else 200)
    if start:
        handler.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
    if (length := claim(len(content) - start)) is not None:
        handler.send_header("Content-Length", str(length))
    if etag:
        handler.send_header("ETag", etag)
    handler.send_header("Content-Type", kind)
    handler.end_headers()
    rest = content[start:][:cut]
    for at in range(0, len(rest), 10_000):
        handler.wfile.write(rest[at : at + 10_000])
        time.sleep(pace)
    if reset:
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        handler.connection.close()
    return None


def status(handler: BaseHTTPRequestHandler, code: int, location: str | None = None) -> None:
    """Answer with a status and no file."""
    handler.send_response(code)
    if location:
        handler.send_header("Location", location)
    handler.send_header("Content-Length", "0")
    handler.end_headers()


def hang_up(handler: BaseHTTPRequestHandler) -> None:
    """Give no answer at all."""
    handler.connection.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def fetch(server: Server, tmp_path: Path) -> Callable[..., bool]:
    """Downloads the file with as many failures in a row as TWICE allows, saying nothing."""
    return partial(download, ARCHIVE, server.address, tmp_path, say=lambda text: None, pauses=TWICE)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def refusal(fetch: Callable[..., bool], folder: Path) -> str:
    """Return the one line with which a download ends that must not leave the file."""
    with pytest.raises(DataError) as error:
        fetch()
    assert not (folder / ARCHIVE.name).exists()
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_file_is_fetched_once(fetch: Callable[..., bool], server: Server, tmp_path: Path) -> None:
    told: list[tuple[str, int]] = []
    assert fetch(on_progress=lambda work, done: told.append((work, done))) is True
    assert (tmp_path / ARCHIVE.name).read_bytes() == CONTENT
    assert names(tmp_path) == [ARCHIVE.name]
    assert told == sorted(told)
    assert dict(told) == {"downloading": len(CONTENT), "verifying": len(CONTENT)}
    assert fetch() is False
    assert [request["path"] for request in server.asked] == ["/photos.zip"]


def test_each_connection_goes_on_where_the_last_one_broke(
    fetch: Callable[..., bool], server: Server, tmp_path: Path
) -> None:
    cuts = random.Random(0).sample(range(20_000, 40_000), 6)
    server.answers = [partial(file, cut=cut) for cut in cuts] + [file]
    said: list[str] = []
    assert fetch(say=said.append)
    assert (tmp_path / ARCHIVE.name).read_bytes() == CONTENT
    # More failures than are allowed in a row: each connection brought something.
    assert_each(said, *["photos.zip early again 0 s"] * 6)
    starts = [f"bytes={sum(cuts[: index + 1])}-" for index in range(6)]
    assert [request.get("range") for request in server.asked] == [None, *starts]
    assert [request.get("if-range") for request in server.asked] == [None, *['"1"'] * 6]


def test_the_next_call_goes_on_where_the_last_connection_broke(
    fetch: Callable[..., bool], server: Server, tmp_path: Path
) -> None:
    server.answers = [partial(file, cut=100_000), partial(status, code=503)]
    line = refusal(fetch, tmp_path)
    assert_names(line, "photos.zip 503 3")
    assert (tmp_path / "photos.zip.part").read_bytes() == CONTENT[:100_000]
    server.answers = [file]
    assert fetch()
    assert server.asked[-1]["range"] == "bytes=100000-"
    assert (tmp_path / ARCHIVE.name).read_bytes() == CONTENT
    assert names(tmp_path) == [ARCHIVE.name]


def test_an_answer_without_a_length_may_break_too(fetch: Callable[..., bool], server: Server, tmp_path: Path) -> None:
    server.answers = [partial(file, claim=lambda length: None, cut=99_999), partial(file, claim=lambda length: None)]
    assert fetch()
    assert (tmp_path / ARCHIVE.name).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("answers", "requests"),
    [
        ([partial(status, code=500), hang_up, file], 3),
        ([partial(status, code=429), file], 2),
        ([partial(file, cut=9000), partial(file, ranges=False)], 2),  # all of it again
        ([partial(file, cut=9000, etag=None), partial(file, etag=None)], 2),
        ([partial(file, cut=9000, etag='W/"1"'), partial(file, etag='W/"1"', heeds_if_range=False)], 2),
        ([partial(file, cut=9000), partial(status, code=416), file], 3),
        ([partial(file, content=OTHER, cut=9000, etag='"0"'), file], 2),  # If-Range makes the server send all of it
        ([partial(file, content=OTHER, etag=None, cut=9000), file, file], 3),  # only the checksum tells
        ([partial(file, content=OTHER), file], 2),
        ([partial(status, code=302, location="/elsewhere/photos.zip"), file], 2),
    ],
)
def test_what_goes_wrong_once_is_made_good(
    fetch: Callable[..., bool], server: Server, tmp_path: Path, answers: list[Answer], requests: int
) -> None:
    server.answers = answers
    assert fetch()
    assert (tmp_path / ARCHIVE.name).read_bytes() == CONTENT
    assert names(tmp_path) == [ARCHIVE.name]
    assert len(server.asked) == requests


def test_what_a_careless_server_goes_on_with_is_not_taken(fetch: Callable[..., bool], server: Server) -> None:
    server.answers = [
        partial(file, content=OTHER, cut=9000, etag='"0"'),
        partial(file, heeds_if_range=False),  # the rest of another file
        file,
    ]
    said: list[str] = []
    assert fetch(say=said.append)
    assert_each(said, "photos.zip early again 0 s", "photos.zip something else again 0 s")


@pytest.mark.parametrize(
    ("answer", "line", "requests"),
    [
        (partial(status, code=404), "404 mirror", 1),
        (partial(status, code=403), "403 mirror", 1),
        (partial(status, code=302, location="/photos.zip"), "302 HTTP", 5),
        (partial(status, code=302, location="ftp://127.0.0.1/x"), "unknown ftp 3", 3),
        (partial(status, code=500), "500 3", 3),
        (hang_up, "Remote end closed connection without response 3", 3),
        (partial(file, cut=0), "ended early 3", 3),
        (partial(file, claim=lambda length: length + 7), "another 300,007 300,000", 1),
        (partial(file, claim=lambda length: length - 7), "another 299,993 300,000", 1),
        (
            partial(file, content=CONTENT + b"x", claim=lambda length: None),
            "another more 300,000",
            1,
        ),
        (partial(file, content=CONTENT[:-1]), "another 299,999 300,000 mirror", 1),
        (partial(file, content=OTHER), "photos.zip SHA-256 twice mirror", 2),
        (
            partial(file, content=b"<html>", kind="text/html; charset=utf-8"),
            "web page",
            1,
        ),
    ],
)
def test_what_does_not_mend_is_one_line(
    fetch: Callable[..., bool], server: Server, tmp_path: Path, answer: Answer, line: str, requests: int
) -> None:
    server.answers = [answer]
    refused = refusal(fetch, tmp_path)
    assert_names(refused, f"{server.address}/photos.zip {line}")
    assert len(server.asked) == requests
    server.answers = [file]
    assert fetch()
    assert (tmp_path / ARCHIVE.name).read_bytes() == CONTENT


def test_a_server_that_is_not_there_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with raises(DataError, "photos.zip Connection refused 3"):
            download(ARCHIVE, address, tmp_path, say=lambda text: None, pauses=TWICE)


@pytest.mark.parametrize("mirror", ["", "photos", "ftp://x/zips", "file:///etc", "http://", "http:///x", "http://a b/"])
def test_a_mirror_is_a_web_address(tmp_path: Path, mirror: str) -> None:
    with raises(ConfigError, "mirror http://localhost:8000/zips"):
        download(ARCHIVE, mirror, tmp_path)
    with raises(ConfigError, "mirror address nonnumeric 'x'"):
        download(ARCHIVE, "http://127.0.0.1:x", tmp_path)


@pytest.mark.parametrize("seed", range(12))
def test_no_mixture_of_mishaps_leaves_another_file(
    fetch: Callable[..., bool], server: Server, tmp_path: Path, seed: int
) -> None:
    dice = random.Random(seed)
    for _ in range(dice.randrange(12)):
        mishap = partial(
            file,
            content=dice.choice([CONTENT, CONTENT, OTHER, CONTENT + b"x"]),
            etag=dice.choice(['"1"', '"2"', None]),
            cut=dice.choice([None, dice.randrange(len(CONTENT))]),
            ranges=dice.random() < 0.8,
            heeds_if_range=dice.random() < 0.5,
            reset=dice.random() < 0.3,
        )
        mishaps: list[Answer] = [mishap, mishap, partial(status, code=dice.choice([416, 503])), hang_up]
        server.answers.insert(0, dice.choice(mishaps))
    for _ in range(20):
        try:
            fetch()
        except DataError:
            assert not (tmp_path / ARCHIVE.name).exists()
        else:
            break
    assert (tmp_path / ARCHIVE.name).read_bytes() == CONTENT
    assert names(tmp_path) == [ARCHIVE.name]


def test_a_killed_download_goes_on(server: Server, tmp_path: Path) -> None:
    server.answers = [partial(file, pace=0.2), file]
    program = (
        "import sys; from pathlib import Path; from fast_style.data.prepare.download import PublishedFile, download;"
        "download(PublishedFile(sys.argv[1], int(sys.argv[2]), sys.argv[3]), sys.argv[4], Path(sys.argv[5]))"
    )
    arguments = [ARCHIVE.name, str(ARCHIVE.size), ARCHIVE.sha256, server.address, str(tmp_path)]
    process = subprocess.Popen([sys.executable, "-c", program, *arguments])
    part = tmp_path / "photos.zip.part"
    while not part.exists() or part.stat().st_size < 20_000:
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / ARCHIVE.name).exists()
    came = part.read_bytes()
    assert 0 < len(came) < len(CONTENT)
    assert CONTENT.startswith(came)
    assert download(ARCHIVE, server.address, tmp_path)
    assert server.asked[1]["range"] == f"bytes={len(came)}-"
    assert (tmp_path / ARCHIVE.name).read_bytes() == CONTENT
    assert names(tmp_path) == [ARCHIVE.name]


def test_an_interruption_keeps_what_has_come(fetch: Callable[..., bool], tmp_path: Path) -> None:
    def interrupt(work: str, done: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(on_progress=interrupt)
    assert names(tmp_path) == ["photos.zip.part", "photos.zip.part.etag"]
    came = (tmp_path / "photos.zip.part").read_bytes()
    assert came
    assert CONTENT.startswith(came)


def test_a_part_that_is_too_long_or_has_a_strange_etag_does_no_harm(
    fetch: Callable[..., bool], server: Server, tmp_path: Path
) -> None:
    part, etag = tmp_path / "photos.zip.part", tmp_path / "photos.zip.part.etag"
    part.write_bytes(CONTENT + b"x")
    assert fetch()
    (tmp_path / ARCHIVE.name).unlink()
    part.write_bytes(CONTENT[:1000])
    etag.write_bytes(b'"\xff\r\nX: y"')
    assert fetch()
    assert server.asked[-1]["range"] == "bytes=1000-"
    assert "if-range" not in server.asked[-1]
    assert (tmp_path / ARCHIVE.name).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (
            CONTENT[:1000],
            "1,000 300,000 photos.zip.part",
        ),
        (OTHER, "SHA-256"),
    ],
)
def test_a_wrong_file_that_is_there_is_left_alone(
    fetch: Callable[..., bool], server: Server, tmp_path: Path, content: bytes, line: str
) -> None:
    (tmp_path / ARCHIVE.name).write_bytes(content)
    with raises(DataError, f"{tmp_path / ARCHIVE.name} {line}"):
        fetch()
    assert (tmp_path / ARCHIVE.name).read_bytes() == content
    assert server.asked == []


def test_only_one_process_fetches_a_file(fetch: Callable[..., bool], tmp_path: Path) -> None:
    with (
        FileLock(tmp_path / "photos.zip.part.lock"),
        raises(DataError, "photos.zip another process"),
    ):
        fetch()
    assert fetch()


def test_room_is_looked_for_first(
    fetch: Callable[..., bool], server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "photos.zip.part").write_bytes(CONTENT[:100_000])
    monkeypatch.setattr("shutil.disk_usage", lambda folder: type("Usage", (), {"free": 150_000}))
    line = refusal(fetch, tmp_path)
    assert_names(line, f"{tmp_path} photos.zip 200.0 150.0")
    assert server.asked == []


def test_a_full_disk_is_one_line_and_keeps_the_part(fetch: Callable[..., bool], server: Server, tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (120_000, hard))
    try:
        line = refusal(fetch, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert_names(line, f"{tmp_path / ARCHIVE.name} written File too large")
    assert (tmp_path / "photos.zip.part").read_bytes() == CONTENT[:120_000]
    assert fetch()
    assert server.asked[-1]["range"] == "bytes=120000-"
    (tmp_path / ARCHIVE.name).unlink()
    (tmp_path / "photos.zip.part").symlink_to("/dev/full")
    assert_names(refusal(fetch, tmp_path), "written No space left on device")


def test_a_folder_that_is_none_is_one_line(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"photos\.zip: cannot be written \((Not a directory|File exists)\); "):
        download(ARCHIVE, server.address, tmp_path / "file")


def test_the_archives_of_coco_are_those_that_were_published() -> None:
    assert [(name, archive.name, archive.size) for name, archive in COCO.items()] == [
        ("val2017", "val2017.zip", 815_585_330),
        ("train2017", "train2017.zip", 19_336_861_798),
    ]
    assert all(re.fullmatch(r"[0-9a-f]{64}", archive.sha256) for archive in COCO.values())
