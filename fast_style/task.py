"""Training, as a Lightning module: one step, one measurement, and nothing of the loops around them."""

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from jaxtyping import Int64
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from fast_style.errors import ConfigError, TrainingError
from fast_style.losses import PerceptualLoss
from fast_style.networks import TransformNet
from fast_style.types import Images


class StyleTransferTask(LightningModule):
    """Learns to repaint any picture in one pass.

    Johnson, Alahi & Fei-Fei 2016, https://arxiv.org/abs/1603.08155; for several styles, each picture of a
    batch gets one of them in turn (Dumoulin, Shlens & Kudlur 2017, https://arxiv.org/abs/1610.07629).

    Args:
        network: what is trained.
        loss: what judges it; frozen.
        optimizer: makes the optimiser from the parameters.
        schedule: makes the learning rate's schedule, stepped after every step, from the optimiser and
            `total_steps`; nothing: a constant rate.
    """

    def __init__(
        self,
        network: TransformNet,
        loss: PerceptualLoss,
        optimizer: Callable[..., Optimizer],
        schedule: Callable[..., LRScheduler] | None = None,
    ) -> None:
        super().__init__()
        self.network = network.to(memory_format=torch.channels_last)
        # In a tuple the frozen part is no submodule: neither saved nor averaged, counted or synchronised.
        self._frozen = (loss,)
        self._optimizer = optimizer
        self._schedule = schedule

    @property
    def loss(self) -> PerceptualLoss:
        """What judges the network."""
        return self._frozen[0]

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Build the optimiser and its schedule, which must know when the run ends.

        Raises:
            ConfigError: if either refuses its settings.
        """
        try:
            return self._optimizers()
        except (TypeError, ValueError) as error:
            raise ConfigError(f"optimizer or schedule: {error}") from error

    def _optimizers(self) -> OptimizerLRScheduler:
        optimizer = self._optimizer(self.network.parameters())
        if self._schedule is None:
            return optimizer
        steps = self.trainer.estimated_stepping_batches
        if steps == float("inf"):
            raise ConfigError("trainer.max_steps must be given: the learning rate's schedule has to know the end")
        schedule = self._schedule(optimizer, total_steps=int(steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def setup(self, stage: str) -> None:
        """Bring the frozen part to where the network is about to be moved."""
        self.loss.to(self.trainer.strategy.root_device)

    def training_step(self, batch: tuple[Images, Int64[Tensor, " batch"]], batch_idx: int) -> Tensor:
        """Return the weighted sum of the losses of one batch."""
        content, turn = batch
        style = F.one_hot(turn % self.network.styles, self.network.styles).to(content.dtype)
        terms = self.loss(content, self.network(content, style), style)
        total = self.loss.total(terms)
        # On a GPU, asking costs a wait for the step to end; ten steps later is soon enough.
        if self.device.type == "cpu" or self.global_step % 10 == 0:
            self._check_finite(terms)
        names = [*terms, "total"]
        values = torch.stack([*terms.values(), total]).detach()
        # One exchange for all: what is shown is the mean over the processes.
        for name, value in zip(names, self.trainer.strategy.reduce(values, reduce_op="mean"), strict=True):
            self.log(f"train/{name}", value)
            if name in terms:
                self.log(f"train_weighted/{name}", self.loss.terms[name].weight * value)
        return total

    def validation_step(self, content: Images, batch_idx: int) -> None:
        """Measure one picture in every style."""
        style = torch.eye(self.network.styles, device=content.device)
        content = content.expand(len(style), -1, -1, -1)
        terms = self.loss(content, self.network(content, style).float().clamp(0, 1), style)
        for name, term in {**terms, "total": self.loss.total(terms)}.items():
            self.log(f"heldout/{name}", term, batch_size=1, sync_dist=True)

    def _check_finite(self, terms: Mapping[str, Tensor]) -> None:
        for name, term in terms.items():
            if not torch.isfinite(term):
                raise TrainingError(
                    f"the {name} loss is {term.item()} at step {self.global_step}: "
                    "lower optimizer.lr, or use trainer.precision=32-true"
                )
