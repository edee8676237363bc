"""ONNX export, for runtimes without torch: python -m fast_style.backends.export BACKEND NAME OUTPUT < FILE."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch.export import Dim

from fast_style.backends import load_model
from fast_style.backends.automatic import BYTES_PER_PIXEL
from fast_style.backends.backend import SMALLEST
from fast_style.backends.onnx_cache import REFUSED
from fast_style.backends.pytorch import TorchBackend
from fast_style.errors import CheckpointError, FastStyleError
from fast_style.networks import TransformNet
from fast_style.zoo.network_file import NetworkFile, parse_network_file
from fast_style.zoo.saving import build_network

#: The lowest opset with the operators of the networks, for the widest support.
OPSET = 18
#: Maximum difference from the original, in levels of 255, that is lost in rounding anyway.
TOLERANCE = 0.5


def export(file: NetworkFile, backend: str) -> bytes:
    """Export the network in a file as ONNX, for batches and images of any size.

    Inputs: `images`, float32 of (batch, 3, height, width) in [0, 1], each side at least SMALLEST, and `style`, float32
    of (batch, styles). Output: `stylized`, like `images`.

    Raises:
        CheckpointError: if the file does not hold a network of ours, or the result of `backend` differs from it.
    """
    metadata = {
        "styles": json.dumps(list(file.metadata.styles)),  # in the order of their weights
        "credits": json.dumps(file.metadata.styles),
        "network": str(file.network.get("class")),
        "sha256": file.sha256,
        BYTES_PER_PIXEL: f"{TorchBackend(build_network(file), 'cpu', 'fp32').bytes_per_pixel():.0f}",
    }
    network = build_network(file)
    model = to_onnx(network, metadata)
    difference = distance(network, model, backend)
    if not difference <= TOLERANCE:
        raise CheckpointError(
            f"{file.path}: backend={backend} gives another picture, up to {difference:.1f} levels of 255 apart; "
            "use backend=torch"
        )
    return model


def to_onnx(network: TransformNet, metadata: Mapping[str, str] = MappingProxyType({})) -> bytes:
    """Export a network as ONNX, with metadata."""
    batch = Dim("batch")
    sizes = {0: batch, 2: Dim("height", min=SMALLEST), 3: Dim("width", min=SMALLEST)}
    program: Any = torch.onnx.export(
        network,
        (torch.rand(2, 3, 64, 72), torch.full((2, network.styles), 1 / network.styles)),
        input_names=["images", "style"],
        output_names=["stylized"],
        dynamic_shapes=(sizes, {0: batch}),
        dynamo=True,
        opset_version=OPSET,
        custom_translation_table={torch.ops.aten.group_norm.default: _group_norm},
        verbose=False,
    )
    proto = program.model_proto
    for key, value in metadata.items():
        proto.metadata_props.add(key=key, value=value)
    model: bytes = proto.SerializeToString()
    return model


@torch.no_grad()
def distance(network: TransformNet, model: bytes, backend: str) -> float:
    """Maximum difference of an exported network in a backend from the original, in levels of 255."""
    generator = torch.Generator().manual_seed(0)
    run = load_model(backend, model, "fp32")
    differences = []
    for shape in ((1, 3, SMALLEST + 1, 47), (2, 3, 101, 77)):
        images = torch.rand(shape, generator=generator)
        style = torch.rand(shape[0], network.styles, generator=generator)
        style /= style.sum(dim=1, keepdim=True)
        expected = network(images, style).numpy()
        differences.append(float(np.abs(run(images.numpy(), style.numpy()) - expected).max()))
    # Python's max does not propagate NaN.
    return float("inf") if np.isnan(differences).any() else 255 * max(differences)


def _group_norm(
    input: Any,
    num_groups: int,
    weight: Any = None,
    bias: Any = None,
    eps: float = 1e-5,
    cudnn_enabled: bool = True,
) -> Any:
    """Translate a group norm with one channel per group, as in our networks, to InstanceNormalization.

    torch's own translation adds reshapes, at which runtimes change the memory layout each time, at up to twice the cost
    of the whole network.
    """
    from onnxscript import ir
    from onnxscript import opset18 as op

    channels = input.shape[1]
    if channels != num_groups:
        raise NotImplementedError(f"group_norm of {num_groups} groups of {channels} channels")
    ones: Any = ir.tensor(np.ones(channels, np.float32))
    zeros: Any = ir.tensor(np.zeros(channels, np.float32))
    scale = op.Constant(value=ones) if weight is None else weight
    shift = op.Constant(value=zeros) if bias is None else bias
    return op.InstanceNormalization(input, scale, shift, epsilon=eps)


def main(backend: str, name: str, output: str) -> None:
    """Convert the network file on standard input; `name` is its name in messages."""
    try:
        model = export(parse_network_file(Path(name), sys.stdin.buffer.read()), backend)
    except FastStyleError as error:
        print(error, file=sys.stderr)
        sys.exit(REFUSED)
    Path(output).write_bytes(model)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(
            "usage: python -m fast_style.backends.export BACKEND NAME OUTPUT.onnx < FILE.safetensors (onnx or openvino)"
        )
    main(*sys.argv[1:])
