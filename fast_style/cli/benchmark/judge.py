"""What trainings are measured by: the same loss on the same pictures, whatever else they do. See benchmark_training."""

import copy
from statistics import fmean
from typing import Any

import torch
import torch.nn.functional as F
from omegaconf import DictConfig
from torch import Tensor, nn

from fast_style.cli.benchmark.peers import johnson
from fast_style.cli.hydra_app import build
from fast_style.encoders.vgg import VGGEncoder
from fast_style.losses import Loss, PerceptualLoss, Stylization
from fast_style.losses.styles import Style
from fast_style.training.task import StyleTransferTask
from fast_style.types import Features

#: What both are measured by, and what the peers train with; scripts/train.py has terms of its own beside them.
TERMS = ("content", "style")


class Judge:
    """Measures a network as scripts/train.py does: on the pictures kept aside, each in every style.

    Args:
        config: of scripts/train.py.
        pictures: those kept aside.
        device: where.
    """

    def __init__(self, config: DictConfig, pictures: list[Tensor], device: str) -> None:
        self._loss = PerceptualLoss(build(config.encoder), terms_of(config), list(build(config.style).values()))
        self._loss.to(device)
        self._pictures = [picture.to(device) for picture in pictures]

    @torch.no_grad()
    def __call__(self, network: nn.Module) -> dict[str, float]:
        """Return the mean of each term, before its weight."""
        # A copy: the task changes how the weights lie in memory.
        task = _Noted(copy.deepcopy(network), self._loss, torch.optim.Adam)
        for number, picture in enumerate(self._pictures):
            task.validation_step(picture, number)
        return {term: fmean(task.noted[f"heldout/{term}"]) for term in TERMS}


class _Noted(StyleTransferTask):
    """A task without a trainer, which notes what it would log."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.noted: dict[str, list[float]] = {}

    def log(self, name: str, value: Any, *arguments: Any, **options: Any) -> None:
        self.noted.setdefault(name, []).append(float(value))


class OneStyle(nn.Module):
    """The peers' network as one of ours: pictures in [0, 1], and a style that it does not look at."""

    styles = 1

    def __init__(self) -> None:
        super().__init__()
        self.network = johnson()

    def forward(self, images: Tensor, style: Tensor) -> Tensor:
        """Return stylized pictures of the same shape, in [0, 1] but for what the network does not keep to."""
        stylized: Tensor = self.network(255 * images)
        return stylized / 255


class PlainLoss(PerceptualLoss):
    """Our loss in the peers' way: both pictures through all of the loss network, with the gradient on, in NCHW."""

    def __init__(self, encoder: VGGEncoder, losses: dict[str, Loss], styles: list[Style]) -> None:
        super().__init__(encoder.to(memory_format=torch.contiguous_format), losses, styles)

    def stylization(
        self, content: Tensor, output: Tensor, style: Tensor, content_features: Features | None = None
    ) -> Stylization:
        """Return what the terms judge."""
        features = self._features(output)
        of_content = self._features(content) if content_features is None else content_features
        return Stylization(content, output, style, of_content, features)

    def _features(self, images: Tensor) -> Features:
        layers = self.content_layers | self.output_layers
        features: Features = {}
        assert isinstance(self.encoder, VGGEncoder)
        x = (images - self.encoder.mean) / self.encoder.std
        for layer in self.encoder.layers:
            if layer.startswith("conv"):
                x = self.encoder.convolutions[layer](x)
            else:
                x = F.relu(x) if layer.startswith("relu") else F.max_pool2d(x, kernel_size=2)
            if layer in layers:
                features[layer] = x
            if len(features) == len(layers):
                break
        return features


def terms_of(config: DictConfig) -> dict[str, Loss]:
    """Return the terms of scripts/train.py that both have."""
    losses = build(config.loss)
    return {term: losses[term] for term in TERMS}
