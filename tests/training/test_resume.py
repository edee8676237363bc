"""Stopping a run in every way that there is, and going on."""

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import forked
import pytest
import torch
from lightning.fabric.plugins.environments.lightning import find_free_network_port
from safetensors.torch import load_file
from small_messages import assert_names, assert_says
from small_runs import EXACT, ROOT, Train, environment, events, only

from fast_style.training.checkpoints import read_checkpoint

#: Too long to end by itself before it is stopped.
LONG = (
    *EXACT,
    "trainer.max_steps=400",
    "trainer.val_check_interval=100",
    "preview.every_n_steps=1000",
    "callback.progress.every_n_seconds=0",
)
Start = Callable[..., ForkServerProcess]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a training in an empty folder, and return once it has taken some steps."""
    started: list[ForkServerProcess] = []

    def start(*overrides: str, until: str = "step 4/") -> ForkServerProcess:
        process = forked.start(tmp_path, *overrides, output=log(tmp_path), errors=log(tmp_path))
        started.append(process)
        while not log(tmp_path).exists() or until not in log(tmp_path).read_text():
            if process.exitcode is not None:
                pytest.fail(f"ended early: {log(tmp_path).read_text()}")
            time.sleep(0.05)
        return process

    yield start
    for process in started:
        process.kill()
        process.join()


def end(process: ForkServerProcess, number: int | None = None) -> int | None:
    """Send a process a signal, and return its exit status."""
    if number is not None:
        os.kill(pid(process), number)
    process.join(60)
    return process.exitcode


def pid(process: ForkServerProcess) -> int:
    assert process.pid is not None
    return process.pid


def log(folder: Path) -> Path:
    return folder / "log"


def children(process: ForkServerProcess) -> list[int]:
    listed = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    if not listed.exists():
        pytest.skip("needs Linux's list of a process's children")
    return [int(word) for word in listed.read_text().split()]


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def assert_same_networks(one: Path, two: Path) -> None:
    tensors, others = load_file(one), load_file(two)
    assert tensors.keys() == others.keys()
    for name, tensor in tensors.items():
        assert torch.equal(tensor, others[name]), name


def test_a_signal_saves_the_step_and_the_command_it_prints_goes_on(start: Start, train: Train, tmp_path: Path) -> None:
    process = start(*LONG, "trainer.max_steps=24", "workers=1", "name=stopped")
    assert end(process, signal.SIGTERM) == 143
    last = log(tmp_path).read_text().strip().splitlines()[-1]
    folder = only(tmp_path, "runs/stopped/*")
    step = read_checkpoint(folder / "checkpoints" / "last.ckpt")["global_step"]
    assert 4 <= step < 24
    assert_names(last, f"train.py SIGTERM {step} saved")
    assert "Traceback" not in log(tmp_path).read_text()

    words = shlex.split(last.rpartition("go on with: ")[2].partition("python ")[2])
    assert words == [words[0], f"resume={folder.relative_to(tmp_path)}"]
    assert words[0].endswith("train.py")
    # With another number of workers, which decides nothing.
    went_on = train(*words[1:], "workers=0")
    assert went_on.returncode == 0, went_on.stderr
    assert f"at step {step}" in went_on.stdout
    assert "warn" not in went_on.stderr.lower()
    whole = train(*LONG, "trainer.max_steps=24", "name=whole")
    assert whole.returncode == 0, whole.stderr
    assert_same_networks(tmp_path / "checkpoints/stopped.safetensors", tmp_path / "checkpoints/whole.safetensors")

    # The curves are those of one run: each step once.
    steps = [event.step for event in events(folder).Scalars("train/total")]
    assert steps == [event.step for event in events(only(tmp_path, "runs/whole/*")).Scalars("train/total")]

    # Once more: there is nothing left to train, and the network is the same.
    (tmp_path / "checkpoints/stopped.safetensors").unlink()
    again = train(f"resume={folder}")
    assert again.returncode == 0, again.stderr
    assert_same_networks(tmp_path / "checkpoints/stopped.safetensors", tmp_path / "checkpoints/whole.safetensors")


def test_control_c_does_the_same(start: Start, tmp_path: Path) -> None:
    process = start(*LONG, "workers=1")
    for number in (pid(process), *children(process)):  # as a terminal sends it: to all
        os.kill(number, signal.SIGINT)
    assert end(process) == 130
    assert_says(log(tmp_path).read_text(), "train.py SIGINT step")
    assert "Traceback" not in log(tmp_path).read_text()


def test_a_run_that_was_killed_goes_on_from_its_last_checkpoint(start: Start, train: Train, tmp_path: Path) -> None:
    process = start(*LONG, "trainer.max_steps=12", "name=killed", until="step 5/")
    assert end(process, signal.SIGKILL) == -signal.SIGKILL
    folder = only(tmp_path, "runs/killed/*")
    (folder / "checkpoints" / ".0123456789abcdef.part").write_bytes(b"cut short")
    went_on = train("name=killed", "resume=last")
    assert went_on.returncode == 0, went_on.stderr
    assert [file.name for file in (folder / "checkpoints").iterdir()] == ["last.ckpt"]
    # What the killed one had logged after its checkpoint counts once.
    assert [event.step for event in events(folder).Scalars("train/total")] == list(range(12))


def test_a_full_disk_stops_the_run_in_one_line(train: Train, tmp_path: Path, small_disk: Callable[[str], Path]) -> None:
    folder = small_disk("1500k") / "run"
    # The previews fill it.
    full = train(
        *EXACT, "trainer.max_steps=200", "preview.every_n_steps=1", "preview.size=192", f"hydra.run.dir={folder}"
    )
    assert full.returncode == 1
    (line,) = full.stderr.splitlines()
    assert "No space left on device" in line
    assert "make room" in line
    assert f"resume={folder.relative_to(tmp_path)}" in line
    assert read_checkpoint(folder / "checkpoints" / "last.ckpt")["global_step"] >= 2


@pytest.mark.parametrize("dies", ["first", "second"])
def test_if_one_process_dies_none_is_left(start: Start, tmp_path: Path, dies: str) -> None:
    process = start(*LONG, "trainer.devices=2")
    others = children(process)
    assert len(others) == 1
    os.kill(pid(process) if dies == "first" else others[0], signal.SIGKILL)
    assert end(process) not in (0, None)
    # Whoever is left after half a minute is found by the time limit of this test.
    for other in others:
        while alive(other):
            time.sleep(0.1)


def torchrun(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "torch.distributed.run", *arguments, str(ROOT / "scripts" / "train.py")]


def test_two_processes_stop_at_one_step_and_torchrun_would_have_learnt_the_same(
    start: Start, train: Train, tmp_path: Path
) -> None:
    two = (*LONG, "trainer.max_steps=16", "trainer.devices=2")
    # The signal comes to one of them only.
    process = start(*two, "workers=1", "name=stopped")
    assert end(process, signal.SIGTERM) == 143
    assert "Traceback" not in log(tmp_path).read_text()
    went_on = train("resume=last")
    assert went_on.returncode == 0, went_on.stderr

    # Without a name for the run: its processes agree on the time.
    whole = subprocess.run(
        [*torchrun("--nproc-per-node=2", f"--master-port={find_free_network_port()}"), *two, "name=whole"],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert whole.returncode == 0, whole.stderr
    only(tmp_path, "runs/whole/*")
    assert_same_networks(tmp_path / "checkpoints/stopped.safetensors", tmp_path / "checkpoints/whole.safetensors")


def test_two_machines_of_two_processes_learn_what_one_process_learns(train: Train, tmp_path: Path) -> None:
    """Two agents that meet at an address, as on two machines."""
    same = (
        *(text for text in EXACT if not text.startswith("batch_size")),
        "optimizer=adamw",
        "optimizer._target_=torch.optim.SGD",
        # Four processes sum in another order than one; a large step would enlarge what that rounds.
        "optimizer.lr=0.02",
        "callback=[checkpoint,throughput]",
    )
    meeting = f"--rdzv-endpoint=127.0.0.1:{find_free_network_port()}"
    agent = torchrun("--nnodes=2", "--nproc-per-node=2", "--rdzv-backend=c10d", "--rdzv-id=job7", meeting)
    machines = [
        subprocess.Popen(
            [*agent, *same, "batch_size=1", "trainer.devices=2", "trainer.num_nodes=2", "name=machines"],
            cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for _ in range(2)
    ]  # fmt: skip
    outputs = [machine.communicate(timeout=240)[0] for machine in machines]
    assert [machine.returncode for machine in machines] == [0, 0], outputs
    alone = train(*same, "batch_size=4", "name=alone")
    assert alone.returncode == 0, alone.stderr
    losses = [
        [event.value for event in events(tmp_path / "runs" / folder).Scalars("train/total")]
        for folder in ("machines/job7", f"alone/{only(tmp_path, 'runs/alone/*').name}")
    ]
    assert len(losses[0]) == 3
    assert losses[0][-1] != losses[0][0]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    weights = [load_file(tmp_path / "checkpoints" / f"{name}.safetensors") for name in ("machines", "alone")]
    for key, tensor in weights[0].items():
        torch.testing.assert_close(tensor, weights[1][key], rtol=1e-3, atol=1e-5)


def test_two_machines_without_a_launcher_share_one_run(tmp_path: Path) -> None:
    here = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(find_free_network_port()), "FAST_STYLE_RUN_ID": "both"}
    one_each = ("trainer.devices=1", "trainer.num_nodes=2", "trainer.max_steps=1")
    settings = (*(text for text in EXACT if "max_steps" not in text), *one_each)
    logs = [tmp_path / f"log of {number}" for number in range(2)]
    machines = [
        forked.start(tmp_path, *settings, output=path, errors=path, NODE_RANK=str(number), **here)
        for number, path in enumerate(logs)
    ]
    for machine in machines:
        machine.join(240)
    assert [machine.exitcode for machine in machines] == [0, 0], [path.read_text() for path in logs]
    only(tmp_path, "runs/starry_night/both/checkpoints/last.ckpt")


def test_a_sweep_of_runs_with_two_processes_each(train: Train, tmp_path: Path) -> None:
    swept = train("-m", *EXACT, "trainer.devices=2", "name=first,second")
    assert swept.returncode == 0, swept.stderr
    for number, name in enumerate(("first", "second")):
        assert (tmp_path / "checkpoints" / f"{name}.safetensors").exists()
        only(tmp_path, f"runs/sweep/*/{number}_name={name}/checkpoints/last.ckpt")
    assert [folder.name for folder in (tmp_path / "runs").iterdir()] == ["sweep"]


def test_a_run_whose_time_was_up_goes_on_when_it_is_given_more(train: Train, tmp_path: Path) -> None:
    unlimited = [setting for setting in EXACT if not setting.startswith(("trainer.max_steps", "trainer.val_check"))]
    settings = (*unlimited, "trainer.max_steps=100000", "trainer.val_check_interval=100000")
    ended = train(*settings, "trainer.max_time=00:00:00:02")
    assert ended.returncode == 0, ended.stderr
    steps = read_checkpoint(only(tmp_path, "runs/*/*/checkpoints/last.ckpt"))["global_step"]
    assert_says(ended.stdout, f"{steps} steps 100000 trainer.max_time")
    network = (tmp_path / "checkpoints/starry_night.safetensors").rename(tmp_path / "first.safetensors")
    again = train("resume=last")
    assert_says(again.stdout, f"{steps} steps 100000 trainer.max_time")
    assert_same_networks(network, tmp_path / "checkpoints/starry_night.safetensors")
    # Four seconds more, for the first step after a start is slow.
    longer = train("resume=last", "trainer.max_time=00:00:00:06")
    assert longer.returncode == 0, longer.stderr
    assert read_checkpoint(only(tmp_path, "runs/*/*/checkpoints/last.ckpt"))["global_step"] > steps
