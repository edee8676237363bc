"""scripts/stylize.py: from a network file and pictures to stylized pictures."""

import json
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import forked
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from small_messages import assert_names, raises

from fast_style.cli import stylize
from fast_style.cli.hydra_app import run
from fast_style.cli.progress import ProgressBar
from fast_style.networks import LightNet
from fast_style.zoo.saving import Metadata, save_network

ROOT = Path(__file__).resolve().parents[2]
Call = Callable[..., list[str]]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder to work in, with a network of two styles."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    torch.manual_seed(0)
    network = LightNet(styles=2, width=8, blocks=1)
    torch.nn.init.normal_(network.up_half.norm.shift)  # so that the styles differ
    save_network(Path("checkpoints/two.safetensors"), network, Metadata({"day": {}, "night": {}}))
    return tmp_path


@pytest.fixture
def call(folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Call:
    """Runs the script, and returns the lines that it prints."""

    def call(*arguments: str) -> list[str]:
        monkeypatch.setattr(sys, "argv", ["stylize.py", *arguments])
        run(stylize.main, "stylize", stylize.without_input)
        return capfd.readouterr().out.splitlines()

    return call


@pytest.fixture
def mistake(call: Call, capfd: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Returns the one line with which the script fails."""

    def mistake(*arguments: str) -> str:
        with pytest.raises(SystemExit) as stop:
            call(*arguments)
        assert capfd.readouterr() == ("", "")
        line = str(stop.value.code)
        assert "\n" not in line
        return line.removeprefix("stylize.py: ")

    return mistake


def picture(width: int = 40, height: int = 24, mode: str = "RGB") -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, len(mode)), np.uint8)
    return Image.fromarray(pixels, mode=None).convert(mode)


@pytest.mark.parametrize("size", [(40, 24), (33, 57), (1, 1), (3, 90)])
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_the_output_has_the_inputs_size_and_format(call: Call, size: tuple[int, int], suffix: str) -> None:
    picture(*size).save(f"my photo (1).{suffix}")
    assert call("ckpt=two", f"input=my photo (1).{suffix}") == [f"my photo (1)_two.{suffix}"]
    with Image.open(f"my photo (1).{suffix}") as before, Image.open(f"my photo (1)_two.{suffix}") as after:
        assert (after.size, after.format, after.mode) == (size, before.format, "RGB")


def test_what_is_only_read_has_png_for_a_copy(call: Call) -> None:
    Path("icons").mkdir()
    picture(32, 32).save("icons/a.ico", sizes=[(32, 32)])
    assert call("ckpt=two", "input=icons") == ["icons/a_two.png"]
    assert call("ckpt=two", "input=icons/a.ico", "output=new") == ["new/a.png"]


def test_opacity_is_kept(call: Call) -> None:
    picture(mode="RGBA").save("a.png")
    call("ckpt=two", "input=a.png", "output=b.png")
    with Image.open("a.png") as before, Image.open("b.png") as after:
        assert after.mode == "RGBA"
        assert after.getchannel("A").tobytes() == before.getchannel("A").tobytes()


def test_a_turned_photograph_comes_out_upright(call: Call) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    picture(40, 24).save("a.jpg", exif=exif)
    call("ckpt=two", "input=a.jpg", "output=b.jpg")
    with Image.open("b.jpg") as after:
        assert after.size == (24, 40)
        assert 0x0112 not in after.getexif()


def test_strength_0_leaves_the_picture_as_it_is(call: Call) -> None:
    picture().save("a.png")
    call("ckpt=checkpoints/two.safetensors", "input=a.png", "output=b.png", "strength=0")
    with Image.open("a.png") as before, Image.open("b.png") as after:
        assert before.tobytes() == after.tobytes()


def test_size_is_the_long_side(call: Call) -> None:
    picture(40, 24).save("a.png")
    call("ckpt=two", "input=a.png", "output=b.png", "size=80")
    with Image.open("b.png") as after:
        assert after.size == (80, 48)


def test_styles_are_chosen_and_blended(call: Call) -> None:
    picture().save("a.png")
    results = {}
    for styles in ("day", "night", "{day: 0.7, night: 0.3}", "{day: 7, night: 3}", "{day: 1}"):
        call("ckpt=two", "input=a.png", "output=b.png", "overwrite=true", f"styles={styles}")
        results[styles] = Path("b.png").read_bytes()
    assert results["{day: 0.7, night: 0.3}"] == results["{day: 7, night: 3}"]
    assert results["{day: 1}"] == results["day"]
    assert len(set(results.values())) == 3
    assert call("ckpt=two", "input=a.png", "styles={day: 0.7, night: 0.3}") == ["a_day+night.png"]
    assert call("ckpt=two", "input=a.png", "styles=night") == ["a_night.png"]


def test_every_control_does_something_and_all_go_together(call: Call) -> None:
    picture().save("a.png")
    Image.linear_gradient("L").save("the mask.png")
    controls = ["strength=0.7", "mask='the mask.png'", "masks={day: the mask.png, night: a.png}", "brush=1.5"]
    controls += ["preserve_color=luminance", "preserve_color=histogram", "sharpen=1", "grain=0.5"]
    results = {}
    for settings in ([], *([one] for one in controls), controls, [*controls, "seed=1"]):
        call("ckpt=two", "input=a.png", "output=b.png", "overwrite=true", *settings)
        results[str(settings)] = Path("b.png").read_bytes()
    assert len(set(results.values())) == len(results) == 11
    masks = "masks={day: the mask.png, night: a.png}"
    assert call("ckpt=two", "input=a.png", masks) == ["a_day+night.png"]


def test_a_folder_is_stylized_once_and_again_only_when_asked(call: Call, mistake: Callable[..., str]) -> None:
    Path("photos").mkdir()
    for name in ("a.jpg", "b.png"):
        picture().save(f"photos/{name}")
    assert call("ckpt=two", "input=photos", "styles=day") == ["photos/a_day.jpg", "photos/b_day.png"]
    before = {path: path.read_bytes() for path in Path("photos").iterdir()}
    assert_names(mistake("ckpt=two", "input=photos", "styles=day"), "photos/a_day.jpg exists overwrite=true")
    assert {path: path.read_bytes() for path in Path("photos").iterdir()} == before
    # What was made the first time is not stylized again.
    again = call("ckpt=two", "input=photos", "styles=day", "overwrite=true")
    assert again == ["photos/a_day.jpg", "photos/b_day.png"]
    assert {path: path.read_bytes() for path in Path("photos").iterdir()} == before
    assert call("ckpt=two", "input=photos/[ab].*", "output=new/folder") == ["new/folder/a.jpg", "new/folder/b.png"]


def test_a_damaged_picture_does_not_stop_the_others(call: Call, capfd: pytest.CaptureFixture[str]) -> None:
    Path("photos").mkdir()
    for name in ("a.png", "b.png", "c.png"):
        picture().save(f"photos/{name}")
    Path("photos/b.png").write_bytes(b"no picture")
    with raises(SystemExit, "stylize.py 1 3 failed"):
        call("ckpt=two", "input=photos", "output=new")
    out, errors = capfd.readouterr()
    assert out.splitlines() == ["new/a.png", "new/c.png"]
    assert_names(errors, "photos/b.png readable")
    assert errors.count("\n") == 1


@pytest.mark.parametrize(
    ("argument", "answer"),
    [
        ("input=nowhere (1).jpg", "nowhere (1).jpg picture folder glob"),
        ("input=notes.txt", "notes.txt readable"),
        ("output=a.jgp", "a.jgp unknown .jpg"),
        ("output=a.png", "a.png input itself output"),
        ("size=big", "size 1024 'big'"),
        ("size=0", "size 1 65535 0"),
        ("strength=2", "strength 0 1 2"),
        ("strength=half", "strength 1.0 'half'"),
        ("overwrite=maybe", "overwrite true false 'maybe'"),
        ("brush=3", "brush 0.5 2 3"),
        ("seed=0.5", "seed 0 0.5"),
        ("preserve_color=hue", "preserve_color none histogram luminance 'hue'"),
        ("mask=nowhere.png", "mask=nowhere.png readable No such file or directory"),
        ("masks={dusk: a.png}", "style dusk day night"),
        ("masks=sky.png", "masks styles {starry_night: sky.png} 'sky.png'"),
        ("styles=dusk", "style dusk day night"),
        ("styles={dusk: 1}", "style dusk day night"),
        ("styles={day: some}", "styles {day: 1} {'day': 'some'}"),
        ("styles=[day]", "styles {day: 1} ['day']"),
        ("output=[a,b]", "output ['a', 'b']"),
        ("output=true", "output True"),
        ("output=", "output= empty"),
        ("input=", "input= empty"),
        ("fps=30", "fps videos pictures"),
        ("codec=264", "codec videos pictures"),
        ("styles={day: -1, night: 2}", "style weights negative"),
        ("backend=tensorflow", "backend auto torch compile onnx openvino 'tensorflow'"),
        ("precision=fp16", "precision auto fp32 bf16 'fp16'"),
        ("style=day", "setting 'style' styles audio"),
        ("ckpt=three", "three checkpoints/ two"),
    ],
)
def test_a_mistake_gets_one_line_and_changes_no_file(
    folder: Path, mistake: Callable[..., str], argument: str, answer: str
) -> None:
    picture().save("a.png")
    Path("notes.txt").write_text("not a picture")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert_names(mistake("ckpt=two", "input=a.png", argument), answer)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_what_must_be_given_is_asked_for(mistake: Callable[..., str]) -> None:
    assert_names(mistake(), "ckpt input given ckpt= input= ckpt=starry_night ckpt=list")


class Malicious:
    """Unpickled, it makes a file."""

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (Path("it ran"),)


def truncated(good: bytes) -> bytes:
    return good[: len(good) // 2]


def tampered(good: bytes) -> bytes:
    return good[:-1] + bytes([good[-1] ^ 1])


@pytest.mark.parametrize(
    ("damage", "answer"),
    [
        (lambda good: b"", "empty"),
        (truncated, "damaged"),
        (tampered, "weights SHA-256"),
        (lambda good: b"<html>404</html>", "damaged"),
        (lambda good: pickle.dumps(Malicious()), "pickled"),
        (lambda good: good.replace(b"LightNet", b"os.remov"), "network 'os.remov' unknown"),
    ],
)
def test_a_bad_network_file_gets_one_line_and_runs_no_code(
    mistake: Callable[..., str], damage: Callable[[bytes], bytes], answer: str
) -> None:
    picture().save("a.png")
    path = Path("bad (1).safetensors")
    path.write_bytes(damage(Path("checkpoints/two.safetensors").read_bytes()))
    assert_names(mistake(f"ckpt={path}", "input=a.png"), f"{path} {answer}")
    assert not Path("it ran").exists()


def test_foreign_files_are_told_apart(mistake: Callable[..., str]) -> None:
    picture().save("a.png")
    save_file({"weight": torch.zeros(2)}, "foreign.safetensors")
    assert_names(mistake("ckpt=foreign.safetensors", "input=a.png"), "foreign.safetensors network fast_style")
    torch.save(Malicious(), "net.pth")
    assert_names(mistake("ckpt=net.pth", "input=a.png"), "net.pth pickled")
    assert not Path("it ran").exists()


def test_the_list_shows_ones_own_networks_and_those_that_ship(
    call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("wave", "two"):
        credit: dict[str, str | int | None] = {"work": "The \x1b[1mWave", "artist": "Hokusai", "year": 1831}
        shipped = Metadata({"wave": credit}, losses={"heldout/content": 0.5, "heldout/total": 1.25})
        save_network(tmp_path / f"zoo/{name}.safetensors", LightNet(styles=1, width=4, blocks=1), shipped)
    zoo = {name: tmp_path / f"zoo/{name}.safetensors" for name in ("two", "wave")}
    monkeypatch.setattr("fast_style.zoo.names.shipped_networks", lambda: zoo)
    Path("checkpoints/cut.safetensors").write_bytes(truncated(zoo["wave"].read_bytes()))
    headings, own, hidden, wave, damaged = [re.split(r"\s{2,}", line) for line in call("ckpt=list")]
    assert headings == ["name", "network", "credit", "path"]
    # A file that others made does not speak to the terminal.
    assert wave == ["wave", "LightNet", "'The \\x1b[1mWave, Hokusai, 1831'", str(zoo["wave"])]
    assert own[:2] + own[3:] == ["two", "LightNet", "checkpoints/two.safetensors"]
    assert hidden[0] == "zoo/two"
    assert damaged[0].startswith("checkpoints/cut.safetensors: damaged")


def test_the_list_is_of_files_and_needs_neither_a_picture_nor_torch(folder: Path) -> None:
    program = "import sys, fast_style.cli as s; s.script('stylize'); print('torch' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    arguments = [sys.executable, "-c", program, "ckpt=list"]
    done = subprocess.run(arguments, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search("^two +LightNet +.*checkpoints/", done.stdout, re.MULTILINE)
    assert done.stdout.endswith("\nFalse\n")


def test_stylizing_starts_without_the_libraries_of_training(folder: Path) -> None:
    picture().save("a=b.png")
    program = "import json, sys, fast_style.cli as s; s.script('stylize'); print(json.dumps([*sys.modules]))"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    arguments = [sys.executable, "-c", program, "ckpt=two", "input=a=b.png"]
    done = subprocess.run(arguments, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    output, modules = done.stdout.splitlines()
    assert output == "a=b_two.png"
    heavy = {"lightning", "pytorch_lightning", "torchvision", "tensorboard", "torchmetrics", "matplotlib", "skimage"}
    assert heavy.intersection(json.loads(modules)) == set()
    # Nor does it leave logs or settings behind.
    assert {path.name for path in folder.iterdir()} == {"checkpoints", "a=b.png", "a=b_two.png"}


def test_one_picture_needs_no_thread_no_video_and_no_tiles(folder: Path) -> None:
    picture().save("a.jpg")
    program = """
import json, sys, threading
begun, start = [], threading.Thread.start
def noted(self):
    begun.append(self._target.__module__ if self._target else type(self).__module__)
    start(self)
threading.Thread.start = noted
import fast_style.cli as s
s.script('stylize')
print(json.dumps([begun, [*sys.modules]]))
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    arguments = [sys.executable, "-c", program, "ckpt=two", "input=a.jpg", "json=true"]
    done = subprocess.run(arguments, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    said, found = map(json.loads, done.stdout.splitlines())
    assert (said["output"], said["status"]) == ("a_two.jpg", "done")
    threads, modules = found
    assert [module for module in threads if (module or "").startswith("fast_style")] == []
    entered = [module for module in modules if module.startswith("fast_style.video")]
    entered += {"fast_style.batch.folder_work", "fast_style.system.pipeline", "fast_style.images.pages"} & {*modules}
    entered += {"fast_style.stylizing.tiling", "rich.progress"} & {*modules}
    assert entered == []


def made(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def photos(folder: Path) -> Path:
    """A tree in which a name comes twice, with a file that is no picture and one that is damaged."""
    for name in ("a.png", "day/a.png", "day/late/b.png"):
        path = folder / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        picture().save(path)
    (folder / "photos/notes.txt").write_text("not a picture")
    (folder / "photos/day/bad.png").write_bytes(b"no picture")
    return folder / "photos"


def test_a_folder_of_any_depth_keeps_its_tree(call: Call, photos: Path) -> None:
    (photos / "day/bad.png").unlink()
    names = {"a.png", "day/a.png", "day/late/b.png"}
    assert set(call("ckpt=two", "input=photos", "output=new")) == {f"new/{name}" for name in names}
    assert made(Path("new")) == names
    assert set(call("ckpt=two", "input=photos/**/a.png", "output=globbed")) == {"globbed/a.png", "globbed/day/a.png"}
    # What lies in the output is no picture to begin with, wherever that is.
    for _ in range(2):
        call("ckpt=two", "input=photos", "output=photos/new", "overwrite=true")
        assert made(photos / "new") == names
    beside = {f"photos/{name[:-4]}_day.png" for name in (*names, "new/a.png", "new/day/a.png", "new/day/late/b.png")}
    assert set(call("ckpt=two", "input=photos", "styles=day")) == beside


def test_a_second_style_leaves_out_what_the_first_has_made(
    call: Call, photos: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (photos / "day/bad.png").unlink()
    # Not ours: of these, the first part is no picture's name, or the second no style's.
    for name in ("b_day.png", "a_beach.png", "day/a_night.jpg.png"):
        picture().save(photos / name)
    others = {"a", "day/a", "day/late/b", "b_day", "a_beach", "day/a_night.jpg"}
    first = set(call("ckpt=two", "input=photos", "styles=day"))
    assert first == {f"photos/{name}_day.png" for name in others}
    assert set(call("ckpt=two", "input=photos", "styles={day: 1, night: 2}")) == {
        f"photos/{name}_day+night.png" for name in others
    }
    assert set(call("ckpt=two", "input=photos/**/*.png", "styles=night", "output=new")) == {
        f"new/{name}.png" for name in others
    }
    capfd.readouterr()
    # One that is named itself is meant.
    assert call("ckpt=two", "input=photos/a_day.png", "styles=night") == ["photos/a_day_night.png"]


def test_archives_become_folders(call: Call, photos: Path) -> None:
    shutil.make_archive("shots", "gztar", photos)
    (photos / "day/bad.png").unlink()
    shutil.make_archive("shots", "zip", photos)
    names = {"a.png", "day/a.png", "day/late/b.png"}
    assert set(call("ckpt=two", "input=shots.zip", "styles=day")) == {f"shots_day/{name}" for name in names}
    with raises(SystemExit, "stylize.py 1 4 failed"):
        call("ckpt=two", "input=shots.tar.gz", "output=new")
    assert made(Path("new")) == names


def test_resume_goes_on_where_a_run_has_stopped(
    call: Call, mistake: Callable[..., str], photos: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (photos / "day/bad.png").unlink()
    call("ckpt=two", "input=photos", "output=new")
    Path("new/day/a.png").unlink()
    before = {path: path.stat().st_mtime_ns for path in Path("new").rglob("*.png")}
    assert_names(mistake("ckpt=two", "input=photos", "output=new"), "exists overwrite=true resume=true")
    assert call("ckpt=two", "input=photos", "output=new", "resume=true") == ["new/day/a.png"]
    capfd.readouterr()
    assert {path: path.stat().st_mtime_ns for path in Path("new").rglob("*.png")}.items() > before.items()
    os.utime("photos/a.png", (2e9, 2e9))
    assert call("ckpt=two", "input=photos", "output=new", "resume=true") == []
    both = mistake("ckpt=two", "input=photos", "output=new", "resume=true", "overwrite=true")
    assert_names(both, "resume overwrite")


def test_json_is_a_line_for_each_picture_and_all_that_is_on_standard_output(
    call: Call, photos: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    call("ckpt=two", "input=photos/a.png", "output=new")
    with raises(SystemExit, "stylize.py 1 4 failed there"):
        call("ckpt=two", "input=photos", "output=new", "resume=true", "json=true")
    out, errors = capfd.readouterr()
    lines = {line["input"]: line for line in map(json.loads, out.splitlines())}
    assert lines.keys() == {f"photos/{name}" for name in ("a.png", "day/a.png", "day/bad.png", "day/late/b.png")}
    done = lines["photos/day/a.png"]
    assert done.pop("seconds") > 0
    assert done == {
        "input": "photos/day/a.png",
        "output": "new/day/a.png",
        "status": "done",
        "width": 40,
        "height": 24,
        "error": None,
    }
    assert lines["photos/a.png"]["status"] == "skipped"
    bad = lines["photos/day/bad.png"]
    assert (bad["status"], bad["output"], bad["width"]) == ("failed", None, None)
    assert errors == f"{bad['error']}\n"
    # Of one picture as well, with the same exit status as ever.
    with pytest.raises(SystemExit) as stop:
        call("ckpt=two", "input=photos/day/bad.png", "json=true")
    assert stop.value.code == f"stylize.py: {bad['error']}"
    assert json.loads(capfd.readouterr().out)["error"] == bad["error"]


def test_names_of_any_bytes_are_said_on_one_line(call: Call, folder: Path) -> None:
    (folder / "photos").mkdir()
    name = b"caf\xe9\n.png"
    picture().save("a.png")
    Path("a.png").rename(os.fsdecode(b"photos/" + name))
    assert call("ckpt=two", "input=photos", "output=new") == [r"new/caf\udce9\n.png"]
    assert os.listdir(b"new") == [name]


@pytest.mark.parametrize(
    ("sent", "status", "line"),
    [(signal.SIGINT, 130, "stylize.py: interrupted"), (signal.SIGTERM, 143, "stylize.py: stopped")],
)
def test_a_run_that_is_stopped_leaves_whole_pictures_and_says_how_to_go_on(
    call: Call, folder: Path, sent: signal.Signals, status: int, line: str
) -> None:
    (folder / "photos").mkdir()
    for index in range(200):
        picture(300, 200).save(f"photos/{index}.jpg")
    settings = ["ckpt=two", "input=photos", "output=new"]
    process = forked.start(folder, *settings, output=folder / "lines", errors=folder / "errors", program=forked.STYLIZE)
    while not Path("lines").exists() or "\n" not in Path("lines").read_text():
        assert process.exitcode is None
        time.sleep(0.002)
    os.kill(process.pid or 0, sent)
    process.join(60)
    lines, errors = Path("lines").read_text().splitlines(), Path("errors").read_text()
    done = len(made(Path("new")))
    assert all(line.startswith("new/") for line in lines)
    assert process.exitcode == status
    # The signal may come between a picture's last byte and its line.
    assert done - 1 <= len(lines) <= done
    assert_names(errors, f"{line} {done} 200 resume=true")
    assert 0 < done < 200
    for path in Path("new").iterdir():
        Image.open(path).load()
    rest = call(*settings, "resume=true")
    assert len(rest) == 200 - done
    assert len(made(Path("new"))) == 200


def test_a_copy_too_large_for_its_format_is_refused_before_the_work(mistake: Callable[..., str]) -> None:
    picture(16_400, 32).save("wide.png")
    line = mistake("ckpt=two", "input=wide.png", "output=wide.webp")
    assert_names(line, "wide.png 16,400 WEBP 16,383 size=16383")
    assert not Path("wide.webp").exists()


def test_whoever_closes_the_output_gets_the_picture_nevertheless(folder: Path) -> None:
    picture().save("a.png")
    script = [sys.executable, str(ROOT / "scripts/stylize.py"), "ckpt=two", "input=a.png", "output=b.png"]
    done = subprocess.run(["sh", "-c", '"$@" >&-', "sh", *script], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    Image.open("b.png").load()


def test_a_full_disk_and_a_folder_that_cannot_be_made_get_one_line(
    call: Call, mistake: Callable[..., str], small_disk: Callable[[str], Path], capfd: pytest.CaptureFixture[str]
) -> None:
    disk = small_disk("32k")
    Path("photos").mkdir()
    for index in range(40):
        picture(80, 60).save(f"photos/{index}.png")
    with pytest.raises(SystemExit) as stop:
        call("ckpt=two", "input=photos", f"output={disk}")
    out, errors = capfd.readouterr()
    done = len(out.splitlines())
    assert_names(stop.value.code, f"stylize.py disk full {done} 40 resume=true")
    assert 0 < done < 40
    for line in errors.splitlines():
        assert_names(line, "written No space left on device")
    assert len(made(disk)) == done
    Path("file").touch()
    line = mistake("ckpt=two", "input=photos", "output=file/new")
    assert_names(line, "output written file/new/ Not a directory")


def test_progress_goes_aside_where_results_are_on_standard_output(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with ProgressBar("pictures", every_n_seconds=0, aside=True) as bar:
        bar.update("stylizing", 0, 2000)
        bar.update("stylizing", 1000, 2000)
    out, errors = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(r"stylizing  1,000 of 2,000 pictures, [\d,.]+/s, \d+:\d\d left\n", errors)
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("COLUMNS", "120")
    with ProgressBar("pictures", aside=True) as bar:
        bar.update("stylizing", 0, 10)
        print("a result")
        bar.update("stylizing", 10, 10)
    out, errors = capsys.readouterr()
    assert out == "a result\n"
    assert "10 of 10 pictures, " in errors


def test_the_progress_of_tiles_is_told_pass_by_pass(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    passes = [(number, done, 3) for number in (1, 2) for done in (1, 2, 3)]
    with ProgressBar("tiles", every_n_seconds=0, aside=True, leave=False) as bar:
        for each in passes:
            bar.update_pass(*each)
    out, errors = capsys.readouterr()
    assert out == ""
    lines = errors.splitlines()
    assert [re.sub(r", [\d,.]+/s, \d+:\d\d left$", "", line) for line in lines] == [
        "pass 1  2 of 3 tiles",
        "pass 2  2 of 3 tiles",
    ]
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("COLUMNS", "120")
    # Below another bar there are lines; by itself it is a bar.
    with ProgressBar("pictures", aside=True) as outer, ProgressBar("tiles", every_n_seconds=0, aside=True) as bar:
        outer.update("stylizing", 0, 10)
        for each in passes:
            bar.update_pass(*each)
        print("a result")
    out, errors = capsys.readouterr()
    assert out == "a result\n"
    assert re.search(r"pass 2  2 of 3 tiles, [\d,.]+/s, \d+:\d\d left\n", errors)
    with ProgressBar("tiles", aside=True) as bar:
        for each in passes:
            bar.update_pass(*each)
    assert "3 of 3 tiles, " in capsys.readouterr().err
