"""Networks as ONNX."""

import io
from pathlib import Path

import onnx
import pytest
import torch
from small_messages import raises
from small_networks import varied

from fast_style.backends import export
from fast_style.errors import CheckpointError
from fast_style.networks import ConditionalInstanceNorm, LightNet
from fast_style.zoo.network_file import read_network_file
from fast_style.zoo.saving import Metadata, save_network

# torch's own, about names of axes; and the shapes that are checked in tests would be taken for fixed ones.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*axis name.*:UserWarning"),
    pytest.mark.usefixtures("unchecked_shapes"),
]


def test_an_exported_network_is_told_from_another() -> None:
    torch.manual_seed(0)
    network, other = (varied(LightNet(styles=2, width=4, blocks=1)) for _ in range(2))
    model = export.to_onnx(network)
    for backend in ("onnx", "openvino"):
        assert export.distance(network, model, backend) < 0.1
        assert export.distance(other, model, backend) > export.TOLERANCE
    graph = onnx.load(io.BytesIO(model)).graph
    assert [value.name for value in (*graph.input, *graph.output)] == ["images", "style", "stylized"]
    # One node for each norm: a reshape around it would cost as much as a convolution.
    norms = sum(isinstance(module, ConditionalInstanceNorm) for module in network.modules())
    assert sum(node.op_type == "InstanceNormalization" for node in graph.node) == norms


@pytest.mark.parametrize("difference", [0.6, float("inf"), float("nan")])
def test_what_gives_another_picture_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, difference: float
) -> None:
    save_network(tmp_path / "net.safetensors", LightNet(styles=1, width=4, blocks=1), Metadata({"waves": {}}))
    monkeypatch.setattr(export, "to_onnx", lambda network, metadata: b"model")
    monkeypatch.setattr(export, "distance", lambda network, model, backend: difference)
    with raises(CheckpointError, "net.safetensors backend=onnx picture") as error:
        export.export(read_network_file(tmp_path / "net.safetensors"), "onnx")
    assert "\n" not in str(error.value)
