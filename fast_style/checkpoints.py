"""Trained networks on disk: safetensors, with everything one wants to know of them in the metadata."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from textwrap import shorten
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from fast_style import networks
from fast_style.errors import CheckpointError, ConfigError
from fast_style.files import written_whole
from fast_style.networks import TransformNet

#: Raised when a file of this version can no longer be read by older programs.
FORMAT = 1
KEY = "fast_style"


@dataclass(frozen=True)
class Metadata:
    """What a network file says of itself.

    Attributes:
        styles: the credit (artist, work, year, note) of each style by name, in the order of the style weights.
        config: the configuration it was trained with, plain values.
        losses: what was measured on held-out pictures, by name.
    """

    styles: Mapping[str, Mapping[str, str | int | None]]
    config: Mapping[str, Any] = field(default_factory=dict)
    losses: Mapping[str, float] = field(default_factory=dict)


def save_network(path: Path, network: TransformNet, metadata: Metadata) -> None:
    """Write a network, whole or not at all: an older file of that name stays until the new one is complete.

    Raises:
        CheckpointError: if the file cannot be written.
    """
    if len(metadata.styles) != network.styles:
        raise ValueError(f"{len(metadata.styles)} styles described, {network.styles} in the network")
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
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
    data = _read(path)
    description = _description(path, data)
    try:
        tensors = load(data)
    except SafetensorError as error:
        raise CheckpointError(f"{path}: damaged or cut short ({error}); copy or train it again") from None
    try:
        if description["format"] > FORMAT:
            raise CheckpointError(
                f"{path}: format {description['format']}, and this fast_style reads up to {FORMAT}; upgrade fast_style"
            )
        if description["sha256"] != _digest(tensors):
            raise CheckpointError(
                f"{path}: its weights are not those that were saved (SHA-256 differs); copy or train it again"
            )
        network = _network(path, description["network"], tensors)
        styles = {style.pop("name"): style for style in description["styles"]}
        if not all(isinstance(name, str) for name in styles):
            raise TypeError("the name of a style is not text")
        metadata = Metadata(styles, dict(description["config"]), dict(description["losses"]))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{path}: its metadata is incomplete or malformed ({error!r})") from None
    if len(styles) != network.styles:
        raise CheckpointError(f"{path}: its metadata names {len(styles)} styles, its network has {network.styles}")
    return network, metadata


def _read(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file") from None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from None
    if not data:
        raise CheckpointError(f"{path}: the file is empty; copy or train it again")
    return data


def _description(path: Path, data: bytes) -> dict[str, Any]:
    """Return our part of a safetensors header (eight bytes of length, then JSON)."""
    length = int.from_bytes(data[:8], "little")
    try:
        header = json.loads(data[8 : 8 + length]) if 0 < length <= len(data) - 8 else None
    except (ValueError, RecursionError):
        header = None
    # Only now: a safetensors file may begin with the same bytes, as the length of its header.
    if header is None and data[:2] in (b"PK", b"\x80\2", b"\x80\3", b"\x80\4", b"\x80\5"):
        raise CheckpointError(
            f"{path}: a pickled file, which could run code when loaded; give the .safetensors that train.py wrote"
        )
    if not isinstance(header, dict):
        raise CheckpointError(f"{path}: damaged, or not a safetensors file; give the one that train.py wrote")
    metadata = header.get("__metadata__")
    text = metadata.get(KEY) if isinstance(metadata, dict) else None
    if not isinstance(text, str):
        raise CheckpointError(f"{path}: a safetensors file, but not a network of fast_style")
    try:
        description = json.loads(text)
    except (ValueError, RecursionError):
        description = None
    if not isinstance(description, dict):
        raise CheckpointError(f"{path}: its metadata is not readable; copy or train it again")
    return description


def _network(path: Path, description: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> TransformNet:
    cls = getattr(networks, str(description["class"]), None)
    if not (isinstance(cls, type) and issubclass(cls, TransformNet) and cls is not TransformNet):
        raise CheckpointError(f"{path}: its network, {description['class']!r}, is unknown here; upgrade fast_style")
    try:
        # On the meta device nothing is allocated, whatever sizes the file claims.
        with torch.device("meta"):
            network = cls(**description["arguments"])
        network.load_state_dict(tensors, assign=True)
    except (ConfigError, RuntimeError, TypeError) as error:
        # It may name every tensor of a large network.
        reason = shorten(str(error).splitlines()[-1], 300, placeholder=" ...")
        raise CheckpointError(f"{path}: its weights do not fit {description['class']} ({reason})") from None
    # What it is given to stylise is float32, whatever a program that is not ours may have written.
    return network.float().requires_grad_(False).eval()


def _digest(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
