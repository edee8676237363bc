"""Trained networks to files and back."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from textwrap import shorten
from typing import TypeGuard

import torch
from safetensors.torch import load, save
from torch import Tensor

from fast_style import networks
from fast_style.errors import CheckpointError, ConfigError
from fast_style.networks import TransformNet
from fast_style.system.files import written_whole
from fast_style.zoo.network_file import FORMAT, KEY, Metadata, NetworkFile, digest, read_network_file, require_styles

__all__ = ["Metadata", "build_network", "load_network", "save_network"]


def save_network(
    path: Path, network: TransformNet, metadata: Metadata, dtype: torch.dtype | None = None, *, from_size: int = 0
) -> None:
    """Write a network, whole or not at all: an older file of that name stays until the new one is complete.

    Args:
        path: the file.
        network: the network.
        metadata: what the file is to say of it.
        dtype: what the weights are stored in, such as float16 for a file of half the size; nothing: what they are in.
            A network that is loaded has float32 in any case.
        from_size: the least numbers of a tensor that is to be stored so; smaller ones stay as they are.

    Raises:
        CheckpointError: if the file cannot be written, or a weight is not finite in `dtype`.
    """
    if len(metadata.styles) != network.styles:
        raise ValueError(f"{len(metadata.styles)} styles described, {network.styles} in the network")
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    if dtype is not None:
        large = {name: tensor for name, tensor in tensors.items() if tensor.numel() >= from_size}
        tensors |= {name: _narrowed(path, name, tensor, dtype) for name, tensor in large.items()}
    description = {
        "format": FORMAT,
        "network": {"class": type(network).__name__, "arguments": network.arguments},
        "sha256": _digest(tensors),
        # A list: JSON readers may reorder an object, and the order is that of the weights.
        "styles": [{"name": name, **credit} for name, credit in metadata.styles.items()],
        **{key: value for key, value in asdict(metadata).items() if key != "styles"},
    }
    data = save(tensors, {KEY: json.dumps(description)})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(path) as file:
            file.write(data)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be written ({error.strerror})") from error


def load_network(path: Path) -> tuple[TransformNet, Metadata]:
    """Read a network. No code in the file is ever run: its class must be one of `fast_style.networks`.

    Raises:
        CheckpointError: if the file is missing, damaged, changed since it was written, or not one of ours.
    """
    file = read_network_file(path)
    return build_network(file), file.metadata


def build_network(file: NetworkFile) -> TransformNet:
    """Make the network that a file describes.

    Raises:
        CheckpointError: if it is none of `fast_style.networks`, or the file does not fit it.
    """
    path = file.path
    try:
        name, arguments = file.network["class"], file.network["arguments"]
    except KeyError as error:
        raise CheckpointError(f"{path}: its metadata is incomplete or malformed ({error!r})") from None
    cls = getattr(networks, str(name), None)
    if not _is_network(cls):
        raise CheckpointError(f"{path}: its network, {name!r}, is unknown here; upgrade fast_style")
    try:
        # On the meta device nothing is allocated, whatever sizes the file claims.
        with torch.device("meta"):
            network = cls(**arguments)
        network.load_state_dict(load(file.data), assign=True)
    except (ConfigError, RuntimeError, TypeError, KeyError) as error:
        # It may name every tensor of a large network.
        reason = shorten(str(error).splitlines()[-1], 300, placeholder=" ...")
        raise CheckpointError(f"{path}: its weights do not fit {name} ({reason})") from None
    require_styles(file, network.styles)
    # What it is given to stylize is float32, whatever a program that is not ours may have written.
    return network.float().requires_grad_(False).eval()


def require_loadable(network: object) -> None:
    """Make sure, before a training and not after it, that what is saved of a network can be loaded.

    Raises:
        ConfigError: if its class is none that `build_network` makes.
    """
    cls = type(network)
    if not isinstance(network, TransformNet) or getattr(networks, cls.__name__, None) is not cls:
        known = [name for name in networks.__all__ if _is_network(getattr(networks, name))]
        raise ConfigError(
            f"network must be of a class that fast_style.networks exports ({', '.join(known)}), for a network "
            f"file is loaded into nothing else; {cls.__module__}.{cls.__qualname__} is none: move it to "
            "fast_style/networks/ and add it to __init__.py there"
        )


def _is_network(cls: object) -> TypeGuard[type[TransformNet]]:
    return isinstance(cls, type) and issubclass(cls, TransformNet) and cls is not TransformNet


def _narrowed(path: Path, name: str, tensor: Tensor, dtype: torch.dtype) -> Tensor:
    stored = tensor.to(dtype)
    if not stored.isfinite().all():
        kind, largest = str(dtype).removeprefix("torch."), torch.finfo(dtype).max
        raise CheckpointError(
            f"{path}: not written, because {name} has {tensor.abs().max():g}, and {kind} ends at {largest:g}; "
            "store it as it is"
        )
    return stored


def _digest(tensors: Mapping[str, Tensor]) -> str:
    return digest(
        (
            name,
            str(tensor.dtype).removeprefix("torch."),
            tuple(tensor.shape),
            tensor.flatten().view(torch.uint8).numpy().tobytes(),
        )
        for name, tensor in tensors.items()
    )
