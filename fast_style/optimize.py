"""Slow style transfer: the same losses, with the pixels as the parameters."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.optim import LBFGS, Adam, Optimizer

from fast_style.encoders.encoder import Encoder
from fast_style.errors import ConfigError, TrainingError, require_choice
from fast_style.images.arrays import InMemory, Pixels
from fast_style.losses import Loss, PerceptualLoss
from fast_style.losses.styles import Style
from fast_style.types import Images, StyleWeights

Algorithm = Literal["adam", "lbfgs"]
Init = Literal["content", "noise"]

#: Called after every step with the number of steps done, the loss before the step, and the pictures after it.
OnStep = Callable[[int, float, Images], None]


def optimize(
    content: Pixels,
    losses: dict[str, Loss],
    encoder: Encoder,
    styles: Sequence[Style],
    style: StyleWeights,
    *,
    init: Init = "content",
    scales: float | Sequence[float] = 1.0,
    steps: int | Sequence[int] = 300,
    algorithm: Algorithm = "adam",
    lr: float = 0.02,
    patience: int = 50,
    min_delta: float = 0.001,
    seed: int = 0,
    on_step: OnStep | None = None,
) -> Pixels:
    """Find the pictures of least loss, several at once, by descent on their pixels.

    Gatys, Ecker & Bethge 2015, https://arxiv.org/abs/1508.06576. Pixels are held within [0, 1] after every
    step, which they do not do. At several scales, coarse to fine, the style's picture is reduced with the
    content, so that large structures are found while they are small (Gatys et al. 2017,
    https://arxiv.org/abs/1611.07865, section 6, who start from the result at low resolution likewise).

    Args:
        content: the pictures, which without a content loss give no more than their number and size: tensors or arrays
            as `Stylizer` takes them, answered with their like.
        losses: the terms of the loss, by name.
        encoder: the loss network.
        styles: what the columns of `style` stand for.
        style: the style weights of each picture.
        init: what to start from, the content or uniform noise.
        scales: fractions of the final size, ascending, the last of them 1; or just 1.
        steps: at most so many steps; one number for all scales, or one for each.
        algorithm: `adam`, or `lbfgs` as in the paper. With Adam each picture comes out as it would alone; the line
            search of L-BFGS is one for all, so that they are better given one at a time.
        lr: the step size, in units of the full range of a pixel for Adam.
        patience: stop a scale after so many steps that do not lower the best loss, the mean over the pictures...
        min_delta: ... by this fraction of it. 0 never stops early.
        seed: of the noise.
        on_step: called after each step.

    Raises:
        ConfigError: if an argument is out of range.
        ImageError: if the pictures have another shape or type, or values out of range.
        TrainingError: if the loss is no longer finite.
    """
    scales = [scales] if isinstance(scales, int | float) else list(scales)
    counts = [steps] if isinstance(steps, int) else list(steps)
    counts = counts * len(scales) if len(counts) == 1 else counts
    _check(init, algorithm, scales, counts, lr, patience)
    given = InMemory(content)
    pixels = images = given.in_range(torch.as_tensor(given.batch).detach().to(torch.float32))
    done = 0
    for i, (scale, count) in enumerate(zip(scales, counts, strict=True)):
        size = [max(16, round(side * scale)) for side in images.shape[2:]]
        if i == 0 and init == "noise":
            # At this size, not shrunk to it: noise loses its contrast when it shrinks.
            noise = torch.rand(*images.shape[:2], *size, generator=torch.Generator().manual_seed(seed))
            pixels = noise.to(images.device)
        pixels = _resize(pixels, size)
        reduced = [replace(one, size=max(16, round(one.size * scale))) for one in styles]
        loss = PerceptualLoss(encoder, losses, reduced)
        target = _resize(images, size)
        pixels, done = _descend(pixels, target, loss, style, count, algorithm, lr, patience, min_delta, done, on_step)
    made: Pixels = given.like(pixels)
    return made


def _descend(
    pixels: Images,
    content: Images,
    loss: PerceptualLoss,
    style: StyleWeights,
    steps: int,
    algorithm: Algorithm,
    lr: float,
    patience: int,
    min_delta: float,
    done: int,
    on_step: OnStep | None,
) -> tuple[Images, int]:
    """Return the pictures after one scale, and the number of steps done in all."""
    # Contiguous, as LBFGS demands; the encoder brings them to the order it likes.
    pixels = pixels.detach().clone(memory_format=torch.contiguous_format).requires_grad_()
    optimizer = _optimizer(algorithm, pixels, lr)
    features = loss.content_features(content)

    def closure() -> float:
        optimizer.zero_grad()
        # The sum over pictures, not the mean: with Adam, each goes its own way, at the pace it would have alone.
        total = loss.total(loss(content, pixels, style, features)) * len(pixels)
        torch.autograd.backward(total)
        return float(total.detach())

    best, since = float("inf"), 0
    for _ in range(steps):
        value = float(optimizer.step(closure)) / len(pixels)
        if not torch.isfinite(torch.tensor(value)):
            raise TrainingError(f"the loss is {value} at step {done}: lower lr")
        with torch.no_grad():
            pixels.clamp_(0, 1)
        done += 1
        if on_step is not None:
            on_step(done, value, pixels.detach())
        since = 0 if value < best * (1 - min_delta) else since + 1
        best = min(best, value)
        if min_delta > 0 and since >= patience:
            break
    return pixels.detach(), done


def _optimizer(algorithm: Algorithm, pixels: Images, lr: float) -> Optimizer:
    if algorithm == "adam":
        return Adam([pixels], lr)
    # By default one iteration may look at the loss once only, which leaves the line search nothing to search with.
    return LBFGS([pixels], lr=1.0, max_iter=1, max_eval=25, history_size=20, line_search_fn="strong_wolfe")


def _resize(images: Images, size: Sequence[int]) -> Float[Tensor, "batch 3 _height _width"]:
    if tuple(images.shape[2:]) == tuple(size):
        return images
    return F.interpolate(images, size=tuple(size), mode="bicubic", antialias=True).clamp(0, 1)


def _check(init: str, algorithm: str, scales: Sequence[float], steps: Sequence[int], lr: float, patience: int) -> None:
    require_choice("init", init, get_args(Init))
    require_choice("algorithm", algorithm, get_args(Algorithm))
    if not scales or scales[-1] != 1 or any(scale <= 0 for scale in scales) or list(scales) != sorted(scales):
        raise ConfigError(f"scales must be above 0, ascend and end with 1, not {list(scales)}")
    if len(steps) != len(scales):
        raise ConfigError(f"steps must be one number, or one for each of the {len(scales)} scales, not {list(steps)}")
    if min(steps) < 0:
        raise ConfigError(f"steps must not be negative, not {min(steps)}")
    if not 0 < lr < float("inf"):
        raise ConfigError(f"lr must be above 0, not {lr}")
    if patience < 1:
        raise ConfigError(f"patience must be at least 1, not {patience}; min_delta=0 never stops early")
