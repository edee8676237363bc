"""Photographs to train on: fetched, looked at and packed, in the package and from the command line."""

import hashlib
import os
import re
import resource
import signal
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from small_messages import assert_names, assert_says, missing_from, raises

from fast_style import cli
from fast_style.cli import data as prepare_data
from fast_style.cli.hydra_app import run
from fast_style.cli.progress import ProgressBar
from fast_style.data.photographs import Photographs
from fast_style.data.prepare.check import check_images, group_by_reason, list_images, map_images
from fast_style.data.prepare.download import COCO, PublishedFile
from fast_style.data.prepare.pack import loading_rates, pack
from fast_style.errors import ConfigError, DataError

Prepare = Callable[..., tuple[int, str, str]]


def waves(width: int, height: int, seed: int = 0) -> Image.Image:
    """A smooth colorful picture, none like another."""
    y, x = np.mgrid[:height, :width] / 40
    phase = np.random.default_rng(seed).random((6, 1, 1)) * 6
    layers = [np.sin(x + phase[0]) + np.sin(y + phase[1]), np.sin(x - y + phase[2]), np.cos(x / 2 + y + phase[3])]
    return Image.fromarray((127 + 60 * np.stack(layers, axis=2)).astype(np.uint8))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Four good pictures, of which two are the same file, and two bad ones."""
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    waves(300, 200, 1).save(folder / "a.jpg", quality=90)
    (folder / "more/a.jpg").write_bytes((folder / "a.jpg").read_bytes())
    waves(800, 600, 2).save(folder / "b.png")
    waves(90, 64, 3).save(folder / "small.webp")
    (folder / "cut.jpg").write_bytes((folder / "a.jpg").read_bytes()[:3000])
    (folder / "page.jpg").write_text("<html>Not found</html>")
    (folder / "notes.txt").write_text("no picture")
    return folder


@pytest.fixture
def prepare(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Prepare:
    """Runs the script in an empty folder; returns its exit status, and what it prints on both streams."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    before = signal.getsignal(signal.SIGTERM)

    def prepare(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["scripts/prepare_data.py", *arguments])
        code: Any = 0
        try:
            run(prepare_data.main, "prepare_data")
        except SystemExit as stop:
            code = stop.code
        finally:
            signal.signal(signal.SIGTERM, before)
        out, err = capfd.readouterr()
        return (1, out, str(code)) if isinstance(code, str) else (code or 0, out, err)

    return prepare


def archived(folder: Path, kind: str) -> Path:
    """The folder itself, or an archive of it."""
    target = folder.with_suffix(f".{kind}")
    files = [path for path in folder.rglob("*") if path.is_file()]
    if kind == "zip":
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in files:
                archive.write(file, file.relative_to(folder))
    elif kind == "tar":
        with tarfile.open(target, "w") as archive:
            for file in files:
                archive.add(file, file.relative_to(folder))
    return target if kind != "folder" else folder


# A survey


@pytest.mark.parametrize("kind", ["folder", "zip", "tar"])
def test_a_survey_tells_the_good_from_the_bad(photos: Path, kind: str) -> None:
    found = check_images(archived(photos, kind))
    sizes = {finding.name: (finding.width, finding.height, finding.format) for finding in found.good}
    jpeg = (300, 200, "JPEG")
    assert sizes == {"a.jpg": jpeg, "b.png": (800, 600, "PNG"), "more/a.jpg": jpeg, "small.webp": (90, 64, "WEBP")}
    assert list(found.bad) == ["cut.jpg", "page.jpg"]
    assert "truncated" in found.bad["cut.jpg"]
    assert_names(found.bad["page.jpg"], "readable markup")
    assert found.formats == {"JPEG": 2, "PNG": 1, "WEBP": 1}
    assert found.duplicates == [["a.jpg", "more/a.jpg"]]
    assert found.small(100) == ["small.webp"]
    assert sum(finding.file_size for finding in found.good) == sum((photos / name).stat().st_size for name in sizes)


def test_damage_anywhere_in_a_picture_is_found(tmp_path: Path) -> None:
    waves(640, 480).save(tmp_path / "whole.jpg")
    content = (tmp_path / "whole.jpg").read_bytes()
    for share in (2, 5, 9):
        (tmp_path / f"cut{share}.jpg").write_bytes(content[: len(content) * share // 10])
    assert list(check_images(tmp_path).bad) == ["cut2.jpg", "cut5.jpg", "cut9.jpg"]


def test_sizes_are_those_of_the_upright_picture(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    waves(60, 40).save(tmp_path / "turned.jpg", exif=exif)
    (finding,) = check_images(tmp_path).good
    assert (finding.width, finding.height, finding.short_side) == (40, 60, 40)


def test_what_an_archive_should_not_hold_is_told(photos: Path) -> None:
    archive = archived(photos, "zip")
    with zipfile.ZipFile(archive, "a") as opened:
        opened.writestr("../outside.jpg", b"")
    refused = check_images(archive).refused
    assert list(refused) == ["../outside.jpg"]
    assert_names(refused["../outside.jpg"], "leads out")


def test_processes_find_what_one_finds(photos: Path) -> None:
    done: list[tuple[int, int]] = []
    assert check_images(photos, 1, lambda *progress: done.append(progress)) == check_images(photos)
    assert done == [(number, 6) for number in range(1, 7)]


def test_a_process_that_is_killed_is_one_line(photos: Path) -> None:
    names, files = list_images(photos)
    with raises(DataError, "killed memory workers"):
        list(map_images(files, names, lambda name, content: os.kill(os.getpid(), signal.SIGKILL), workers=1))
    with raises(ConfigError, "workers negative -1"):
        check_images(photos, workers=-1)


def test_reasons_that_differ_in_numbers_are_one() -> None:
    reasons = {"a": "cut (3 bytes)", "b": "no JPEG2000", "c": "cut (1,024 bytes)", "d": "in 2 parts of 1.5"}
    assert group_by_reason(reasons) == {"cut (N bytes)": ["a", "c"], "no JPEG2000": ["b"], "in N parts of N": ["d"]}


# A pack


def contents(archive: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(archive) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


def test_pictures_shrink_to_a_short_side_and_never_grow(photos: Path, tmp_path: Path) -> None:
    output = tmp_path / "packed.zip"
    packed = pack(photos, output, 150)
    sizes = {finding.name: (finding.width, finding.height) for finding in check_images(output).good}
    assert sizes == {"a.jpg": (225, 150), "b.png.jpg": (200, 150), "more/a.jpg": (225, 150), "small.webp.jpg": (90, 64)}
    assert (packed.pictures, packed.untouched, packed.file_size) == (4, 0, output.stat().st_size)
    assert list(packed.bad) == ["cut.jpg", "page.jpg"]
    with zipfile.ZipFile(output) as opened:
        assert {member.compress_type for member in opened.infolist()} == {zipfile.ZIP_STORED}


def test_a_small_jpeg_stays_as_it_is(photos: Path, tmp_path: Path) -> None:
    waves(300, 200, 5).save(photos / "progressive.jpg", progressive=True)
    packed = pack(photos, tmp_path / "packed.zip", 200)
    inside = contents(tmp_path / "packed.zip")
    assert inside["a.jpg"] == (photos / "a.jpg").read_bytes()
    assert packed.untouched == 2
    # Except one that is slow to read.
    assert inside["progressive.jpg"] != (photos / "progressive.jpg").read_bytes()


@pytest.mark.parametrize("side", [200, 600])
def test_crops_are_those_of_the_source(tmp_path: Path, side: int) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for seed in range(3):
        waves(side * 4 // 3, side, seed).save(folder / f"{seed}.png")
    pack(folder, tmp_path / "packed.zip", 2 * 64)
    before, after = Photographs(folder, 64), Photographs(tmp_path / "packed.zip", 64)
    for key in [(epoch, index) for epoch in range(2) for index in range(3)]:
        difference = (before[key].float() - after[key].float()).abs()
        assert difference.mean() < 2
        assert difference.max() < 20  # of 255


def test_the_same_pictures_give_the_same_archive(photos: Path, tmp_path: Path) -> None:
    outputs = [tmp_path / f"packed{index}.zip" for index in range(4)]
    pack(photos, outputs[0], 100)
    os.utime(photos / "a.jpg", (10**9, 10**9))
    pack(photos, outputs[1], 100, workers=1)
    pack(archived(photos, "zip"), outputs[2], 100)
    pack(archived(photos, "tar"), outputs[3], 100)
    assert len({output.read_bytes() for output in outputs}) == 1


def test_pictures_of_like_names_stay_apart(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    names = [
        "a.jpg",
        "a.png",
        "a.png.jpg",
        "a.webp",
        "x/a.jpg",
        "c:d.jpg",
        "c_d.jpg",
        "e\\..\\f.jpg",
        "ä.jpg",
        "g.JFIF",
    ]
    names += [os.fsdecode(b"\xff.jpg")]
    for seed, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        waves(64 + seed, 64).save(folder / name, "PNG")
    assert pack(folder, tmp_path / "packed.zip", 64).pictures == len(names)
    found = check_images(tmp_path / "packed.zip")
    assert sorted(finding.width for finding in found.good) == [64 + seed for seed in range(len(names))]
    assert found.refused == {}
    assert {"a.jpg", "a.png.jpg", "a.webp.jpg", "x/a.jpg", "c_d.jpg", "ä.jpg", "g.JFIF.jpg"} < set(
        contents(tmp_path / "packed.zip")
    )


def test_a_strip_that_would_be_too_large_at_the_size_of_a_crop_is_left_out(photos: Path, tmp_path: Path) -> None:
    before = len(list_images(photos)[0])
    Image.new("RGB", (60_000, 3)).save(photos / "strip.png")
    packed = pack(photos, tmp_path / "packed.npz", 256, size=128)
    assert packed.pictures <= before
    (reason,) = [why for name, why in packed.bad.items() if name.endswith("strip.png")]
    assert_names(reason, "size crop")


def test_nothing_is_replaced_unasked(photos: Path, tmp_path: Path) -> None:
    output = tmp_path / "packed.zip"
    output.write_text("mine")
    with raises(ConfigError, "packed.zip exists overwrite=True"):
        pack(photos, output, 64)
    assert output.read_text() == "mine"
    assert pack(photos, output, 64, overwrite=True).pictures == 4
    with raises(ConfigError, "output source itself"):
        pack(output, photos / ".." / "packed.zip", 64, overwrite=True)
    with raises(ConfigError, "output .zip .npz"):
        pack(photos, tmp_path / "packed.tar", 64)


def test_an_interrupted_pack_leaves_what_was_there(photos: Path, tmp_path: Path) -> None:
    output = tmp_path / "packed.zip"
    (tmp_path / "packed.zip.part").write_text("left by one that was killed")
    pack(photos, output, 64)
    before = output.read_bytes()

    def interrupt(done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pack(photos, output, 100, overwrite=True, on_progress=interrupt)
    assert output.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["packed.zip", "photos"]


def test_a_killed_pack_leaves_no_archive_and_no_process(tmp_path: Path) -> None:
    folder, output = tmp_path / "photos", tmp_path / "packed.zip"
    folder.mkdir()
    for seed in range(12):
        # Each larger than a pipe holds.
        noise = np.random.default_rng(seed).integers(0, 256, (256, 256, 3), np.uint8)
        Image.fromarray(noise).save(folder / f"{seed:02}.jpg", quality=95)
    program = (
        "import sys, time; from pathlib import Path; from fast_style.data.prepare.pack import pack;"
        "pack(*map(Path, sys.argv[1:]), 256, workers=2, on_progress=lambda *done: time.sleep(600))"
    )
    arguments = [sys.executable, "-c", program, str(folder), str(output)]
    part = tmp_path / "packed.zip.part"
    with subprocess.Popen(arguments, stdout=subprocess.PIPE) as process:
        while not part.exists() or part.stat().st_size == 0:
            assert process.poll() is None
            time.sleep(0.02)
        process.kill()
        # It ends when no process is left that could write to it.
        assert process.stdout is not None
        assert process.stdout.read() == b""
    assert not output.exists()
    assert pack(folder, output, 256).pictures == 12
    assert sorted(path.name for path in tmp_path.iterdir()) == ["packed.zip", "photos"]


def test_a_disk_that_is_full_is_one_line(photos: Path, tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
    try:
        with raises(DataError, "packed.zip written File too large"):
            pack(photos, tmp_path / "packed.zip", 150)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos"]


def test_every_source_is_timed(photos: Path, tmp_path: Path) -> None:
    pack(photos, tmp_path / "packed.zip", 64)
    rates = loading_rates([photos, tmp_path / "packed.zip"], 32, seconds=0.05)
    assert len(rates) == 2
    assert min(rates) > 0


# The command line


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


class QuietServer(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of one who hangs up."""


@pytest.fixture
def mirror(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a folder with a val2017.zip that passes for the published one."""
    archive = archived(photos, "zip").rename(tmp_path / "val2017.zip")
    content = archive.read_bytes()
    monkeypatch.setitem(COCO, "val2017", PublishedFile(archive.name, len(content), hashlib.sha256(content).hexdigest()))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with QuietServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path))) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_what_is_fetched_can_be_trained_on_as_it_says(prepare: Prepare, mirror: str) -> None:
    status, out, err = prepare("coco=val2017", "root=my photos", f"mirror={mirror}/")
    assert (status, err) == (0, "")
    first, _, last = out.splitlines()
    assert_names(first, "fetched my photos/val2017.zip")
    assert last.startswith("train on it ")
    assert last.endswith("python scripts/train.py data=photos 'data.source=my photos/val2017.zip'")
    assert len(Photographs("my photos/val2017.zip", 32)) == 6
    again = prepare("coco=val2017", "root=my photos", f"mirror={mirror}")[1]
    assert_names(again.splitlines()[0], "unchanged my photos/val2017.zip")


def test_an_interrupted_download_says_how_to_go_on(
    prepare: Prepare, mirror: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*arguments: Any, **more: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(ProgressBar, "update", interrupt)
        status, out, err = prepare("coco=val2017", "root=.", f"mirror={mirror}")
    assert (status, err) == (130, "prepare_data.py: interrupted\n")
    assert_names(out, "val2017.zip.part kept")
    assert not Path("val2017.zip").exists()
    assert prepare("coco=val2017", "root=.", f"mirror={mirror}")[0] == 0


def test_a_check_says_what_there_is(prepare: Prepare, photos: Path) -> None:
    status, out, err = prepare("check", f"source={photos}", "max_bad=0.4", "workers=0")
    assert (status, err) == (0, "")
    said = {line[:12].strip(): line[12:] for line in out.splitlines()}
    assert_names(said["pictures"], "6 4 good")
    assert said["formats"] == "JPEG 2, PNG 1, WEBP 1"
    assert (said["smallest"], said["largest"]) == ("90x64, small.webp", "800x600, b.png")
    assert said["median"] == "300x200, more/a.jpg"
    assert_names(said["small"], "3 256 enlarged a.jpg more/a.jpg small.webp")
    assert said["duplicates"] == "a.jpg is the same file as more/a.jpg"
    assert [missing_from(line, "bad 1 readable") for line in out.splitlines()].count([]) == 2
    assert_names(said["report"], "report=FILE")


def test_too_many_bad_pictures_are_status_1_and_a_report_names_them(prepare: Prepare, photos: Path) -> None:
    status, out, err = prepare(
        "check", f"source={photos}", "max_bad=0.3", "report=new/bad.txt", "workers=0", "size=100"
    )
    assert status == 1
    assert_names(err, f"prepare_data.py {photos} 2 6 max_bad=0.3 1 pack")
    assert "report      new/bad.txt\n" in out
    lines = [line.split("\t") for line in Path("new/bad.txt").read_text().splitlines()]
    assert [(what, name) for what, name, _ in lines] == [
        ("bad", "cut.jpg"),
        ("bad", "page.jpg"),
        ("small", "small.webp"),
        ("duplicate", "more/a.jpg"),
    ]
    status, _, err = prepare("check", f"source={photos}", "report=new/bad.txt")
    assert status == 1
    assert_names(err, "prepare_data.py new/bad.txt exists overwrite=true report")


def test_a_pack_says_what_it_is_worth(prepare: Prepare, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepare_data, "loading_rates", lambda sources, size: [10.0, 40.0])
    status, out, err = prepare("pack", f"source={photos}", "output=new/packed.zip", "size=64", "workers=0")
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert_names(lines[0], "packed 4 0 new/packed.zip")
    assert_names(lines[0], "128")
    assert [missing_from(line, "left out 1 readable") for line in lines].count([]) == 2
    assert_says(lines, "loading 4.0 40 crops/s 10")
    assert lines[-1].endswith("python scripts/train.py data=photos data.source=new/packed.zip data.size=64")


def test_a_pack_of_pixels_can_be_trained_on_as_it_says_and_checked(
    prepare: Prepare, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepare_data, "loading_rates", lambda sources, size: [10.0, 400.0])
    status, out, err = prepare("pack", f"source={photos}", "output=new/packed.npz", "size=64", "workers=0")
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert_names(lines[0], "packed 4 pixels new/packed.npz")
    assert_names(lines[0], "64 128")
    assert_says(lines, "loading 40.0 400 crops/s 10")
    assert lines[-1].endswith("python scripts/train.py data=photos data.source=new/packed.npz data.size=64")
    assert Photographs("new/packed.npz", 64)[0, 0].shape == (3, 64, 64)
    status, out, err = prepare("check", "source=new/packed.npz", "size=64", "workers=0")
    assert (status, err) == (0, "")
    assert "formats     NPY 4\n" in out


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        ([], "coco=val2017 root=FOLDER check source=PATH pack"),
        (["chek"], "coco check pack 'chek'"),
        (["check"], "source given source="),
        (["pack", "source=."], "output given output="),
        (["coco", "root=."], "coco given coco="),
        (["coco=val2017"], "root given root="),
        (["coco=val2018", "root=."], "coco val2017 train2017 'val2018'"),
        (["coco=val2017", "root=.", "mirror=here"], "mirror address http://localhost:8000/zips"),
        (["coco=val2017", "root=/dev/null/x"], "/dev/null/x Not a directory"),
        (["check", "source=nowhere"], "nowhere folder archive"),
        (["check", "source=.", "root=x"], "root check source size workers max_bad"),
        (["check", "source=.", "workers=many"], "workers 0 'many'"),
        (["check", "source=.", "max_bad=2"], "max_bad 0 1 2"),
        (["check", "sorce=."], "setting 'sorce' source coco command max_bad"),
        (["pack", "source=.", "output=a.zip", "short_side=0"], "short_side 32 0"),
        (["pack", "source=.", "output=a.zip", "size=8"], "size 32 8"),
        (["pack", "source=.", "output=a.zip"], "pictures .jpg"),
        (
            ["pack", "source=a.npz", "output=a.zip"],
            "source pixels a.npz",
        ),
        (["pack", "source=.", "output=a.npz", "short_side=64"], "size 32 short_side 64 256"),
        (["pack", "source=a.zip", "output=a.zip"], "output source itself a.zip"),
    ],
)
def test_a_mistake_gets_one_line(prepare: Prepare, arguments: list[str], answer: str) -> None:
    status, out, err = prepare(*arguments)
    assert (status, out) == (1, "")
    assert_names(err.removeprefix("prepare_data.py: "), answer)
    assert "\n" not in err
    assert list(Path().iterdir()) == []


def test_help_shows_examples_and_settings(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["scripts/prepare_data.py", "--help"])
    cli.script("prepare_data")
    out, err = capfd.readouterr()
    assert err == ""
    assert out.startswith("prepare_data.py: ")
    assert re.search(r"^  .*python scripts/prepare_data\.py check photos/", out, re.MULTILINE)
    assert re.search(r"^  max_bad=0\.01 +the part of the pictures", out, re.MULTILINE)


def test_progress_is_lines_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressBar("bytes", every_n_seconds=0) as bar:
        for done in (0, 500_000, 1_000_000):
            bar.update("downloading", done, 1_000_000)
        bar.say("that is all")
    half, last = capsys.readouterr().out.splitlines()
    assert half.startswith("downloading  500.0 kB of 1.0 MB, ")
    assert half.endswith("/s, 0:00 left")
    assert last == "that is all"
    with ProgressBar("pictures", every_n_seconds=0) as bar:
        bar.update("looking", 0, 2000)
        bar.update("looking", 1000, 2000)
    assert capsys.readouterr().out.startswith("looking  1,000 of 2,000 pictures, ")


def test_progress_of_what_has_no_known_end_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressBar("frames", every_n_seconds=0) as bar:
        bar.update("clip.mkv", 0, None)
        bar.update("clip.mkv", 20, None)
    assert re.fullmatch(r"clip\.mkv  20 frames, [\d,.]+/s", capsys.readouterr().out.splitlines()[-1])


def test_progress_is_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("COLUMNS", "120")
    with ProgressBar("bytes") as bar:
        bar.update("downloading", 250_000, 1_000_000)  # what was there already
        bar.say("a connection broke")
        bar.update("downloading", 1_000_000, 1_000_000)
    shown = capsys.readouterr().out
    assert "a connection broke\n" in shown
    assert "downloading" in shown
    assert "1.0 MB of 1.0 MB, " in shown
