"""The command fast-style: what it is called by, what it shows, and what it takes for a path."""

import json
import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_messages import assert_names, assert_says, raises
from small_runs import SMALL, environment

import fast_style
from fast_style import cli
from fast_style.cli import COMMANDS, help
from fast_style.cli.configs import CONFIGS
from fast_style.cli.overrides import with_paths
from fast_style.cli.signatures import written_parameters
from fast_style.errors import ConfigError
from fast_style.zoo import shipped_networks

CONFIGURED = [name for name, command in COMMANDS.items() if command.config]
#: The program, which says in the end if it has imported one of some packages.
PROGRAM = """
import atexit, sys
atexit.register(lambda: [print("imported", name, file=sys.stderr) for name in {without} if name in sys.modules])
from fast_style.cli import main
main()
"""


def fast_style_command(
    *arguments: str, folder: Path, without: tuple[str, ...] = (), **variables: str
) -> "subprocess.CompletedProcess[str]":
    """Run `fast-style` in a folder, and see that some packages are not imported."""
    program = [sys.executable, "-c", PROGRAM.format(without=without)]
    if not without:
        program = [sys.executable, "-m", "fast_style"]
    return subprocess.run(
        [*program, *arguments], cwd=folder, env=environment(**variables), capture_output=True, text=True, timeout=600
    )


@pytest.fixture(autouse=True)
def as_a_script(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test leaves the word behind by which it has called the program."""
    monkeypatch.setattr(cli, "_word", "")
    monkeypatch.delenv("UV_RUN_RECURSION_DEPTH", raising=False)


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if by the installed command, `fast-style stylize`."""
    monkeypatch.setattr(cli, "_word", "stylize")
    monkeypatch.setattr(sys, "argv", ["/somewhere/bin/fast-style"])
    monkeypatch.setattr(shutil, "which", lambda name: sys.argv[0])
    monkeypatch.setattr(os.path, "samefile", lambda one, two: str(one) == str(two))


def test_the_bare_command_names_all_others_without_what_takes_long_to_import(tmp_path: Path) -> None:
    for arguments in ((), ("--help",), ("-h",)):
        done = fast_style_command(*arguments, folder=tmp_path, without=("torch", "lightning", "hydra", "omegaconf"))
        assert (done.returncode, done.stderr) == (0, "")
        assert set(COMMANDS) <= {line.split()[0] for line in done.stdout.splitlines() if line.startswith("  ")}


def test_the_version_is_told() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "fast_style", "--version"], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout == f"fast-style {fast_style.__version__}\n"


def test_a_mistyped_command_is_told_with_what_was_meant(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["fast-style", "stylise"])
    with raises(SystemExit, "fast-style command 'stylise' stylize"):
        cli.main()


def test_every_script_is_a_command() -> None:
    scripts = {path.stem for path in (CONFIGS.parent / "scripts").glob("*.py")} - {"benchmark_loader"}
    assert scripts == {command.script for command in COMMANDS.values() if command.script}
    assert {path.stem for path in CONFIGS.glob("*.yaml")} == {COMMANDS[name].config for name in CONFIGURED}


# how it was called


@pytest.mark.usefixtures("called")
def test_messages_and_commands_are_those_of_who_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    assert cli.program() == "fast-style stylize"
    assert cli.command_name("prepare_data.py") == "fast-style data"
    assert cli.command("train.py", "style=a b") == "fast-style train 'style=a b'"
    monkeypatch.setenv("UV_RUN_RECURSION_DEPTH", "1")
    assert cli.command("train.py") == "uv run fast-style train"
    monkeypatch.delenv("UV_RUN_RECURSION_DEPTH")
    monkeypatch.setattr(sys, "argv", ["/somewhere/fast_style/__main__.py"])
    assert cli.program() == "fast-style stylize"
    assert cli.command("stylize_distributed.py").endswith(" -m fast_style stylize-distributed")
    monkeypatch.setattr(cli, "_word", "")
    monkeypatch.setattr(sys, "argv", ["scripts/stylize.py"])
    assert cli.program() == "stylize.py"
    assert cli.command_name("prepare_data.py") == "prepare_data.py"
    assert cli.command("train.py", "style=a").endswith(" scripts/train.py style=a")


@pytest.mark.usefixtures("called")
def test_a_mistake_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/somewhere/bin/fast-style", "stylize", "ckpt=twelve", "input=-", "streng=1"])
    with raises(SystemExit, "fast-style stylize setting 'streng' strength"):
        cli.main()


def test_a_training_on_several_processes_starts_the_command_again(tmp_path: Path) -> None:
    done = fast_style_command("train", *SMALL, "trainer.devices=2", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "checkpoints" / "starry_night.safetensors").exists()
    assert re.search(r"^use it .* -m fast_style stylize ckpt=checkpoints/", done.stdout, re.MULTILINE)


# help


@pytest.mark.parametrize("name", CONFIGURED)
def test_help_explains_every_setting(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["fast-style", name, "--help"])
    monkeypatch.setattr(shutil, "get_terminal_size", lambda: os.terminal_size((100, 40)))
    cli.main()
    text = capsys.readouterr().out
    assert text.startswith(f"fast-style {name}: ")
    assert f"\n  fast-style {name} " in text
    for hidden in ("${", "_target_", "_partial_", "hydra", "KEYS"):
        assert hidden not in text
    for group, settings in help.all_settings(COMMANDS[name].config):
        assert group is None or group.comment, group
        for setting in settings:
            assert setting.comment, setting
            assert f"  {setting.key}" in text


def test_every_choice_of_every_group_is_explained() -> None:
    for name in CONFIGURED:
        for group in help.groups_of(COMMANDS[name].config):
            for choice in group.choices:
                for _, settings in help.all_settings(COMMANDS[name].config, {group.name: [choice]}):
                    assert all(setting.comment for setting in settings), (group.name, choice)


def test_help_shows_the_settings_of_what_is_chosen() -> None:
    text = help.help_text(COMMANDS["train"], ["network=light", "style=[great_wave,udnie]", "--help"])
    assert "network.width=32" in text
    assert "network.dilation" not in text
    assert "style.great_wave.size=768" in text
    assert "style.udnie.size=512" in text


def test_help_reads_defaults_units_and_titles(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    lines = [
        *("# What the file is for", "defaults:", "  - _self_", "", "# Size", "side: 8 # in pixels;", "  # goes on"),
        *("name: ${a}", "part: # has parts", "  deep: {a: 1} # more", "_target_: x", "# Files", "out: ??? # where"),
        "none: null",
    ]
    file.write_text("\n".join(lines))
    assert [tuple(each) for each in help.settings_of(file)] == [
        ("side", "8", "in pixels; goes on", "Size"), ("name", "", "", "Size"), ("part", "", "has parts", "Size"),
        ("part.deep", "{a: 1}", "more", "Size"), ("out", "...", "where", "Files"), ("none", "null", "", "Files"),
    ]  # fmt: skip


def test_help_of_what_computes_needs_neither_torch_nor_hydra(tmp_path: Path) -> None:
    for name in ("optimize", "train"):
        done = fast_style_command(name, "-h", folder=tmp_path, without=("torch", "lightning", "hydra"))
        assert (done.returncode, done.stderr) == (0, "")


def test_experiments_of_other_commands_are_not_offered() -> None:
    text = help.help_text(COMMANDS["train"], [])
    assert "johnson2016" in text
    assert "swatch" not in text.partition("experiment=null")[2]


# settings


def test_a_mistyped_setting_is_told_without_pytorch(tmp_path: Path) -> None:
    for arguments in (
        ("train", "trainer.max_step=3"), ("train", "trainer.limit_val_batch=3"), ("train", "+optimizer.weigt_decay=1"),
        ("train", "+network.depth=3"), ("optimize", "stepps=3"), ("evaluate", "photos", "sice=3"),
    ):  # fmt: skip
        done = fast_style_command(*arguments, folder=tmp_path, without=("torch", "lightning", "pytorch_optimizer"))
        assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
        assert_names(done.stderr, f"fast-style {arguments[0]} {arguments[-1].lstrip('+').partition('=')[0]}")


@pytest.mark.parametrize("target", ["lightning.pytorch.Trainer", "torch.optim.Adam", "pytorch_optimizer.SOAP",
                                    "fast_style.networks.BalancedNet"])  # fmt: skip
def test_parameters_are_read_from_the_source_as_they_are(target: str) -> None:
    import inspect
    import pkgutil

    named = inspect.signature(pkgutil.resolve_name(target)).parameters.values()
    expected = [each.name for each in named if each.kind is not each.VAR_KEYWORD]
    assert written_parameters(target) == expected


def test_nothing_is_made_up_of_a_source_that_is_not_there() -> None:
    assert written_parameters("nowhere.Network") is None
    assert written_parameters("fast_style.networks.Nowhere") is None
    assert written_parameters("Network") is None


# paths without a key


@pytest.mark.parametrize(
    ("config", "arguments", "expected"),
    [
        ("stylize", ["photo.jpg", "ckpt=a"], ["input='photo.jpg'", "ckpt=a"]),
        ("stylize", ["ckpt=a", "my photo.jpg", "b.jpg"], ["input=['my photo.jpg','b.jpg']", "ckpt=a"]),
        ("stylize", ["-", "ckpt=a"], ["input='-'", "ckpt=a"]),
        ("stylize", ["a=b.jpg", "ckpt=a"], ["input='a=b.jpg'", "ckpt=a"]),
        ("stylize", ["c=d.jpg", "ckpt=a"], ["c=d.jpg", "ckpt=a"]),  # is not there: a setting that does not exist
        ("stylize", ["size=1", "ckpt=a"], ["size=1", "ckpt=a"]),  # is there, but a setting
        ("stylize", ["--cfg", "job", "ckpt=a"], ["--cfg", "job", "ckpt=a"]),
        ("stylize", ["overwrite", "ckpt=a"], ["overwrite", "ckpt=a"]),  # has lost its value
        ("train", ["my painting.jpg", "seed=1"], ["style.image='my painting.jpg'", "seed=1"]),
        ("train", ["foo"], ["foo"]),
        ("train", ["~schedule", "+trainer.a=1"], ["~schedule", "+trainer.a=1"]),
        ("optimize", ["a.jpg"], ["content='a.jpg'"]),
        ("evaluate", ["photos"], ["data.source='photos'"]),
        ("webcam", ["clip.mp4"], ["camera='clip.mp4'"]),
        ("export", ["starry_night"], ["ckpt='starry_night'"]),
        ("benchmark", ["a"], ["a"]),
    ],
)
def test_a_path_without_a_key_is_the_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: str, arguments: list[str], expected: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a=b.jpg", "size=1"):
        (tmp_path / name).touch()
    assert with_paths(arguments, config) == expected


def test_what_is_given_twice_or_too_often_is_refused() -> None:
    with raises(ConfigError, "a.jpg input=a.jpg input=b.jpg"):
        with_paths(["a.jpg", "input=b.jpg"], "stylize")
    with raises(ConfigError, "a.jpg b.jpg style.image"):
        with_paths(["a.jpg", "b.jpg"], "train")


def test_a_photo_is_stylized_by_its_name(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 48, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "my photo=1.png")
    done = fast_style_command("stylize", "my photo=1.png", "ckpt=starry_night", folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "my photo=1_starry_night.png\n"


# list, checks, completion, export


def test_networks_are_listed(tmp_path: Path) -> None:
    done = fast_style_command("list", folder=tmp_path, without=("torch", "hydra", "omegaconf"))
    assert (done.returncode, done.stderr) == (0, "")
    assert set(shipped_networks()) <= {line.split()[0] for line in done.stdout.splitlines()}
    refused = fast_style_command("list", "all=1", folder=tmp_path).stderr
    assert_names(refused, "fast-style list all=1 settings")


def test_a_photograph_is_shown_in_every_style(tmp_path: Path) -> None:
    Image.new("RGB", (96, 64), "teal").save(tmp_path / "photo.jpg")
    assert fast_style_command("list", "photo.jpg", folder=tmp_path).stdout == "photo_networks.jpg\n"
    with Image.open(tmp_path / "photo_networks.jpg") as sheet:
        # The photograph and the twelve, five a row, each 160 wide or more below a label of 20 pixels.
        assert (sheet.width, sheet.height) == (5 * 160 + 4 * 8, 3 * (64 + 20) + 2 * 8)
    again = fast_style_command("list", "photo.jpg", folder=tmp_path)
    assert again.returncode == 1
    assert_names(again.stderr, "fast-style list photo_networks.jpg exists")
    assert fast_style_command("list", "nowhere.jpg", folder=tmp_path).stderr.count("\n") == 1


def test_checks_tell_what_there_is(tmp_path: Path) -> None:
    done = fast_style_command("checks", "json=true", folder=tmp_path, FAST_STYLE_CACHE=str(tmp_path / "cache"))
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert told["version"] == fast_style.__version__
    assert set(told["devices"]) >= {"cpu"}
    assert told["networks"]["shipped"] == [*shipped_networks()]
    assert_names(told["cache"], f"{tmp_path}/cache 0")
    assert set(told["extras"]) == {"openvino", "onnx", "formats", "plot", "video", "ray", "camera", "virtual-camera"}
    assert set(told["extras"].values()) == {"installed"}


def test_checks_go_on_where_something_is_broken(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from fast_style.cli import checks

    def broken() -> str:
        raise RuntimeError("the driver is too old\nand more")

    monkeypatch.setattr(checks, "_devices", broken)
    monkeypatch.setattr(sys, "argv", ["fast-style"])
    checks.entry_point()
    text = capsys.readouterr().out
    assert_says(text, "devices RuntimeError: the driver is too old")
    assert len(text.splitlines()) <= 40


def complete(script: str, line: str) -> set[str]:
    """Return what bash offers after a line."""
    program = (
        f'{script}\nCOMP_LINE="$1"; COMP_POINT=${{#1}}; _fast_style 2>/dev/null; printf "%s\\n" "${{COMPREPLY[@]}}"'
    )
    done = subprocess.run(["bash", "-c", program, "bash", line], capture_output=True, text=True, check=True, timeout=60)
    return set(done.stdout.split())


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes_commands_settings_and_choices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["fast-style", "completion", "bash"])
    cli.main()
    script = capsys.readouterr().out
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photo.jpg").touch()
    assert complete(script, "fast-style tr") == {"train"}
    assert complete(script, "fast-style ") == set(COMMANDS)
    assert complete(script, "fast-style train network=") == {"balanced", "light", "residual"}
    assert complete(script, "fast-style train seed=1 batch_s") == {"batch_size="}
    assert complete(script, "fast-style stylize ckpt=starry") == {"starry_night"}
    assert complete(script, "fast-style stylize input=ph") == {"photo.jpg"}
    assert complete(script, "fast-style completion z") == {"zsh"}


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_get_the_same_words(
    shell: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["fast-style", "completion", shell])
    cli.main()
    script = capsys.readouterr().out
    assert {"network=light", "batch_size=", "bash"} <= set(re.split(r"[\s()']+", script))
    if shutil.which(shell):
        subprocess.run([shell, "-n", "/dev/stdin"], input=script, text=True, check=True, timeout=60)


def test_no_other_shell_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["fast-style", "completion", "csh"])
    with raises(SystemExit, "fast-style completion 'csh' shells"):
        cli.main()


def test_a_script_is_the_same_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    script = CONFIGS.parent / "scripts" / "stylize.py"
    monkeypatch.setattr(cli, "_word", "")
    monkeypatch.setattr(sys, "argv", [str(script), "--help"])
    runpy.run_path(str(script), run_name="__main__")
    text = capsys.readouterr().out
    assert text.startswith("stylize.py: ")
    assert "scripts/stylize.py photo.jpg ckpt=starry_night" in text
