"""Training as a Lightning module: training step, validation step, optimizer and schedule."""

from collections.abc import Callable, Mapping
from statistics import mean
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Int64
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Timer
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from fast_style.data.films import short_film
from fast_style.errors import ConfigError, FastStyleError, TrainingError
from fast_style.losses import Moved, PerceptualLoss
from fast_style.networks import TransformNet
from fast_style.training.health import LOOK_EVERY, Batch, Health, explain, explain_weights, spread
from fast_style.types import Images, StyleWeights


class StyleTransferTask(LightningModule):
    """Trains an image transformation network with a perceptual loss.

    Johnson, Alahi & Fei-Fei 2016, https://arxiv.org/abs/1603.08155. With several styles, each picture gets one of them,
    and the next one in the next epoch (Dumoulin, Shlens & Kudlur 2017, https://arxiv.org/abs/1610.07629).

    Args:
        network: the network to train.
        loss: the loss, frozen.
        optimizer: creates the optimizer from the parameters.
        schedule: creates the learning rate schedule, stepped after every step, from the optimizer and `total_steps`;
            None: a constant rate.
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
        # A tuple, so that the frozen loss is no submodule: it is not saved, averaged, counted or synchronized.
        self._frozen = (loss,)
        self._optimizer = optimizer
        self._schedule = schedule
        self._health = Health()

    @property
    def loss(self) -> PerceptualLoss:
        """The loss that trains the network."""
        return self._frozen[0]

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Build the optimizer and its schedule, which needs the total number of steps.

        Raises:
            ConfigError: if either rejects its settings.
        """
        try:
            return self._optimizers()
        except FastStyleError:
            raise
        except Exception as error:  # Any: libraries raise different types for wrong settings.
            raise ConfigError(f"optimizer or schedule: {error}") from error

    def _optimizers(self) -> OptimizerLRScheduler:
        optimizer = self._optimizer(self.network.parameters())
        self._rates = [group["lr"] for group in optimizer.param_groups]
        if self._schedule is None:
            return optimizer
        steps = self.trainer.estimated_stepping_batches
        if steps == float("inf"):
            raise ConfigError("max_steps must be given: the learning rate's schedule has to know the end")
        self._steps = int(steps)
        try:
            schedule = self._schedule(optimizer, total_steps=int(steps))
        except ZeroDivisionError:
            # OneCycleLR divides by zero if its rise ends with the first step.
            raise ConfigError(f"max_steps must be more than {int(steps)} for this schedule to rise") from None
        self._rates = [group["initial_lr"] for group in optimizer.param_groups]
        name = "speed/learning_rate"
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step", "name": name}}

    def on_train_start(self) -> None:
        """Scale the learning rate of a resumed run to the current setting."""
        for optimizer in self.trainer.optimizers:
            for group, rate in zip(optimizer.param_groups, self._rates, strict=True):
                factor = rate / (group.get("initial_lr", group["lr"]) or 1)
                for name in ("lr", "initial_lr", "max_lr", "min_lr"):
                    if name in group and factor != 1:
                        group[name] *= factor

    def lr_scheduler_step(self, scheduler: LRScheduler, metric: Any) -> None:
        """Advance the schedule by steps, or by elapsed `trainer.max_time`, whichever is further."""
        due = self.trainer.global_step
        if (left := seconds_left(self.trainer)) is not None:
            passed = seconds_passed(self.trainer)
            # Broadcast: the processes' clocks differ, but their learning rates must not.
            share = self.trainer.strategy.broadcast(passed / (passed + max(left, 1e-9)))
            due = max(due, int(share * self._steps))
        if scheduler.last_epoch > due:
            self._restart(scheduler)
        while scheduler.last_epoch < min(due, self._steps):
            scheduler.step()

    def _restart(self, scheduler: LRScheduler) -> None:
        """Restart the schedule: a resumed run got more time, so its place in the schedule is earlier again."""
        assert self._schedule is not None
        for group in scheduler.optimizer.param_groups:
            group["lr"] = group["initial_lr"]
        scheduler.load_state_dict(self._schedule(scheduler.optimizer, total_steps=self._steps).state_dict())

    def setup(self, stage: str) -> None:
        """Move the loss to the device that the network will use, and make the film for stillness."""
        self.loss.to(self.trainer.strategy.root_device)
        # Before the data workers start: they inherit its textures, which take half a second.
        short_film()

    def training_step(self, batch: tuple[Images, Int64[Tensor, " batch"]], batch_idx: int) -> Tensor:
        """Return the weighted sum of the losses of one batch.

        Raises:
            TrainingError: if the training has failed.
        """
        content, turn = batch
        style = F.one_hot(turn % self.network.styles, self.network.styles).to(content.dtype)
        output = self.network(content, style)
        terms = self.loss(content, output, style, moved=self._moved(content, style, turn.tolist()))
        total = self.loss.total(terms)
        names = [*terms, "total"]
        values = torch.stack([*terms.values(), total, spread(content), spread(output)]).detach()
        # One reduction for all values: the logged and checked numbers are means over the processes.
        values = self.trainer.strategy.reduce(values, reduce_op="mean")
        self._health.note_losses(self.global_step, names, values)
        if self._looks_at_once or self.global_step % LOOK_EVERY == 0:
            self._raise_failure((content, style))
        self._log_step()
        for name, value in zip(names, values, strict=False):
            self.log(f"train/{name}", value)
            if name in terms:
                self.log(f"train_weighted/{name}", self.loss.terms[name].weight * value)
        return total

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Check the gradient before clipping and before the weights are updated.

        Raises:
            TrainingError: if the training has failed.
        """
        weights = dict(self.network.named_parameters())
        gradients = {name: weight.grad for name, weight in weights.items() if weight.grad is not None}
        # Per weight, so that the faulty one is known however late the norms are read.
        norms = torch.stack(torch._foreach_norm(list(gradients.values())))
        peaks = torch.stack(torch._foreach_norm([weights[name].detach() for name in gradients], float("inf")))
        self.log("train/gradient_norm", torch.linalg.vector_norm(norms))
        scaled = getattr(self.trainer.precision_plugin, "scaler", None) is not None
        self._health.note_gradient(self.global_step, list(gradients), norms, peaks, scaled)
        if self._looks_at_once:
            self._raise_failure()

    def on_train_end(self) -> None:
        """Check the last steps."""
        self._raise_failure()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save the state of `Health`, so that a resumed run is checked as if it had never stopped."""
        checkpoint["health"] = self._health.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the state of `Health`."""
        if "health" in checkpoint:
            self._health.load_state_dict(checkpoint["health"])

    @property
    def suspicious(self) -> bool:
        """Whether the training has failed or may be failing; then an earlier checkpoint must not be replaced."""
        return self._health.suspicious

    def check_weights(self) -> None:
        """Check that all weights are finite.

        Raises:
            TrainingError: if a weight is not; the message names it.
        """
        if wrong := explain_weights(self.network, self.global_step):
            raise TrainingError(wrong)

    def validation_step(self, content: Images, batch_idx: int) -> None:
        """Log the losses of one picture in every style."""
        style = torch.eye(self.network.styles, device=content.device)
        content = content.expand(len(style), -1, -1, -1)
        # The same motion at each measurement.
        moved = self._moved(content, style, [batch_idx] * len(style))
        terms = self.loss(content, self.network(content, style).float().clamp(0, 1), style, moved=moved)
        self._log_step()
        for name, term in {**terms, "total": self.loss.total(terms)}.items():
            self.log(f"heldout/{name}", term, batch_size=1, sync_dist=True)
        if batch_idx == 0:
            self.log("heldout/stillness", self._stillness(), batch_size=1, sync_dist=True)

    @torch.no_grad()
    def _stillness(self) -> float:
        """Return how still the strokes hold on a short procedural film, in dB: the mean over the styles."""
        film = short_film()
        frames = (film.frames / 255).to(self.device)
        styles = torch.eye(self.network.styles, device=self.device)
        outputs = (self.network(frames, style.expand(len(frames), -1)).float().clamp(0, 1) for style in styles)
        return mean(film.stillness(output) for output in outputs)

    def _moved(self, content: Images, style: StyleWeights, seeds: list[int]) -> Moved | None:
        """Stylize the pictures a moment later, if a loss compares the two."""
        if self.loss.motion is None:
            return None
        moved, origins, visible = self.loss.motion(content, seeds)
        return Moved(moved, self.network(moved.to(content.dtype), style), origins, visible)

    def _log_step(self) -> None:
        # A logged step keeps Lightning from adding a chart of epochs, which are meaningless here.
        self.log("step", float(self.global_step), batch_size=1)

    @property
    def _looks_at_once(self) -> bool:
        # Reading values synchronizes with the GPU.
        return self.device.type == "cpu"

    def _raise_failure(self, batch: Batch | None = None) -> None:
        ailment = self._health.read()
        if ailment is not None:
            precise, clipped = self.trainer.precision in ("32-true", "64-true"), bool(self.trainer.gradient_clip_val)
            raise TrainingError(explain(ailment, self.network, self.loss, batch, precise=precise, clipped=clipped))


def seconds_left(trainer: Trainer) -> float | None:
    """Return the seconds that a run may still take; None: no time limit."""
    return next((timer.time_remaining() for timer in _timers(trainer)), None)


def seconds_passed(trainer: Trainer) -> float:
    """Return the seconds that a run with a time limit has taken, including resumed runs."""
    return next((timer.time_elapsed() for timer in _timers(trainer)), 0.0)


def time_was_up(trainer: Trainer, checkpoint: Mapping[str, Any]) -> bool:
    """Return whether a run had used up the trainer's time limit when its checkpoint was saved."""
    for timer in _timers(trainer):
        timer.load_state_dict(checkpoint.get("callbacks", {}).get(timer.state_key, {}))
    left = seconds_left(trainer)
    return left is not None and left <= 0


def _timers(trainer: Trainer) -> list[Timer]:
    return [callback for callback in trainer.callbacks if isinstance(callback, Timer)]  # type: ignore[attr-defined]
