"""What scripts/train.py does once its settings are checked: train, measure, save."""

import logging
import os
import sys
import time
import warnings
from datetime import timedelta
from pathlib import Path
from subprocess import Popen
from typing import Any

from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.callbacks import LambdaCallback
from lightning.pytorch.loggers import TensorBoardLogger
from omegaconf import DictConfig

from fast_style.cli import program
from fast_style.cli.hydra_app import build, command, duration, find_pictures, plain
from fast_style.cli.network_names import free_name, own_name, save_as
from fast_style.cli.processes import (
    end_when_stuck,
    keep_freed_memory,
    leave_errors_to_the_main_thread,
    processes,
    stopped_by_signals,
    told,
)
from fast_style.cli.run_folder import flat, run_folder
from fast_style.cli.run_folders import begun, is_first_process, started_by_trainer, stays
from fast_style.cli.train_checks import seconds_of
from fast_style.data.module import ContentData
from fast_style.errors import CheckpointError, Interrupted, TrainingError
from fast_style.losses import PerceptualLoss
from fast_style.training.callbacks import Preview
from fast_style.training.checkpoints import AtomicCheckpointIO, read_checkpoint
from fast_style.training.task import StyleTransferTask, time_was_up
from fast_style.training.warm_start import candidates, start
from fast_style.zoo.saving import Metadata, require_loadable, save_network

#: What a run goes on from, within its folder.
LAST = Path("checkpoints", "last.ckpt")


def train_in_folder(config: DictConfig) -> None:
    """Train, measure on pictures kept aside, save the network, and say how to use it."""
    # Lightning's advertisements, and its use of what PyTorch now deprecates, are not the user's concern.
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module="lightning")
    leave_errors_to_the_main_thread()
    with stopped_by_signals(), run_folder(config) as folder, processes() as started:
        resume = f"; go on with: {command('train.py', f'resume={os.path.relpath(folder)}')}"
        try:
            train(config, folder, started)
        except TrainingError as error:
            raise TrainingError(
                f"{error}{resume.replace('; go', '; with that, go') if stays(folder) else ''}"
            ) from None
        except (RuntimeError, OSError, CheckpointError) as error:
            if (known := told(error)) is None:
                raise
            raise type(known)(f"{known}{resume if stays(folder) else ''}") from error
        except Interrupted as interrupted:
            if interrupted.step is None and (last := folder / LAST).exists():
                interrupted = Interrupted(interrupted.signal, read_checkpoint(last)["global_step"])
            if is_first_process():
                goes_on = resume if stays(folder) else ": it had not taken a step"
                print(f"{program()}: {interrupted}{goes_on}", file=sys.stderr)
            # The trainer that started this process would take another status for a failure.
            sys.exit(0 if started_by_trainer() else interrupted.status)


def train(config: DictConfig, folder: Path, started: list[Popen[bytes]]) -> None:
    """Train in a folder; if a run was stopped there, go on with it. Enters the processes that it has started."""
    beginning = time.monotonic()
    keep_freed_memory()
    seed_everything(config.seed, workers=True, verbose=False)

    # Everything that reads the user's files comes first: what is wrong with them shows at once.
    last = folder / LAST
    before = read_checkpoint(last) if last.exists() else None
    styles = list(build(config.style).values())
    heldout = find_pictures(config.heldout.images) if config.heldout.images else None
    data = ContentData(build(config.data), heldout, config.heldout.size, config.batch_size, config.workers, config.seed)
    shown = find_pictures(config.preview.images) if config.preview.images else None
    preview = Preview(styles, shown, config.preview.every_n_steps, config.preview.size)
    encoder = build(config.encoder)
    if str(config.trainer.precision).startswith("bf16"):
        encoder = encoder.bfloat16()
    loss = PerceptualLoss(encoder, build(config.loss), styles)
    network = build(config.network, styles=len(styles))
    require_loadable(network)
    trained = {} if before else candidates(str(config.init), network)
    task = StyleTransferTask(network, loss, build(config.optimizer), build(config.get("schedule")))

    step = before["global_step"] if before else 0
    finished = step >= config.trainer.max_steps > 0
    # What a run that was killed has logged after its last checkpoint comes again.
    logged = any(folder.glob("events.out.tfevents.*"))
    options: dict[str, Any] = {"purge_step": step} if logged and not finished else {}
    logger = TensorBoardLogger(save_dir=folder, name="", version="", default_hp_metric=False, **options)
    logger.hparams.update(flat(plain(config)))  # which it writes to hparams.yaml once
    limit = seconds_of(config.trainer.get("max_time"))
    trainer: Trainer = build(
        config.trainer,
        max_time=None if limit is None else timedelta(seconds=limit),
        logger=logger,
        callbacks=[*build(config.callback).values(), preview, LambdaCallback(on_train_batch_end=begun)],
        plugins=[AtomicCheckpointIO()],
        default_root_dir=folder,
    )
    wanted = Path(config.checkpoint)
    new = not config.overwrite and own_name(wanted, folder) is None
    if trainer.is_global_zero and new and (free := free_name(wanted)) != wanted:
        print(f"network   {wanted} is there and stays; this one will be {free} (overwrite=true replaces it)")
    if before and trainer.is_global_zero:
        print(f"resumes   {folder} at step {step}", flush=True)
    origin = before.get("hyper_parameters", {}).get("started_from") if before else None
    if not before and config.init != "none":
        # In each process, for those that the trainer starts are not there yet: all come to the same.
        loss.to(trainer.strategy.root_device)
        began = start(network, trained, loss, data.pictures, cold=config.init == "auto")
        origin = began.origin
        if trainer.is_global_zero:
            print(f"starts    {began.text}", flush=True)
    # A checkpoint keeps it for the runs that go on from there.
    task.save_hyperparameters({"started_from": origin}, logger=False)
    if trainer.world_size > 1:
        end_when_stuck()
    if before and (finished or time_was_up(trainer, before)):
        # Its weights are the averaged ones, if there are such.
        task.load_state_dict(before["state_dict"])
    else:
        trainer.fit(task, datamodule=data, ckpt_path=last if before else None)
    (measured,) = trainer.validate(task, datamodule=data, verbose=False)
    started += getattr(trainer.strategy.launcher, "procs", [])
    if not trainer.is_global_zero:
        return

    steps = max(step, trainer.global_step)
    settings = {**plain(config), "started_from": origin, "steps": steps}
    losses = {key: value for key, value in measured.items() if key.startswith("heldout/")}
    # Under names of their own: the table's figures would stand at step 0 of the curves.
    logger.log_hyperparams(
        flat(settings), metrics={key.replace("heldout", "final"): value for key, value in losses.items()}
    )
    logger.finalize("success")
    metadata = Metadata({style.name: style.credit for style in styles}, settings, losses)
    checkpoint = save_as(wanted, folder, lambda path: save_network(path, network, metadata), overwrite=config.overwrite)
    terms = ", ".join(f"{key.removeprefix('heldout/')} {value:.4g}" for key, value in losses.items())
    if skipped := getattr(data.pictures, "skipped", []):
        print(f"skipped   {len(skipped)} of {len(data.pictures)} pictures cannot be read: {', '.join(skipped[:5])}")
    print(f"network   {checkpoint} (a copy, settings, logs and last.ckpt: {os.path.relpath(folder)})")
    print(f"held-out  {terms}, on {len(data.heldout)} pictures")
    short = f" of {trainer.max_steps}: trainer.max_time was up" if steps < trainer.max_steps else ""
    print(f"time      {duration(time.monotonic() - beginning)}, {steps} steps{short}")
    print(f"use it    {command('stylize.py', f'ckpt={checkpoint}', 'input=photo.jpg')}")
