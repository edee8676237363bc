"""The loss of a stylized image compared with slow optimization, and its distances layer by layer."""

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

#: The steps of the optimizer, at whose end the loss is the plateau, and its learning rate on pixels in [0, 1].
STEPS = 250
LEARNING_RATE = 0.02

_PLAIN = (int, float, str, list, tuple, dict, type(None))

#: Called after each step with the number of steps done.
OnStep = Callable[[int], None]
#: Incremented when the meaning of a curve changes.
FORMAT = 1


class Yardstick:
    """A loss, and the curve of slow optimization on it, with which stylized images are compared.

    Both are computed by the same loss in the same precision, one image at a time.

    Args:
        encoder: the loss network; its type is the precision.
        losses: the terms of the loss, by name.
        style: the style to reach.

    Raises:
        ImageError: if the style's picture cannot be read.
        ConfigError: if no term has a weight, or a layer does not exist.
    """

    def __init__(self, encoder: Encoder, losses: Mapping[str, Loss], style: Style) -> None:
        self.style = style
        self._device = next(encoder.parameters()).device
        self._row = torch.ones(1, 1, device=self._device)
        self._loss = PerceptualLoss(encoder, losses, [style])
        # Of either kind, each layer that any of the terms looks at.
        seen = self._loss.content_layers | self._loss.output_layers
        self.layers = [layer for layer in encoder.layers if layer in seen]
        self._content = ContentLoss(layers=self.layers)
        self._style = StyleLoss(layers=dict.fromkeys(self.layers, 1.0))
        self._style.prepare(encoder, [style])

    @property
    def settings(self) -> dict[str, Any]:
        """What the loss depends on besides pictures and weights: plain values."""
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
        """The loss network's weights."""
        tensors: dict[str, Tensor] = self._loss.encoder.state_dict()
        return tensors

    @torch.no_grad()
    def losses(self, photograph: Images, output: Images) -> dict[str, float]:
        """Return the terms of the loss of one stylized picture, times their weights, and their sum as `total`."""
        terms = self._loss(photograph.to(self._device), output.to(self._device), self._row)
        weighted = {name: self._loss.terms[name].weight * float(term) for name, term in terms.items()}
        return {**weighted, "total": float(self._loss.total(terms))}

    def curve(
        self, photograph: Images, steps: int = STEPS, lr: float = LEARNING_RATE, on_step: OnStep | None = None
    ) -> list[float]:
        """Return the optimizer's total loss after 0, 1, ..., `steps` steps of Adam, from the photograph itself.

        Raises:
            TrainingError: if the loss is no longer finite.
        """
        photograph, curve = photograph.to(self._device), []

        def note(step: int, before: float, pixels: Images) -> None:
            curve.append(before)
            if on_step is not None:
                on_step(step)

        encoder, terms = self._loss.encoder, self._loss.terms
        # To the last step, whether or not it still helps.
        arguments: dict[str, Any] = {"steps": steps, "lr": lr, "min_delta": 0.0, "on_step": note}
        pixels = optimize(photograph, terms, encoder, [self.style], self._row, **arguments)
        return [*curve, self.losses(photograph, pixels)["total"]]

    @torch.no_grad()
    def distances(self, photograph: Images, output: Images) -> dict[str, dict[str, float]]:
        """Return the relative distances by layer: `content` from the photograph, `style` from the painting.

        Both as the losses of that name define `relative`: squared, and 1 is the distance to nothing at all.
        """
        photograph, output = photograph.to(self._device), output.to(self._device)
        encoder = self._loss.encoder
        features = [encoder(images, self.layers) for images in (photograph, output)]
        stylization = Stylization(photograph, output, self._row, *features)
        distances = {}
        for name, loss in (("content", self._content), ("style", self._style)):
            # Each adds its share to a mean over the layers.
            shares = loss.contributions(stylization)
            distances[name] = {layer: float(share) * len(shares) for layer, share in shares.items()}
        return distances


def structure(photograph: Images, output: Images) -> float:
    """Return how much of the photograph's structure is left, from 1, all, down to 0 or a little below.

    The index of structural similarity of the two luminances (Wang et al. 2004,
    https://doi.org/10.1109/TIP.2003.819861, with their Gaussian window).
    """
    # Here, not above: it takes a second to import, and only this needs it.
    from skimage.metrics import structural_similarity

    weights = torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)
    first, second = ((images[0].cpu().float() * weights).sum(dim=0).numpy() for images in (photograph, output))
    window = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    return float(structural_similarity(first, second, data_range=1.0, **window))  # type: ignore[no-untyped-call]


def equivalent_iterations(curve: Sequence[float], loss: float) -> float:
    """Return the step at which the optimizer first has this loss, between two steps in proportion.

    0 where the photograph itself is no worse; infinity where the optimizer does not get there.

    Args:
        curve: the optimizer's losses after 0, 1, 2, ... steps.
        loss: of the picture to be placed.
    """
    if loss >= curve[0]:
        return 0.0
    for step, (before, after) in enumerate(pairwise(curve)):
        if after <= loss:
            return step + (before - loss) / (before - after)
    return math.inf


def quartiles(values: Sequence[float]) -> dict[str, float]:
    """Return the median and the quartiles of numbers of which some may be infinite.

    A quartile between a finite number and an infinite one is infinite.
    """
    ordered, found = sorted(values), {}
    for name, fraction in (("low", 0.25), ("median", 0.5), ("high", 0.75)):
        place = fraction * (len(ordered) - 1)
        below, above = ordered[math.floor(place)], ordered[math.ceil(place)]
        share = place - math.floor(place)
        found[name] = below if share == 0 or below == above else below * (1 - share) + above * share
    return found


def cached_curve(
    yardstick: Yardstick,
    photograph: Images,
    steps: int = STEPS,
    lr: float = LEARNING_RATE,
    on_step: OnStep | None = None,
) -> list[float]:
    """Return `yardstick.curve`, from the cache if it is there: it takes minutes, and all networks of a style share it.

    The name of a cached curve is a hash of its inputs: images, weights of the loss network, settings. Changes of the
    code are found otherwise: the losses of the photograph and of its mirror image must be the same to a thousandth.

    Raises:
        TrainingError: if the loss is no longer finite.
    """
    path = cache_folder() / "curves" / f"{_name(yardstick, photograph, steps, lr)}.json"
    probe = [yardstick.losses(photograph, output)["total"] for output in (photograph, photograph.flip(3))]
    curve = _kept(path, probe, steps)
    if curve is not None:
        return curve
    curve = yardstick.curve(photograph, steps, lr, on_step)
    write_cached(path, json.dumps({"format": FORMAT, "probe": probe, "losses": curve}).encode(), "optimizes")
    return curve


def _name(yardstick: Yardstick, photograph: Images, steps: int, lr: float) -> str:
    settings = {**yardstick.settings, "format": FORMAT, "steps": steps, "lr": lr}
    found = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for tensor in (photograph, yardstick.style.read()):
        found.update(f"{tuple(tensor.shape)}".encode())
        found.update(tensor.contiguous().numpy().tobytes())
    for name, weight in yardstick.weights.items():
        found.update(f"{name} {tuple(weight.shape)} {weight.dtype}".encode())
        found.update(weight.cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def _kept(path: Path, probe: list[float], steps: int) -> list[float] | None:
    try:
        kept: dict[str, Any] = json.loads(path.read_bytes())
        pairs = list(zip(kept["probe"], probe, strict=True))
        curve = [float(loss) for loss in kept["losses"]]
    except (OSError, ValueError, TypeError, KeyError):
        return None
    whole = len(curve) == steps + 1 and all(map(math.isfinite, curve))
    return curve if whole and all(math.isclose(*pair, rel_tol=1e-3) for pair in pairs) else None
