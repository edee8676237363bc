"""The health of a training: notice that its numbers go wrong, and say what is behind it and what helps."""

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

#: Whatever is wrong is to be told within 20 steps. This is how often to look where looking waits for the device.
LOOK_EVERY = 5

#: A gradient explodes if its norm is so many times its usual one. In trainings that go well it is at most 3 times, and
#: less than 10 times even where a learning rate 250 times too high spoils them ...
EXPLOSION = 100.0
#: ... and if it stays so for as many steps: a single odd batch goes by, and clipping takes care of it.
EXPLOSION_STEPS = 10
#: The usual norm is the median of so many: it follows a training that settles, and half of them may be odd.
NORMS = 50
#: With fewer, nothing is usual yet.
FEWEST_NORMS = 5

#: Standard deviation of an output that is one color: half a level of 8 bits. New networks start between 0.06 and 0.1,
#: even where the content has but two neighboring levels: normalization makes much of it.
FLAT_OUTPUT = 0.5 / 255
#: Of a content picture that says nothing, because one color can only become one color.
FLAT_CONTENT = 4 / 255
#: As many as the 20 steps allow: a network can come back from a flat output.
FLAT_STEPS = 15

#: The scaler of 16-mixed halves its scale, at first 2 ** 16, for each gradient that is not finite. After so many in a
#: row the scale, by then 2, is not to blame.
SCALER_STEPS = 16

SLOWER = "lower optimizer.lr"
PRECISER = "use trainer.precision=32-true"


class GradientWatch:
    """Notices a gradient that is far larger than usual, and stays so.

    Attributes:
        steps: for how many steps in a row it has been.
    """

    def __init__(self) -> None:
        self.norms: deque[float] = deque(maxlen=NORMS)
        self.steps = 0

    @property
    def usual(self) -> float:
        """The median of the last norms that were not far larger than usual; 0 while there are too few."""
        return median(self.norms) if len(self.norms) >= FEWEST_NORMS else 0.0

    def see(self, norm: float) -> bool:
        """Take the norm of one more step; return whether the gradient explodes."""
        if 0 < EXPLOSION * self.usual < norm:
            self.steps += 1
        else:
            self.steps = 0
            self.norms.append(norm)
        return self.steps >= EXPLOSION_STEPS


class OutputWatch:
    """Notices outputs that are one color, whatever the content.

    Attributes:
        steps: for how many steps in a row they have been.
    """

    def __init__(self) -> None:
        self.steps = 0

    def see(self, output: float, content: float) -> bool:
        """Take the spreads of one more step; return whether the network is dead."""
        if not output < FLAT_OUTPUT:
            self.steps = 0
        elif content > FLAT_CONTENT:  # what a flat content becomes says nothing
            self.steps += 1
        return self.steps >= FLAT_STEPS


@dataclass(frozen=True)
class Ailment:
    """What is wrong, as far as numbers tell.

    Attributes:
        kind: a loss, a gradient or a weight that is not finite, a gradient that explodes, or an output that is flat.
        step: when it was so.
        value: the loss, the norm of the whole gradient, the weight, or the output's spread.
        name: of the loss; or of the weight that is not finite, or whose gradient is not (the last such weight, for a
            gradient comes from the end), or whose gradient is the largest part of the one that explodes.
        part: that part: its square over the square of the whole.
        usual: what the norm of the whole gradient usually is.
        content_finite, output_finite: of a loss: whether the pictures were.
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
    """Judges a training by its numbers, step by step.

    They come as tensors, and are kept until they are read: on a GPU, reading waits for the step to end. However
    long that is put off, each step is judged, and in its turn.

    Attributes:
        ailment: the first thing found to be wrong.
    """

    def __init__(self) -> None:
        self.ailment: Ailment | None = None
        self._gradient = GradientWatch()
        self._output = OutputWatch()
        self._infinite = 0
        self._unread: list[tuple[Tensor, Callable[[list[float]], Ailment | None]]] = []

    def note_losses(self, step: int, terms: Sequence[str], values: Float[Tensor, " numbers"]) -> None:
        """Take the losses, then the spreads of the content pictures and of the outputs."""
        self._unread.append((values, partial(self._judge_losses, step, terms)))

    def note_gradient(
        self,
        step: int,
        names: Sequence[str],
        norms: Float[Tensor, " weights"],
        peaks: Float[Tensor, " weights"],
        scaled: bool = False,
    ) -> None:
        """Take the state of the weights before a step changes them.

        Args:
            step: its number.
            names: of the weights.
            norms: of the gradient of each.
            peaks: the largest absolute value in each.
            scaled: whether there is a scaler, which tries scales that are too large and leaves those steps out.
        """
        judge = partial(self._judge_gradient, step, names, SCALER_STEPS if scaled else 1)
        self._unread.append((torch.cat([norms, peaks]), judge))

    def read(self) -> Ailment | None:
        """Judge what has been noted, and return the first thing found to be wrong."""
        for values, judge in self._unread:
            self.ailment = self.ailment or judge(values.tolist())
        self._unread.clear()
        return self.ailment

    @property
    def suspicious(self) -> bool:
        """Whether something is wrong, or may turn out to be."""
        return self.read() is not None or max(self._gradient.steps, self._output.steps, self._infinite) > 0

    def state_dict(self) -> dict[str, Any]:
        """Return all that a resumed training needs to be judged as if it had never stopped, as plain values."""
        self.read()
        steps = (self._gradient.steps, self._output.steps, self._infinite)
        return {"norms": list(self._gradient.norms), "steps": list(steps)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from where `state_dict` was called."""
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
    """Return the standard deviation over space of the channel and picture where it is largest."""
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
    """Return in one line what is wrong, where and at which step, why, and what helps.

    Args:
        ailment: what the numbers tell.
        network: what is trained.
        loss: what judges it.
        batch: pictures and their style weights, to put through both once more if a loss is not finite.
        precise: whether all is computed in float32 already. A remedy that is in use is not suggested.
        clipped: whether the gradient is clipped already.
    """
    step = f"at step {ailment.step}"
    preciser = "" if precise else f", or {PRECISER}"
    if ailment.kind == "loss":
        layer, cause = _cause_of_loss(ailment, network, loss, batch, preciser)
        return f"the {ailment.name} loss is {ailment.value}{f' at {layer}' if layer else ''} {step}: {cause}"
    if ailment.kind == "weight":
        return _weight(ailment.name, ailment.step)
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
    """Return in one line which weight is not finite and what helps; nothing if all of them are."""
    name = first_not_finite(network.state_dict().items())
    return _weight(name, step) if name else None


def _weight(name: str, step: int) -> str:
    return f"the weight {name} is not finite at step {step}: {SLOWER}"


def _cause_of_loss(
    ailment: Ailment, network: TransformNet, loss: PerceptualLoss, batch: Batch | None, preciser: str
) -> tuple[str | None, str]:
    """Return the layer of the loss network where a loss is not finite, if it is one, and the cause with its remedy."""
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
            output = content  # the weights have been spoiled since; what is wrong with a loss shows on any picture
        with torch.autocast(content.device.type, enabled=False):
            stylization = loss.stylization(content, output, style)
            layer = first_not_finite(loss.terms[term].contributions(stylization).items())
    return layer, first_not_finite((*stylization.content_features.items(), *stylization.output_features.items()))


def first_not_finite(tensors: Iterable[tuple[str, Tensor]]) -> str | None:
    """Return the name of the first tensor with a value that is not finite."""
    return next((name for name, tensor in tensors if not tensor.isfinite().all()), None)


def first_part_not_finite(network: nn.Module, *inputs: Tensor) -> str | None:
    """Run the network, and return the name of the first part of it whose output is not finite."""
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
