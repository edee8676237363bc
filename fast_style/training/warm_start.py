"""What a new network starts from: the trained network that is nearest to what it is to learn.

Nearest is what training itself would find nearest: the styles of trained networks are measured on a few of the training
pictures, with the loss that is about to be minimized. Networks of one kind share all but a scale and a shift for each
style (Dumoulin, Shlens & Kudlur 2017, https://arxiv.org/abs/1610.07629), so that a style can be taken out of a network
of many, and several styles from one network, each from the style there that is nearest to it.
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
from fast_style.zoo import find, networks
from fast_style.zoo.saving import load_network

#: On so many pictures: on more, the nearest is the same.
PICTURES = 3


@dataclass(frozen=True)
class Candidate:
    """A trained network to start from.

    Attributes:
        network: it.
        styles: the names of its styles.
        shipped: whether it came with the package.
    """

    network: TransformNet
    styles: tuple[str, ...]
    shipped: bool


@dataclass(frozen=True)
class Start:
    """What a network starts from.

    Attributes:
        origin: `network`, the name of a trained one, and `styles`, which of its styles stands for each that is to be
            learnt; None: from nothing, the random weights that it was made with.
        text: the same in words, with the losses.
    """

    origin: Mapping[str, Any] | None
    text: str


def candidates(init: str, network: TransformNet) -> dict[str, Candidate]:
    """Return what a network may start from, by name.

    Args:
        init: `auto`: all networks that ship and are of its kind, which is its class and its arguments but for the
            number of styles; `none`: nothing; else a network's file or name.
        network: what is to be trained.

    Raises:
        CheckpointError: if there is no such file, or it is damaged or not one of ours.
        ConfigError: if it holds a network of another kind.
    """
    if init == "none":
        return {}
    shipped = networks()
    if init == "auto":
        read = {name: _read(path, shipped=True) for name, path in shipped.items()}
        return {name: candidate for name, candidate in read.items() if _kind(candidate.network) == _kind(network)}
    path = find(Path(init))
    candidate = _read(path, shipped=path in shipped.values())
    if _kind(candidate.network) != _kind(network):
        raise ConfigError(
            f"init must be a network of the kind that is to be trained, {_described(network)}, and {init} is "
            f"{_described(candidate.network)}; choose network and its settings alike, or init=auto"
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

    For several styles that is the one with the least sum of losses, where each style has the best of the candidate's.

    Args:
        network: is changed, unless it is nearer itself.
        trained: of the network's kind; may be none.
        loss: of the styles that are to be learnt. Measures on its own device.
        pictures: what the network will be trained on.
        cold: whether the network may stay as it is, where no candidate has a lower loss.
    """
    if not trained:
        return Start(None, f"from nothing: no network that ships is of this kind, {_described(network)}")
    some = _some(pictures).to(next(loss.encoder.parameters()).device)
    features = loss.content_features(some)
    before = float(_losses(network, network.styles, loss, some, features).diagonal().mean())
    measured = {
        name: _losses(candidate.network, network.styles, loss, some, features).min(dim=0)
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
    # Without its folder, which means nothing on another machine.
    return Start({"network": Path(name).name.removesuffix(".safetensors"), "styles": styles}, text)


def take(network: TransformNet, source: TransformNet, columns: list[int]) -> None:
    """Give a network the weights of another of its kind.

    Args:
        network: is changed.
        source: stays.
        columns: for each style of `network`, the one of `source` whose scales and shifts it gets.
    """
    # The styles stand where a network with one more of them is larger.
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
    """Return the total loss of each style of a network as each of the styles that are to be learnt."""
    # A copy, so that what is to be trained stays where it is; in training mode or not, it computes the same.
    network = deepcopy(network).to(pictures.device)
    rows = []
    for column in torch.eye(network.styles, device=pictures.device):
        output = network(pictures, column.expand(len(pictures), -1))
        # The loss network looks once, whatever the number of styles.
        seen = loss.stylization(pictures, output, column.expand(len(pictures), -1), features)
        for style in torch.eye(styles, device=pictures.device):
            judged = replace(seen, style=style.expand(len(pictures), -1))
            rows.append(loss.total({name: term(judged) for name, term in loss.terms.items()}))
    # What is not a number must not be the least.
    return torch.stack(rows).view(network.styles, styles).cpu().nan_to_num(nan=float("inf"), posinf=float("inf"))


def _some(pictures: TrainingImages) -> Images:
    """Return pictures from all over the first epoch, in [0, 1]."""
    count = min(PICTURES, len(pictures))
    return torch.stack([pictures[0, place * len(pictures) // count] for place in range(count)]) / 255


def _read(path: Path, *, shipped: bool) -> Candidate:
    network, metadata = load_network(path)
    return Candidate(network, tuple(metadata.styles), shipped)


def _kind(network: TransformNet) -> tuple[type, dict[str, int]]:
    return type(network), {name: value for name, value in network.arguments.items() if name != "styles"}


def _described(network: TransformNet) -> str:
    cls, arguments = _kind(network)
    return f"{cls.__name__}({', '.join(f'{name}={value}' for name, value in arguments.items())})"
