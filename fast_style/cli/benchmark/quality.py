"""How long a training takes to be as good as the peers': the loss on held-out images over the time of training.

All learn from the same images, and are measured on the same photographs with the same loss network in float32, while
the clock stands.
"""

import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback, LambdaCallback, Timer
from omegaconf import DictConfig
from torch import Tensor, nn

from fast_style.cli.benchmark.jobs import composed
from fast_style.cli.benchmark.peers import johnson
from fast_style.cli.benchmark.rounds import Bench, Job, Worker, WorkerError
from fast_style.cli.hydra_app import build, find_pictures
from fast_style.cli.safety import Run
from fast_style.cli.train import train_network
from fast_style.data.datamodule import ContentData
from fast_style.encoders.vgg import VGGEncoder
from fast_style.errors import ConfigError
from fast_style.losses import PerceptualLoss, Stylization
from fast_style.system.memory import keep_freed_memory
from fast_style.types import Features

#: The terms that all are measured by, and that the peers train with.
TERMS = ("content", "style")
#: The loss that is compared is content + 10 x style, whatever the weights of a training.
STYLE_WEIGHT = 10.0
#: More steps than any training has time for. The schedule of the learning rate goes by the time.
MANY = 50_000

Curve = list[dict[str, float]]


def compare(jobs: Mapping[str, Job], bench: Bench, report: dict[str, Any]) -> Iterator[tuple[str, str | None]]:
    """Train in each way, the reference first, and fill in `report["quality"]`; yield names, and why one failed."""
    curves: dict[str, Curve] = {}
    settings, reference = bench.settings["quality"], next(iter(jobs))
    for name, job in jobs.items():
        curve, reason = curves.setdefault(name, []), None
        minutes = settings["minutes" if name == reference else "ours_minutes"]
        try:
            with Worker({**job, "points": settings["points"], "seconds": 60 * minutes}, bench.environment) as worker:
                for point in worker.answers:
                    point["loss"] = point["content"] + STYLE_WEIGHT * point["style"]
                    curve.append(point)
                    text = "{seconds:.0f} s of training, {step} steps, loss {loss:.3f}".format(**point)
                    print(f"{name}: {text}", file=sys.stderr, flush=True)
        except WorkerError as error:
            reason = str(error)
        report["quality"] = comparison(curves)
        yield name, reason


def passed(curve: Sequence[Mapping[str, float]], loss: float) -> float | None:
    """Return the seconds after which a training has reached a loss, on the line between two measurements, or None."""
    for before, point in zip([*curve[:1], *curve], curve, strict=False):
        if point["loss"] <= loss:
            ends = (point, before)
            return float(np.interp(loss, [end["loss"] for end in ends], [end["seconds"] for end in ends]))
    return None


def comparison(curves: Mapping[str, Curve]) -> dict[str, Any]:
    """Return the curves, the reference first, and for each the seconds until it `reached` the reference's final loss.

    Its `speed` is how many times as soon as the reference that was.
    """
    reference = next(iter(curves))
    last = curves[reference][-1] if curves[reference] else None
    candidates: dict[str, Any] = {}
    for name, curve in curves.items():
        reached = passed(curve, last["loss"]) if last and name != reference else None
        speed = last["seconds"] / reached if last and reached else None
        candidates[name] = {"curve": curve, "reached": reached, "speed": speed}
    return {"loss": f"content + {STYLE_WEIGHT:g} style", "reference": reference, "candidates": candidates}


class _Clock(Timer):
    """Lightning's timer, but the time of measurements does not count. It starts and stops when a GPU is done."""

    def __init__(self, seconds: float, device: str) -> None:
        super().__init__(timedelta(seconds=seconds), verbose=False)
        self._synchronize: Callable[[], object] = torch.cuda.synchronize if device == "cuda" else lambda: None
        self._passed, self._since = 0.0, math.inf

    def start(self, *_: object) -> None:
        self._synchronize()
        self._since = time.perf_counter()

    def stop(self, *_: object) -> None:
        self._synchronize()
        self._passed, self._since = self.time_elapsed(), math.inf

    def time_elapsed(self, stage: str = "train") -> float:
        return self._passed + max(0.0, time.perf_counter() - self._since)

    on_train_start = on_validation_end = start  # type: ignore[assignment]
    on_train_end = on_validation_start = stop  # type: ignore[assignment]


@dataclass(frozen=True)
class _WatchedRun(Run):
    """A training with more callbacks."""

    callbacks: Sequence[Callback] = ()

    def watch(self, trainer: Trainer) -> None:
        super().watch(trainer)
        trainer.callbacks += self.callbacks  # type: ignore[attr-defined]


def train(overrides: list[str], folder: str, device: str, *callbacks: Callback) -> None:
    """Train as train.py does, from nothing, in one folder and on one device, with more callbacks."""
    settings = [
        *(f"checkpoint='{folder}/network.safetensors'", f"callback.checkpoint.path='{folder}/last.ckpt'"),
        *(f"logger.save_dir='{folder}'", f"trainer.accelerator={'gpu' if device == 'cuda' else 'cpu'}"),
        *("trainer.devices=1", "init=none"),
    ]
    with keep_freed_memory():
        train_network(composed([*overrides, *settings]), _WatchedRun(Path(folder), callbacks=callbacks), print)


def ours(job: Job, answer: Callable[..., object]) -> None:
    """Train as train.py does with a limit of time, which the schedule follows, and measure some times on the way."""
    clock, measured = _Clock(job["seconds"], job["device"]), [0]
    config = composed(job["overrides"])
    losses = judge(config, data(config).heldout, job["device"])

    def measure(trainer: Trainer, *_: object) -> None:
        # Here, and not earlier, the network has the weights that would be saved.
        if trainer.global_step > measured[-1]:
            measured.append(trainer.global_step)
            network: Any = trainer.lightning_module.network
            answer(seconds=clock.time_elapsed(), step=trainer.global_step, **losses(network))

    settings = ["minutes=null", f"trainer.max_steps={MANY}", "trainer.max_time=null"]
    settings += [f"trainer.val_check_interval={{seconds: {job['seconds'] / job['points']}}}"]
    callbacks = clock, LambdaCallback(on_validation_batch_start=measure)
    train([*job["overrides"], *settings], job["folder"], job["device"], *callbacks)


def peers(job: Job, answer: Callable[..., object]) -> None:
    """Train in the peers' way for some seconds, and measure some times on the way.

    With their network, optimizer, rate, batch and size, on our images, and with our loss and its VGG19: the package has
    no weights of VGG16, which they would use.
    """
    device, clock, measured = job["device"], _Clock(job["seconds"], job["device"]), 0
    config = composed([*job["overrides"], f"data.size={job['width']}", f"batch_size={job['batch']}"])
    if len(config.style) != 1:
        raise ConfigError(f"train: the peers' network learns one style, not {len(config.style)}")
    torch.manual_seed(config.seed)
    images = data(config)
    losses, loss, network = judge(config, images.heldout, device), loss_of(config, PlainLoss, device), PeersNet()
    loss.encoder.to(memory_format=torch.contiguous_format)
    optimizer = torch.optim.Adam(network.to(device).parameters(), lr=1e-3)
    clock.start()
    for step, (pixels, _) in enumerate(images.train_dataloader(), start=1):
        content = (pixels.to(device).float() / 255).contiguous()
        style = content.new_ones(len(content), 1)
        optimizer.zero_grad()
        torch.autograd.backward(loss.total(loss(content, network(content, style), style)))
        optimizer.step()
        if clock.time_elapsed() >= job["seconds"] * (measured + 1) / job["points"]:
            clock.stop()
            answer(seconds=clock.time_elapsed(), step=step, **losses(network))
            measured += 1
            if measured == job["points"]:
                return
            clock.start()


def data(config: DictConfig) -> ContentData:
    """Return the images of a training."""
    heldout = find_pictures(config.heldout.images) if config.heldout.images else None
    return ContentData(build(config.data), heldout, config.heldout.size, config.batch_size, config.workers, config.seed)


def loss_of(config: DictConfig, kind: type[PerceptualLoss], device: str) -> PerceptualLoss:
    """Return the loss of a training, with the terms that all have."""
    losses, styles = build(config.loss), [*build(config.style).values()]
    return kind(build(config.encoder), {term: losses[term] for term in TERMS}, styles).to(device)


def judge(config: DictConfig, images: Sequence[Tensor], device: str) -> Callable[[nn.Module], dict[str, float]]:
    """Return a function that measures a network as a training does: the mean of each term over images and styles."""
    loss = loss_of(config, PerceptualLoss, device)

    @torch.no_grad()
    def measured(network: Any) -> dict[str, float]:
        style, terms = torch.eye(network.styles, device=device), []
        for image in images:
            content = image.to(device).expand(len(style), -1, -1, -1)
            terms.append(loss(content, network(content, style).float().clamp(0, 1), style))
        return {name: fmean(float(each[name]) for each in terms) for name in TERMS}

    return measured


class PeersNet(nn.Module):
    """The peers' network as one of ours: images in [0, 1], and a style that has no effect."""

    styles = 1

    def __init__(self) -> None:
        super().__init__()
        self.network = johnson()

    def forward(self, images: Tensor, style: Tensor) -> Tensor:
        """Return stylized images of the same shape, not clamped to [0, 1]."""
        stylized: Tensor = self.network(255 * images)
        return stylized / 255


class PlainLoss(PerceptualLoss):
    """Our loss in the peers' way: content and output through all of the loss network, with the gradient on, in NCHW."""

    def stylization(self, content: Tensor, output: Tensor, style: Tensor, _: Features | None = None) -> Stylization:
        """Return what the terms judge."""
        return Stylization(content, output, style, self._features(content), self._features(output))

    def _features(self, images: Tensor) -> Features:
        encoder, layers, features = self.encoder, self.content_layers | self.output_layers, Features()
        assert isinstance(encoder, VGGEncoder)
        x = (images - encoder.mean) / encoder.std
        for layer in encoder.layers[: 1 + max(map(encoder.layers.index, layers))]:
            if layer.startswith("conv"):
                x = encoder.convolutions[layer](x)
            else:
                x = F.relu(x) if layer.startswith("relu") else F.max_pool2d(x, kernel_size=2)
            features |= {layer: x} if layer in layers else {}
        return features
