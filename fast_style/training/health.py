"""Detects training failures (non-finite values, exploding gradients, flat outputs) and explains cause and remedy."""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from math import hypot, isfinite
from statistics import median
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fast_style.losses import PerceptualLoss
from fast_style.networks import TransformNet
from fast_style.types import Images, StyleWeights

Batch = tuple[Images, StyleWeights]

#: Steps between reads where reading synchronizes with the device. Every failure is to be reported within 20 steps.
LOOK_EVERY = 5

#: Explosion: gradient norm above 100x its median for 10 consecutive steps. Good runs stay below 3x, and even a learning
#: rate 250 times too high stays below 10x. One odd batch does not count: clipping handles it.
EXPLOSION = 100.0
EXPLOSION_STEPS = 10
#: Norms in the median: it follows a converging run, and up to half of them may be outliers.
NORMS = 50
#: Minimum number of norms for a median.
FEWEST_NORMS = 5

#: Standard deviation below which an output is flat: half an 8-bit level. New networks start at 0.06 to 0.1, even for
#: content with only two neighboring levels, which normalization amplifies.
FLAT_OUTPUT = 0.5 / 255
#: Standard deviation up to which content is too flat to judge the output.
FLAT_CONTENT = 4 / 255
#: Consecutive flat outputs that count as failure: as many as the 20 steps allow, since networks can recover.
FLAT_STEPS = 15

#: Consecutive non-finite gradients that count as failure with the scaler of 16-mixed: it halves its scale, from
#: 2 ** 16, at each, so that at the 16th, with a scale of 2, the scale is not the cause.
SCALER_STEPS = 16

SLOWER = "lower optimizer.lr"
PRECISER = "use trainer.precision=32-true"


class GradientWatch:
    """Detects an exploding gradient.

    Attributes:
        steps: consecutive steps above the threshold.
    """

    def __init__(self) -> None:
        self.norms: deque[float] = deque(maxlen=NORMS)
        self.steps = 0

    @property
    def usual(self) -> float:
        """Median of the last norms below the threshold; 0 while there are too few."""
        return median(self.norms) if len(self.norms) >= FEWEST_NORMS else 0.0

    def see(self, norm: float) -> bool:
        """Add the norm of a step; return whether the gradient explodes."""
        if 0 < EXPLOSION * self.usual < norm:
            self.steps += 1
        else:
            self.steps = 0
            self.norms.append(norm)
        return self.steps >= EXPLOSION_STEPS


class OutputWatch:
    """Detects outputs of one color for content that has more.

    Attributes:
        steps: consecutive steps with flat outputs.
    """

    def __init__(self) -> None:
        self.steps = 0

    def see(self, output: float, content: float) -> bool:
        """Add the spreads (standard deviations) of a step; return whether the network is dead."""
        if not output < FLAT_OUTPUT:
            self.steps = 0
        elif content > FLAT_CONTENT:
            self.steps += 1
        return self.steps >= FLAT_STEPS


@dataclass(frozen=True)
class Ailment:
    """A training failure.

    Attributes:
        kind: a non-finite loss, gradient or weight, an exploding gradient, or a flat output.
        step: when it occurred.
        value: the loss, the norm of the whole gradient, the weight, or the output's standard deviation.
        name: the loss or the weight. For a non-finite gradient the last such weight, since gradients propagate from
            the end; for an explosion the weight with the largest gradient.
        part: for an explosion, that weight's share of the squared gradient norm.
        usual: for an explosion, the median norm of the whole gradient.
        content_finite: for a loss, whether the content pictures were finite.
        output_finite: for a loss, whether the outputs were finite.
    """

    kind: Literal["loss", "gradient", "weight", "explosion", "flat"]
    step: int
    value: float
    name: str = ""
    part: float = 0.0
    usual: float = 0.0
    content_finite: bool = True
    output_finite: bool = True


class Health:
    """Checks the losses, gradients and weights of every step.

    Values are kept as tensors until `read`, since reading synchronizes with the GPU. All steps are checked, in order,
    however late they are read.

    Attributes:
        ailment: the first failure found.
    """

    def __init__(self) -> None:
        self.ailment: Ailment | None = None
        self._gradient = GradientWatch()
        self._output = OutputWatch()
        self._infinite = 0
        self._unread: list[tuple[Tensor, Callable[[list[float]], Ailment | None]]] = []

    def note_losses(self, step: int, terms: Sequence[str], values: Float[Tensor, " numbers"]) -> None:
        """Record the losses of a step, followed by the spreads of the content pictures and the outputs."""
        self._unread.append((values, partial(self._judge_losses, step, terms)))

    def note_gradient(
        self,
        step: int,
        names: Sequence[str],
        norms: Float[Tensor, " weights"],
        peaks: Float[Tensor, " weights"],
        scaled: bool = False,
    ) -> None:
        """Record gradients and weights before the optimizer step.

        Args:
            step: number of the step.
            names: names of the weights.
            norms: gradient norm of each weight.
            peaks: largest absolute value of each weight.
            scaled: whether a gradient scaler is used, which tries too large scales and skips those steps.
        """
        judge = partial(self._judge_gradient, step, names, SCALER_STEPS if scaled else 1)
        self._unread.append((torch.cat([norms, peaks]), judge))

    def read(self) -> Ailment | None:
        """Check all recorded steps, and return the first failure."""
        for values, judge in self._unread:
            self.ailment = self.ailment or judge(values.tolist())
        self._unread.clear()
        return self.ailment

    @property
    def suspicious(self) -> bool:
        """Whether there is a failure, or a beginning of one."""
        return self.read() is not None or max(self._gradient.steps, self._output.steps, self._infinite) > 0

    def state_dict(self) -> dict[str, Any]:
        """Return the state as plain values, so that a resumed run is checked as if it had never stopped."""
        self.read()
        steps = (self._gradient.steps, self._output.steps, self._infinite)
        return {"norms": list(self._gradient.norms), "steps": list(steps)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state of `state_dict`."""
        self._gradient.norms.extend(state["norms"])
        self._gradient.steps, self._output.steps, self._infinite = state["steps"]

    def _judge_losses(self, step: int, terms: Sequence[str], values: list[float]) -> Ailment | None:
        *losses, content, output = values
        for term, loss in zip(terms, losses, strict=True):
            if not isfinite(loss):
                finite = {"content_finite": isfinite(content), "output_finite": isfinite(output)}
                return Ailment("loss", step, loss, term, **finite)
        return Ailment("flat", step, output) if self._output.see(output, content) else None

    def _judge_gradient(self, step: int, names: Sequence[str], patience: int, values: list[float]) -> Ailment | None:
        norms, peaks = values[: len(names)], values[len(names) :]
        for name, peak in zip(names, peaks, strict=True):
            if not isfinite(peak):
                return Ailment("weight", step, peak, name)
        for name, norm in zip(reversed(names), reversed(norms), strict=True):
            if not isfinite(norm):
                self._infinite += 1
                return Ailment("gradient", step, norm, name) if self._infinite >= patience else None
        self._infinite = 0
        usual, total = self._gradient.usual, hypot(*norms)
        if not self._gradient.see(total):
            return None
        largest = max(norms)
        name = names[norms.index(largest)]
        return Ailment("explosion", step, total, name, part=(largest / total) ** 2, usual=usual)


def spread(images: Images) -> Float[Tensor, ""]:
    """Return the largest spatial standard deviation of any channel of any picture."""
    return images.detach().float().flatten(2).std(dim=2, correction=0).amax()


def explain(
    ailment: Ailment,
    network: TransformNet,
    loss: PerceptualLoss,
    batch: Batch | None = None,
    *,
    precise: bool = False,
    clipped: bool = False,
) -> str:
    """Describe a failure in one line: what, where, at which step, why, and the remedy.

    Args:
        ailment: the failure.
        network: the network being trained.
        loss: its loss.
        batch: content pictures and style weights, run again to locate a non-finite loss.
        precise: whether float32 is used already; a remedy in use is not suggested.
        clipped: whether the gradient is clipped already.
    """
    step = f"at step {ailment.step}"
    preciser = "" if precise else f", or {PRECISER}"
    if ailment.kind == "loss":
        layer, cause = _cause_of_loss(ailment, network, loss, batch, preciser)
        return f"the {ailment.name} loss is {ailment.value}{f' at {layer}' if layer else ''} {step}: {cause}"
    if ailment.kind == "weight":
        return _weight_message(ailment.name, ailment.step)
    if ailment.kind == "gradient":
        return f"the gradient of {ailment.name} is not finite {step}, though the losses are: {SLOWER}{preciser}"
    if ailment.kind == "explosion":
        return (
            f"the gradient explodes {step}: its norm is {ailment.value:.2g}, usually it is {ailment.usual:.2g}, and "
            f"{ailment.part:.0%} of its square is {ailment.name}; "
            f"{SLOWER}{'' if clipped else ', or set trainer.gradient_clip_val=1'}"
        )
    return (
        f"the output is one flat color {step}: its standard deviation, {ailment.value:.1g}, has been too small to "
        f"see for {FLAT_STEPS} steps; {SLOWER}, or raise loss.content.weight"
    )


def explain_weights(network: nn.Module, step: int) -> str | None:
    """Return which weight is not finite and the remedy, in one line; None if all are finite."""
    name = first_not_finite(network.state_dict().items())
    return _weight_message(name, step) if name else None


def _weight_message(name: str, step: int) -> str:
    return f"the weight {name} is not finite at step {step}: {SLOWER}"


def _cause_of_loss(
    ailment: Ailment, network: TransformNet, loss: PerceptualLoss, batch: Batch | None, preciser: str
) -> tuple[str | None, str]:
    """Return the loss network's layer where a loss is not finite, if known, and the cause with its remedy."""
    if ailment.name not in loss.terms:
        name, term = max(loss.terms.items(), key=lambda item: item[1].weight)
        return None, f"each of its terms is finite; lower loss.{name}.weight, which is {term.weight:g}"
    if not ailment.content_finite:
        return None, "a content picture is not finite; check the pictures of data"
    if not ailment.output_finite:
        if weight := first_not_finite(network.state_dict().items()):
            return None, f"the network's weight {weight} is not finite; {SLOWER}"
        part = first_part_not_finite(network, *batch) if batch else None
        return None, f"the network's output is not finite{f' from {part} on' if part else ''}; {SLOWER}{preciser}"
    layer, first = _layers(ailment.name, network, loss, *batch) if batch else (None, None)
    if first:
        return layer, f"the loss network is not finite from {first} on; check encoder.weights{preciser}"
    if layer:
        return layer, f"the activations are finite, so its target or weight is not; check loss.{ailment.name} and style"
    return None, f"the network's output is finite, so it overflowed by itself; check loss.{ailment.name}{preciser}"


def _layers(
    term: str, network: TransformNet, loss: PerceptualLoss, content: Images, style: StyleWeights
) -> tuple[str | None, str | None]:
    """Return the first layer where the term is not finite, and the first where the loss network is not."""
    with torch.no_grad():
        output = network(content, style)
        if not output.isfinite().all():
            output = content  # The weights are broken by now; a fault of the loss shows with any picture.
        with torch.autocast(content.device.type, enabled=False):
            stylization = loss.stylization(content, output, style)
            layer = first_not_finite(loss.terms[term].contributions(stylization).items())
    return layer, first_not_finite((*stylization.content_features.items(), *stylization.output_features.items()))


def first_not_finite(tensors: Iterable[tuple[str, Tensor]]) -> str | None:
    """Return the name of the first tensor with a value that is not finite."""
    return next((name for name, tensor in tensors if not tensor.isfinite().all()), None)


def first_part_not_finite(network: nn.Module, *inputs: Tensor) -> str | None:
    """Run the network, and return the name of the first module whose output is not finite."""
    found: list[str] = []

    def look(name: str, part: nn.Module, inputs: object, output: object) -> None:
        if isinstance(output, Tensor) and not output.isfinite().all():
            found.append(name)

    hooks = [part.register_forward_hook(partial(look, name)) for name, part in network.named_modules() if name]
    try:
        with torch.no_grad():
            network(*inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return found[0] if found else None
