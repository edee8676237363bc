"""The training of scripts/train.py, stopped before each step until the benchmark lets it go on."""

from pathlib import Path
from typing import Any

import hydra
import torch
from jaxtyping import UInt8
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from omegaconf import DictConfig
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from fast_style.cli.benchmark.turns import Turns
from fast_style.cli.hydra_app import register_resolvers
from fast_style.cli.overrides import CONFIGS
from fast_style.cli.safety import Run
from fast_style.cli.train import train_network
from fast_style.system.memory import keep_freed_memory

#: Longer than any run: what happens so seldom is no part of a step.
NEVER = 1_000_000_000


def serve(overrides: list[str], size: int, batch: int, folder: str, answers: int, device: str) -> None:
    """Train as scripts/train.py does with these overrides, on one batch of noise, turn by turn."""
    settings = [
        *(*overrides, f"batch_size={batch}", *place(folder, device)),
        *(f"data._target_={__name__}.Noise", f"data.size={size}", "workers=0"),
        *(f"trainer.val_check_interval={NEVER}", f"preview.every_n_steps={NEVER}"),
        f"preview.every_n_seconds={NEVER}",
        f"callback.checkpoint.every_n_steps={NEVER}",
        f"+callback.gate={{_target_: {__name__}.Gate, answers: {answers}, device: '{device}'}}",
    ]
    train(settings, Path(folder))


def train(settings: list[str], folder: Path) -> None:
    """Train in a folder as scripts/train.py does."""
    with keep_freed_memory():
        train_network(composed(settings), Run(folder), print)


def place(folder: str, device: str) -> list[str]:
    """Return the settings for a training from nothing that writes into one folder and works on one device."""
    accelerator = "gpu" if device.startswith("cuda") else "cpu"
    return [
        *(f"checkpoint='{folder}/network.safetensors'", f"callback.checkpoint.path='{folder}/last.ckpt'"),
        f"logger.save_dir='{folder}'",
        *(f"trainer.accelerator={accelerator}", "trainer.devices=1", "init=none"),
    ]


def composed(settings: list[str]) -> DictConfig:
    """Return the configuration of scripts/train.py."""
    register_resolvers()
    with hydra.initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return hydra.compose("train", settings)


class Noise:
    """Images that cost nothing to make. See fast_style.data.batches.TrainingImages."""

    def __init__(self, size: int, seed: int) -> None:
        self.picture = torch.randint(0, 256, (3, size, size), dtype=torch.uint8)

    def __len__(self) -> int:
        return 1000

    def __getitem__(self, key: tuple[int, int]) -> UInt8[Tensor, "3 size size"]:
        """Return the one picture there is."""
        return self.picture


class Gate(Callback):
    """Lets a training go on when its turn has come.

    A step is timed from its beginning to the beginning of the next: with all that the trainer does between them.

    Args:
        answers: the file descriptor to answer to.
        device: where the training runs.
    """

    def __init__(self, answers: int, device: str) -> None:
        self._turns = Turns(answers, device)
        self._counter = FlopCounterMode(display=False)
        self._repeats = self._left = 0
        # On a GPU, what is chosen or compiled at first takes a few steps.
        self._first = 5 if self._turns.on_cuda else 2

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Answer for the steps before, and wait for the next turn."""
        if batch_idx == 0:  # shows the preview as well, and is not counted
            return
        if batch_idx == 1:
            self._counter.__enter__()  # type: ignore[no-untyped-call]
            return
        if batch_idx == 2:
            self._counter.__exit__(None, None, None)  # type: ignore[no-untyped-call]
        if batch_idx < self._first:
            return
        if batch_idx == self._first:
            self._turns.ready(self._counter.get_total_flops() // 2)
        self._left -= 1
        if self._left > 0:
            return
        if self._repeats:
            self._turns.stop(self._repeats)
        self._repeats = self._left = self._turns.wait()
        self._turns.start()
