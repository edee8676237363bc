"""Several pictures in a file, several files of one name, and several processes that make the same."""

import itertools
import os
import threading
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf
from PIL import Image
from small_messages import assert_each, assert_names
from small_networks import varied

from fast_style.backends.pytorch import TorchBackend
from fast_style.batch import FolderWork, Job, folder_jobs, pictures_in
from fast_style.batch.names import apart
from fast_style.cli.hydra_app import find_pictures, matches
from fast_style.cli.inputs import find_inputs
from fast_style.cli.overrides import read_arguments
from fast_style.cli.stylize_videos import VideosWork
from fast_style.errors import ImageError
from fast_style.networks import LightNet
from fast_style.stylizing.controls import Controls
from fast_style.stylizing.jobs import Report
from fast_style.stylizing.stylizer import Stylizer
from fast_style.system.file_locks import FileLocks, locked_part_file
from fast_style.system.files import append_to_name, natural_sort_key
from fast_style.zoo.saving import Metadata

#: The picture as it is.
AS_IT_IS = Controls(strength=0)
DURATIONS = [100, 40, 250, 70]


class Watched(TorchBackend):
    """Does what a test says before each batch."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        super().__init__(varied(LightNet(styles=1, width=4, blocks=1)), "cpu", "fp32")
        self.before: Callable[[], Any] = lambda: None

    def __call__(self, images: Any, style: Any) -> Any:
        self.before()
        return super().__call__(images, style)


@pytest.fixture
def backend() -> Watched:
    return Watched()


@pytest.fixture
def stylizer(backend: Watched) -> Stylizer:
    return Stylizer(backend, Metadata({"waves": {}}))


def picture(seed: int, width: int = 48, height: int = 36) -> Image.Image:
    y, x = np.mgrid[:height, :width]
    waves = np.stack([np.sin((x + 9 * seed) / 9), np.cos((y - 5 * seed) / 7), np.sin((x + y) / 11)], axis=2)
    return Image.fromarray((127.5 + 120 * waves).astype(np.uint8))


def frames(path: Path) -> list[tuple[Any, int]]:
    """Each frame with its opacity, and how long it stands, as Pillow reads it."""
    found = []
    with Image.open(path) as image:
        for index in range(getattr(image, "n_frames", 1)):
            image.seek(index)
            image.load()
            found.append((np.asarray(image.convert("RGBA")).astype(int), image.info.get("duration", 0)))
    return found


def reports(work: FolderWork) -> dict[str, Any]:
    with work:
        return {report.job.target.name: report for report in work}


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ("a1.png", "a2.png"),
        ("a2.png", "a10.png"),
        ("a9999.png", "a10000.png"),
        ("a10000b2.png", "a10000b10.png"),
        ("2/a10.png", "10/a1.png"),
        ("a.png", "a1.png"),
        ("a1.png", "a02.png"),
        ("a01.png", "a1.png"),
        ("a1", "a1/b"),
        ("b\u0663.png", "b\u0662\u0661.png"),  # 3 and 21, in Arabic digits
        ("b\u0663.png", "b20.png"),
        ("c\u00b2", "c\u00b3"),  # superscripts, which are no decimal digits
        (f"c{'9' * 5000}", f"c1{'0' * 5000}"),
        ("\udcff2", "\udcff10"),  # no text
    ],
)
def test_digits_count_by_their_value_wherever_they_are(earlier: str, later: str) -> None:
    assert natural_sort_key(earlier) < natural_sort_key(later)
    assert natural_sort_key(PurePath(earlier)) < natural_sort_key(PurePath(later))


def test_folders_globs_and_archives_are_in_natural_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    numbers = [1, 2, 9, 10, 11, 100]
    Path("f").mkdir()
    with zipfile.ZipFile("f.zip", "w") as archive:
        for number in sorted(numbers, key=str):
            picture(0).save(f"f/frame{number}.png")
            archive.write(f"f/frame{number}.png", f"frame{number}.png")
    expected = [f"frame{number}.png" for number in numbers]
    assert [file.name for file in find_pictures("f")] == expected
    assert [file.name for file in find_pictures("f/*.png")] == expected
    assert [place.name for place in pictures_in("f")] == expected
    assert [place.name for place in pictures_in("f.zip")] == expected
    for name in (".hidden.png", "._frame1.png", ".notes"):
        Path("f", name).touch()
    assert len(find_inputs("f", None)) == 6
    assert_names(capsys.readouterr().err, "f 1 hidden .hidden.png")


def test_brackets_in_a_folder_s_name_are_no_pattern(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("photos [2024]/a1.png", "photos [2024]/b.png", "x/[1]/a.png", "photos 2/c.png"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        picture(0).save(name)
    found = matches("photos [2024]/*.png")
    assert (found[0], sorted(found[1])) == (
        Path("photos [2024]"),
        [Path("photos [2024]/a1.png"), Path("photos [2024]/b.png")],
    )
    assert matches("photos [2024]/[a]*.png")[1] == [Path("photos [2024]/a1.png")]
    assert matches("*/[1]/a*.png")[1] == [Path("x/[1]/a.png")]
    assert matches("photos [2]/*.png") == (Path(), [Path("photos 2/c.png")])  # where there is no such folder
    assert find_inputs("photos [2024]/*.png", None) == {
        Path("photos [2024]/a1.png"): Path("a1.png"),
        Path("photos [2024]/b.png"): Path("b.png"),
    }


@pytest.mark.parametrize(
    "name", ["null", "true", "False", "???", "${x}.png", r"a\${x}.png", "a'${x}", "007", "1e3", "[x].png"]
)
def test_the_name_of_a_file_is_no_more_than_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    picture(0).save(name, "PNG")

    def read(argument: str) -> Any:
        (argument,) = read_arguments([argument])
        override = OverridesParser.create().parse_override(argument)
        return OmegaConf.to_container(OmegaConf.create({"input": override.value()}), resolve=True)["input"]  # type: ignore[index, call-overload]

    assert list(find_inputs(read(f"input={name}"), None)) == [Path(name)]
    if not set(name) & set("'[]"):
        picture(1).save("b.png")
        assert list(find_inputs(read(f"input=[{name}, b.png]"), None)) == [Path(name), Path("b.png")]


def test_animations_among_photographs_stay_what_they_are(stylizer: Stylizer, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    clear = [picture(index).convert("RGBA") for index in range(4)]
    for each in clear:
        each.putalpha(Image.linear_gradient("L").resize(each.size))
    for name, made in [
        ("a.gif", [picture(i) for i in range(4)]),
        ("b.avif", clear),
        ("c.webp", clear),
        ("d.png", clear),
    ]:
        options: dict[str, Any] = {"loop": 3} if name != "b.avif" else {"quality": 100}
        made[0].save(tmp_path / "in" / name, save_all=True, append_images=made[1:], duration=DURATIONS, **options)
    picture(9).save(tmp_path / "in/e.jpg")
    found = reports(FolderWork(stylizer, folder_jobs(tmp_path / "in", tmp_path / "out"), AS_IT_IS, temporal=0))
    assert {report.status for report in found.values()} == {"done"}
    assert not any(report.notes for report in found.values())
    for name in ("a.gif", "b.avif", "c.webp", "d.png"):
        before, after = frames(tmp_path / "in" / name), frames(tmp_path / "out" / name)
        assert [duration for _, duration in after] == DURATIONS
        for (one, _), (other, _) in zip(before, after, strict=True):
            assert np.abs(one[:, :, 3] - other[:, :, 3]).max() <= (4 if name == "b.avif" else 0)
            assert np.abs(one - other).mean() < 4  # what AVIF and WebP lose; another frame is ten times as far
        if name != "b.avif":
            with Image.open(tmp_path / "out" / name) as image:
                assert image.info["loop"] == 3
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.gif", "b.avif", "c.webp", "d.png", "e.jpg"]


def test_pages_keep_their_sizes_depths_and_resolutions(stylizer: Stylizer, tmp_path: Path) -> None:
    noise = np.random.default_rng(0)
    pages = [noise.integers(0, 65_536, (30 + index, 40, 3), np.uint16) for index in range(3)]
    with tifffile.TiffWriter(tmp_path / "deep.tif") as tiff:
        for index, page in enumerate(pages):
            tiff.write(page, photometric="rgb", resolution=(100 + index, 100 + index), resolutionunit=2)
        # The first once more, smaller: it is no page.
        tiff.write(pages[0][::2, ::2], photometric="rgb", subfiletype=1)
    shallow = [picture(0), picture(1, 30, 50), picture(2).convert("RGBA")]
    shallow[0].save(tmp_path / "scan.tif", save_all=True, append_images=shallow[1:])
    jobs = [Job(tmp_path / name, tmp_path / "out" / name) for name in ("deep.tif", "scan.tif")]
    found = reports(FolderWork(stylizer, jobs, AS_IT_IS))
    assert_each(found["deep.tif"].notes, "1 smaller copies masks")
    with tifffile.TiffFile(tmp_path / "out/deep.tif") as tiff:
        assert len(tiff.pages) == 3
        for index, expected in enumerate(pages):
            found_page: Any = tiff.pages[index]
            assert np.array_equal(found_page.asarray(), expected)
            assert found_page.tags["XResolution"].value == (100 + index, 1)
    for (one, _), other in zip(frames(tmp_path / "out/scan.tif"), shallow, strict=True):
        assert np.array_equal(one, np.asarray(other.convert("RGBA")))
    # And so in Python.
    stylizer.stylize_file(tmp_path / "deep.tif", tmp_path / "again.tif", controls=AS_IT_IS)
    assert (tmp_path / "again.tif").read_bytes() == (tmp_path / "out/deep.tif").read_bytes()


def test_what_a_copy_cannot_hold_is_counted(stylizer: Stylizer, tmp_path: Path) -> None:
    made = [picture(index) for index in range(4)]
    for name in ("a.tif", "b.gif", "c.mpo"):
        made[0].save(tmp_path / name, save_all=True, append_images=made[1:])
    jobs = [
        Job(tmp_path / source, tmp_path / target)
        for source, target in [("a.tif", "a.jpg"), ("b.gif", "b.jpg"), ("c.mpo", "c.jpg"), ("b.gif", "b.tif")]
    ]
    found = reports(FolderWork(stylizer, jobs, AS_IT_IS))
    notes = {name: report.notes for name, report in found.items()}
    assert_each(notes["a.jpg"], "3 4 pages .jpg .tif")
    assert_each(notes["b.jpg"], "3 4 frames .jpg .gif .webp .png .avif")
    assert_each(notes["c.jpg"], "3 4 views")
    assert notes["b.tif"] == []
    assert len(frames(tmp_path / "b.tif")) == 4


def test_what_lies_beside_frames_and_below_pages_is_said(stylizer: Stylizer, tmp_path: Path) -> None:
    first, *others = [picture(index) for index in range(3)]
    first.save(tmp_path / "a.png", save_all=True, append_images=others, default_image=True, duration=100)
    pixels = np.asarray(first)
    with tifffile.TiffWriter(tmp_path / "b.tif") as tiff:
        # Of three below the first page, one is that made smaller.
        tiff.write(pixels, photometric="rgb", subifds=3)
        tiff.write(pixels[::2, ::2], photometric="rgb", subfiletype=1)
        for _ in range(3):
            tiff.write(pixels, photometric="rgb")
    jobs = [Job(tmp_path / source, tmp_path / target) for source, target in (("a.png", "c.png"), ("b.tif", "c.tif"))]
    jobs.append(Job(tmp_path / "a.png", tmp_path / "d.tif"))
    found = {name: report.notes for name, report in reports(FolderWork(stylizer, jobs, AS_IT_IS, temporal=0)).items()}
    for name in ("c.png", "d.tif"):
        assert_each(found[name], "still picture animation")
    assert len(frames(tmp_path / "c.png")) == len(frames(tmp_path / "d.tif")) == 2
    assert_each(found["c.tif"], "2 pages SubIFDs")
    assert len(frames(tmp_path / "c.tif")) == 2


def test_pictures_of_a_heic_stay_together(stylizer: Stylizer, tmp_path: Path) -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    heif = pillow_heif.HeifFile()
    sizes = [(64, 48), (48, 64), (80, 64)]
    for index, size in enumerate(sizes):
        heif.add_from_pillow(picture(index, *size))
    heif.save(tmp_path / "a.heic", primary_index=1)
    jobs = [Job(tmp_path / "a.heic", tmp_path / name) for name in ("b.heic", "b.tif", "b.jpg")]
    found = reports(FolderWork(stylizer, jobs, AS_IT_IS))
    again = pillow_heif.open_heif(tmp_path / "b.heic")
    assert ([page.size for page in again], again.primary_index) == (sizes, 1)
    assert [one.shape[1::-1] for one, _ in frames(tmp_path / "b.tif")] == sizes
    assert_each(found["b.jpg"].notes, "2 3 pages .jpg .tif")


@pytest.mark.parametrize("name", ["a.gif", "a.tif"])
def test_what_is_stopped_half_way_leaves_nothing(
    stylizer: Stylizer, backend: Watched, tmp_path: Path, name: str
) -> None:
    made = [picture(index) for index in range(6)]
    (tmp_path / "in").mkdir()
    made[0].save(tmp_path / "in" / name, save_all=True, append_images=made[1:])
    work = FolderWork(stylizer, folder_jobs(tmp_path / "in", tmp_path / "out"), resume=True)
    counted = itertools.count(1)

    def stop_at_the_third() -> None:
        if next(counted) == 3:
            work.stop()

    backend.before = stop_at_the_third
    assert list(work) == []
    assert next(counted) <= 6
    assert list((tmp_path / "out").iterdir()) == []


def test_a_page_that_cannot_be_read_is_left_out_and_told(stylizer: Stylizer, tmp_path: Path) -> None:
    made = [picture(index) for index in range(3)]
    made[0].save(tmp_path / "a.tif", save_all=True, append_images=made[1:], compression="tiff_lzw")
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        page: Any = tiff.pages[1]
        (start,), (length,) = page.dataoffsets, page.databytecounts
    content = bytearray((tmp_path / "a.tif").read_bytes())
    content[start : start + length] = b"\xff" * length
    (tmp_path / "a.tif").write_bytes(content)
    found = reports(FolderWork(stylizer, [Job(tmp_path / "a.tif", tmp_path / "b.tif")], AS_IT_IS))
    (note,) = found["b.tif"].notes
    assert_names(note, "2 3 readable")
    for (one, _), each in zip(frames(tmp_path / "b.tif"), made[::2], strict=True):
        assert np.array_equal(one[:, :, :3], np.asarray(each))


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        (["logo.png", "logo.psd"], ["logo.png", "logo.psd.png"]),
        (["logo.png", "logo.psd", "logo.ico"], ["logo.png", "logo.psd.png", "logo.ico.png"]),
        (["logo.ico", "logo.psd"], ["logo.png", "logo.psd.png"]),
        (["logo.png", "logo.psd", "logo.psd.png"], ["logo.png", "logo.psd.2.png", "logo.psd.png"]),
        (["2023/a.jpg", "2024/a.jpg"], ["a.jpg", "a.2024.jpg"]),
        (["Logo.png", "logo.png"], ["Logo.png", "logo.png"]),
        (["a.tif", "a.CR2", "a.jpg"], ["a.tif", "a.CR2.tif", "a.jpg"]),
    ],
)
def test_of_two_results_of_one_name_one_gets_its_own(tmp_path: Path, sources: list[str], expected: list[str]) -> None:
    suffixes = {".psd": ".png", ".ico": ".png", ".CR2": ".tif"}

    def named(sources: list[str]) -> dict[str, str]:
        paths = [PurePath(source) for source in sources]
        targets = [tmp_path / path.with_suffix(suffixes.get(path.suffix, path.suffix)).name for path in paths]
        return dict(zip(sources, (path.name for path in apart(paths, targets)), strict=True))

    for order in itertools.permutations(sources):
        assert named(list(order)) == dict(zip(sources, expected, strict=True))


def test_where_case_does_not_count_names_differ_in_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fast_style.batch.names._folds_case", lambda folder: True)
    sources = [PurePath(name) for name in ("logo.png", "Logo.png", "LOGO.psd")]
    targets = [tmp_path / name for name in ("logo.png", "Logo.png", "LOGO.png")]
    assert [path.name for path in apart(sources, targets)] == ["logo.2.png", "Logo.png", "LOGO.psd.png"]


def test_a_folder_with_a_clash_is_made_and_resumed(stylizer: Stylizer, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    picture(0).save(tmp_path / "in/logo.png")
    picture(1, 64, 64).save(tmp_path / "in/logo.ico")
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
        for name in ("logo.ico", "logo.png"):
            archive.write(tmp_path / "in" / name, name)
    for source, target in (("in", "out"), ("in.zip", "out2")):
        jobs = folder_jobs(tmp_path / source, tmp_path / target)
        assert {r.status for r in reports(FolderWork(stylizer, jobs, AS_IT_IS)).values()} == {"done"}
        assert np.array_equal(frames(tmp_path / target / "logo.png")[0][0][:, :, :3], np.asarray(picture(0)))
        with Image.open(tmp_path / target / "logo.ico.png") as image:
            assert image.size == (64, 64)
        assert FolderWork(stylizer, folder_jobs(tmp_path / source, tmp_path / target), resume=True).skipped == 2


def test_two_that_resume_one_folder_make_each_picture_once(stylizer: Stylizer, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for index in range(12):
        picture(index).save(tmp_path / f"in/{index}.png")
    jobs = folder_jobs(tmp_path / "in", tmp_path / "out")
    works = [FolderWork(stylizer, jobs, resume=True, batch=1) for _ in range(2)]
    found: list[list[Any]] = [[], []]
    threads = [threading.Thread(target=lambda i=i: found[i].extend(works[i])) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for reports in found:
        assert {report.job for report in reports} == set(jobs)
    assert Counter(report.status for each in found for report in each) == {"done": 12, "skipped": 12}
    assert sum(work.done for work in works) == sum(work.skipped for work in works) == 12
    assert [work.total for work in works] == [work.done for work in works]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(f"{index}.png" for index in range(12))


def test_what_another_process_came_to_nothing_with_is_made(stylizer: Stylizer, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    for index in range(3):
        picture(index).save(tmp_path / f"in/{index}.png")
    jobs = folder_jobs(tmp_path / "in", tmp_path / "out")
    other, killed = FileLocks(), FileLocks()
    assert other.take(jobs[0].target)
    # The system lets go of what a process held that was killed; its file stays.
    assert killed.take(jobs[1].target)
    (lock,) = killed._held.values()
    lock.release()
    Path(lock.lock_file).touch()
    with FolderWork(stylizer, jobs, resume=True, batch=1) as work:
        assert {next(work).job for _ in range(2)} == set(jobs[1:])
        other.give(jobs[0].target)
        assert [report.job for report in work] == jobs[:1]
    assert (work.done, work.failed) == (3, 0)
    assert len(list((tmp_path / "out").iterdir())) == 3


def test_two_that_resume_videos_make_each_once(tmp_path: Path) -> None:
    jobs = [Job(tmp_path / f"{index}.avi", tmp_path / "out" / f"{index}.mp4") for index in range(4)]
    for job in jobs:
        Path(str(job.source)).touch()
    made: list[Path] = []
    other: list[Report] = []

    def make(job: Job) -> Report:
        made.append(job.target)
        if not other:
            # While the first is being made, another process does all that there is, and waits for it in vain.
            thread = threading.Thread(target=lambda: other.extend(itertools.islice(VideosWork(jobs, make, True), 3)))
            other.append(Report(jobs[0], "done"))
            thread.start()
            thread.join(30)
        job.target.touch()
        return Report(job, "done", frames=1)

    outcomes = list(VideosWork(jobs, make, True))
    assert Counter(outcome.status for outcome in outcomes) == {"done": 1, "skipped": 3}
    assert [outcome.status for outcome in other] == ["done"] * 4
    assert sorted(made) == sorted(job.target for job in jobs)


def test_names_as_long_as_file_systems_take(stylizer: Stylizer, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for length in range(246, 256):
        picture(0).save(tmp_path / f"in/{'x' * (length - 4)}.png")
    jobs = folder_jobs(tmp_path / "in", tmp_path / "out")
    assert {report.status for report in FolderWork(stylizer, jobs, AS_IT_IS, resume=True)} == {"done"}
    assert {p.name for p in (tmp_path / "out").iterdir()} == {p.name for p in (tmp_path / "in").iterdir()}
    for name in ("y" * 255, "é" * 127, "short"):
        with locked_part_file(tmp_path / name) as part:
            part.touch()
            assert len(os.fsencode(part.name)) <= 255
    assert append_to_name("a" * 200, "_style.png") == "a" * 200 + "_style.png"
    cut = {append_to_name(f"{'é' * 125}{end}", "_style.png") for end in "abc"}
    assert len(cut) == 3
    assert all(len(os.fsencode(name)) <= 255 and name.endswith("_style.png") for name in cut)


def test_an_unreadable_file_of_pages_fails_alone(stylizer: Stylizer, tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(b"II*\0\x08\0\0\0")
    found = reports(FolderWork(stylizer, [Job(tmp_path / "a.tif", tmp_path / "b.tif")]))
    assert_names(found["b.tif"].error, f"{tmp_path}/a.tif readable")
    with pytest.raises(ImageError):
        stylizer.stylize_file(tmp_path / "a.tif", tmp_path / "b.tif")
