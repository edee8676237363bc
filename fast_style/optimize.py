"""Slow style transfer: minimizes the same losses over the pixels of an image."""

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

#: Called after every step with the number of steps done, the loss before the step, and the images after it.
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
    """Minimize the losses over the pixels of images, several at once.

    Gatys, Ecker & Bethge 2015, https://arxiv.org/abs/1508.06576. Unlike theirs, pixels are clamped to [0, 1] after
    every step. At several scales, coarse to fine, the style image is reduced with the content, so that large structures
    are found while they are small (Gatys et al. 2017, https://arxiv.org/abs/1611.07865, section 6, who likewise start
    from the result at low resolution).

    Args:
        content: the images, tensors or arrays as for `Stylizer`; the result has the same type. Without a content loss
            only their number and size matter.
        losses: the terms of the loss, by name.
        encoder: the loss network.
        styles: the styles, in the order of the columns of `style`.
        style: the style weights of each image.
        init: start from the content or from uniform noise.
        scales: ascending fractions of the final size, the last of them 1; or just 1.
        steps: maximum number of steps; one number for all scales, or one for each.
        algorithm: `adam`, or `lbfgs` as in the paper. With Adam each image gets the same result as alone; L-BFGS has
            one line search for all, so images are better passed one at a time.
        lr: step size; for Adam, relative to the full range of a pixel.
        patience: stop a scale after this many steps without an improvement of the best mean loss.
        min_delta: minimum relative improvement. 0 never stops early.
        seed: seed of the noise.
        on_step: called after each step.

    Raises:
        ConfigError: if an argument is out of range.
        ImageError: if the images have an unsupported shape or type, or values out of range.
        TrainingError: if the loss is not finite.
    """
    scales = [scales] if isinstance(scales, int | float) else list(scales)
    counts = [steps] if isinstance(steps, int) else list(steps)
    counts = counts * len(scales) if len(counts) == 1 else counts
    _check(init, algorithm, scales, counts, lr, patience)
    source = InMemory(content)
    pixels = images = source.in_range(torch.as_tensor(source.batch).detach().to(torch.float32))
    done = 0
    for i, (scale, count) in enumerate(zip(scales, counts, strict=True)):
        size = [max(16, round(side * scale)) for side in images.shape[2:]]
        if i == 0 and init == "noise":
            # Generated at this size, because noise loses contrast when reduced.
            noise = torch.rand(*images.shape[:2], *size, generator=torch.Generator().manual_seed(seed))
            pixels = noise.to(images.device)
        pixels = _resize(pixels, size)
        reduced = [replace(one, size=max(16, round(one.size * scale))) for one in styles]
        loss = PerceptualLoss(encoder, losses, reduced)
        target = _resize(images, size)
        pixels, done = _descend(pixels, target, loss, style, count, algorithm, lr, patience, min_delta, done, on_step)
    result: Pixels = source.like(pixels)
    return result


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
    """Return the images after one scale, and the total number of steps done."""
    # Contiguous, as LBFGS requires; the encoder converts to channels_last.
    pixels = pixels.detach().clone(memory_format=torch.contiguous_format).requires_grad_()
    optimizer = _optimizer(algorithm, pixels, lr)
    features = loss.content_features(content)

    def closure() -> float:
        optimizer.zero_grad()
        # The sum over images, not the mean: with Adam, each image then advances as it would alone.
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
    # By default an iteration evaluates the loss only once, which disables the line search.
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
