"""Writes trained networks to files and loads them."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from textwrap import shorten

import torch
from safetensors.torch import load, save
from torch import Tensor

from fast_style.errors import CheckpointError, ConfigError
from fast_style.networks import TransformNet
from fast_style.networks.registry import known_networks, network_class
from fast_style.system.files import atomic_write
from fast_style.system.plugins import NETWORKS
from fast_style.zoo.network_file import FORMAT, KEY, Metadata, NetworkFile, digest, read_network_file, require_styles

__all__ = ["Metadata", "build_network", "load_network", "save_network"]


def save_network(
    path: Path, network: TransformNet, metadata: Metadata, dtype: torch.dtype | None = None, *, from_size: int = 0
) -> None:
    """Write a network atomically: an existing file stays until the new one is complete.

    Args:
        path: the file.
        network: the network.
        metadata: the metadata of the file.
        dtype: dtype of the stored weights, such as float16 for half the size; by default that of the network.
            A loaded network is in float32 in any case.
        from_size: minimum number of elements of a tensor that is converted to `dtype`.

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
        # A list: JSON readers may reorder an object, but the order is that of the weights.
        "styles": [{"name": name, **credit} for name, credit in metadata.styles.items()],
        **{key: value for key, value in asdict(metadata).items() if key != "styles"},
    }
    data = save(tensors, {KEY: json.dumps(description)})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as file:
            file.write(data)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be written ({error.strerror})") from error


def load_network(path: Path) -> tuple[TransformNet, Metadata]:
    """Load a network. No code in the file is ever run: its class must be one that `network_class` knows.

    Raises:
        CheckpointError: if the file is missing, damaged, changed since it was written, or not ours.
    """
    file = read_network_file(path)
    return build_network(file), file.metadata


def build_network(file: NetworkFile) -> TransformNet:
    """Build the network that a file describes.

    Raises:
        CheckpointError: if `network_class` does not know its class, or the weights do not fit.
        ConfigError: if a package of the user cannot be imported.
    """
    path = file.path
    try:
        name, arguments = file.network["class"], file.network["arguments"]
    except KeyError as error:
        raise CheckpointError(f"{path}: its metadata is incomplete or malformed ({error!r})") from None
    cls = network_class(name) if isinstance(name, str) else None
    if cls is None:
        raise CheckpointError(
            f"{path}: its network, {name!r}, is unknown here; upgrade fast_style, or, if it is of another package, "
            "install that or name it by plugins=..., in Python by network=..."
        )
    try:
        # The meta device allocates nothing, whatever sizes the file claims.
        with torch.device("meta"):
            network = cls(**{**cls.added_arguments, **arguments})
        network.load_state_dict(load(file.data), assign=True)
    except (ConfigError, RuntimeError, TypeError, KeyError) as error:
        # The message may name every tensor of a large network.
        reason = shorten(str(error).splitlines()[-1], 300, placeholder=" ...")
        raise CheckpointError(f"{path}: its weights do not fit {name} ({reason})") from None
    require_styles(file, network.styles)
    # Inputs are float32, whatever dtype another program may have stored.
    return network.float().requires_grad_(False).eval()


def require_loadable(network: object) -> None:
    """Check, before a training, that the saved network can be loaded.

    Raises:
        ConfigError: if `build_network` does not know its class.
    """
    cls = type(network)
    if not isinstance(network, TransformNet) or network_class(cls.__name__) is not cls:
        place = f"{cls.__module__}:{cls.__qualname__}"
        raise ConfigError(
            "network must be a subclass of TransformNet that its file can be loaded into: of fast_style.networks "
            f"({', '.join(known_networks())}), of a module that plugins=... names, or of an installed package with the "
            f'entry point {NETWORKS}: {cls.__name__} = "{place}"; {place} is none'
        )


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
