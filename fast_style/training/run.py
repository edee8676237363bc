"""One training from its parts: where it begins, the fit, the measurement, and the file of the trained network."""

import itertools
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning.pytorch import Trainer

from fast_style.data.datamodule import ContentData
from fast_style.errors import CheckpointError
from fast_style.system.files import atomic_copy, atomic_write
from fast_style.training.task import StyleTransferTask, time_was_up
from fast_style.training.warm_start import Start, candidates, start


@dataclass(frozen=True)
class Trained:
    """What came out of a training.

    Attributes:
        path: the file of the network; `fast_style.load(path)` reads it.
        losses: on held-out images, by name, each without its weight; `total` is their weighted sum.
        steps: how many it took, with those of the runs that it resumed.
        seconds: how long it took, this time.
    """

    path: Path
    losses: Mapping[str, float]
    steps: int
    seconds: float


def begin(
    task: StyleTransferTask, data: ContentData, trainer: Trainer, before: Mapping[str, Any] | None, init: str
) -> Start:
    """Give a new network the weights to start from.

    Args:
        task: its network is changed.
        data: the network is measured on some of its training images.
        trainer: is about to fit them.
        before: the checkpoint of a run that goes on, which has its own weights; None: it is new.
        init: what a new network starts from, see `warm_start.candidates`.

    Returns:
        Where the weights come from, with nothing to say of a run that goes on.

    Raises:
        CheckpointError: if the network to start from cannot be read.
        ConfigError: if it is of another kind.
    """
    began = Start(before.get("hyper_parameters", {}).get("started_from") if before else None, "")
    if before is None and init != "none":
        trained = candidates(init, task.network)
        # In each process, for those that the trainer starts are not there yet: all come to the same.
        task.loss.to(trainer.strategy.root_device)
        began = start(task.network, trained, task.loss, data.pictures, cold=init == "auto")
    # The checkpoint keeps it for the runs that go on from there.
    task.save_hyperparameters({"started_from": began.origin}, logger=False)
    return began


def fit(
    task: StyleTransferTask, data: ContentData, trainer: Trainer, before: Mapping[str, Any] | None, last: Path
) -> dict[str, float]:
    """Train, unless there is nothing left to train, and measure.

    Args:
        task: what is trained.
        data: to train and to measure on.
        trainer: fits them.
        before: the checkpoint of a run that goes on; None: it is new.
        last: its file.

    Returns:
        The losses on held-out images, such as heldout/content.

    Raises:
        TrainingError: if the numbers go wrong.
        Interrupted: if a signal stops the training.
    """
    if before and (before["global_step"] >= trainer.max_steps > 0 or time_was_up(trainer, before)):
        # Its weights are the averaged ones, if there are such.
        task.load_state_dict(before["state_dict"])
    else:
        trainer.fit(task, datamodule=data, ckpt_path=last if before else None)
    (measured,) = trainer.validate(task, datamodule=data, verbose=False)
    return {key: value for key, value in measured.items() if key.startswith("heldout/")}


def names(wanted: Path) -> Iterator[Path]:
    """Yield the names that a network may get, best first: starry_night, starry_night-2, starry_night-3 and so on."""
    yield wanted
    for number in itertools.count(2):
        yield wanted.with_name(f"{wanted.stem}-{number}{wanted.suffix}")


def free_name(wanted: Path) -> Path:
    """Return the first of the names that no file has now. Another run may take it before this one ends."""
    return next(path for path in names(wanted) if not os.path.lexists(path))


def own_name(wanted: Path, folder: Path) -> Path | None:
    """Return the name under which an earlier start of a run has saved its network; None: there is none of its own.

    Its file is gone, or it is the same as the copy in the run's folder; otherwise it is by now another's.
    """
    ours = re.compile(rf"{re.escape(wanted.stem)}(-\d+)?{re.escape(wanted.suffix)}")
    for copy in sorted(folder.glob(f"*{wanted.suffix}")) if folder.is_dir() else ():
        path = wanted.with_name(copy.name)
        if ours.fullmatch(copy.name) and (not os.path.lexists(path) or _same(path, copy)):
            return path
    return None


def save_as(wanted: Path, folder: Path, save: Callable[[Path], None], *, overwrite: bool) -> Path:
    """Save a network, and a copy in the folder of its run, and return where it is.

    Args:
        wanted: the file that it should be. If that is another's, the next free name is taken.
        folder: of the run, which nobody else writes to.
        save: writes the network to a file, whole.
        overwrite: whether it takes the place of whatever network is there.

    Raises:
        CheckpointError: if it cannot be written.
    """
    if wanted.resolve() == (folder / wanted.name).resolve():
        save(wanted)
        return wanted
    own = wanted if overwrite else own_name(wanted, folder)
    copy = folder / (own or wanted).name
    save(copy)
    path = own or wanted
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if own is not None:
            with atomic_write(own) as file:
                file.write(copy.read_bytes())
            return own
        for path in names(wanted):
            try:
                atomic_copy(copy, path)
            except FileExistsError:
                continue
            # The copy's name tells a run that goes on which file is its own.
            os.replace(copy, folder / path.name)
            return path
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be written ({error.strerror}); the network is in {copy}") from error
    raise AssertionError("there is always another name")


def _same(one: Path, two: Path) -> bool:
    return one.is_file() and one.read_bytes() == two.read_bytes()
