"""Lightning's loggers: settings, images and results of a run, and the command to view them."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from lightning.pytorch import Trainer
from lightning.pytorch.loggers import CSVLogger, Logger, MLFlowLogger, TensorBoardLogger, WandbLogger
from torch import Tensor

from fast_style.images.tensors import to_pil


def no_logger() -> Literal[False]:
    """Return False, which disables logging; given None, Lightning would create its own logger."""
    return False


def lay_out(logger: Logger | None, terms: Sequence[str], settings: Mapping[str, Any]) -> None:
    """Write all settings to TensorBoard's hparams.yaml, and chart held-out with training losses as custom scalars.

    Args:
        logger: the run's logger; others than TensorBoard's are ignored.
        terms: the names of the losses.
        settings: the run's settings, by their full keys.
    """
    if isinstance(logger, TensorBoardLogger):
        logger.hparams.update(settings)
        charts = {term: ["Multiline", [f"heldout/{term}", f"train/{term}"]] for term in ("total", *terms)}
        logger.experiment.add_custom_scalars({"losses": charts})


def show_image(trainer: Trainer, name: str, image: Tensor, step: int = 0) -> None:
    """Log an image, of shape (3, height, width) in [0, 1], with each logger that supports images."""
    for logger in trainer.loggers if trainer.is_global_zero else ():
        if isinstance(logger, TensorBoardLogger):
            logger.experiment.add_image(name, image, step)
        elif isinstance(logger, WandbLogger):
            logger.log_image(name, to_pil(image[None]), step)
        elif isinstance(logger, MLFlowLogger):
            file = f"{name}_{step}.png".replace("/", "_")
            logger.experiment.log_image(logger.run_id, to_pil(image[None])[0], file)


def log_result(
    logger: Logger | None, settings: Mapping[str, Any], differing: Mapping[str, Any], losses: Mapping[str, float]
) -> None:
    """Log the final result of a run, for tables that compare runs.

    Args:
        logger: the run's logger; None: nothing is logged.
        settings: all settings, by their full keys.
        differing: the settings that distinguish runs: the columns of TensorBoard's table.
        losses: losses on held-out images.
    """
    if logger is None:
        return
    # Renamed: charts of the held-out losses would show them at step 0.
    results = {key.replace("heldout", "result"): value for key, value in losses.items()}
    if isinstance(logger, TensorBoardLogger):
        logger.log_hyperparams(dict(differing), metrics=results)
    else:
        logger.log_hyperparams(dict(settings))
        logger.log_metrics(results)
    logger.finalize("success")


def how_to_view(logger: Logger | None, folder: str) -> list[str]:
    """Return the command that shows a logger's output in the folder of a run; empty: none."""
    if isinstance(logger, TensorBoardLogger):
        return ["tensorboard", "--logdir", folder]
    if isinstance(logger, WandbLogger):
        return ["wandb", "sync", "--sync-all"]
    if isinstance(logger, MLFlowLogger):
        return ["mlflow", "ui", "--backend-store-uri", str(logger._tracking_uri)]
    return ["cat", f"{logger.log_dir}/metrics.csv"] if isinstance(logger, CSVLogger) else []
