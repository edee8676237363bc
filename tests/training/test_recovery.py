"""A run that was stopped goes on as if it had not been; checkpoints are whole, or told to be damaged."""

import errno
import gc
import multiprocessing
import os
import random
import resource
import shutil
import signal
import time
import warnings
import weakref
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, EarlyStopping, EMAWeightAveraging
from PIL import Image
from pytorch_optimizer import SOAP
from small_messages import raises

from fast_style.data.batches import TrainingImages
from fast_style.data.datamodule import ContentData
from fast_style.data.photographs import Photographs
from fast_style.data.procedural import ProceduralPictures
from fast_style.encoders.vgg import VGGEncoder
from fast_style.errors import CheckpointError, ConfigError, Interrupted
from fast_style.losses import ContentLoss, PerceptualLoss, StyleLoss
from fast_style.losses.styles import Style
from fast_style.networks import LightNet
from fast_style.training.checkpoints import AtomicCheckpointIO, read_checkpoint
from fast_style.training.recovery import Recovery
from fast_style.training.task import StyleTransferTask

# Lightning uses what this version of PyTorch deprecates.
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning:lightning", "ignore::DeprecationWarning:lightning")

STEPS = 9


class SignalAt(Callback):
    """Sends this process a signal in the middle of a step, or of the measurement after it."""

    def __init__(self, step: int, number: signal.Signals = signal.SIGTERM, measuring: bool = False) -> None:
        self.step, self.number, self.measuring = step, number, measuring

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Any) -> None:
        # Steps are counted from one here; this one is not yet taken.
        if trainer.global_step + 1 == self.step and not self.measuring:
            os.kill(os.getpid(), self.number)

    def on_validation_batch_start(self, trainer: Trainer, *arguments: Any) -> None:
        if trainer.global_step == self.step and self.measuring:
            os.kill(os.getpid(), self.number)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five photographs, of which two are none."""
    generator = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    for i in range(3):
        Image.fromarray(generator.integers(0, 256, (60, 80, 3), np.uint8)).save(tmp_path / f"photos/{2 * i}.png")
    for i in range(2):
        (tmp_path / f"photos/{2 * i + 1}.jpg").write_bytes(b"\xff\xd8 cut short")
    return tmp_path


class Run:
    """One training, each time begun anew from nothing but its checkpoint."""

    def __init__(self, folder: Path, encoder: VGGEncoder, style: Style) -> None:
        self.folder, self.encoder, self.style = folder, encoder, style
        self.path = folder / "run" / "last.ckpt"

    def pictures(self, kind: str) -> TrainingImages:
        if kind == "procedural":
            return ProceduralPictures(32, length=7)
        return Photographs(self.folder / "photos", 32, max_bad=1.0)

    def go(
        self,
        *callbacks: Callback,
        kind: str = "procedural",
        workers: int = 0,
        accumulate: int = 1,
        optimizer: Callable[..., torch.optim.Optimizer] = torch.optim.AdamW,
    ) -> Trainer:
        torch.manual_seed(0)
        loss = PerceptualLoss(
            self.encoder, {"content": ContentLoss(layers=["relu2_1"]), "style": StyleLoss()}, [self.style]
        )
        schedule = partial(torch.optim.lr_scheduler.OneCycleLR, max_lr=0.02)
        task = StyleTransferTask(LightNet(1, width=8, blocks=1), loss, partial(optimizer, lr=0.02), schedule)
        data = ContentData(self.pictures(kind), [self.style.image] * 2, 32, batch_size=2, workers=workers)
        trainer = Trainer(
            accelerator="cpu",
            max_steps=STEPS,
            val_check_interval=3 * accumulate,
            check_val_every_n_epoch=None,
            accumulate_grad_batches=accumulate,
            gradient_clip_val=1.0,
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
            num_sanity_val_steps=0,
            default_root_dir=self.folder,
            callbacks=[
                EMAWeightAveraging(decay=0.5),
                EarlyStopping("heldout/total", patience=2, mode="max"),
                Recovery(self.path, every_n_steps=2),
                *callbacks,
            ],
            plugins=[AtomicCheckpointIO()],
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Lightning advises more workers, and a logger
            trainer.fit(task, datamodule=data, ckpt_path=self.path if self.path.exists() else None)
        return trainer


@pytest.fixture
def run(folder: Path, encoder: VGGEncoder, style: Style) -> Run:
    return Run(folder, encoder, style)


@pytest.fixture
def other(tmp_path: Path, folder: Path, encoder: VGGEncoder, style: Style) -> Run:
    shutil.copytree(folder / "photos", tmp_path / "other" / "photos")
    return Run(tmp_path / "other", encoder, style)


def state(run: Run) -> Any:
    """All that decides how a run goes on: weights, averages, optimizer, schedule, patience, pictures."""
    checkpoint = read_checkpoint(run.path)
    about = {"pytorch-lightning_version", "loops", "epoch"}
    kept = {key: value for key, value in checkpoint.items() if key not in about}
    assert {"state_dict", "current_model_state", "optimizer_states", "lr_schedulers", "ContentData"} <= kept.keys()
    return kept


def assert_identical(one: Any, two: Any, place: str = "checkpoint") -> None:
    assert type(one) is type(two), place
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, two), place
    elif isinstance(one, dict):
        assert one.keys() == two.keys(), place
        for key in one:
            assert_identical(one[key], two[key], f"{place}.{key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(two), place
        for index, pair in enumerate(zip(one, two, strict=True)):
            assert_identical(*pair, f"{place}[{index}]")
    else:
        assert one == two, place


@pytest.mark.parametrize("kind", ["procedural", "photographs"])
@pytest.mark.parametrize(
    ("stops", "workers"), [([1], (0, 0)), ([4], (2, 0)), ([5], (0, 1)), ([2, 3, 7], (1, 2, 0, 1)), ([9], (0, 0))]
)
def test_a_run_that_was_stopped_ends_as_one_that_was_not(
    run: Run, other: Run, kind: str, stops: list[int], workers: tuple[int, ...]
) -> None:
    run.go(kind=kind)
    for step, count in zip(stops, workers, strict=False):
        with pytest.raises(Interrupted) as stopped:
            other.go(SignalAt(step), kind=kind, workers=count)
        assert stopped.value.step == step
        assert read_checkpoint(other.path)["global_step"] == step
    if stops != [STEPS]:
        other.go(kind=kind, workers=workers[-1])
    assert_identical(state(run), state(other))


def test_a_stopped_run_with_gradients_gathered_over_two_batches_ends_the_same(run: Run, other: Run) -> None:
    run.go(accumulate=2)
    with pytest.raises(Interrupted):
        other.go(SignalAt(4), accumulate=2)
    assert read_checkpoint(other.path)["ContentData"] == {"seen": 4 * 2 * 2}
    other.go(accumulate=2)
    assert_identical(state(run), state(other))


def test_a_stopped_run_with_the_matrices_of_soap_ends_the_same(run: Run, other: Run) -> None:
    soap = partial(SOAP, precondition_frequency=2)
    run.go(optimizer=soap)
    with pytest.raises(Interrupted):
        other.go(SignalAt(5), optimizer=soap)
    other.go(optimizer=soap)
    assert_identical(state(run), state(other))


def test_a_run_that_was_stopped_while_it_measured_measures_again(run: Run, other: Run) -> None:
    run.go()
    with pytest.raises(Interrupted) as stopped:
        other.go(SignalAt(6, measuring=True))
    assert stopped.value.step == 6
    other.go()
    assert_identical(state(run), state(other))


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)])
def test_the_status_is_the_one_that_shells_expect(number: int, status: int) -> None:
    assert Interrupted(number, 3).status == status


def test_the_signals_belong_to_whom_they_belonged_before(run: Run) -> None:
    handler = lambda number, frame: None  # noqa: E731  # compared below, not called
    before = signal.signal(signal.SIGTERM, handler)
    try:
        with pytest.raises(Interrupted):
            run.go(SignalAt(2))
        os.kill(os.getpid(), signal.SIGTERM)
        assert signal.getsignal(signal.SIGTERM) is handler
    finally:
        signal.signal(signal.SIGTERM, before)


def test_nothing_of_a_run_that_was_stopped_stays_in_the_process(run: Run) -> None:
    class Seen(SignalAt):
        trainer: "weakref.ref[Trainer]"

        def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
            Seen.trainer = weakref.ref(trainer)

    before = set(multiprocessing.active_children())
    with pytest.raises(Interrupted):
        run.go(Seen(2), workers=1)
    gc.collect()
    assert Seen.trainer() is None
    assert set(multiprocessing.active_children()) <= before


def test_a_run_in_a_thread_of_a_program_leaves_the_signals_to_it(run: Run) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(run.go).result().global_step == STEPS
    assert signal.getsignal(signal.SIGTERM) is before


def test_slurm_is_asked_for_the_job_again(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    scontrol = run.folder / "bin" / "scontrol"
    scontrol.parent.mkdir()
    scontrol.write_text(f'#!/bin/sh\necho "$@" > {run.folder}/asked\n')
    scontrol.chmod(0o755)
    monkeypatch.setenv("PATH", f"{scontrol.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_JOB_ID", "123")
    monkeypatch.setenv("SLURM_JOB_NAME", "bash")  # so that Lightning looks for no other tasks
    with pytest.raises(Interrupted) as stopped:
        run.go(SignalAt(5, signal.SIGUSR1))
    assert stopped.value.step == 5
    assert (run.folder / "asked").read_text() == "requeue 123\n"
    assert [file.name for file in run.path.parent.iterdir()] == ["last.ckpt"]


def test_numbers_out_of_range_are_refused() -> None:
    with raises(ConfigError, "every_n_steps 1 0"):
        Recovery("last.ckpt", every_n_steps=0)


def checkpoint(value: float = 0.0, size: int = 200_000) -> dict[str, Any]:
    return {"global_step": 1, "loops": {}, "state_dict": {"weight": torch.full((size,), value)}}


def test_a_kill_at_any_moment_of_a_save_leaves_a_whole_checkpoint(tmp_path: Path) -> None:
    """With $TMPDIR on another file system, where the usual way of writing tears files."""
    shm = Path("/dev/shm")
    elsewhere = shm if shm.is_dir() and shm.stat().st_dev != tmp_path.stat().st_dev else tmp_path
    path = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint(checkpoint(), path)
    chance = random.Random(0)
    for _ in range(20):
        child = os.fork()
        if child == 0:
            os.environ["TMPDIR"] = str(elsewhere)
            torch.set_num_threads(1)
            for value in range(10_000):
                AtomicCheckpointIO().save_checkpoint(checkpoint(value), path)
            os._exit(0)
        time.sleep(chance.uniform(0.005, 0.1))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status)
        weight = read_checkpoint(path)["state_dict"]["weight"]
        assert (weight == weight[0]).all()


def test_a_full_disk_is_told_and_leaves_the_old_checkpoint(small_disk: Callable[[str], Path]) -> None:
    path = small_disk("1m") / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint(checkpoint(3.0, 100_000), path)
    with raises(CheckpointError, f"{path} written No space left on device whole"):
        AtomicCheckpointIO().save_checkpoint(checkpoint(4.0), path)
    assert read_checkpoint(path)["state_dict"]["weight"][0] == 3
    assert list(path.parent.iterdir()) == [path]


def test_a_file_that_may_grow_no_further_is_told_in_the_same_way(tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(CheckpointError, match=os.strerror(errno.EFBIG)):
            AtomicCheckpointIO().save_checkpoint(checkpoint(), tmp_path / "last.ckpt")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_may_be_saved_where_no_folder_is_yet(tmp_path: Path) -> None:
    AtomicCheckpointIO().save_checkpoint(checkpoint(2.0), tmp_path / "a" / "b" / "last.ckpt")
    assert AtomicCheckpointIO().load_checkpoint(tmp_path / "a" / "b" / "last.ckpt")["state_dict"]["weight"][0] == 2


class Payload:
    """What a malicious file would have run."""

    def __reduce__(self) -> Any:
        return os.mkdir, ("it-ran",)


def test_a_file_that_cannot_be_gone_on_from_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    whole = Path("whole.ckpt")
    AtomicCheckpointIO().save_checkpoint(checkpoint(), whole)
    data = whole.read_bytes()
    middle = len(data) // 2
    torch.save({"global_step": 1, "loops": {}, "state_dict": Payload()}, "malicious.ckpt")
    torch.save({"weights": torch.ones(3)}, "foreign.ckpt")
    with zipfile.ZipFile("archive.ckpt", "w") as archive:
        archive.writestr("notes.txt", "no checkpoint")
    Path("empty.ckpt").write_bytes(b"")
    Path("cut.ckpt").write_bytes(data[:middle])
    Path("flipped.ckpt").write_bytes(data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :])
    Path("page.ckpt").write_text("<html>not found</html>")
    for name in ("malicious", "foreign", "archive", "empty", "cut", "flipped", "page"):
        with raises(CheckpointError, f"{name}.ckpt delete"):
            read_checkpoint(Path(f"{name}.ckpt"))
    with raises(CheckpointError, "nowhere.ckpt"):
        read_checkpoint(Path("nowhere.ckpt"))
    assert not Path("it-ran").exists()


def test_any_change_of_a_checkpoint_is_noticed_or_harmless(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint(checkpoint(1.5, 300), path)
    data, chance = path.read_bytes(), random.Random(0)
    noticed = 0
    for _ in range(300):
        changed = bytearray(data)
        for _ in range(chance.choice((1, 1, 4, 100))):
            changed[chance.randrange(len(data))] = chance.randrange(256)
        path.write_bytes(changed[: len(data) if chance.random() < 0.8 else chance.randrange(len(data))])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # zipfile warns of names that occur twice
            try:
                weight = read_checkpoint(path)["state_dict"]["weight"]
            except CheckpointError:
                noticed += 1
            else:
                assert torch.equal(weight, torch.full((300,), 1.5))
    assert noticed > 150
