"""The command `train`: `train_network` trains, `safe_run` guards it."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from fast_style.cli.hydra_app import build, command, duration, find_pictures, plain
from fast_style.cli.resume import flat
from fast_style.cli.run_folder import note_progress
from fast_style.cli.train_settings import check_settings, telling_settings, time_limit

if TYPE_CHECKING:  # imported after the checks: PyTorch and Lightning take seconds
    from lightning.pytorch import Trainer
    from lightning.pytorch.loggers import Logger

    from fast_style.cli.safety import Run
    from fast_style.losses.styles import Style
    from fast_style.training.run import Trained


def main(config: DictConfig) -> Trained | None:
    """Check the settings, train, and report the result."""
    check_settings(config)
    from fast_style.cli.safety import safe_run

    with safe_run(config, lambda folder: command("train.py", f"resume={os.path.relpath(folder)}")) as run:
        trained = train_network(config, run, partial(print, flush=True))
        if trained is not None:
            report(config, run, trained)
        return trained


def train_network(config: DictConfig, run: Run, say: Callable[[str], None]) -> Trained | None:
    """Build what a checked configuration describes, fit it, and save the network; None except in the first process."""
    from lightning.pytorch import seed_everything

    from fast_style.data.datamodule import ContentData
    from fast_style.losses import PerceptualLoss
    from fast_style.training.checkpoints import read_checkpoint
    from fast_style.training.loggers import log_result
    from fast_style.training.run import Trained, begin, fit, save_as
    from fast_style.training.task import StyleTransferTask
    from fast_style.zoo.saving import Metadata, require_loadable, save_network

    started = time.monotonic()
    seed_everything(config.seed, workers=True, verbose=False)

    # Parts that read the user's files come first: their errors show at once.
    before = read_checkpoint(run.last) if run.last.exists() else None
    styles = list(build(config.style).values())
    heldout = find_pictures(config.heldout.images) if config.heldout.images else None
    data = ContentData(build(config.data), heldout, config.heldout.size, config.batch_size, config.workers, config.seed)
    encoder = build(config.encoder)
    if str(config.trainer.precision).startswith("bf16"):
        encoder = encoder.bfloat16()
    loss = PerceptualLoss(encoder, build(config.loss), styles)
    network = build(config.network, styles=len(styles))
    require_loadable(network)
    task = StyleTransferTask(network, loss, build(config.optimizer), build(config.get("schedule")))
    trainer = build_trainer(config, run, styles, before["global_step"] if before else None)

    for line in plans(config, run, before) if trainer.is_global_zero else ():
        say(line)
    for line in flicker(config, styles) if trainer.is_global_zero else ():
        say(line)
    start = begin(task, data, trainer, before, str(config.init))
    if start.text and trainer.is_global_zero:
        say(f"starts    {start.text}")
    losses = fit(task, data, trainer, before, run.last)
    if not trainer.is_global_zero:
        return None
    if skipped := getattr(data.pictures, "skipped", []):
        say(f"skipped   {len(skipped)} of {len(data.pictures)} pictures cannot be read: {', '.join(skipped[:5])}")
    steps = max(trainer.global_step, before["global_step"] if before else 0)
    settings = {**plain(config), "started_from": start.origin, "steps": steps}
    log_result(trainer.logger, flat(settings), telling_settings(config), losses)
    metadata = Metadata({style.name: style.credit for style in styles}, settings, losses)
    save = partial(save_network, network=network, metadata=metadata)
    path = save_as(Path(config.checkpoint), run.folder, save, overwrite=config.overwrite)
    return Trained(path, losses, steps, time.monotonic() - started)


def build_trainer(config: DictConfig, run: Run, styles: list[Style], step: int | None) -> Trainer:
    """Build the trainer with its callbacks and logger; `step` is where the run resumes, None for a new run."""
    from lightning.pytorch.callbacks import LambdaCallback, LearningRateMonitor

    from fast_style.training.callbacks import Preview
    from fast_style.training.checkpoints import AtomicCheckpointIO
    from fast_style.training.loggers import lay_out

    shown = find_pictures(config.preview.images) if config.preview.images else None
    preview = Preview(styles, **{**plain(config.preview), "images": shown})
    finished = (step or 0) >= config.trainer.max_steps > 0
    logs = config.logger._target_.endswith(".TensorBoardLogger") and any(run.folder.glob("events.out.tfevents.*"))
    # A killed run repeats the steps after its last checkpoint: purge their log entries.
    logger: Logger = build(config.logger, **({"purge_step": step or 0} if logs and not finished else {}))
    callbacks = [*build(config.callback).values(), preview, LambdaCallback(on_train_batch_end=note_progress)]
    if not logger:  # Lightning refuses a LearningRateMonitor without a logger.
        callbacks = [each for each in callbacks if not isinstance(each, LearningRateMonitor)]
    parts = {"logger": logger, "callbacks": callbacks, "plugins": [AtomicCheckpointIO()]}
    trainer: Trainer = build(config.trainer, max_time=time_limit(config), default_root_dir=run.folder, **parts)
    run.watch(trainer)
    if trainer.is_global_zero:
        lay_out(logger, list(config.loss), flat(plain(config)))
    return trainer


def plans(config: DictConfig, run: Run, before: dict[str, Any] | None) -> Iterator[str]:
    """Yield, before the training, the network's file name if it changes and the step at which the run resumes."""
    from fast_style.training.run import free_name, own_name

    wanted = Path(config.checkpoint)
    new = not config.overwrite and own_name(wanted, run.folder) is None
    if new and (free := free_name(wanted)) != wanted:
        yield f"network   {wanted} is there and stays; this one will be {free} (overwrite=true replaces it)"
    if before:
        yield f"resumes   {run.folder} at step {before['global_step']}"


def flicker(config: DictConfig, styles: list[Style]) -> Iterator[str]:
    """Yield a line for each painting whose network will flicker in films."""
    from fast_style.losses.temporal import FLICKERS, stroke_energy

    loss = config.loss.get("temporal")
    remedy = f"loss.temporal.weight={2 * loss.weight or 0.3:g}" if loss else f"loss=[{','.join(config.loss)},temporal]"
    for style in styles:
        if stroke_energy(style.read()) > FLICKERS:
            yield f"flicker   {style.name} has fine, strong strokes, which flicker in films; less so with {remedy}"


def report(config: DictConfig, run: Run, trained: Trained) -> None:
    """Print the result of a training, and the commands to view and use it."""
    from fast_style.training.loggers import how_to_view

    folder = os.path.relpath(run.folder)
    losses = ", ".join(f"{key.removeprefix('heldout/')} {value:.4g}" for key, value in trained.losses.items())
    print(f"network   {trained.path} (a copy, settings, logs and last.ckpt: {folder})")
    print(f"held-out  {losses}")
    limit = f"minutes={config.minutes:g}" if config.minutes else "trainer.max_time"
    short = f" of {config.trainer.max_steps}: {limit} was up" if trained.steps < config.trainer.max_steps else ""
    print(f"time      {duration(trained.seconds)}, {trained.steps} steps{short}")
    if see := how_to_view(run.trainers[0].logger, folder):
        print(f"see it    {shlex.join(see)}")
    print(f"use it    {command('stylize.py', f'ckpt={trained.path}', 'input=photo.jpg')}")
