"""Reader of network files: safetensors with metadata, verified.

Needs no torch, so that runtimes without it can verify files as well.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from safetensors import SafetensorError, deserialize

from fast_style.errors import CheckpointError

#: Incremented when older programs can no longer read the files.
FORMAT = 1
KEY = "fast_style"

#: A stored tensor: name, dtype in torch's words, shape, bytes.
Stored: TypeAlias = tuple[str, str, tuple[int, ...], bytes | bytearray]

# Digests use torch's names of dtypes, as in the first files.
_TYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "BOOL": "bool", "C64": "complex64"}
_TYPES |= {"F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2"}
_TYPES |= {f"{kind}{bits}": f"{name}{bits}" for kind, name in (("I", "int"), ("U", "uint")) for bits in (8, 16, 32, 64)}


@dataclass(frozen=True)
class Metadata:
    """The metadata of a network file."""

    #: Credit (artist, work, year, note) of each style by name, in the order of the style weights.
    styles: Mapping[str, Mapping[str, str | int | None]]
    config: Mapping[str, Any] = field(default_factory=dict)  # of the training, plain values
    losses: Mapping[str, float] = field(default_factory=dict)  # on held-out images, by name


@dataclass(frozen=True)
class NetworkFile:
    """A verified network file: its weights are those that were saved."""

    path: Path  # for messages
    data: bytes  # the whole file
    network: Mapping[str, Any]  # name of the class and its arguments, neither checked yet
    sha256: str  # hexadecimal digest of the weights
    metadata: Metadata


def read_network_file(path: Path) -> NetworkFile:
    """Read a network file and verify it.

    Raises:
        CheckpointError: if the file is missing, damaged, changed since it was written, or not ours.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file; check the path, or give a name of fast_style.list()") from None
    except OSError as error:
        if path.is_dir():
            inside = sorted(path.glob("*.safetensors"))
            example = f", such as {inside[0]}" if inside else ""
            raise CheckpointError(
                f"{path}: is a folder; give the .safetensors file of a network{example}, or the name of one in "
                "checkpoints/ or of one that ships"
            ) from None
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from None
    return parse_network_file(path, data)


def parse_network_file(path: Path, data: bytes) -> NetworkFile:
    """Verify the bytes of a network file; `path` is its name in messages.

    Raises:
        CheckpointError: if they are damaged, changed since they were written, or not a network file of ours.
    """
    if not data:
        raise CheckpointError(f"{path}: the file is empty; copy or train it again")
    if path.suffix.lower() == ".onnx":
        raise CheckpointError(f"{path}: ONNX is for other programs; give the .safetensors file that it was made of")
    description = _description(path, data)
    try:
        tensors = deserialize(data)  # type: ignore[no-untyped-call]
    except SafetensorError as error:
        raise CheckpointError(f"{path}: damaged or cut short ({error}); copy or train it again") from None
    try:
        if description["format"] > FORMAT:
            raise CheckpointError(
                f"{path}: format {description['format']}, and this fast_style reads up to {FORMAT}; upgrade fast_style"
            )
        if description["sha256"] != digest(
            (name, _TYPES.get(tensor["dtype"], tensor["dtype"]), tuple(tensor["shape"]), tensor["data"])
            for name, tensor in tensors
        ):
            raise CheckpointError(
                f"{path}: its weights are not those that were saved (SHA-256 differs); copy or train it again"
            )
        network = dict(description["network"])
        styles = {style.pop("name"): style for style in description["styles"]}
        if not all(isinstance(name, str) for name in styles):
            raise TypeError("the name of a style is not text")
        metadata = Metadata(styles, dict(description["config"]), dict(description["losses"]))
        return NetworkFile(path, data, network, description["sha256"], metadata)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{path}: its metadata is incomplete or malformed ({error!r})") from None


def require_styles(file: NetworkFile, styles: object) -> None:
    """Check that a file names as many styles as its network has.

    Raises:
        CheckpointError: if it does not.
    """
    named = len(file.metadata.styles)
    if named != styles:
        raise CheckpointError(f"{file.path}: its metadata names {named} styles, its network has {styles}")


def digest(tensors: Iterable[Stored]) -> str:
    """Return the SHA-256 of tensors, independent of their order."""
    hasher = hashlib.sha256()
    for name, kind, shape, data in sorted(tensors, key=lambda tensor: tensor[0]):
        hasher.update(f"{name} torch.{kind} {shape}\n".encode())
        hasher.update(data)
    return hasher.hexdigest()


def _description(path: Path, data: bytes) -> dict[str, Any]:
    """Parse our part of a safetensors header (8 bytes of length, then JSON)."""
    length = int.from_bytes(data[:8], "little")
    try:
        header = json.loads(data[8 : 8 + length]) if 0 < length <= len(data) - 8 else None
    except (ValueError, RecursionError):
        header = None
    # Checked last: the length at the start of a safetensors file may equal these bytes.
    if header is None and data[:2] in (b"PK", b"\x80\2", b"\x80\3", b"\x80\4", b"\x80\5"):
        raise CheckpointError(
            f"{path}: a pickled file, which could run code when loaded; give the .safetensors that training wrote"
        )
    if not isinstance(header, dict):
        raise CheckpointError(f"{path}: damaged, or not a safetensors file; give the one that training wrote")
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
