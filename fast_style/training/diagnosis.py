"""Saying what is behind an ailment, and what helps. Nothing here runs while a training is well."""

from collections.abc import Iterable
from functools import partial

import torch
from torch import Tensor, nn

from fast_style.losses import PerceptualLoss
from fast_style.networks import TransformNet
from fast_style.training.health import FLAT_STEPS, Ailment
from fast_style.types import Images, StyleWeights

Batch = tuple[Images, StyleWeights]

SLOWER = "lower optimizer.lr"
PRECISER = "use trainer.precision=32-true"


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
