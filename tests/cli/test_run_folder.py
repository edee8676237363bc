import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import forked
import pytest
import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from small_messages import assert_names, raises

from fast_style.cli.hydra_app import register_resolvers, run
from fast_style.cli.processes import child_processes, quiet
from fast_style.cli.resume import locked_folder, resume_arguments
from fast_style.cli.safety import explain_error
from fast_style.errors import ConfigError
from fast_style.networks import LightNet
from fast_style.zoo.saving import Metadata, save_network

Call = Callable[..., None]


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Runs a function with the configuration of a training, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)

    def call(main: Callable[[DictConfig], None], *arguments: str) -> None:
        monkeypatch.setattr(sys, "argv", ["train.py", *arguments, "hydra/job_logging=none", "hydra/hydra_logging=none"])
        run(main, "train")

    return call


def begin(config: DictConfig) -> None:
    with locked_folder(config):
        pass


def saved_run(folder: Path, name: str, *overrides: str, age: float = 0) -> None:
    (folder / "checkpoints").mkdir(parents=True)
    OmegaConf.save({"name": name}, folder / "settings.yaml")
    OmegaConf.save(list(overrides), folder / "overrides.yaml")
    checkpoint = folder / "checkpoints" / "last.ckpt"
    checkpoint.touch()
    os.utime(checkpoint, (1e9 - age, 1e9 - age))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["resume=nowhere"], "resume=nowhere runs/*/* resume=last"),
        (["resume=last"], "resume=last saved runs"),
        (
            ["resume=last", "style=great_wave"],
            "resume=last saved great_wave runs",
        ),
        (["-m", "resume=last"], "resume -m"),
    ],
)
def test_a_run_that_is_not_there_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    register_resolvers()
    with raises(ConfigError, message):
        resume_arguments(arguments)


def test_a_run_goes_on_with_what_it_was_started_with(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    saved_run(Path("runs/a/it's one"), "a", "style=great_wave", "seed=3", "workers=1")
    assert resume_arguments(['resume="runs/a/it\'s one"', "workers=2"]) == [
        "style=great_wave",
        "seed=3",
        "workers=2",
        "hydra.run.dir='runs/a/it\\'s one'",
        "hydra.output_subdir=null",
        "resume='runs/a/it\\'s one'",
    ]
    # As for a process that the trainer starts with this very command line.
    once = resume_arguments(['resume="runs/a/it\'s one"', "workers=2"])
    assert resume_arguments(once) == once


def test_how_long_a_run_may_take_is_what_is_said_last(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    saved_run(Path("r"), "a", "minutes=2", "seed=3")
    assert resume_arguments(["resume=r", "trainer.max_time=1h"])[:2] == ["seed=3", "trainer.max_time=1h"]
    saved_run(Path("s"), "a", "trainer.max_time=1h")
    assert resume_arguments(["resume=s", "minutes=2"])[:1] == ["minutes=2"]


def test_the_last_run_is_the_one_that_was_saved_last(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    register_resolvers()
    saved_run(Path("runs/starry_night/1"), "${joined_keys:${style}}", age=10)
    OmegaConf.save(
        {"name": "${joined_keys:${style}}", "style": {"starry_night": {}}}, "runs/starry_night/1/settings.yaml"
    )
    saved_run(Path("runs/mine/2"), "mine", age=20)
    saved_run(Path("runs/mine/3"), "mine", age=30)
    saved_run(Path("runs/sweep/4/0_other"), "other")
    assert resume_arguments(["resume=last", "workers=2"])[-1] == "resume='runs/sweep/4/0_other'"
    assert resume_arguments(["resume=last"])[-1] == "resume='runs/sweep/4/0_other'"
    assert resume_arguments(["resume=last", "name=mine"])[-1] == "resume='runs/mine/2'"
    assert resume_arguments(["resume=last", "style=starry_night"])[-1] == "resume='runs/starry_night/1'"


def test_without_resume_nothing_changes() -> None:
    for arguments in (["style=great_wave", "seed=1"], [], ["-m", "seed=1,2"]):
        assert resume_arguments(arguments) == arguments
    assert resume_arguments(["seed=1", "resume=null"]) == ["seed=1", "resume=null"]


def test_a_second_run_in_a_folder_is_refused(call: Call, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def twice(config: DictConfig) -> None:
        with locked_folder(config), pytest.raises(ConfigError) as refused:
            begin(config)
        assert_names(refused.value, f"{tmp_path}/r another run writing")

    call(twice, "hydra.run.dir=r")
    # When it has ended there is room for the next.
    call(begin, "hydra.run.dir=r")


def test_another_machine_of_a_run_shares_its_folder(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    def both(config: DictConfig) -> None:
        with locked_folder(config) as folder:
            monkeypatch.setenv("NODE_RANK", "1")
            with locked_folder(config) as shared:
                assert shared == folder

    call(both, "hydra.run.dir=r")


#: Waits in C, where Python's handlers do not run until it returns; or in Python, which lets them.
WAITING = """
import signal, sys, threading, time
sys.argv[0] = "train.py"
from fast_style.cli.processes import exit_when_stuck
signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(7))
exit_when_stuck(patience=0.5)
print("ready", flush=True)
if sys.argv[1] == "python":
    time.sleep(100)
from torch.distributed import TCPStore
TCPStore("127.0.0.1", 0, is_master=True).get("what nobody sets")
"""


@pytest.mark.parametrize(("place", "status"), [("python", 7), ("c", 143)])
def test_a_signal_ends_a_process_that_waits_in_vain(tmp_path: Path, place: str, status: int) -> None:
    program, output, errors = (tmp_path / name for name in ("waiting.py", "output", "errors"))
    program.write_text(WAITING)
    process = forked.start(tmp_path, place, output=output, errors=errors, program=str(program))
    while not output.exists() or output.read_text() != "ready\n":
        assert process.exitcode is None
        time.sleep(0.05)
    time.sleep(1)
    process.terminate()
    process.join(60)
    assert process.exitcode == status
    said = errors.read_text()
    if place == "python":
        assert said == ""
    else:
        assert_names(said, "train.py SIGTERM waited")


def test_what_killed_runs_left_is_swept(call: Call, tmp_path: Path) -> None:
    leftover = tmp_path / "r" / "checkpoints" / ".0123456789abcdef.part"
    leftover.parent.mkdir(parents=True)
    leftover.touch()
    # A run of another style may be writing there just now.
    other = tmp_path / "checkpoints" / ".fedcba9876543210.part"
    other.parent.mkdir()
    other.touch()
    call(begin, "hydra.run.dir=r")
    assert not leftover.exists()
    assert other.exists()


def test_a_run_keeps_its_settings_but_for_where_it_computes(call: Call) -> None:
    call(begin, "hydra.run.dir=r", "network.width=8")
    call(begin, "hydra.run.dir=r", "network.width=8", "workers=3", "trainer.devices=2", "preview.size=64")
    for changed, words in (("network.width=16", "network.width 8"), ("trainer.max_steps=9", "trainer.max_steps")):
        with raises(SystemExit, f"{words} resume"):
            call(begin, "hydra.run.dir=r", "network.width=8", changed)


def test_a_run_goes_on_with_the_remedies_that_messages_advise(call: Call) -> None:
    call(begin, "hydra.run.dir=r", "trainer.precision=bf16-mixed")
    remedies = (
        "trainer.precision=32-true",
        "optimizer.lr=1e-4",
        "trainer.gradient_clip_val=0.5",
        "loss.style.weight=3",
    )
    call(begin, "hydra.run.dir=r", *remedies)
    # Not what nobody has asked for: another machine's own precision, or a default that was edited.
    with pytest.raises(SystemExit) as refused:
        call(begin, "hydra.run.dir=r", "trainer.accelerator=cpu", "++optimizer.betas=[0.5,0.5]")
    assert "began, and is" in str(refused.value.code)


def test_what_a_run_did_not_have_it_does_not_get_when_it_goes_on(call: Call) -> None:
    call(begin, "hydra.run.dir=r", "name=mine")
    for more in ("style=[starry_night,great_wave]", "loss=[content,style]", "+trainer.accumulate_grad_batches=4"):
        with pytest.raises(SystemExit):
            call(begin, "hydra.run.dir=r", "name=mine", more)


@pytest.mark.parametrize("key", ["loss.grid.window", "loss.content.layers", "network.dilation", "encoder.scale"])
def test_a_run_goes_on_that_did_not_say_what_is_the_default(call: Call, key: str) -> None:
    call(begin, "hydra.run.dir=run")
    settings = OmegaConf.load("run/settings.yaml")
    parent, _, name = key.rpartition(".")
    del OmegaConf.select(settings, parent)[name]
    OmegaConf.save(settings, "run/settings.yaml")
    call(begin, "hydra.run.dir=run")
    before = {
        "loss.grid.window": 48,
        "loss.content.layers": ["relu3_1"],
        "network.dilation": 1,
        "encoder.scale": "oxford",
    }
    OmegaConf.update(settings, key, before[key])
    OmegaConf.save(settings, "run/settings.yaml")
    with raises(SystemExit, f"train.py {key} run"):
        call(begin, "hydra.run.dir=run")


def test_a_start_that_is_refused_leaves_the_record_of_the_run(call: Call) -> None:
    call(begin, "hydra.run.dir=r", "seed=1")
    with pytest.raises(SystemExit):
        call(begin, "hydra.run.dir=r", "seed=2")
    assert "seed=1" in resume_arguments(["resume=r"])


@pytest.mark.parametrize("setting", ["name=.", "name=..", "name=../x", "name=''", "checkpoint=r"])
def test_a_name_that_is_none_is_refused(call: Call, tmp_path: Path, setting: str) -> None:
    (tmp_path / "r").mkdir()
    with pytest.raises(SystemExit, match=r"(name|checkpoint) must be"):
        call(begin, "hydra.run.dir=s", setting)


def test_a_network_replaces_no_other_file(call: Call) -> None:
    Path("mine.safetensors").write_bytes(b"something dear")
    with raises(SystemExit, "checkpoint mine.safetensors network"):
        call(begin, "checkpoint=mine.safetensors", "overwrite=true")
    assert Path("mine.safetensors").read_bytes() == b"something dear"
    call(begin, "checkpoint=mine.safetensors")  # which is going to be mine-2
    network = LightNet(1, width=4, blocks=1)
    save_network(Path("mine.safetensors"), network, Metadata({"day": {}}))
    call(begin, "checkpoint=mine.safetensors", "overwrite=true")


def test_a_run_may_be_called_by_a_number(call: Call) -> None:
    call(begin, "-m", "name=7,8", "hydra.sweep.dir=s", "hydra.sweep.subdir=${hydra:job.num}")
    saved_run(Path("runs/7/now"), "7", "seed=1")
    assert "seed=1" in resume_arguments(["resume=last", "name=7"])


def test_machines_must_know_the_name_of_their_run(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FAST_STYLE_RUN_ID", "SLURM_JOB_ID", "TORCHELASTIC_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    with raises(SystemExit, "FAST_STYLE_RUN_ID"):
        call(begin, "trainer.num_nodes=2")
    monkeypatch.setenv("FAST_STYLE_RUN_ID", "mine")
    call(begin, "trainer.num_nodes=2")
    assert Path("runs/starry_night/mine").is_dir()


def test_each_job_of_a_sweep_starts_processes_of_its_own(call: Call, tmp_path: Path) -> None:
    seen = []

    def main(config: DictConfig) -> None:
        with child_processes():
            os.environ["MASTER_PORT"] = "1234"
            seen.append((sys.argv[1:], HydraConfig.get().run.dir))
        assert "MASTER_PORT" not in os.environ
        assert sys.argv[1] == "-m"

    call(main, "-m", "seed=1,2", "hydra.sweep.dir=s", "hydra.sweep.subdir=${hydra:job.num}")
    assert [arguments for arguments, _ in seen] == [["seed=1"], ["seed=2"]]
    assert [folder for _, folder in seen] == [str(tmp_path / "s" / "0"), str(tmp_path / "s" / "1")]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried\nto allocate"),
            "memory GPU batch_size",
        ),
        (RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. "), "died memory"),
        (
            RuntimeError("[gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:123"),
            "process gone",
        ),
        (OSError(28, "No space left on device"), "full No space left on device"),
    ],
)
def test_what_is_wrong_with_the_machine_is_told_in_one_line(error: RuntimeError | OSError, words: str) -> None:
    message = str(explain_error(error))
    assert_names(message, words)


def test_what_is_wrong_with_the_program_is_not_hidden() -> None:
    assert explain_error(RuntimeError("mat1 and mat2 shapes cannot be multiplied")) is None
    assert explain_error(PermissionError(13, "Permission denied", "x")) is None


def test_a_thread_that_cannot_write_leaves_that_to_the_main_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    told_by_threads: list[type[BaseException]] = []
    monkeypatch.setattr(threading, "excepthook", lambda what: told_by_threads.append(what.exc_type))

    def fail(error: Exception) -> None:
        raise error

    with quiet():
        for error in (OSError(28, "No space left on device"), ValueError("x")):
            thread = threading.Thread(target=fail, args=(error,))
            thread.start()
            thread.join()
    assert told_by_threads == [ValueError]
