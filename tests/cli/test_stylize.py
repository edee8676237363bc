"""scripts/stylize.py: from a network file and pictures to stylized pictures."""

import json
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

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
    assert mistake("ckpt=two", "input=photos", "styles=day").startswith("photos/a_day.jpg: exists already; add overw")
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
    with pytest.raises(SystemExit) as stop:
        call("ckpt=two", "input=photos", "output=new")
    assert stop.value.code == "stylize.py: 1 of 3 pictures failed; the others are done"
    out, errors = capfd.readouterr()
    assert out.splitlines() == ["new/a.png", "new/c.png"]
    assert errors.startswith("photos/b.png: not a readable picture (")
    assert errors.count("\n") == 1


@pytest.mark.parametrize(
    ("argument", "answer"),
    [
        ("input=nowhere (1).jpg", "nowhere (1).jpg: no such picture; give a file, a folder or a quoted glob"),
        ("input=notes.txt", "notes.txt: not a readable picture ("),
        ("output=a.jgp", "a.jgp: unknown picture format; end it in one of .jpg, "),
        ("output=a.png", "a.png: is the input itself; give another output"),
        ("size=big", "size must be a whole number of pixels, such as 1024, not 'big'"),
        ("size=0", "size must be from 1 to 65535 pixels, not 0"),
        ("strength=2", "strength must be from 0 to 1, not 2"),
        ("strength=half", "strength must be a number, such as 1.0, not 'half'"),
        ("overwrite=maybe", "overwrite must be true or false, such as False, not 'maybe'"),
        ("brush=3", "brush must be from 0.5 to 2, not 3"),
        ("seed=0.5", "seed must be a whole number, such as 0, not 0.5"),
        ("preserve_color=hue", "preserve_color must be one of none, histogram, luminance, not 'hue'"),
        ("mask=nowhere.png", "mask=nowhere.png: not a readable picture (No such file or directory)"),
        ("masks={dusk: a.png}", "there is no style dusk in this network; it has day, night"),
        ("masks=sky.png", "masks must name styles, such as {starry_night: sky.png}, not 'sky.png'"),
        ("styles=dusk", "there is no style dusk in this network; it has day, night"),
        ("styles={dusk: 1}", "there is no style dusk in this network; it has day, night"),
        ("styles={day: some}", "styles must be one name, or a number for each, such as {day: 1}, not {'day': 'some'}"),
        ("styles=[day]", "styles must be one name, or a number for each, such as {day: 1}, not ['day']"),
        ("output=[a,b]", "output must be one name, not ['a', 'b']"),
        ("output=true", "output must be one name, not True"),
        ("output=", "output= is empty; give it a value, or leave it out"),
        ("input=", "input= is empty; give it a value, or leave it out"),
        ("fps=30", "fps is for videos, and here pictures are stylized; leave it out"),
        ("codec=264", "codec is for videos, and here pictures are stylized; leave it out"),
        ("styles={day: -1, night: 2}", "style weights must not be negative"),
        ("backend=tensorflow", "backend must be one of auto, torch, compile, onnx, openvino, not 'tensorflow'"),
        ("precision=fp16", "precision must be one of auto, fp32, bf16, not 'fp16'"),
        ("style=day", "there is no setting 'style'; did you mean styles? Choose from audio, "),
        ("ckpt=three", "three: no such file, and no such name; checkpoints/ has two"),
    ],
)
def test_a_mistake_gets_one_line_and_changes_no_file(
    folder: Path, mistake: Callable[..., str], argument: str, answer: str
) -> None:
    picture().save("a.png")
    Path("notes.txt").write_text("not a picture")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert mistake("ckpt=two", "input=a.png", argument)[: len(answer)] == answer
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_what_must_be_given_is_asked_for(mistake: Callable[..., str]) -> None:
    assert (
        mistake()
        == "ckpt and input must be given: add ckpt=... input=..., such as ckpt=starry_night; ckpt=list shows them"
    )


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
        (lambda good: b"", "the file is empty"),
        (truncated, "damaged or cut short"),
        (tampered, "its weights are not those that were saved (SHA-256 differs)"),
        (lambda good: b"<html>404</html>", "damaged, or not a safetensors file"),
        (lambda good: pickle.dumps(Malicious()), "a pickled file, which could run code"),
        (lambda good: good.replace(b"LightNet", b"os.remov"), "its network, 'os.remov', is unknown here"),
    ],
)
def test_a_bad_network_file_gets_one_line_and_runs_no_code(
    mistake: Callable[..., str], damage: Callable[[bytes], bytes], answer: str
) -> None:
    picture().save("a.png")
    path = Path("bad (1).safetensors")
    path.write_bytes(damage(Path("checkpoints/two.safetensors").read_bytes()))
    assert mistake(f"ckpt={path}", "input=a.png").startswith(f"{path}: {answer}")
    assert not Path("it ran").exists()


def test_foreign_files_are_told_apart(mistake: Callable[..., str]) -> None:
    picture().save("a.png")
    save_file({"weight": torch.zeros(2)}, "foreign.safetensors")
    answer = "foreign.safetensors: a safetensors file, but not a network of fast_style"
    assert mistake("ckpt=foreign.safetensors", "input=a.png").startswith(answer)
    torch.save(Malicious(), "net.pth")
    assert mistake("ckpt=net.pth", "input=a.png").startswith("net.pth: a pickled file, which could run code")
    assert not Path("it ran").exists()


def test_the_list_shows_ones_own_networks_and_those_that_ship(
    call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("wave", "two"):
        credit: dict[str, str | int | None] = {"work": "The \x1b[1mWave", "artist": "Hokusai", "year": 1831}
        shipped = Metadata({"wave": credit}, losses={"heldout/content": 0.5, "heldout/total": 1.25})
        save_network(tmp_path / f"zoo/{name}.safetensors", LightNet(styles=1, width=4, blocks=1), shipped)
    zoo = {name: tmp_path / f"zoo/{name}.safetensors" for name in ("two", "wave")}
    monkeypatch.setattr("fast_style.zoo.names.networks", lambda: zoo)
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
    with pytest.raises(SystemExit) as stop:
        call("ckpt=two", "input=shots.tar.gz", "output=new")
    assert stop.value.code == "stylize.py: 1 of 4 pictures failed; the others are done"
    assert made(Path("new")) == names


def test_resume_goes_on_where_a_run_has_stopped(
    call: Call, mistake: Callable[..., str], photos: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (photos / "day/bad.png").unlink()
    call("ckpt=two", "input=photos", "output=new")
    Path("new/day/a.png").unlink()
    before = {path: path.stat().st_mtime_ns for path in Path("new").rglob("*.png")}
    answer = (
        "exists already; add overwrite=true to replace it, resume=true to make only what is missing, or give another"
    )
    assert answer in mistake("ckpt=two", "input=photos", "output=new")
    assert call("ckpt=two", "input=photos", "output=new", "resume=true") == ["new/day/a.png"]
    capfd.readouterr()
    assert {path: path.stat().st_mtime_ns for path in Path("new").rglob("*.png")}.items() > before.items()
    os.utime("photos/a.png", (2e9, 2e9))
    assert call("ckpt=two", "input=photos", "output=new", "resume=true") == []
    both = mistake("ckpt=two", "input=photos", "output=new", "resume=true", "overwrite=true")
    assert both == "resume keeps the copies that are there, and overwrite replaces them: give one of them"


def test_json_is_a_line_for_each_picture_and_all_that_is_on_standard_output(
    call: Call, photos: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    call("ckpt=two", "input=photos/a.png", "output=new")
    with pytest.raises(SystemExit) as stop:
        call("ckpt=two", "input=photos", "output=new", "resume=true", "json=true")
    assert stop.value.code == "stylize.py: 1 of 4 pictures failed; the others are done; 1 there already"
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
    arguments = [sys.executable, str(ROOT / "scripts/stylize.py"), *settings]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        lines = [process.stdout.readline()]
        process.send_signal(sent)
        # Not by communicate, which does not see what came with the first line and waits in the pipe's buffer here.
        lines += process.stdout.readlines()
        errors = process.stderr.read()
    done = len(made(Path("new")))
    assert all(line.startswith("new/") for line in lines)
    assert process.returncode == status
    # The signal may come between a picture's last byte and its line.
    assert done - 1 <= len(lines) <= done
    assert errors == f"{line}; {done} of 200 pictures are done; resume=true goes on with the others\n"
    assert 0 < done < 200
    for path in Path("new").iterdir():
        Image.open(path).load()
    rest = call(*settings, "resume=true")
    assert len(rest) == 200 - done
    assert len(made(Path("new"))) == 200


def test_a_copy_too_large_for_its_format_is_refused_before_the_work(mistake: Callable[..., str]) -> None:
    picture(16_400, 32).save("wide.png")
    answer = "wide.png: 16,400 pixels are more than a WEBP can have (16,383); give size=16383 or less, or write it as "
    assert mistake("ckpt=two", "input=wide.png", "output=wide.webp").startswith(answer)
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
    said = f"the disk is full; {done} of 40 pictures are done; resume=true goes on with the others"
    assert stop.value.code == f"stylize.py: {said}"
    assert 0 < done < 40
    assert all(line.endswith(": cannot be written (No space left on device)") for line in errors.splitlines())
    assert len(made(disk)) == done
    Path("file").touch()
    line = mistake("ckpt=two", "input=photos", "output=file/new")
    assert line == "output: nothing can be written in file/new/ (Not a directory); give another"


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
