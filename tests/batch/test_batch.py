"""Thousands of pictures: what is made of them, what fails, and what remains when the work is stopped."""

import io
import json
import os
import struct
import tarfile
import tempfile
import threading
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from permissions import without_privileges
from PIL import Image
from small_messages import assert_each, assert_names, raises
from small_networks import varied

from fast_style.backends.pytorch import TorchBackend
from fast_style.batch import FolderWork, Job, Member, Report, folder_jobs, pictures_in, stylize_files
from fast_style.batch.job_queue import Opened
from fast_style.batch.queues import PATIENCE, PixelBudget, ShapeQueue
from fast_style.cli.outcomes import say_how_many, say_report
from fast_style.errors import ConfigError, DataError, ImageError
from fast_style.images.metadata import ImageMetadata
from fast_style.images.picture import open_picture, write_image
from fast_style.networks import LightNet
from fast_style.stylizing.controls import Controls
from fast_style.stylizing.stylizer import Stylizer
from fast_style.system.pipeline import Inbox
from fast_style.zoo.saving import Metadata


class Spied(TorchBackend):
    """Notes the shapes that it is asked for, and waits where it is told to."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        super().__init__(varied(LightNet(styles=2, width=4, blocks=1)), "cpu", "fp32")
        self.shapes: list[tuple[int, ...]] = []
        self.before: Callable[[tuple[int, ...]], Any] = lambda shape: None

    def __call__(self, images: Any, style: Any) -> Any:
        self.shapes.append(tuple(images.shape))
        self.before(tuple(images.shape))
        return super().__call__(images, style)


@pytest.fixture
def backend() -> Spied:
    return Spied()


@pytest.fixture
def stylizer(backend: Spied) -> Stylizer:
    return Stylizer(backend, Metadata({"waves": {}, "stars": {}}))


def picture(width: int = 40, height: int = 36, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Twelve pictures of three shapes, in a tree in which names come more than once."""
    folder = tmp_path / "photos"
    for index in range(12):
        place = folder / ("", "2023", "2024/may")[index % 3]
        place.mkdir(parents=True, exist_ok=True)
        picture(*[(40, 36), (36, 40), (64, 33)][index // 2 % 3], seed=index).save(place / f"{index // 3}.png")
    return folder


def levels(path: Path) -> Any:
    with Image.open(path) as image:
        return np.asarray(image).astype(int)


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def reports_of(work: FolderWork) -> dict[str, Report]:
    """The reports by the name of the picture."""
    return {Path(str(report.job.source)).name: report for report in work}


@pytest.mark.parametrize("batch", ["auto", 1, 5])
def test_each_copy_is_as_if_made_alone(stylizer: Stylizer, photos: Path, tmp_path: Path, batch: int | str) -> None:
    mask = Image.linear_gradient("L")
    controls = Controls("stars", mask=mask, preserve_color="histogram", grain=0.5)
    jobs = folder_jobs(photos, tmp_path / "new")
    with FolderWork(stylizer, jobs, controls, batch=batch) as work:
        reports = list(work)
    assert {report.job for report in reports} == set(jobs)
    assert {report.status for report in reports} == {"done"}
    assert (work.total, work.done, work.failed, work.skipped) == (12, 12, 0, 0)
    for report in reports:
        stylizer.stylize_file(report.job.source, tmp_path / "alone.png", controls=controls)  # type: ignore[arg-type]
        difference = levels(report.job.target) - levels(tmp_path / "alone.png")
        assert np.abs(difference).max() <= 1
        assert report.size == (difference.shape[1], difference.shape[0])
    # The same tree, and nothing else, as what was written in part.
    assert tree(tmp_path / "new").keys() == tree(photos).keys()


def test_batches_are_of_one_shape_and_no_larger_than_asked_for(
    stylizer: Stylizer, backend: Spied, photos: Path, tmp_path: Path
) -> None:
    all_read = threading.Event()

    class Signalling(FolderWork):
        def _read(self, nothing: Inbox[Any]) -> Iterator[Opened]:
            yield from super()._read(nothing)
            all_read.set()

    # The first may go alone; all others wait by then.
    backend.before = lambda shape: all_read.wait()
    with Signalling(stylizer, folder_jobs(photos, tmp_path / "new"), batch=3) as work:
        assert len(list(work)) == 12
    sizes = [shape[0] for shape in backend.shapes]
    assert (sum(sizes), max(sizes)) == (12, 3)


def test_a_full_batch_goes_first_then_the_last_shape_and_none_waits_for_ever() -> None:
    waiting: ShapeQueue[str] = ShapeQueue()
    for shape, name in [("wide", "w1"), ("tall", "t1"), ("tall", "t2"), ("wide", "w2"), ("square", "s1")]:
        waiting.add(shape, name)
    assert waiting.take(lambda shape: 2) == ["w1", "w2"]
    assert waiting.take(lambda shape: 2) == ["t1", "t2"]
    waiting.add("tall", "t3")
    assert waiting.take(lambda shape: 2) == ["t3"]
    for _ in range(PATIENCE - 4):
        waiting.add("tall", "t")
        assert waiting.take(lambda shape: 1) == ["t"]
    waiting.add("tall", "t")
    assert waiting.take(lambda shape: 1) == ["t"]
    waiting.add("tall", "t")
    assert waiting.take(lambda shape: 1) == ["t"]
    waiting.add("tall", "t")
    assert waiting.take(lambda shape: 1) == ["t"]
    waiting.add("tall", "last")
    assert waiting.take(lambda shape: 1) == ["s1"]
    assert waiting.clear() == ["last"]
    assert not waiting


def test_a_picture_that_is_larger_than_all_the_room_is_alone() -> None:
    room, stopped, order = PixelBudget(100, 10), threading.Event(), []
    assert room.take(30, stopped) == 30
    giant = threading.Thread(target=lambda: order.append(room.take(1000, stopped)))
    giant.start()
    # Who comes after it waits as well, although there would be room.
    small = threading.Thread(target=lambda: order.append(room.take(1, stopped)))
    giant.join(0.1)
    small.start()
    small.join(0.1)
    assert order == []
    room.give(30)
    giant.join()
    assert order == [100]
    room.give(100)
    small.join()
    # However small, ten at the most.
    assert order == [100, 10]


def test_a_picture_that_is_too_large_to_be_read_beside_others_comes_out_the_same(
    stylizer: Stylizer, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    list(FolderWork(stylizer, folder_jobs(photos, tmp_path / "new")))
    # Room for 1000 pixels.
    monkeypatch.setattr("fast_style.batch.folder_work._MOST_BYTES", 16_000)
    reports = list(FolderWork(stylizer, folder_jobs(photos, tmp_path / "each")))
    assert {report.size for report in reports} == {(40, 36), (36, 40), (64, 33)}
    new, each = tmp_path / "new", tmp_path / "each"
    assert max(np.abs(levels(new / name) - levels(each / name)).max() for name in tree(each)) <= 1


def test_size_depth_and_opacity_are_those_of_one_picture(stylizer: Stylizer, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    clear = picture()
    clear.putalpha(Image.linear_gradient("L").resize(clear.size))
    clear.save(tmp_path / "in/clear.png")
    deep = np.random.default_rng(0).integers(0, 65536, (36, 40, 3), np.uint16)
    write_image(deep, tmp_path / "in/deep.png", metadata=ImageMetadata(dpi=(300, 300)))
    picture(32, 32).save(tmp_path / "in/icon.ico", sizes=[(32, 32)])
    jobs = folder_jobs(tmp_path / "in", tmp_path / "out")
    assert {report.status for report in stylize_files(stylizer, jobs, "waves", size=80)} == {"done"}
    for name in ("clear.png", "deep.png"):
        stylizer.stylize_file(tmp_path / "in" / name, tmp_path / name, "waves", size=80)
        assert (tmp_path / name).read_bytes() == (tmp_path / "out" / name).read_bytes()
    assert open_picture(tmp_path / "out/deep.png", deep=True).deep is not None
    assert open_picture(tmp_path / "out/icon.png").rgb.size == (80, 80)


def bomb() -> bytes:
    """A PNG of some bytes that claims 100,000 by 100,000 pixels."""
    size = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", size), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b"")]
    packed = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder for every user; those of pytest are private."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        yield Path(folder)


def test_bad_pictures_get_one_line_each_and_harm_no_other(stylizer: Stylizer, photos: Path, public: Path) -> None:
    folder = public / "in"
    (folder / "closed").mkdir(parents=True)
    good = (photos / "0.png").read_bytes()
    for name in ("a.png", "z.png", "closed/c.png"):
        (folder / name).write_bytes(good)
    bad = {"bomb": bomb(), "empty": b"", "cut": good[: len(good) // 2], "text": b"no picture", "page": b"<html>"}
    for name, content in bad.items():
        (folder / f"{name}.png").write_bytes(content)
    (folder / "secret.png").write_bytes(good)
    (folder / "secret.png").chmod(0)
    os.mkfifo(folder / "pipe.png")
    (folder / "broken.png").symlink_to("nowhere.png")
    (folder / ".hidden.png").write_bytes(b"")
    (folder / "closed").chmod(0)
    try:
        with without_privileges(), FolderWork(stylizer, folder_jobs(folder, public / "out")) as work:
            reports = reports_of(work)
    finally:
        (folder / "closed").chmod(0o700)
    assert tree(public / "out").keys() == {"a.png", "z.png"}
    assert (work.done, work.failed, work.total) == (2, 9, 11)
    errors = {name: report.error or "" for name, report in reports.items()}
    assert errors.pop("a.png") == errors.pop("z.png") == ""
    assert_names(errors.pop("closed"), f"{folder}/closed/ listed Permission denied")
    reasons = {
        "bomb.png": "200,000,000",
        "empty.png": "empty",
        "cut.png": "",
        "text.png": "JPEG, PNG",
        "page.png": "markup",
        "secret.png": "Permission denied",
        "pipe.png": "regular",
        "broken.png": "No such file or directory",
    }
    assert errors.keys() == reasons.keys()
    for name, reason in reasons.items():
        assert_names(errors[name], f"{folder}/{name} readable {reason}")


def test_a_name_that_leads_elsewhere_or_exists_costs_that_picture_alone(
    stylizer: Stylizer, photos: Path, tmp_path: Path
) -> None:
    new = tmp_path / "new"
    new.mkdir()
    (new / "there.png").write_bytes(b"mine")
    (new / "link.png").symlink_to(tmp_path / "nowhere.png")
    (new / "file").write_bytes(b"")
    sources = [photos / f"{index}.png" for index in range(4)]
    names = ["good.png", "there.png", "link.png", "file/a.png", "good.png", "a.xyz"]
    jobs = [Job(source, new / name) for source, name in zip([*sources, *sources], names, strict=False)]
    before = tree(photos)
    with FolderWork(stylizer, jobs, batch=4) as work:
        errors = [report.error for report in work if report.error]
    assert_each(
        sorted(errors),
        f"{new}/a.xyz written format .jpg .jpeg",
        f"{new}/file/a.png written File exists",
        f"{new}/good.png copy another",
        f"{new}/link.png exists overwrite resume",
        f"{new}/there.png exists overwrite resume",
    )
    assert work.done == 1
    assert (new / "there.png").read_bytes() == b"mine"
    assert not (tmp_path / "nowhere.png").exists()
    # Neither itself nor another input, even if files may be replaced.
    jobs = [Job(sources[0], sources[0]), Job(sources[1], sources[3]), Job(sources[3], new / "there.png")]
    with FolderWork(stylizer, jobs, overwrite=True) as work:
        errors = [report.error for report in work if report.error]
    assert_each(sorted(errors), *(f"{path} inputs output" for path in sources[::3]))
    assert tree(photos) == before
    assert levels(new / "there.png").shape == levels(sources[3]).shape


def test_a_folder_that_must_not_be_written_is_told_before_the_network_works(
    stylizer: Stylizer, backend: Spied, photos: Path, public: Path
) -> None:
    (public / "in").mkdir()
    (public / "in/a.png").write_bytes((photos / "0.png").read_bytes())
    (public / "out").mkdir(mode=0o555)
    with without_privileges(), FolderWork(stylizer, folder_jobs(public / "in", public / "out")) as work:
        (report,) = work
    assert_names(report.error, f"{public}/out/a.png written Permission denied")
    assert backend.shapes == []


def test_a_full_disk_ends_the_work_and_leaves_whole_pictures(
    stylizer: Stylizer, tmp_path: Path, small_disk: Callable[[str], Path]
) -> None:
    disk = small_disk("64k")
    (tmp_path / "in").mkdir()
    for index in range(60):
        picture(80, 80, seed=index).save(tmp_path / f"in/{index:02}.png")
    jobs = folder_jobs(tmp_path / "in", disk)
    with FolderWork(stylizer, jobs) as work:
        reports = list(work)
    assert work.disk_full
    assert work.done + work.failed == len(reports) < 60
    assert work.done > 0
    failed = [report for report in reports if report.error]
    assert_names(failed[0].error, f"{failed[0].job.target} written No space left on device")
    assert all(levels(path).shape == (80, 80, 3) for path in disk.iterdir())
    assert len(list(disk.iterdir())) == work.done


def test_what_is_done_is_skipped_and_nothing_is_made_again(
    stylizer: Stylizer, backend: Spied, photos: Path, tmp_path: Path
) -> None:
    jobs = folder_jobs(photos, tmp_path / "new")
    assert len(list(stylize_files(stylizer, jobs[:5]))) == 5
    before = tree(tmp_path / "new")
    backend.shapes.clear()
    # One has changed since; and a run was killed while it wrote.
    os.utime(jobs[0].source, (2e9, 2e9))  # type: ignore[arg-type]
    killed = tmp_path / "new/.0123456789abcdef.part"
    killed.touch()
    os.utime(killed, (1e9, 1e9))
    with FolderWork(stylizer, jobs, resume=True, batch=1) as work:
        assert (work.total, work.skipped, work.older) == (7, 5, 1)
        statuses = {report.job: report.status for report in work}
    assert [statuses[job] for job in jobs] == ["skipped"] * 5 + ["done"] * 7
    assert len(backend.shapes) == work.done == 7
    assert not killed.exists()
    assert before.items() <= tree(tmp_path / "new").items()
    assert {report.status for report in FolderWork(stylizer, jobs, resume=True)} == {"skipped"}
    with raises(ConfigError, "resume overwrite"):
        FolderWork(stylizer, jobs, resume=True, overwrite=True)


def test_settings_are_checked_before_anything_is_done(stylizer: Stylizer, photos: Path, tmp_path: Path) -> None:
    jobs = folder_jobs(photos, tmp_path / "new")
    for batch in (0, "many", 2.5, True):
        with raises(ConfigError, "batch auto 8"):
            FolderWork(stylizer, jobs, batch=batch)  # type: ignore[arg-type]
    with raises(ConfigError, "size 1 65535 0"):
        FolderWork(stylizer, jobs, size=0)
    with raises(ConfigError, "style moon"):
        stylize_files(stylizer, jobs, "moon")
    assert not (tmp_path / "new").exists()


def test_when_it_is_stopped_what_has_begun_is_finished_and_the_rest_is_not_begun(
    stylizer: Stylizer, backend: Spied, photos: Path, tmp_path: Path
) -> None:
    go_on = threading.Event()
    backend.before = lambda shape: len(backend.shapes) > 1 and go_on.wait()
    work = FolderWork(stylizer, folder_jobs(photos, tmp_path / "new"), batch=1)
    reports = [next(work)]
    work.stop()
    go_on.set()
    reports += work
    assert len(backend.shapes) == len(reports) == work.done <= 2
    assert tree(tmp_path / "new").keys() == {str(r.job.target.relative_to(tmp_path / "new")) for r in reports}


def test_whoever_loses_interest_leaves_no_threads_behind(stylizer: Stylizer, photos: Path, tmp_path: Path) -> None:
    before = threading.active_count()
    with FolderWork(stylizer, folder_jobs(photos, tmp_path / "new")) as work:
        next(work)
    assert threading.active_count() == before


def test_a_batch_that_fails_is_tried_picture_by_picture(
    stylizer: Stylizer, backend: Spied, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in").mkdir()
    for index in range(6):
        Image.new("RGB", (40, 40), (index * 40, 0, 0)).save(tmp_path / f"in/{index}.png")
    stylize = stylizer.stylize_pictures

    def fails_with_one(originals: Any, controls: Controls) -> Any:
        if any(original.rgb.getpixel((0, 0))[0] == 80 for original in originals):
            raise ImageError("40x40 pixels do not fit into memory, not even in tiles")
        return stylize(originals, controls)

    monkeypatch.setattr(stylizer, "stylize_pictures", fails_with_one)
    with FolderWork(stylizer, folder_jobs(tmp_path / "in", tmp_path / "new"), batch=6) as work:
        errors = [report.error for report in work if report.error]
    assert errors == [f"{tmp_path}/in/2.png: 40x40 pixels do not fit into memory, not even in tiles"]
    assert work.done == 5


def test_a_fault_of_the_program_is_raised_and_not_counted(
    stylizer: Stylizer, backend: Spied, photos: Path, tmp_path: Path
) -> None:
    def fail(shape: object) -> None:
        raise TypeError("a mistake")

    backend.before = fail
    with FolderWork(stylizer, folder_jobs(photos, tmp_path / "new")) as work, pytest.raises(TypeError, match="a mist"):
        list(work)


def pack(photos: Path, archive: Path) -> Path:
    """Pack the pictures, and members that nobody wants."""
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive, "w") as file:
            for name, content in tree(photos).items():
                file.writestr(name, content)
            for name in ("../out.png", "/abs.png", "notes.txt", "__MACOSX/._0.png"):
                file.writestr(name, b"no picture")
        return archive
    mode: Any = f"w:{archive.suffix[1:].replace('tar', '')}"
    with tarfile.open(archive, mode) as tar:
        members = {**tree(photos), "../out.png": b"", "/abs.png": b"", "notes.txt": b"", "._0.png": b""}
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return archive


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz", "a.tar.bz2", "a.tar.xz"])
def test_an_archive_gives_what_its_folder_gives(stylizer: Stylizer, photos: Path, tmp_path: Path, name: str) -> None:
    list(FolderWork(stylizer, folder_jobs(photos, tmp_path / "new"), batch=1))
    archive = pack(photos, tmp_path / name)
    with FolderWork(stylizer, folder_jobs(archive, tmp_path / "out/deep"), batch=1) as work:
        errors = sorted(report.error for report in work if report.error)
    assert_each(errors, f"{archive}/../out.png leads out", f"{archive}//abs.png absolute path")
    assert tree(tmp_path / "out/deep") == tree(tmp_path / "new")
    assert not (tmp_path / "out/out.png").exists()
    again = FolderWork(stylizer, folder_jobs(archive, tmp_path / "out/deep"), resume=True)
    assert (again.skipped, again.total) == (12, 2)


def test_a_compressed_tar_is_unpacked_once_however_many_read_it(
    stylizer: Stylizer, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    jobs = folder_jobs(pack(photos, tmp_path / "a.tar.gz"), tmp_path / "out")
    (source,) = {job.source.source for job in jobs if isinstance(job.source, Member)}
    places: list[int] = []
    read = source._read  # type: ignore[attr-defined]

    def noted(offset: int, length: int) -> bytes:
        places.append(offset)
        content: bytes = read(offset, length)
        return content

    monkeypatch.setattr(source, "_read", noted)
    assert len(list(FolderWork(stylizer, jobs))) == 14
    assert len(places) == 12
    assert places == sorted(places)


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz", "a.tar.bz2", "a.tar.xz"])
def test_an_archive_that_is_cut_short_gets_one_line(photos: Path, tmp_path: Path, name: str) -> None:
    archive = pack(photos, tmp_path / name)
    archive.write_bytes(archive.read_bytes()[:-12000] if name == "a.tar" else archive.read_bytes()[:5000])
    with raises(DataError, "folder .zip .tar") as error:
        pictures_in(archive)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("room", [10**9, 1])
def test_every_report_has_the_notes_of_its_picture(
    stylizer: Stylizer,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    room: int,
) -> None:
    monkeypatch.setattr("fast_style.batch.folder_work._MOST_BYTES", room)
    xmp = b'<x xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" hdrgm:Version="1.0"/>'
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        picture().save(tmp_path / name, xmp=xmp)
    jobs = [Job(tmp_path / name, tmp_path / "out" / name) for name in ("a.jpg", "b.jpg", "c.jpg")]
    with FolderWork(stylizer, jobs, Controls()) as work:
        reports = [*work]
    (note,) = reports[0].notes
    assert_names(note, "gain map")
    assert [report.notes for report in reports] == [[note]] * 3
    assert capsys.readouterr().err == ""
    known: Counter[str] = Counter()
    for report in reports:
        say_report(report, "json", several=True, known=known)
    say_how_many(known)
    said = capsys.readouterr()
    assert [json.loads(line)["notes"] for line in said.out.splitlines()] == [[note]] * 3
    assert said.err == f"{reports[0].job.source}: {note}\n3 pictures: {note}\n"
