"""What the scripts read from the command line, and what they answer to a mistake: one line, and status 1."""

import os
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from omegaconf import DictConfig
from PIL import Image
from small_messages import assert_each, assert_names, assert_says, raises

from fast_style.cli import train
from fast_style.cli.hydra_app import find_pictures, output_paths, run
from fast_style.cli.overrides import own_painting, read_arguments
from fast_style.cli.train_settings import seconds_of, time_limit
from fast_style.errors import ConfigError
from fast_style.networks import LightNet
from fast_style.zoo.saving import Metadata, save_network

ROOT = Path(__file__).resolve().parents[2]
QUIET = ("hydra/job_logging=none", "hydra/hydra_logging=none")
PAINTING = ("style.painting.image=a.jpg", "style.painting.name=1889")
Call = Callable[..., None]

NAMES = [
    "my photo (1).jpg", "a=b.jpg", "Ünï.jpg", "写真.jpg", "[draft] a.jpg", "[draft]", "{a}.jpg", "a,b.jpg", "#1.jpg",
    "it's.jpg", 'say "x".jpg', "a&b;c!.jpg", "f(x)", "C:\\my photos\\a.jpg", "C:\\photos (1)\\", "a\\'b (1).jpg",
    "  x.jpg", "100%.jpg", "a$b.jpg", "-x.jpg", "a: b.jpg", "`x`|y.jpg",
]  # fmt: skip


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Runs a function with the configuration that a command line asks for, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)

    def call(main: Callable[[DictConfig], None], config_name: str, *arguments: str) -> None:
        monkeypatch.setattr(sys, "argv", [f"scripts/{config_name}.py", *arguments])
        run(main, config_name)

    return call


@pytest.fixture
def mistake(call: Call, capfd: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Returns the line with which scripts/train.py refuses a command line."""

    def mistake(*arguments: str) -> str:
        with pytest.raises(SystemExit) as stop:
            call(train.main, "train", *arguments, *QUIET)
        assert capfd.readouterr() == ("", "")
        line = str(stop.value.code)  # Python prints it, and exits with status 1
        assert line.startswith("train.py: ")
        assert "\n" not in line
        return line.removeprefix("train.py: ")

    return mistake


@pytest.mark.parametrize("name", NAMES)
def test_any_file_name_can_be_typed_unquoted(call: Call, tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    seen: list[str] = []
    call(lambda config: seen.append(config.input), "stylize", "ckpt=x", f"input={name}")
    assert seen == [name]


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("[draft]", "  x.jpg")])
def test_so_can_the_name_of_a_file_to_come(call: Call, name: str) -> None:
    seen: list[str] = []
    call(lambda config: seen.append(config.output), "stylize", "ckpt=x", "input=y", f"output={name}")
    assert seen == [name]


def test_what_hydra_understands_is_left_alone() -> None:
    arguments = ["seed=1", "style=[a,b]", "+trainer.limit_val_batches=2", "~schedule", "styles={a: 0.5}", "name='a b'"]
    assert read_arguments(arguments) == arguments
    assert read_arguments(["optimizer.lr=0.1,0.2", "-m"]) == ["-m", "optimizer.lr=0.1,0.2"]


@pytest.mark.parametrize("name", ["2024", "007", "1e3", "-5"])
def test_a_name_may_look_like_a_number(call: Call, name: str) -> None:
    seen: list[str] = []
    names = [f"input={name}", f"output={name}"]
    call(lambda config: seen.extend((config.input, config.output)), "stylize", "ckpt=x", *names)
    assert seen == [name, name]
    call(lambda config: seen.append(config.style.painting.name), "train", "style=painting", *PAINTING, *QUIET)
    assert seen[2:] == ["1889"]


@pytest.mark.parametrize("name", ["my painting (1).jpg", "'my painting (1).jpg'"])
def test_a_painting_of_ones_own_is_a_style_called_after_its_file(name: str) -> None:
    found = own_painting([f"style.image=art/{name}" if name[0] != "'" else f"style.image={name}", "style.size=300"])
    names = ["style.painting.name='my_painting_1'", "name='my_painting_1'"]
    assert found[:3] == ["style=painting", *names]
    assert found[3].startswith("style.painting.image=")
    assert found[4:] == ["style.painting.size=300"]


def test_a_painting_of_ones_own_gets_title_and_artist_by_key(call: Call) -> None:
    seen: list[DictConfig] = []
    Image.new("RGB", (4, 4)).save("a.jpg")
    arguments = ["style.image=a.jpg", "style.title=Garden, at dusk", "style.artist=Me", "style.year=2024"]
    call(lambda config: seen.append(config.style.painting), "train", *own_painting(read_arguments(arguments)), *QUIET)
    assert [seen[0][key] for key in ("work", "artist", "year")] == ["Garden, at dusk", "Me", 2024]


def test_a_painting_of_ones_own_may_have_another_name() -> None:
    given = ["style.image=a.jpg", "name=other", "+style.layers.relu5_2=1", "style.painting.name=mine"]
    assert own_painting(given) == [
        *("style=painting", "style.painting.image=a.jpg", "name=other"),
        *("+style.painting.layers.relu5_2=1", "style.painting.name=mine"),
    ]


def test_a_painting_of_ones_own_takes_no_other_style() -> None:
    with raises(ConfigError, "style.image style"):
        own_painting(["style.image=a.jpg", "style=great_wave"])


def test_how_long_a_run_takes_is_said_in_one_way(mistake: Callable[..., str]) -> None:
    assert_names(mistake("minutes=2", "trainer.max_time=1h"), "minutes trainer.max_time")


@pytest.mark.parametrize(
    ("arguments", "seconds"), [([], 1800), (["minutes=0.5"], 30), (["trainer.max_time=2min"], 120)]
)
def test_minutes_are_a_short_way_to_say_it(call: Call, arguments: list[str], seconds: int) -> None:
    seen: list[timedelta | None] = []
    call(lambda config: seen.append(time_limit(config)), "train", *arguments, *QUIET)
    assert seen == [timedelta(seconds=seconds)]


def test_the_home_folder_can_be_written_as_a_tilde(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/vincent")
    assert read_arguments(["input=~/sunflowers.jpg"]) == ["input='/home/vincent/sunflowers.jpg'"]


@pytest.mark.parametrize(
    ("argument", "answer"),
    [
        # names: what there is, and what was probably meant
        ("style=starry_nigt", "style 'starry_nigt' starry_night"),
        ("style=[starry_night,grate_wave]", "style 'grate_wave' great_wave"),
        ("network=lite", "network 'lite' light balanced residual"),
        ("loss=[content,stil]", "loss 'stil' style content grid hatch"),
        ("experiment=foo", "experiment 'foo' dumoulin2017 gatys2015 johnson2016 swatch"),
        ("style=[starry_night", "style '[starry_night' starry_night"),
        ("nam=1", "setting 'nam' name batch_size"),
        ("trainer.max_step=3", "setting 'trainer.max_step' trainer.max_steps"),
        ("loss.contnt.weight=1", "setting 'loss.contnt' loss.content content"),
        ("style.great_wave.size=256", "setting 'style.great_wave' starry_night"),
        ("style.starry_night.layers.relu5_2=1", "setting 'style.starry_night.layers.relu5_2'"),
        ("trainer.limit_val_batches=2", "setting 'trainer.limit_val_batches' +trainer.limit_val_batches"),
        ("+network.depth=3", "setting 'network.depth' network.width blocks"),
        ("+optimizer.weigt_decay=0.1", "setting 'optimizer.weigt_decay' +optimizer.weight_decay"),
        ("+style.starry_night.layers.relu9_9=1", "VGGEncoder layer relu9_9 conv1_1"),
        ("network._target_=nowhere.Network", "network 'nowhere.Network' ModuleNotFoundError("),
        # choices
        ("style=[]", "style=[] nothing"),
        ("style=painting", "style.painting.image style.painting.image="),
        ("style=5", "style=5 nothing"),
        ("network=null", "network=null nothing balanced light residual"),
        ("style=a,b", "style=a,b -m style=[a,b]"),
        ("network=light,residual", "network=light,residual -m network=a,b"),
        ("network=[light,residual]", "network=[light,residual] -m"),
        ("~network", "network given"),
        ("experiment=swatch", "experiment=swatch train.py 'output'"),
        (
            "checkpoint=a.jpg",
            "checkpoint .safetensors checkpoints/my_painting.safetensors",
        ),
        ("checkpoint=/proc/a.safetensors", "checkpoint nothing written /proc/"),
        ("trainer.max_time=abc", "trainer.max_time 0 30min 1h30m 01:30:00"),
        ("checkpoint=[a,b]", "checkpoint checkpoints/starry_night.safetensors ['a', 'b']"),
        ("checkpoint=true", "checkpoint checkpoints/starry_night.safetensors True"),
        ("data.source=", "data.source= empty"),
        # types
        ("network.width=abc", "network.width 64 'abc'"),
        ("network.width=[64", "network.width 64 '[64'"),
        ("batch_size=2.5", "batch_size 2 2.5"),
        ("batch_size=null", "batch_size 2 None"),
        ("trainer.max_steps=many", "trainer.max_steps 3000 'many'"),
        ("trainer.max_steps=true", "trainer.max_steps 3000 True"),
        ("optimizer.lr=fast", "optimizer.lr 0.003 'fast'"),
        ("optimizer.lr=0.1,0.2", "optimizer.lr 0.003 '0.1,0.2'"),
        ("trainer.enable_model_summary=1", "trainer.enable_model_summary true false 1"),
        ("loss.content.layers=relu4_1", "loss.content.layers list ['relu4_1'] 'relu4_1'"),
        ("preview=3", "preview mapping {"),
        ("name=${nam}", "hydra.run.dir 'nam'"),
        # ranges
        ("network.width=-3", "network.width 1 -3"),
        ("style.starry_night.size=-3", "style.starry_night.size 16 -3"),
        ("loss.style.weight=-1", "loss.style.weight 0 -1"),
        ("optimizer.lr=-1", "optimizer.lr 0 -1"),
        ("trainer.max_steps=0", "trainer.max_steps 1 -1 0"),
        ("trainer.val_check_interval=0", "trainer.val_check_interval 0"),
        ("batch_size=0", "batch_size 1 0"),
        ("network.dilation=8", "network.dilation 1 7 8"),
        ("data.seed=-1", "data.seed negative -1"),
        ("minutes=0", "minutes 0 2 0.5"),
        ("minutes=soon", "minutes 0 2 0.5 'soon'"),
        ("logger=wandb", "logger=wandb wandb logger"),
        ("trainer.max_time=-10", "trainer.max_time 0 30min 1h30m 01:30:00"),
        ("trainer.precision=foo", "trainer.precision 32-true bf16-mixed 16-mixed"),
        ("init=starry_nigth", "starry_nigth starry_night"),
        ("encoder.weights=nowhere.pth", "nowhere.pth encoder.weights oxford torchvision"),
        ("seed=-1", "seed 0 4294967295 -1"),
        ("workers=-1", "workers 0 -1"),
        # files
        ("data=photos", "data.source data.source="),
        ("style.starry_night.image=/nowhere (1).jpg", "/nowhere (1).jpg readable No such file or directory"),
        ("heldout.images=nowhere", "nowhere picture folder glob"),
        # form
        ("foo", "'foo' key=value seed=1"),
        ("=3", "'=3' key=value seed=1"),
        ("style..size=3", "'style..size' key=value seed=1"),
        ("--batch_size=3", "option --batch_size=3 key=value seed=1"),
    ],
)
def test_a_mistake_gets_one_line(mistake: Callable[..., str], argument: str, answer: str) -> None:
    assert_names(mistake(argument), answer)


@pytest.mark.parametrize(
    ("length", "seconds"),
    [
        *((120, 120), ("120", 120), (0.5, 0.5), ("2min", 120), ("90s", 90), ("90 sec", 90), ("1h30m", 5400)),
        *(("1 h 30 min", 5400), ("2 hours", 7200), ("1.5h", 5400), ("1d", 86400), ("00:02:00", 120), ("2:05", 125)),
        *(("00:00:02:00", 120), ("1:02:03:04", 93784), ("00:00:30:00", 1800), ("1M", 60), (None, None)),
        ({"minutes": 2}, 120),
    ],
)
def test_the_time_of_a_training_can_be_written_in_many_ways(length: object, seconds: float | None) -> None:
    assert seconds_of(length) == seconds


@pytest.mark.parametrize("length", ["abc", "", "2x", "1m1h", "1h1h", "1:2", "::", "-5", 0, "0s", "inf", True, [1]])
def test_what_is_no_length_of_time_is_refused(length: object) -> None:
    with raises(ConfigError, "trainer.max_time 0 30min"):
        seconds_of(length)


def test_a_schedule_may_be_left_out(call: Call) -> None:
    seen: list[object] = []
    call(lambda config: seen.append(config.get("schedule")), "train", "schedule=null", *QUIET)
    assert seen == [None]


def test_two_styles_of_one_name_are_refused(mistake: Callable[..., str]) -> None:
    line = mistake("style=[great_wave,starry_night]", "style.starry_night.name=great_wave")
    assert_names(line, "two great_wave style.KEY.name=")


def test_a_painting_that_is_no_style_yet_is_shown_the_way(mistake: Callable[..., str], tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "my_painting.png")
    for asked in ("my_painting", "[my_painting,great_wave]", "my_painting.png"):
        assert_names(mistake(f"style={asked}"), "style.image=my_painting.png")
    Path("checkpoints").mkdir()
    trained = Metadata({"mine": {}}, {"style": {"painting": {"image": "art/my picture.jpg"}}})
    save_network(Path("checkpoints/mine.safetensors"), LightNet(1, width=4, blocks=1), trained)
    answer = mistake("style=mine")
    assert_names(answer, "checkpoints/mine.safetensors network")
    assert_names(answer, "'style.image=art/my picture.jpg' configs/style/mine.yaml")
    # It cannot be chosen without a picture, so nobody means it.
    assert "painting" not in mistake("style=paintin")


def test_mistakes_are_told_before_pytorch_is_imported(tmp_path: Path) -> None:
    program = "import runpy, sys; sys.modules['torch'] = sys.modules['lightning'] = None; sys.argv = sys.argv[1:]; "
    program += "sys.path.insert(0, sys.argv[0].rpartition('/')[0]); runpy.run_path(sys.argv[0], run_name='__main__')"
    for wrong in ("trainer.max_time=soon", "trainer.precision=foo", "style.starry_night.image=none.jpg"):
        arguments = [sys.executable, "-c", program, str(ROOT / "scripts/train.py"), wrong]
        done = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
        assert (done.returncode, done.stderr.count("\n")) == (1, 1)
        assert done.stderr.startswith("train.py: ")
        assert "torch" not in done.stderr
        assert list(tmp_path.iterdir()) == []


def test_a_start_that_fails_leaves_nothing_behind(mistake: Callable[..., str], tmp_path: Path) -> None:
    for wrong in (("seed=-1",), ("network.width=5000",)):
        mistake(*wrong)
        assert list(tmp_path.iterdir()) == []


def test_a_sweep_whose_starts_all_fail_leaves_nothing_behind(
    call: Call, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with raises(SystemExit, "train.py 2 failed"):
        call(train.main, "train", "-m", "network.width=5000,6000", *QUIET)
    table, errors = capfd.readouterr()
    assert_each(errors.splitlines(), *(f"train.py network.width 1 4096 {width}" for width in (5000, 6000)))
    reasons = [line.removeprefix("train.py: ") for line in errors.splitlines()]
    assert [line.partition("failed: ")[2] for line in table.strip().splitlines()] == ["", *reasons]
    assert list(tmp_path.iterdir()) == []


def test_a_start_that_fails_leaves_what_was_there(mistake: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "runs/starry_night/mine").mkdir(parents=True)
    (tmp_path / "runs/starry_night/mine/notes.txt").touch()
    mistake("seed=-1", "hydra.run.dir=runs/starry_night/mine")
    mistake("seed=-1")
    assert [path.name for path in (tmp_path / "runs/starry_night").iterdir()] == ["mine"]
    assert (tmp_path / "runs/starry_night/mine/notes.txt").exists()


def test_a_missing_source_of_pictures_is_named(mistake: Callable[..., str]) -> None:
    assert_names(mistake("data=photos", "data.source=/nowhere (1)"), "/nowhere (1) folder archive")


def test_a_file_in_the_way_of_the_run_is_named(mistake: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "runs").touch()
    assert mistake().endswith(("runs: File exists", "Not a directory"))


def test_a_sweep_goes_on_after_a_mistake(call: Call, capfd: pytest.CaptureFixture[str]) -> None:
    widths: list[int] = []
    with raises(SystemExit, "train.py 1 failed"):
        call(lambda config: widths.append(config.network.width), "train", "network.width=8,16,abc,32", "-m", *QUIET)
    assert_says(capfd.readouterr().err, "network.width 64 'abc'")
    assert widths == [8, 16, 32]
    with raises(SystemExit, "network 'lite' light"):
        call(lambda config: widths.append(config.network.width), "train", "-m", "network=light,lite", *QUIET)
    assert widths == [8, 16, 32]  # what does not exist shows before the first run


def test_a_run_has_a_folder_of_its_own_with_its_configuration(call: Call, tmp_path: Path) -> None:
    call(lambda config: None, "train", "style=[starry_night,great_wave]", *QUIET)
    (run_folder,) = (tmp_path / "runs" / "starry_night+great_wave").iterdir()
    assert "style=[starry_night,great_wave]" in (run_folder / ".hydra" / "overrides.yaml").read_text()
    assert (run_folder / ".hydra" / "config.yaml").exists()


def test_the_traceback_is_there_for_who_asks(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    with raises(ConfigError, "batch_size"):
        call(train.main, "train", "batch_size=abc", *QUIET)


def test_processes_that_a_run_starts_answer_in_one_line_too(call: Call) -> None:
    seen: list[str] = []
    call(lambda config: seen.append(os.environ["HYDRA_FULL_ERROR"]), "train", *QUIET)
    assert seen == ["0"]


def test_an_interrupted_run_says_so(call: Call, capfd: pytest.CaptureFixture[str]) -> None:
    def main(config: DictConfig) -> None:
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as stop:
        call(main, "train", *QUIET)
    assert stop.value.code == 130
    assert capfd.readouterr().err == "train.py: interrupted\n"


def test_the_shell_sees_status_1_and_one_line(tmp_path: Path) -> None:
    arguments = [sys.executable, str(ROOT / "scripts/stylize.py"), "ckpt=nowhere", "input=my photo (1).jpg"]
    done = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert_names(done.stderr, "stylize.py nowhere checkpoints/ zoo")
    assert list(tmp_path.iterdir()) == []


def test_pictures_are_found_by_file_folder_and_glob(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = Path("[2024]")
    folder.mkdir()
    for name in ("b.JPG", "a.png", ".hidden.png", "notes.txt"):
        (folder / name).touch()
    a, b = folder / "a.png", folder / "b.JPG"
    assert find_pictures("[2024]") == [a, b]
    assert find_pictures(["[2024]/b.JPG", "[2024]"]) == [b, a]
    assert find_pictures("*/*") == [a, b]
    assert find_pictures("**/*.png") == [a]
    assert find_pictures("[2024]/notes.txt") == [folder / "notes.txt"]  # named, so that its fault is told
    with raises(ConfigError, "*.gif picture folder glob"):
        find_pictures("*.gif")
    Path("empty").mkdir()
    with raises(ConfigError, "empty picture folder .jpg"):
        find_pictures("empty")


def test_a_result_goes_beside_its_picture_or_where_one_says(tmp_path: Path) -> None:
    files = [tmp_path / "a.jpg", tmp_path / "b.png"]
    new, one = f"{tmp_path}/new", f"{tmp_path}/one.webp"
    assert output_paths(files, None, "x", overwrite=False) == [tmp_path / "a_x.jpg", tmp_path / "b_x.png"]
    assert output_paths(files, new, "x", overwrite=False) == [tmp_path / "new/a.jpg", tmp_path / "new/b.png"]
    assert output_paths(files[:1], f"{new}.v2/", "x", overwrite=False) == [tmp_path / "new.v2/a.jpg"]
    assert output_paths(files[:1], one, "x", overwrite=False) == [tmp_path / "one.webp"]
    with raises(ConfigError, "2 folder output"):
        output_paths(files, one, "x", overwrite=False)
    with raises(ConfigError, "a.jgp unknown .jpg"):
        output_paths(files[:1], f"{tmp_path}/a.jgp", "x", overwrite=False)


def test_a_name_from_a_foreign_network_leads_to_no_other_folder(tmp_path: Path) -> None:
    (path,) = output_paths([tmp_path / "a.jpg"], None, "../../étoile", overwrite=False)
    assert path == tmp_path / "a_.._.._étoile.jpg"


def test_no_result_replaces_its_own_picture_or_another_result(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    files = [tmp_path / "a.png", tmp_path / "other" / "a.png"]
    for file in files:
        Image.new("RGB", (4, 4)).save(file)
    with raises(ConfigError, "input itself"):
        output_paths(files[:1], str(tmp_path), "x", overwrite=True)
    names = [path.name for path in output_paths(files, str(tmp_path / "new"), "x", overwrite=True)]
    assert names == ["a.png", "a.other.png"]
    with raises(ConfigError, "exists overwrite=true"):
        output_paths(files[:1], str(tmp_path / "other"), "x", overwrite=False)
    assert list((tmp_path / "new").iterdir()) == []
