"""Two trainings that measure themselves: the peers', and that of scripts/train.py. See benchmark_quality.

Both learn from the same pictures, and both are measured as scripts/train.py measures: on the same photographs, with
the same loss network, in float32 (where it trains in bfloat16, it measures in it, too). The clock stands meanwhile.
"""

import math
import time
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from omegaconf import DictConfig, OmegaConf

from fast_style.cli.benchmark.judge import Judge, OneStyle, PlainLoss, terms_of
from fast_style.cli.benchmark.step import NEVER, composed, place, train
from fast_style.cli.benchmark.turns import Turns
from fast_style.cli.hydra_app import build, find_pictures, plain
from fast_style.data.datamodule import ContentData
from fast_style.errors import ConfigError

#: The part of its time for which a training is tried out, and the part of it that is then planned for steps: previews
#: and checkpoints take the rest.
PROBE, FOR_STEPS = 0.07, 0.95

#: Steps of a training, however short its time: fewer show nothing.
FEWEST = 20


class Clock:
    """How many seconds of training have passed. It stands until it is started.

    Args:
        on_cuda: whether to wait for a GPU before it is read.
    """

    def __init__(self, on_cuda: bool) -> None:
        self._on_cuda = on_cuda
        self._passed = 0.0
        self._since: float | None = None

    def start(self) -> None:
        """Go on."""
        self._since = self._now()

    def stop(self) -> float:
        """Stop, and return the seconds so far."""
        if self._since is not None:
            self._passed += self._now() - self._since
            self._since = None
        return self._passed

    def seconds(self) -> float:
        """Return the seconds so far, without waiting for a GPU."""
        return self._passed + (time.perf_counter() - self._since if self._since is not None else 0.0)

    def _now(self) -> float:
        if self._on_cuda:
            torch.cuda.synchronize()
        return time.perf_counter()


def peers(job: dict[str, Any], answers: int) -> None:
    """Train in the peers' way for some seconds, and measure some times on the way.

    Their network, optimizer, rate, batch and picture size; our pictures and our loss, which judges both, with VGG19:
    of VGG16, which they would use, the package has no weights.
    """
    turns = Turns(answers, job["device"])
    config = composed([*job["overrides"], f"data.size={job['width']}", f"batch_size={job['batch']}"])
    if len(config.style) != 1:
        raise ConfigError(f"train: the peers' network learns one style, not {len(config.style)}")
    torch.manual_seed(config.seed)
    data = _data(config)
    judge = Judge(config, data.heldout, job["device"])
    loss = PlainLoss(build(config.encoder), terms_of(config), list(build(config.style).values())).to(job["device"])
    network = OneStyle().to(job["device"])
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    clock = Clock(turns.on_cuda)
    measured = 0
    clock.start()
    for step, (pictures, _) in enumerate(data.train_dataloader(), start=1):
        images = (pictures.to(job["device"]).float() / 255).contiguous()
        style = images.new_ones(len(images), 1)
        optimizer.zero_grad()
        torch.autograd.backward(loss.total(loss(images, network(images, style), style)))
        optimizer.step()
        if clock.seconds() >= job["seconds"] * (measured + 1) / job["points"]:
            measured += 1
            turns.answer(seconds=clock.stop(), step=step, **judge(network))
            if measured == job["points"]:
                return
            clock.start()


def ours(job: dict[str, Any], answers: int) -> None:
    """Train as scripts/train.py does for some seconds, and measure some times on the way.

    The schedule of the learning rate has to know the last step: how many there is time for, a training shows before,
    which is thrown away.
    """
    folder = Path(job["folder"])
    folder.mkdir()
    probe = f"+callback.probe={{_target_: {__name__}.Probe, seconds: {PROBE * job['seconds']}}}"
    steps = [f"trainer.max_steps={NEVER}", f"trainer.val_check_interval={NEVER}"]
    try:
        train([*job["overrides"], *place(f"{folder}/probe", job["device"]), *steps, probe], folder)
    except Enough as enough:
        total = max(FEWEST, int(FOR_STEPS * job["seconds"] / enough.seconds))
    settings = folder / "settings.yaml"
    steps = [f"trainer.max_steps={total}", f"trainer.val_check_interval={math.ceil(total / job['points'])}"]
    curve = f"+callback.curve={{_target_: {__name__}.Curve, answers: {answers}, settings: '{settings}'}}"
    overrides = [*job["overrides"], *place(str(folder), job["device"]), *steps, curve]
    settings.write_text(OmegaConf.to_yaml(plain(composed(overrides))))
    train(overrides, folder)


class Enough(BaseException):
    """A training has shown how many seconds a step takes."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


class Probe(Callback):
    """Ends a training with `Enough` after so many seconds, or three steps if they take longer."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._clock = Clock(torch.cuda.is_available())

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Start the clock after the first step, with all its preparations, and end when it is time."""
        if batch_idx == 0:
            self._clock.start()
        elif batch_idx >= 3 and self._clock.seconds() >= self._seconds:
            raise Enough(self._clock.stop() / batch_idx)


class Curve(Callback):
    """Measures a training whenever it measures itself.

    Args:
        answers: the file descriptor to answer to.
        settings: the file that holds those of scripts/train.py.
    """

    def __init__(self, answers: int, settings: str) -> None:
        loaded = OmegaConf.load(settings)
        assert isinstance(loaded, DictConfig)
        self._config = loaded
        self._turns = Turns(answers, "cuda" if self._config.trainer.accelerator == "gpu" else "cpu")
        self._clock = Clock(self._turns.on_cuda)
        self._judge: Judge | None = None
        self._measured = 0

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Prepare the measurement."""
        pictures = trainer.datamodule.heldout  # type: ignore[attr-defined]
        self._judge = Judge(self._config, pictures, str(pl_module.device))

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self._clock.start()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop the clock."""
        self._clock.stop()

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Measure. Here, and not earlier, the network has the weights that would be saved."""
        if self._judge is not None and trainer.global_step > self._measured:
            self._measured = trainer.global_step
            network = getattr(pl_module, "network")  # noqa: B009  # a LightningModule may have any attribute
            self._turns.answer(seconds=self._clock.stop(), step=self._measured, **self._judge(network))

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Go on with the clock."""
        self._clock.start()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop the clock."""
        self._clock.stop()


def _data(config: DictConfig) -> ContentData:
    """Return the pictures as scripts/train.py makes them."""
    heldout = find_pictures(config.heldout.images) if config.heldout.images else None
    return ContentData(build(config.data), heldout, config.heldout.size, config.batch_size, config.workers, config.seed)
