"""Pictures stylized by the processes of a Ray cluster: nothing is lost or done twice when one of them is killed."""

import contextlib
import os
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import hydra
import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image
from small_messages import assert_names, assert_says, raises
from small_networks import varied
from small_runs import ROOT, Run

import fast_style
from fast_style.batch.ray import RETRIES, stylize_on_ray
from fast_style.batch.ray_cluster import Workers, cluster
from fast_style.cli import stylize_distributed
from fast_style.cli.hydra_app import run
from fast_style.cli.overrides import CONFIGS, read_arguments
from fast_style.errors import ConfigError, ImageError
from fast_style.networks import LightNet
from fast_style.stylizing.controls import Controls
from fast_style.stylizing.jobs import Job, Report
from fast_style.stylizing.stylizer import Stylizer
from fast_style.system.files import remove_leftovers
from fast_style.zoo.saving import Metadata, save_network

Call = Callable[..., tuple[object, str, str]]

#: Ray Data gives its own settings values that it calls deprecated.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:ray")

#: Also where there is but one core.
TWO = Workers(count=2, cpus=0.5, gpus=0, machines=1)


class Recorder:
    """A stylizer that takes its time, and notes in a file for each process what it begins and what it has ended."""

    def __init__(self, network: Path, ledger: Path) -> None:
        self.stylizer, self.ledger = fast_style.load(network, device="cpu", precision="fp32"), ledger

    def stylize_file(self, source: Path, target: Path, *, size: int | None, controls: Controls) -> Report:
        self.note("begun", source)
        time.sleep(0.1)
        report = self.stylizer.stylize_file(source, target, size=size, controls=controls)
        self.note("ended", source)
        return report

    def note(self, what: str, source: Path) -> None:
        with open(self.ledger / str(os.getpid()), "a") as file:
            file.write(f"{what} {source.name}\n")


def recording(kind: type[Recorder], network: Path, ledger: Path) -> Callable[[], Stylizer]:
    """Return what loads it in a process of the cluster."""
    return lambda: cast(Stylizer, kind(network, ledger))


def noted(ledger: Path, pid: str = "*") -> list[tuple[str, str]]:
    lines = [line.split() for file in ledger.glob(pid) for line in file.read_text().splitlines()]
    return [(what, name) for what, name in lines]


@pytest.fixture(scope="module")
def joined() -> Iterator[None]:
    """A cluster of this machine, which all that is run in this process joins."""
    with cluster("local"):
        from ray import cloudpickle

        # Its processes have no folder of tests to import from.
        cloudpickle.register_pickle_by_value(sys.modules[__name__])
        yield


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder to work in, with a network of two styles."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    torch.manual_seed(0)
    network = varied(LightNet(styles=2, width=8, blocks=1))
    save_network(Path("checkpoints/two.safetensors"), network, Metadata({"day": {}, "night": {}}))
    return tmp_path


@pytest.fixture
def call(folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Call:
    """Runs the script without a cluster, and returns how it ended and what it printed."""

    def here(
        jobs: list[Job], load: Callable[[], Stylizer], pool: Workers, *, batch: int, **how: object
    ) -> Iterator[Report]:
        stylizer = load()
        for job in jobs:
            assert isinstance(job.source, Path)
            try:
                stylizer.stylize_file(job.source, job.target, **how)  # type: ignore[arg-type]  # as the script gives them
            except ImageError as problem:
                yield Report(job, "failed", error=str(problem), worker="here:1")
            else:
                yield Report(job, "done", worker="here:1")

    def call(*arguments: str) -> tuple[object, str, str]:
        monkeypatch.setattr(
            sys, "argv", ["stylize_distributed.py", "ckpt=two", "input=photos", "output=new", *arguments]
        )
        monkeypatch.setattr(stylize_distributed, "cluster", contextlib.nullcontext)
        monkeypatch.setattr(stylize_distributed, "count_workers", lambda *wanted: TWO)
        monkeypatch.setattr(stylize_distributed, "stylize_on_ray", here)
        status: object = 0
        try:
            run(stylize_distributed.main, "stylize_distributed")
        except SystemExit as stop:
            status = stop.code
        return status, *capfd.readouterr()

    return call


def save_pictures(folder: Path, count: int) -> list[Path]:
    folder.mkdir()
    files = [folder / f"{number:02}.png" for number in range(count)]
    for number, file in enumerate(files):
        pixels = np.random.default_rng(number).integers(0, 256, (24, 40, 3), np.uint8)
        Image.fromarray(pixels).save(file)
    return files


def kill_in_the_middle(pid: str, ledger: Path, out: Path) -> str:
    """Kill a process in the second of three pictures that it was handed together, and return which that was."""
    while True:
        time.sleep(0.02)
        os.kill(int(pid), signal.SIGSTOP)
        time.sleep(0.02)
        notes = noted(ledger, pid)
        what, name = notes[-1]
        if what == "begun" and len(notes) % 6 == 3 and not (out / name).exists():
            os.kill(int(pid), signal.SIGKILL)
            return name
        os.kill(int(pid), signal.SIGCONT)


def test_a_cluster_that_is_not_there_is_named_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        closed = f"127.0.0.1:{free.getsockname()[1]}"
        # As a cluster leaves it behind that was killed.
        monkeypatch.setenv("RAY_ADDRESS", closed)
        for address in (closed, "auto", f"ray://{closed}", "somewhere"):
            with raises(ConfigError, f"address={address} Ray cluster"), cluster(address):
                pass


def test_without_ray_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with raises(ConfigError, "[ray]'"), cluster("local"):
        pass


def test_a_process_killed_in_the_middle_costs_no_picture_and_has_none_made_twice(folder: Path, joined: None) -> None:
    files, out, ledger = save_pictures(folder / "photos", 24), folder / "out", folder / "ledger"
    broken = folder / "photos" / "broken.png"
    broken.write_bytes(b"no picture")
    out.mkdir()
    ledger.mkdir()
    network = folder / "checkpoints/two.safetensors"
    jobs = [Job(file, out / file.name) for file in [*files, broken]]
    night = Controls(style="night")
    outcomes, in_the_making = [], ""
    for outcome in stylize_on_ray(jobs, recording(Recorder, network, ledger), TWO, controls=night, batch=3):
        outcomes.append(outcome)
        if not in_the_making:
            in_the_making = kill_in_the_middle(outcome.worker.rpartition(":")[2], ledger, out)
    begun, ended = (Counter(name for what, name in noted(ledger) if what == wanted) for wanted in ("begun", "ended"))
    assert begun == Counter([file.name for file in [*files, broken]] + [in_the_making])
    assert ended == Counter(file.name for file in files)
    assert Counter(outcome.job for outcome in outcomes) == Counter(jobs)
    (error,) = [outcome.error for outcome in outcomes if outcome.error]
    assert_names(error, f"{broken} readable")
    assert len({outcome.worker for outcome in outcomes}) == len(list(ledger.iterdir())) == 3
    # What the killed one may have been writing is known for what it is.
    remove_leftovers(out)
    assert sorted(out.iterdir()) == [out / file.name for file in files]
    stylizer = fast_style.load(network, device="cpu", precision="fp32")
    for file in files:
        stylizer.stylize_file(file, folder / "expected.png", controls=night)
        assert (out / file.name).read_bytes() == (folder / "expected.png").read_bytes()


def test_a_picture_that_fails_is_named_and_what_is_there_is_left_alone(call: Call) -> None:
    files = save_pictures(Path("photos"), 3)
    Path("photos/broken.jpg").write_bytes(b"no picture")
    status, out, err = call()
    assert_names(status, "stylize_distributed.py 1 4 failed")
    assert_names(err, "photos/broken.jpg readable")
    assert_names(out.splitlines()[0], "4 pictures 2 workers 1 machines")
    assert_names(out.splitlines()[-1], "3 pictures 1 processes")
    made = [Path("new") / file.name for file in files]
    assert sorted(Path("new").iterdir()) == made
    assert "exists already" in str(call()[0])
    Path("photos/broken.jpg").unlink()
    made[1].unlink()
    times = [path.stat().st_mtime_ns for path in (made[0], made[2])]
    assert_says(call("resume=true")[1], "1 pictures")
    status, out, err = call("resume=true")
    assert (status, err) == (0, "")
    assert_names(out, "all pictures there")
    assert [path.stat().st_mtime_ns for path in (made[0], made[2])] == times


def test_what_cannot_be_is_said_in_one_line_before_anything_begins(call: Call) -> None:
    save_pictures(Path("photos"), 1)
    for argument, words in (("overwrite=true", "resume overwrite"), ("styles=dusk", "dusk"), ("size=big", "size")):
        status, out, err = call("resume=true", argument)
        assert_names(status, words)
        assert "\n" not in str(status)
        assert out + err == ""


def test_the_command_for_kubernetes_composes() -> None:
    job = OmegaConf.load(ROOT / "docs/launch/rayjob.yaml")
    _, script, *settings = job.spec.entrypoint.split()
    assert (ROOT / Path(script).relative_to("/fast_style")).is_file()
    with hydra.initialize_config_dir(str(CONFIGS), version_base="1.3"):
        hydra.compose("stylize_distributed", overrides=read_arguments(settings))


@pytest.mark.nightly
def test_a_picture_that_kills_its_processes_is_named_and_the_others_are_made(folder: Path, joined: None) -> None:
    files = save_pictures(folder / "photos", 8)
    (folder / "out").mkdir()

    class Fragile(Recorder):
        def note(self, what: str, source: Path) -> None:
            super().note(what, source)
            if source.name == "03.png":
                os.kill(os.getpid(), signal.SIGKILL)

    ledger = folder / "ledger"
    ledger.mkdir()
    jobs = [Job(file, folder / "out" / file.name) for file in files]
    network = folder / "checkpoints/two.safetensors"
    outcomes = list(stylize_on_ray(jobs, recording(Fragile, network, ledger), TWO, batch=4))
    (failed,) = [outcome for outcome in outcomes if outcome.error]
    assert_names(failed.error, f"{files[3]} {RETRIES + 1} died memory")
    assert Counter(name for what, name in noted(ledger) if what == "begun")["03.png"] == RETRIES + 1
    assert sorted((folder / "out").iterdir()) == [job.target for job in jobs if job.source != files[3]]


@pytest.mark.nightly
def test_a_worker_that_cannot_load_the_network_ends_the_run_in_one_line(folder: Path, joined: None) -> None:
    def load() -> Stylizer:
        return fast_style.load(folder / "moved.safetensors")

    with pytest.raises(ConfigError, match=r"^.*:\d+: .*moved.safetensors"):
        list(stylize_on_ray([Job(folder / "a.png", folder / "b.png")], load, TWO))


@pytest.mark.nightly
def test_the_script_says_no_more_than_what_concerns_the_pictures(run: Run, folder: Path) -> None:
    save_pictures(folder / "photos", 5)
    (folder / "photos/broken.jpg").write_bytes(b"no picture")
    settings = ("ckpt=two", "input=photos", "output=new", "address=local", "workers=2", "cpus=0.5")
    done = run("stylize_distributed.py", *settings)
    assert done.returncode == 1
    first, last = done.stderr.splitlines()
    assert_names(first, "photos/broken.jpg readable")
    assert_names(last, "stylize_distributed.py 1 6 failed")
    first, last = [line for line in done.stdout.splitlines() if not line.endswith(" left")]
    assert_names(first, "6 pictures 2 workers 1 machines")
    assert_names(last, "5 pictures processes")
    assert len(list((folder / "new").iterdir())) == 5
