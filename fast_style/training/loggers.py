"""Lightning's loggers: what each is shown of a training, and how a person looks at it."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from lightning.pytorch import Trainer
from lightning.pytorch.loggers import CSVLogger, Logger, MLFlowLogger, TensorBoardLogger, WandbLogger
from torch import Tensor

from fast_style.images.tensors import to_pil


def no_logger() -> Literal[False]:
    """Return what a trainer takes for having no logger: without one, Lightning would make its own."""
    return False


def lay_out(logger: Logger | None, terms: Sequence[str], settings: Mapping[str, Any]) -> None:
    """Have TensorBoard write all settings to hparams.yaml and show, as custom scalars, held-out beside training losses.

    Args:
        logger: of the run; with others than TensorBoard's, nothing is done.
        terms: the names of the losses.
        settings: of the run, by their full keys.
    """
    if isinstance(logger, TensorBoardLogger):
        logger.hparams.update(settings)
        charts = {term: ["Multiline", [f"heldout/{term}", f"train/{term}"]] for term in ("total", *terms)}
        logger.experiment.add_custom_scalars({"losses": charts})


def show_image(trainer: Trainer, name: str, image: Tensor, step: int = 0) -> None:
    """Show an image, of shape (3, height, width) in [0, 1], in each logger that can show images."""
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
    """Log what a run came to, for the table that compares runs.

    Args:
        logger: of the run; None: nothing is logged.
        settings: all of the run, by their full keys.
        differing: those by which people tell runs apart: the columns of TensorBoard's table.
        losses: on held-out images.
    """
    if logger is None:
        return
    # Under names of their own: in a chart of held-out losses they would stand at step 0.
    results = {key.replace("heldout", "result"): value for key, value in losses.items()}
    if isinstance(logger, TensorBoardLogger):
        logger.log_hyperparams(dict(differing), metrics=results)
    else:
        logger.log_hyperparams(dict(settings))
        logger.log_metrics(results)
    logger.finalize("success")


def how_to_view(logger: Logger | None, folder: str) -> list[str]:
    """Return the command that shows what a logger has written into the folder of a run; nothing: there is none."""
    if isinstance(logger, TensorBoardLogger):
        return ["tensorboard", "--logdir", folder]
    if isinstance(logger, WandbLogger):
        return ["wandb", "sync", "--sync-all"]
    if isinstance(logger, MLFlowLogger):
        return ["mlflow", "ui", "--backend-store-uri", str(logger._tracking_uri)]
    return ["cat", f"{logger.log_dir}/metrics.csv"] if isinstance(logger, CSVLogger) else []
