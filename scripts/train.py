"""Learn one style or several: python scripts/train.py style=starry_night."""

import logging
import time
import warnings
from pathlib import Path

from command_line import build, command, duration, find_pictures, plain, run
from hydra.core.hydra_config import HydraConfig
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.loggers import TensorBoardLogger
from omegaconf import DictConfig

from fast_style.callbacks import Preview
from fast_style.checkpoints import Metadata, save_network
from fast_style.data import ContentData
from fast_style.errors import ConfigError
from fast_style.losses import PerceptualLoss
from fast_style.task import StyleTransferTask


def main(config: DictConfig) -> None:
    """Train, measure on pictures kept aside, save the network, and say how to use it."""
    started = time.monotonic()
    # Lightning's advertisements, and its use of what PyTorch now deprecates, are not the user's concern.
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module="lightning")
    folder = Path(HydraConfig.get().runtime.output_dir)
    if not 0 <= config.seed < 2**32:
        raise ConfigError(f"seed must be from 0 to {2**32 - 1}, not {config.seed}")
    seed_everything(config.seed, workers=True, verbose=False)

    # Everything that reads the user's files comes first: what is wrong with them shows at once.
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
    task = StyleTransferTask(network, loss, build(config.optimizer), build(config.get("schedule")))

    logger = TensorBoardLogger(save_dir=folder, name="", version="", default_hp_metric=False)
    trainer: Trainer = build(config.trainer, logger=logger, callbacks=[*build(config.callback).values(), preview])
    trainer.fit(task, datamodule=data)
    (measured,) = trainer.validate(task, datamodule=data, verbose=False)
    if not trainer.is_global_zero:
        return

    settings = plain(config)
    losses = {key: value for key, value in measured.items() if key.startswith("heldout/")}
    # Under names of their own: the table's figures would stand at step 0 of the curves.
    logger.log_hyperparams(settings, metrics={key.replace("heldout", "final"): value for key, value in losses.items()})
    logger.finalize("success")
    metadata = Metadata({style.name: style.credit for style in styles}, settings, losses)
    checkpoint = Path(config.checkpoint)
    # Twice: a later run of the same name replaces the one, and the run's folder keeps the other.
    for path in (folder / checkpoint.name, checkpoint):
        save_network(path, network, metadata)
    terms = ", ".join(f"{key.removeprefix('heldout/')} {value:.4f}" for key, value in losses.items())
    if skipped := getattr(data.pictures, "skipped", []):
        print(f"skipped   {len(skipped)} of {len(data.pictures)} pictures cannot be read: {', '.join(skipped[:5])}")
    print(f"network   {checkpoint} (a copy, settings, logs and last.ckpt: {folder})")
    print(f"held-out  {terms}, on {len(data.heldout)} pictures")
    print(f"time      {duration(time.monotonic() - started)}, {trainer.global_step} steps")
    print(f"use it    {command('stylize.py', f'ckpt={checkpoint}', 'input=photo.jpg')}")


if __name__ == "__main__":
    run(main, config_name="train")
