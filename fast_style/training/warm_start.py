"""Warm start: a new network starts from the trained network that is nearest to its styles.

The nearest network has the lowest training loss on a few training pictures. Networks of one kind share all weights but
a scale and a shift for each style (Dumoulin, Shlens & Kudlur 2017, https://arxiv.org/abs/1610.07629), so each new style
starts from the nearest style of one network, whatever their numbers of styles.
"""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from fast_style.data.batches import TrainingImages
from fast_style.errors import ConfigError
from fast_style.losses import PerceptualLoss
from fast_style.networks import TransformNet
from fast_style.types import Features, Images
from fast_style.zoo import find, shipped_networks
from fast_style.zoo.saving import load_network

#: Pictures, spread over the first epoch, to compare networks on; more do not change which is nearest.
PICTURES = 3


@dataclass(frozen=True)
class Candidate:
    """A trained network to start from, its styles' names, and whether it came with the package."""

    network: TransformNet
    styles: tuple[str, ...]
    shipped: bool


@dataclass(frozen=True)
class Start:
    """What a network starts from.

    Attributes:
        origin: `network`: the name of a trained network, and `styles`: its style for each new one; None: random
            weights.
        text: the same in words, with the losses.
    """

    origin: Mapping[str, Any] | None
    text: str


def candidates(init: str, network: TransformNet) -> dict[str, Candidate]:
    """Return the networks to start from, by name.

    Args:
        init: `auto`: all shipped networks of the same kind, that is, class and arguments except the number of styles;
            `none`: none; else a network's file or name.
        network: the network to train.

    Raises:
        CheckpointError: if the file is missing, damaged or not a network file.
        ConfigError: if it holds a network of another kind.
    """
    if init == "none":
        return {}
    shipped = shipped_networks()
    if init == "auto":
        read = {name: _read(path, shipped=True) for name, path in shipped.items()}
        return {name: candidate for name, candidate in read.items() if _kind(candidate.network) == _kind(network)}
    path = find(Path(init))
    candidate = _read(path, shipped=path in shipped.values())
    if _kind(candidate.network) != _kind(network):
        raise ConfigError(
            f"init must be a network of the kind that is to be trained, {_describe(network)}, and {init} is "
            f"{_describe(candidate.network)}; choose network and its settings alike, or init=auto"
        )
    return {init: candidate}


@torch.no_grad()
def start(
    network: TransformNet,
    trained: Mapping[str, Candidate],
    loss: PerceptualLoss,
    pictures: TrainingImages,
    *,
    cold: bool,
) -> Start:
    """Give a new network the weights of the nearest candidate.

    That is the candidate with the lowest mean loss over the new styles, each with the candidate's best style for it.

    Args:
        network: the new network, changed in place.
        trained: candidates of the network's kind; may be empty.
        loss: the loss for the new styles; compares on its own device.
        pictures: the training pictures.
        cold: whether to keep the random weights if no candidate has a lower loss.

    Returns:
        What the network starts from.
    """
    if not trained:
        return Start(None, f"from nothing: no network that ships is of this kind, {_describe(network)}")
    count = min(PICTURES, len(pictures))
    sample = torch.stack([pictures[0, index * len(pictures) // count] for index in range(count)]) / 255
    sample = sample.to(next(loss.encoder.parameters()).device)
    features = loss.content_features(sample)
    before = float(_losses(network, network.styles, loss, sample, features).diagonal().mean())
    measured = {
        name: _losses(candidate.network, network.styles, loss, sample, features).min(dim=0)
        for name, candidate in trained.items()
    }
    name = min(measured, key=lambda name: float(measured[name].values.mean()))
    after, nearest = float(measured[name].values.mean()), trained[name]
    columns: list[int] = measured[name].indices.tolist()
    styles = [nearest.styles[column] for column in columns]
    shown = f"{name} (shipped)" if nearest.shipped else name
    if len(nearest.styles) > 1:
        shown += f", its style{'s' * (len(styles) > 1)} {' and '.join(styles)}"
    if cold and not after < before:
        return Start(None, f"from nothing, loss {before:.3g}; from the nearest, {shown}, it would be {after:.3g}")
    take(network, nearest.network, columns)
    text = f"from {shown}, loss {after:.3g}; from nothing it would be {before:.3g}"
    # The name without its folder, which differs between machines.
    return Start({"network": Path(name).name.removesuffix(".safetensors"), "styles": styles}, text)


def take(network: TransformNet, source: TransformNet, columns: list[int]) -> None:
    """Copy the weights of a network to another of its kind.

    Args:
        network: the network to change.
        source: the network to copy from.
        columns: for each style of `network`, the index of the style of `source` whose scales and shifts it gets.
    """
    # The style dimension is the one that grows with the number of styles.
    with torch.device("meta"):
        larger = type(source)(**{**source.arguments, "styles": source.styles + 1}).state_dict()
    weights = source.state_dict()
    for name, weight in weights.items():
        for dimension, (length, more) in enumerate(zip(weight.shape, larger[name].shape, strict=True)):
            if length != more:
                weights[name] = weight.index_select(dimension, torch.tensor(columns, device=weight.device))
    network.load_state_dict(weights)


def _losses(
    network: TransformNet, styles: int, loss: PerceptualLoss, pictures: Images, features: Features
) -> Float[Tensor, "columns styles"]:
    """Return the total loss of each style of a network (columns) against each new style."""
    # A copy, so that the network to train stays on its device. Training mode makes no difference.
    network = deepcopy(network).to(pictures.device)
    losses = []
    for column in torch.eye(network.styles, device=pictures.device):
        output = network(pictures, column.expand(len(pictures), -1))
        # The features are computed once for all new styles.
        stylization = loss.stylization(pictures, output, column.expand(len(pictures), -1), features)
        for style in torch.eye(styles, device=pictures.device):
            one = replace(stylization, style=style.expand(len(pictures), -1))
            losses.append(loss.total({name: term(one) for name, term in loss.terms.items()}))
    # A NaN must not count as the minimum.
    return torch.stack(losses).view(network.styles, styles).cpu().nan_to_num(nan=float("inf"), posinf=float("inf"))


def _read(path: Path, *, shipped: bool) -> Candidate:
    network, metadata = load_network(path)
    return Candidate(network, tuple(metadata.styles), shipped)


def _kind(network: TransformNet) -> tuple[type, dict[str, int]]:
    return type(network), {name: value for name, value in network.arguments.items() if name != "styles"}


def _describe(network: TransformNet) -> str:
    cls, arguments = _kind(network)
    return f"{cls.__name__}({', '.join(f'{name}={value}' for name, value in arguments.items())})"
