"""What is listed and opened in folders, zips and tars, and what never is."""

import inspect
import io
import os
import stat
import sys
import tarfile
import tempfile
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from permissions import without_privileges
from small_messages import assert_names, raises

from fast_style.archives import Archive, open_archive
from fast_style.errors import DataError, ImageError
from fast_style.system.input_limits import MAX_BYTES
from fast_style.system.text import printable

Zip = zipfile.ZipFile
Tar = tarfile.TarFile


def content(source: Archive, name: str) -> bytes:
    with source.open(name) as file:
        return file.read()


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that every user may look into; those of pytest are private."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def zip_member(name: str, mode: int = 0, **attributes: int) -> Callable[[Zip], None]:
    def add(archive: Zip) -> None:
        member = zipfile.ZipInfo(name)
        member.external_attr = mode << 16
        archive.writestr(member, b"/etc/passwd")
        for key, value in attributes.items():  # as if it had been written so
            setattr(member, key, value)

    return add


def tar_member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> Callable[[Tar], None]:
    def add(archive: Tar) -> None:
        member = tarfile.TarInfo(name)
        member.type, member.linkname = kind, link
        member.size = 3 if kind == tarfile.REGTYPE else 0
        archive.addfile(member, io.BytesIO(b"abc"))

    return add


@pytest.mark.parametrize(
    ("member", "reason"),
    [
        (zip_member("../a.jpg"), "leads out"),
        (zip_member("x/../../a.jpg"), "leads out"),
        (zip_member("..\\a.jpg"), "leads out"),
        (zip_member("/etc/a.jpg"), "absolute path"),
        (zip_member("\\\\server\\a.jpg"), "absolute path"),
        (zip_member("C:\\a.jpg"), "absolute path"),
        (zip_member("c:a.jpg"), "absolute path"),
        (zip_member("a.jpg", stat.S_IFLNK | 0o777), "link"),
        (zip_member("a.jpg", stat.S_IFIFO | 0o666), "regular"),
        (zip_member("a.jpg", stat.S_IFBLK | 0o666), "regular"),
        (zip_member("a.jpg", flag_bits=1), "encrypted"),
        (
            zip_member("a.jpg", file_size=MAX_BYTES + 1),
            "600,000,001 600,000,000",
        ),
        (zip_member("a.jpg", compress_type=zipfile.ZIP_BZIP2), "stored deflated"),
    ],
)
def test_an_unsafe_member_of_a_zip_is_never_read(tmp_path: Path, member: Callable[[Zip], None], reason: str) -> None:
    with Zip(tmp_path / "some.zip", "w") as archive:
        member(archive)
        archive.writestr("good.jpg", b"good")
    source = open_archive(tmp_path / "some.zip")
    assert list(source.names()) == ["good.jpg"]
    ((name, told),) = source.refused.items()
    assert_names(told, reason)
    with raises(ImageError, "unpacked"):
        source.open(name)
    assert content(source, "good.jpg") == b"good"


@pytest.mark.parametrize(
    ("member", "reason"),
    [
        (tar_member("../a.jpg"), "leads out"),
        (tar_member("/etc/a.jpg"), "absolute path"),
        (tar_member("C:\\a.jpg"), "absolute"),
        (tar_member("a.jpg", tarfile.SYMTYPE, "/etc/passwd"), "link"),
        (tar_member("a.jpg", tarfile.LNKTYPE, "good.jpg"), "link"),
        (tar_member("a.jpg", tarfile.CHRTYPE), "regular"),
        (tar_member("a.jpg", tarfile.BLKTYPE), "regular"),
        (tar_member("a.jpg", tarfile.FIFOTYPE), "regular"),
        (tar_member("a.jpg", b"Z"), "regular"),
    ],
)
def test_an_unsafe_member_of_a_tar_is_never_read(tmp_path: Path, member: Callable[[Tar], None], reason: str) -> None:
    with tarfile.open(tmp_path / "some.tar", "w") as archive:
        member(archive)
        tar_member("good.jpg")(archive)
    source = open_archive(tmp_path / "some.tar")
    assert list(source.names()) == ["good.jpg"]
    ((name, told),) = source.refused.items()
    assert_names(told, reason)
    with raises(ImageError, "unpacked"):
        source.open(name)
    assert content(source, "good.jpg") == b"abc"


def test_a_huge_member_of_a_tar_is_never_read(tmp_path: Path) -> None:
    member = tarfile.TarInfo("a.jpg")
    member.size = MAX_BYTES + 1
    (tmp_path / "huge.tar").write_bytes(member.tobuf())
    os.truncate(tmp_path / "huge.tar", MAX_BYTES + 10_240)  # nothing but a hole
    source = open_archive(tmp_path / "huge.tar")
    assert list(source.names()) == []
    assert_names(source.refused["a.jpg"], "600,000,001")


def test_folders_in_archives_are_no_files(tmp_path: Path) -> None:
    with Zip(tmp_path / "some.zip", "w") as archive:
        archive.writestr("folder/", b"")
        archive.writestr("folder/a.jpg", b"abc")
    with tarfile.open(tmp_path / "some.tar", "w") as packed:
        tar_member("folder", tarfile.DIRTYPE)(packed)
        tar_member("folder/a.jpg")(packed)
    for kind in ("zip", "tar"):
        source = open_archive(tmp_path / f"some.{kind}")
        assert (list(source.names()), dict(source.refused)) == (["folder/a.jpg"], {})


# Python warns of names that it writes twice.
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_of_two_files_of_one_name_the_last_counts(tmp_path: Path) -> None:
    with Zip(tmp_path / "some.zip", "w") as archive:
        for data in (b"first", b"last"):
            archive.writestr("a.jpg", data)
            archive.writestr("b.jpg", data)
        zip_member("b.jpg", stat.S_IFLNK)(archive)
    with tarfile.open(tmp_path / "some.tar", "w") as packed:
        for name, data in (("a.jpg", b"first"), ("b.jpg", b"first"), ("a.jpg", b"last")):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            packed.addfile(member, io.BytesIO(data))
        tar_member("b.jpg", tarfile.SYMTYPE, "a.jpg")(packed)
    for kind in ("zip", "tar"):
        source = open_archive(tmp_path / f"some.{kind}")
        assert (list(source.names()), dict(source.refused)) == (["a.jpg"], {"b.jpg": "a link"})
        assert content(source, "a.jpg") == b"last"


def test_a_member_never_swells_beyond_the_size_it_declares(tmp_path: Path) -> None:
    path = tmp_path / "bomb.zip"
    with Zip(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.jpg", bytes(50_000_000))
        archive.getinfo("a.jpg").file_size = 1000
    source = open_archive(path)
    tracemalloc.start()
    try:
        with pytest.raises(ImageError, match="Bad CRC-32"):
            source.open("a.jpg")
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_a_tar_keeps_little_of_each_member_in_memory(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "many.tar", "w") as archive:
        for index in range(2000):
            tar_member(f"folder/{index:08}.jpg")(archive)
    tracemalloc.start()
    try:
        source = open_archive(tmp_path / "many.tar")
        # A name and two numbers; what Python's reader knows of each takes about 2 KB.
        assert tracemalloc.get_traced_memory()[1] < 2000 * 500
    finally:
        tracemalloc.stop()
    assert len(list(source.names())) == 2000


def tar_header(name: str, size: int) -> bytes:
    """A header of any size, also of a negative one."""
    header = bytearray(tarfile.TarInfo(name).tobuf())
    header[124:136] = (size % 256**12).to_bytes(12, "big") if size < 0 else b"%011o\0" % size
    header[148:156] = b"%06o\0 " % (256 + sum(header[:148]) + sum(header[156:]))
    return bytes(header)


@pytest.mark.parametrize("size", [-512, -1024, -(2**60)])
def test_a_tar_that_leads_backwards_ends(tmp_path: Path, size: int) -> None:
    path = tmp_path / "loop.tar"
    path.write_bytes(tar_header("a.jpg", 0) + tar_header("b.jpg", size) + bytes(10_240))
    with raises(DataError, "folder whole"):
        open_archive(path)


def test_a_tar_with_an_endless_name_takes_no_memory(tmp_path: Path) -> None:
    header = bytearray(tar_header("././@LongLink", 10**9))
    header[156:157] = tarfile.GNUTYPE_LONGNAME
    header[148:156] = b"%06o\0 " % (256 + sum(header[:148]) + sum(header[156:]))
    (tmp_path / "long.tar").write_bytes(header)
    os.truncate(tmp_path / "long.tar", 2 * 10**9)
    with raises(DataError, "header length"):
        open_archive(tmp_path / "long.tar")


def test_damage_between_two_members_of_a_tar_is_no_end(tmp_path: Path) -> None:
    path = tmp_path / "damaged.tar"
    with tarfile.open(path, "w") as archive:
        for name in "abc":
            tar_member(f"{name}.jpg")(archive)
    damaged = bytearray(path.read_bytes())
    damaged[1024:1100] = b"?" * 76
    path.write_bytes(damaged)
    with raises(DataError, "damaged 1024"):
        open_archive(path)


def test_a_tar_that_ends_in_a_zip_is_a_tar(tmp_path: Path) -> None:
    inner = io.BytesIO()
    with Zip(inner, "w") as archive:
        archive.writestr("inner.jpg", b"abc")
    with tarfile.open(tmp_path / "some.tar", "w") as packed:
        member = tarfile.TarInfo("some.zip")
        member.size = len(inner.getvalue())
        packed.addfile(member, io.BytesIO(inner.getvalue()))
    assert list(open_archive(tmp_path / "some.tar").names()) == ["some.zip"]


@pytest.mark.parametrize("kind", ["pipe", "device", "loop"])
def test_a_source_that_is_no_file_is_refused_at_once(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "source"
    match kind:
        case "pipe":
            os.mkfifo(path)
        case "device":
            path = Path("/dev/zero")
        case "loop":
            path.symlink_to(path)
    with raises(DataError, "read") as caught:
        open_archive(path)
    assert "\n" not in str(caught.value)


def test_what_is_no_regular_file_in_a_folder_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "device.jpg").symlink_to("/dev/zero")
    (tmp_path / "itself.jpg").symlink_to("itself.jpg")
    (tmp_path / "nowhere.jpg").symlink_to("not there")
    (tmp_path / "gone.jpg").touch()
    (tmp_path / "huge.jpg").touch()
    os.truncate(tmp_path / "huge.jpg", MAX_BYTES + 1)
    source = open_archive(tmp_path)
    (tmp_path / "gone.jpg").unlink()
    (tmp_path / "gone.jpg").mkdir()
    reasons = {}
    for name in source.names():
        with pytest.raises(ImageError) as caught:
            source.open(name)
        reasons[name] = str(caught.value)
    expected = {
        "pipe.jpg": "regular",
        "device.jpg": "regular",
        "gone.jpg": "folder",
        "itself.jpg": os.strerror(40),
        "nowhere.jpg": "No such file or directory",
        "huge.jpg": "600,000,001 600,000,000",
    }
    assert reasons.keys() == expected.keys()
    for name, words in expected.items():
        assert_names(reasons[name], f"{name} opened {words}")


def test_folders_and_files_without_permission_are_told(public: Path) -> None:
    (public / "closed").mkdir()
    (public / "closed" / "a.jpg").touch()
    (public / "closed").chmod(0)
    (public / "secret.jpg").touch(0o000)
    (public / "open.jpg").write_bytes(b"abc")
    with without_privileges():
        source = open_archive(public)
        assert sorted(source.names()) == ["open.jpg", "secret.jpg"]
        assert list(source.refused) == ["closed/"]
        assert_names(source.refused["closed/"], "listed Permission denied")
        with raises(ImageError, "secret.jpg opened Permission denied"):
            source.open("secret.jpg")
        with raises(DataError, "closed read Permission denied"):
            open_archive(public / "closed")
    (public / "closed").chmod(0o700)


def test_folders_of_any_depth_are_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    depth = 300
    try:
        for _ in range(depth):
            os.mkdir("x")
            os.chdir("x")
        Path("a.jpg").touch()
        limit = sys.getrecursionlimit()
        sys.setrecursionlimit(len(inspect.stack()) + 100)  # instead of a thousand folders
        try:
            (name,) = open_archive(tmp_path).names()
        finally:
            sys.setrecursionlimit(limit)
        assert name == "x/" * depth + "a.jpg"
    finally:
        Path("a.jpg").unlink()
        for _ in range(depth):
            os.chdir("..")
            os.rmdir("x")


def test_a_name_that_is_not_unicode_can_be_opened_and_printed(tmp_path: Path) -> None:
    raw = os.fsencode(tmp_path) + b"/caf\xe9\n\x1b[31m.jpg"
    with open(raw, "wb") as file:
        file.write(b"abc")
    source = open_archive(tmp_path)
    (name,) = source.names()
    assert content(source, name) == b"abc"
    assert printable(name) == r"caf\udce9\n\x1b[31m.jpg"
    printable(name).encode()
    assert printable("Äpfel und 桜.jpg") == "Äpfel und 桜.jpg"
