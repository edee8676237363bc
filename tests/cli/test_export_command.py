"""fast-style export: a network for other programs, whole or not at all."""

import json
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from small_messages import raises
from small_networks import varied

import fast_style
from fast_style import cli
from fast_style.backends import export as converter
from fast_style.errors import CheckpointError
from fast_style.networks import LightNet
from fast_style.zoo.saving import Metadata, save_network

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*axis name.*:UserWarning"),
    pytest.mark.usefixtures("unchecked_shapes"),
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a network of two styles in it, where one works."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli, "_word", "")
    torch.manual_seed(0)
    network = varied(LightNet(styles=2, width=8, blocks=1))
    save_network(tmp_path / "net.safetensors", network, Metadata({"waves": {"year": 1831}, "stars": {}}))
    return tmp_path


def export(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["fast-style", "export", *arguments])
    cli.main()


def test_another_program_gets_the_same_pictures_and_the_names(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    export(monkeypatch, "net.safetensors")
    assert capsys.readouterr().out.startswith("net.onnx: ")
    model = onnx.load(folder / "net.onnx")
    onnx.checker.check_model(model)
    said = {each.key: each.value for each in model.metadata_props}
    assert json.loads(said["styles"]) == ["waves", "stars"]
    assert json.loads(said["credits"]) == {"waves": {"year": 1831}, "stars": {}}
    session = onnxruntime.InferenceSession(folder / "net.onnx", providers=["CPUExecutionProvider"])
    images = np.random.default_rng(0).random((2, 3, 45, 61), np.float32)
    (found,) = session.run(None, {"images": images, "style": np.array([[0, 1]] * 2, np.float32)})
    expected = fast_style.load("net.safetensors", "cpu", "torch", "fp32")(images.transpose(0, 2, 3, 1), "stars")
    assert np.abs(found.transpose(0, 2, 3, 1).clip(0, 1) - expected).max() < 1e-3


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        (("output=there.onnx",), "there.onnx exists overwrite=true"),
        (("output=net.pb",), "output .onnx net.onnx net.pb"),
        (("output=/proc/net.onnx",), "output written /proc/"),
        (("format=coreml",), "format onnx 'coreml'"),
    ],
)
def test_what_cannot_be_written_is_told_first(
    folder: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], answer: str
) -> None:
    (folder / "there.onnx").write_text("mine")
    monkeypatch.setattr(converter, "export", lambda *_: pytest.fail("too late"))
    with raises(SystemExit, f"fast-style export {answer}"):
        export(monkeypatch, "net.safetensors", *arguments)
    assert (folder / "there.onnx").read_text() == "mine"


def test_a_failure_leaves_what_was_there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> bytes:
        raise CheckpointError("net: cannot be converted")

    (folder / "there.onnx").write_text("mine")
    monkeypatch.setattr(converter, "export", fail)
    with raises(SystemExit, "fast-style export net converted"):
        export(monkeypatch, "net.safetensors", "output=there.onnx", "overwrite=true")
    assert {path.name for path in folder.iterdir()} == {"net.safetensors", "there.onnx"}
    assert (folder / "there.onnx").read_text() == "mine"
