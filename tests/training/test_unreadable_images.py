"""What the callback counts, writes down and stops."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from PIL import Image
from small_messages import assert_names, assert_says, raises
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn
from torch.utils.data import DataLoader

from fast_style.data.batches import TrainingImages
from fast_style.data.datamodule import ContentData
from fast_style.data.photographs import Photographs
from fast_style.errors import ConfigError, DataError
from fast_style.training.callbacks import BadPictures

# Of Lightning: it names a worker too few, and PyTorch deprecates what it uses.
pytestmark = pytest.mark.filterwarnings("ignore")


class Still(LightningModule):
    """Learns nothing from anything."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        return self.weight * batch[0].mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Eight pictures, of which two are none."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for index in range(8):
        levels = np.random.default_rng(index).integers(0, 256, (40, 40, 3), np.uint8)
        Image.fromarray(levels).save(folder / f"{index}.png")
    (folder / "3.png").write_bytes(b"")
    (folder / "6.png").write_bytes(b"<html>not found</html>")
    return folder


BAD_FILES = (
    "3.png\tnot a readable picture (the file is empty)\n"
    "6.png\tnot a readable picture (it holds a web page or other markup)\n"
)


def train(folder: Path, pictures: TrainingImages, steps: int = 9, every: int = 4) -> Path:
    """Train for some steps, one picture each, and return the run's folder."""
    run = folder / "run"
    heldout = [folder / "heldout.png"]
    Image.new("RGB", (32, 32)).save(heldout[0])
    Trainer(
        accelerator="cpu",
        max_steps=steps,
        default_root_dir=run,
        limit_val_batches=0,
        logger=TensorBoardLogger(save_dir=run, name="", version=""),
        callbacks=[BadPictures(every)],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    ).fit(Still(), datamodule=ContentData(pictures, heldout, 32, batch_size=1, workers=0))
    return run


def stand_in(folder: Path, pictures: TrainingImages, **attributes: Any) -> Any:
    """What the callback asks a trainer for."""
    return SimpleNamespace(
        datamodule=SimpleNamespace(pictures=pictures),
        is_global_zero=True,
        default_root_dir=str(folder),
        logger=None,
        global_step=1,
        **attributes,
    )


def counts(run: Path, name: str = "pictures/bad") -> list[tuple[int, int]]:
    events = EventAccumulator(str(run))
    events.Reload()
    return [(event.step, round(event.value)) for event in events.Scalars(name)]


def test_bad_pictures_are_counted_every_so_often_and_named(tmp_path: Path, photos: Path) -> None:
    run = train(tmp_path, Photographs(photos, 32, max_bad=0.5))
    seen = counts(run)
    assert [step for step, _ in seen] == [1, 4, 8, 9]
    assert [count for _, count in seen] == sorted(count for _, count in seen)
    assert seen[-1] == (9, 2)
    assert (run / "bad_files.txt").read_text() == BAD_FILES
    assert not list(run.glob(".*"))  # the half-written ones


def test_a_picture_that_vanishes_during_the_run_is_named(tmp_path: Path, photos: Path) -> None:
    photographs = Photographs(photos, 32, max_bad=0.5)
    (photos / "1.png").unlink()
    run = train(tmp_path, photographs)
    assert_says((run / "bad_files.txt").read_text(), "1.png opened No such file or directory")
    assert counts(run)[-1] == (9, 3)


def test_too_many_stop_the_run_after_the_list_is_written(tmp_path: Path, photos: Path) -> None:
    with raises(DataError, "8 bad_files.txt"):
        train(tmp_path, Photographs(photos, 32))
    assert set((tmp_path / "run/bad_files.txt").read_text().splitlines()) <= set(BAD_FILES.splitlines())
    assert counts(tmp_path / "run")[-1][1] > 0


def test_an_error_from_a_worker_is_one_line(tmp_path: Path, photos: Path) -> None:
    photographs = Photographs(photos, 32, max_bad=1)
    for path in photos.iterdir():
        path.unlink()
    loader = DataLoader(photographs, sampler=[(0, 0)], num_workers=1, multiprocessing_context="fork")
    batches: Any = iter(loader)
    with pytest.raises(DataError, match="Traceback") as caught:
        next(batches)
    batches._shutdown_workers()  # The traceback would keep them.
    callback = BadPictures()
    callback.setup(stand_in(tmp_path, photographs), Still(), "fit")
    callback.on_exception(stand_in(tmp_path, photographs), Still(), caught.value)
    assert_names(caught.value, f"{photos} 8 0.png opened No such file or directory")
    assert len((tmp_path / "bad_files.txt").read_text().splitlines()) == 8


def test_a_resumed_run_tries_again_what_its_list_names_and_writes_it_once(tmp_path: Path, photos: Path) -> None:
    run = train(tmp_path, Photographs(photos, 32, max_bad=0.5))
    (run / "bad_files.txt").write_bytes(BAD_FILES.encode() + b"5.png\tonce\n\xff\xfe\nother.png\tno reason\n\n5.png")
    photographs = Photographs(photos, 32, max_bad=0.5)
    train(tmp_path, photographs, steps=1)
    assert photographs.skipped == ["3.png", "6.png"]
    assert (run / "bad_files.txt").read_text() == BAD_FILES
    # The files are mended while no run looks.
    for name in photographs.skipped:
        Image.new("RGB", (40, 40)).save(photos / name)
    train(tmp_path, Photographs(photos, 32))
    assert (run / "bad_files.txt").read_text() == ""


def test_without_bad_pictures_there_is_no_list(tmp_path: Path, photos: Path) -> None:
    for name in ("3.png", "6.png"):
        (photos / name).unlink()
    run = train(tmp_path, Photographs(photos, 32))
    assert counts(run)[-1] == (9, 0)
    assert not (run / "bad_files.txt").exists()


def test_pictures_made_by_program_are_left_alone(tmp_path: Path) -> None:
    class Gray:
        def __len__(self) -> int:
            return 4

        def __getitem__(self, key: tuple[int, int]) -> Tensor:
            return torch.zeros(3, 32, 32, dtype=torch.uint8)

    run = train(tmp_path, Gray())
    events = EventAccumulator(str(run))
    events.Reload()
    assert not any(tag.startswith("data/") for tag in events.Tags()["scalars"])
    assert not (run / "bad_files.txt").exists()


def test_each_process_comes_to_know_what_the_others_found(tmp_path: Path, photos: Path) -> None:
    mine, others = (Photographs(photos, 32, max_bad=0.5) for _ in range(2))
    others.look_again(["3.png", "6.png"])

    class Both:
        root_device = torch.device("cpu")

        def reduce(self, flags: Tensor, reduce_op: str) -> Tensor:
            assert reduce_op == "max"
            return torch.maximum(flags, others.flags)

        def barrier(self) -> None:
            # Only now may a process end.
            assert (tmp_path / "bad_files.txt").read_text() == BAD_FILES

    trainer = stand_in(tmp_path, mine, strategy=Both(), world_size=2)
    callback = BadPictures()
    callback.setup(trainer, Still(), "fit")
    callback.on_train_batch_end(trainer, Still(), None, None, 0)
    assert mine.skipped == ["3.png", "6.png"]


def test_to_look_never_for_bad_pictures_is_refused() -> None:
    with raises(ConfigError, "every_n_steps 1 0"):
        BadPictures(0)
