"""One training run: initial weights, fitting, validation, and saving the trained network."""

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
    """The result of a training run.

    Attributes:
        path: the network file; `fast_style.load(path)` reads it.
        losses: unweighted losses on held-out images, by name; `total` is their weighted sum.
        steps: number of steps, including those of resumed runs.
        seconds: duration of this run.
    """

    path: Path
    losses: Mapping[str, float]
    steps: int
    seconds: float


def begin(
    task: StyleTransferTask, data: ContentData, trainer: Trainer, before: Mapping[str, Any] | None, init: str
) -> Start:
    """Set the initial weights of a new network.

    Args:
        task: the task whose network is changed.
        data: its training images serve to compare candidates.
        trainer: the trainer that will fit the task.
        before: the checkpoint of a resumed run, which has its own weights; None: a new run.
        init: what a new network starts from, see `warm_start.candidates`.

    Returns:
        Where the weights come from; without text for a resumed run.

    Raises:
        CheckpointError: if the network to start from cannot be read.
        ConfigError: if it is of another kind.
    """
    began = Start(before.get("hyper_parameters", {}).get("started_from") if before else None, "")
    if before is None and init != "none":
        trained = candidates(init, task.network)
        # Every process computes this, with the same result: the trainer has not connected its processes yet.
        task.loss.to(trainer.strategy.root_device)
        began = start(task.network, trained, task.loss, data.pictures, cold=init == "auto")
    # Stored in the checkpoint for resumed runs.
    task.save_hyperparameters({"started_from": began.origin}, logger=False)
    return began


def fit(
    task: StyleTransferTask, data: ContentData, trainer: Trainer, before: Mapping[str, Any] | None, last: Path
) -> dict[str, float]:
    """Train, unless the checkpoint is complete, and validate.

    Args:
        task: the task to train.
        data: training and held-out images.
        trainer: the trainer.
        before: the checkpoint of a resumed run; None: a new run.
        last: the checkpoint's file.

    Returns:
        The losses on held-out images, such as heldout/content.

    Raises:
        TrainingError: if the training fails, such as by a non-finite loss.
        Interrupted: if a signal stops the training.
    """
    if before and (before["global_step"] >= trainer.max_steps > 0 or time_was_up(trainer, before)):
        # The averaged weights, if averaging is used.
        task.load_state_dict(before["state_dict"])
    else:
        trainer.fit(task, datamodule=data, ckpt_path=last if before else None)
    (measured,) = trainer.validate(task, datamodule=data, verbose=False)
    return {key: value for key, value in measured.items() if key.startswith("heldout/")}


def names(wanted: Path) -> Iterator[Path]:
    """Yield possible paths of a network, best first: starry_night, starry_night-2, starry_night-3 and so on."""
    yield wanted
    for number in itertools.count(2):
        yield wanted.with_name(f"{wanted.stem}-{number}{wanted.suffix}")


def free_name(wanted: Path) -> Path:
    """Return the first of `names` that does not exist now. Another run may take it before this one ends."""
    return next(path for path in names(wanted) if not os.path.lexists(path))


def own_name(wanted: Path, folder: Path) -> Path | None:
    """Return the path under which this run saved its network before it was resumed; None: it has none.

    The path is the run's own if the file is missing or equals the copy in the run's folder; otherwise another run has
    taken it.

    Args:
        wanted: the path wanted for the network.
        folder: the run's folder.
    """
    ours = re.compile(rf"{re.escape(wanted.stem)}(-\d+)?{re.escape(wanted.suffix)}")
    for copy in sorted(folder.glob(f"*{wanted.suffix}")) if folder.is_dir() else ():
        path = wanted.with_name(copy.name)
        if ours.fullmatch(copy.name) and (not os.path.lexists(path) or _same_content(path, copy)):
            return path
    return None


def save_as(wanted: Path, folder: Path, save: Callable[[Path], None], *, overwrite: bool) -> Path:
    """Save a network, and a copy in its run's folder.

    Args:
        wanted: the wanted path. If another run has it, the next free name is taken.
        folder: the run's folder, which only this run writes to.
        save: writes the network to a file atomically.
        overwrite: whether to replace an existing network.

    Returns:
        The path of the network.

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
            # The copy's name tells a resumed run which file is its own.
            os.replace(copy, folder / path.name)
            return path
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be written ({error.strerror}); the network is in {copy}") from error
    raise AssertionError("there is always another name")


def _same_content(one: Path, two: Path) -> bool:
    return one.is_file() and one.read_bytes() == two.read_bytes()
