"""Compares the loss of a stylized image with slow optimization, and measures its distances by layer."""

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fast_style.encoders.encoder import Encoder
from fast_style.losses import ContentLoss, Loss, PerceptualLoss, StyleLoss, Stylization
from fast_style.losses.styles import Style
from fast_style.optimize import optimize
from fast_style.system.cache import cache_folder, write_cached
from fast_style.types import Images

#: Steps of the optimizer, after which the loss is at its plateau, and its learning rate on pixels in [0, 1].
STEPS = 250
LEARNING_RATE = 0.02

_PLAIN = (int, float, str, list, tuple, dict, type(None))

#: Called after each step with the number of steps done.
OnStep = Callable[[int], None]
#: Incremented when the meaning of a curve changes.
FORMAT = 1


class Yardstick:
    """A loss, and the loss curve of slow optimization, with which stylized images are compared.

    Both use the same loss in the same precision, one image at a time.

    Args:
        encoder: the loss network; its dtype is the precision.
        losses: the terms of the loss, by name.
        style: the target style.

    Raises:
        ImageError: if the style image cannot be read.
        ConfigError: if no term has a weight, or a layer does not exist.
    """

    def __init__(self, encoder: Encoder, losses: Mapping[str, Loss], style: Style) -> None:
        self.style = style
        self._device = next(encoder.parameters()).device
        self._row = torch.ones(1, 1, device=self._device)
        self._loss = PerceptualLoss(encoder, losses, [style])
        seen = self._loss.content_layers | self._loss.output_layers
        self.layers = [layer for layer in encoder.layers if layer in seen]
        self._content = ContentLoss(layers=self.layers)
        self._style = StyleLoss(layers=dict.fromkeys(self.layers, 1.0))
        self._style.prepare(encoder, [style])

    @property
    def settings(self) -> dict[str, Any]:
        """Plain values on which the loss depends, besides images and weights."""
        encoder = self._loss.encoder
        terms = {}
        for name, loss in self._loss.terms.items():
            public = {key: value for key, value in vars(loss).items() if not key.startswith("_")}
            plain = {key: value for key, value in public.items() if isinstance(value, _PLAIN) and key != "training"}
            terms[name] = {"class": type(loss).__name__, **plain}
        return {
            "terms": terms,
            "style": {"size": self.style.size, "layers": dict(self.style.layers)},
            "encoder": getattr(encoder, "architecture", type(encoder).__name__),
            "padding": next((layer.padding_mode for layer in encoder.modules() if isinstance(layer, nn.Conv2d)), None),
            "precision": str(next(encoder.parameters()).dtype).removeprefix("torch."),
        }

    @property
    def weights(self) -> dict[str, Tensor]:
        """The weights of the loss network."""
        tensors: dict[str, Tensor] = self._loss.encoder.state_dict()
        return tensors

    @torch.no_grad()
    def losses(self, photograph: Images, output: Images) -> dict[str, float]:
        """Return the weighted terms of the loss of one stylized image, and their sum as `total`."""
        terms = self._loss(photograph.to(self._device), output.to(self._device), self._row)
        weighted = {name: self._loss.terms[name].weight * float(term) for name, term in terms.items()}
        return {**weighted, "total": float(self._loss.total(terms))}

    def curve(
        self, photograph: Images, steps: int = STEPS, lr: float = LEARNING_RATE, on_step: OnStep | None = None
    ) -> list[float]:
        """Return the optimizer's total loss after 0, 1, ..., `steps` steps of Adam, starting from the photograph.

        Raises:
            TrainingError: if the loss is not finite.
        """
        photograph, curve = photograph.to(self._device), []

        def note(step: int, before: float, pixels: Images) -> None:
            curve.append(before)
            if on_step is not None:
                on_step(step)

        encoder, terms = self._loss.encoder, self._loss.terms
        # All steps, without early stopping.
        arguments: dict[str, Any] = {"steps": steps, "lr": lr, "min_delta": 0.0, "on_step": note}
        pixels = optimize(photograph, terms, encoder, [self.style], self._row, **arguments)
        return [*curve, self.losses(photograph, pixels)["total"]]

    @torch.no_grad()
    def distances(self, photograph: Images, output: Images) -> dict[str, dict[str, float]]:
        """Return the relative distances by layer: `content` from the photograph, `style` from the painting.

        They are `relative` as in the losses of the same name: squared, with 1 as the distance of zero activations.
        """
        photograph, output = photograph.to(self._device), output.to(self._device)
        encoder = self._loss.encoder
        features = [encoder(images, self.layers) for images in (photograph, output)]
        stylization = Stylization(photograph, output, self._row, *features)
        distances = {}
        for name, loss in (("content", self._content), ("style", self._style)):
            # Each contribution is a share of the mean over the layers.
            shares = loss.contributions(stylization)
            distances[name] = {layer: float(share) * len(shares) for layer, share in shares.items()}
        return distances


def structure(photograph: Images, output: Images) -> float:
    """Return the structural similarity with the photograph, from 1 (identical) down to 0 or slightly below.

    SSIM of the two luminances (Wang et al. 2004, https://doi.org/10.1109/TIP.2003.819861, with their Gaussian window).
    """
    # Imported lazily: it takes a second, and only this function needs it.
    from skimage.metrics import structural_similarity

    weights = torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)
    first, second = ((images[0].cpu().float() * weights).sum(dim=0).numpy() for images in (photograph, output))
    window = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    return float(structural_similarity(first, second, data_range=1.0, **window))  # type: ignore[no-untyped-call]


def equivalent_iterations(curve: Sequence[float], loss: float) -> float:
    """Return the step at which the optimizer first reaches this loss, interpolated linearly between steps.

    0 if the photograph itself is no worse; infinity if the optimizer does not reach it.

    Args:
        curve: the optimizer's losses after 0, 1, 2, ... steps.
        loss: the loss to look up.
    """
    if loss >= curve[0]:
        return 0.0
    for step, (before, after) in enumerate(pairwise(curve)):
        if after <= loss:
            return step + (before - loss) / (before - after)
    return math.inf


def quartiles(values: Sequence[float]) -> dict[str, float]:
    """Return the median and the quartiles of numbers, some of which may be infinite.

    A quartile between a finite number and an infinite one is infinite.
    """
    ordered, result = sorted(values), {}
    for name, fraction in (("low", 0.25), ("median", 0.5), ("high", 0.75)):
        place = fraction * (len(ordered) - 1)
        below, above = ordered[math.floor(place)], ordered[math.ceil(place)]
        share = place - math.floor(place)
        result[name] = below if share == 0 or below == above else below * (1 - share) + above * share
    return result


def cached_curve(
    yardstick: Yardstick,
    photograph: Images,
    steps: int = STEPS,
    lr: float = LEARNING_RATE,
    on_step: OnStep | None = None,
) -> list[float]:
    """Return `yardstick.curve`, cached: it takes minutes, and all networks of a style share it.

    The file name is a hash of the inputs: images, weights of the loss network, settings. Changes of the code are
    detected by the losses of the photograph and of its mirror image, which must agree to a thousandth.

    Raises:
        TrainingError: if the loss is not finite.
    """
    path = cache_folder() / "curves" / f"{_cache_name(yardstick, photograph, steps, lr)}.json"
    probe = [yardstick.losses(photograph, output)["total"] for output in (photograph, photograph.flip(3))]
    curve = _read_cached(path, probe, steps)
    if curve is not None:
        return curve
    curve = yardstick.curve(photograph, steps, lr, on_step)
    write_cached(path, json.dumps({"format": FORMAT, "probe": probe, "losses": curve}).encode(), "optimizes")
    return curve


def _cache_name(yardstick: Yardstick, photograph: Images, steps: int, lr: float) -> str:
    settings = {**yardstick.settings, "format": FORMAT, "steps": steps, "lr": lr}
    hasher = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for tensor in (photograph, yardstick.style.read()):
        hasher.update(f"{tuple(tensor.shape)}".encode())
        hasher.update(tensor.contiguous().numpy().tobytes())
    for name, weight in yardstick.weights.items():
        hasher.update(f"{name} {tuple(weight.shape)} {weight.dtype}".encode())
        hasher.update(weight.cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return hasher.hexdigest()


def _read_cached(path: Path, probe: list[float], steps: int) -> list[float] | None:
    try:
        cached: dict[str, Any] = json.loads(path.read_bytes())
        pairs = list(zip(cached["probe"], probe, strict=True))
        curve = [float(loss) for loss in cached["losses"]]
    except (OSError, ValueError, TypeError, KeyError):
        return None
    complete = len(curve) == steps + 1 and all(map(math.isfinite, curve))
    return curve if complete and all(math.isclose(*pair, rel_tol=1e-3) for pair in pairs) else None
