"""Trained networks on disk."""

import errno
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load, save, save_file
from small_messages import assert_names, raises

from fast_style.backends import export
from fast_style.errors import CheckpointError
from fast_style.networks import BalancedNet, LightNet, ResidualNet, TransformNet
from fast_style.zoo.network_file import FORMAT, KEY, read_network_file
from fast_style.zoo.saving import Metadata, load_network, save_network

METADATA = Metadata(
    styles={
        "waves": {"artist": "Hokusai", "work": "The Great Wave", "year": 1831, "note": ""},
        "stars": {"artist": "van Gogh", "work": "De sterrennacht — “nuit”", "year": None, "note": "cropped"},
    },
    config={"network": {"width": 4}, "loss": ["content", "style"], "lr": 0.001, "name": None},
    losses={"content": 0.5, "style": 1.25},
)


@pytest.fixture(params=[LightNet, BalancedNet, ResidualNet])
def network(request: pytest.FixtureRequest) -> TransformNet:
    torch.manual_seed(0)
    network: TransformNet = request.param(styles=2, width=4, blocks=1)
    return network.eval()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The file of a small trained network."""
    path = tmp_path / "net.safetensors"
    save_network(path, LightNet(styles=2, width=4, blocks=1), METADATA)
    return path


def message(path: Path) -> str:
    """Return the error that the file meets with."""
    with pytest.raises(CheckpointError) as error:
        load_network(path)
    text = str(error.value)
    assert text.startswith(f"{path}: ")
    assert "\n" not in text
    return text.removeprefix(f"{path}: ")


def rewrite(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the description in a network file, its weights left alone."""
    data = path.read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    description = json.loads(header["__metadata__"][KEY])
    change(description)
    path.write_bytes(save(load(data), {KEY: json.dumps(description)}))


def test_a_network_comes_back_as_it_was(tmp_path: Path, network: TransformNet) -> None:
    path = tmp_path / "folder" / "that is new" / "net.safetensors"
    save_network(path, network, METADATA)
    loaded, metadata = load_network(path)
    assert type(loaded) is type(network)
    assert loaded.arguments == network.arguments
    assert metadata == METADATA
    assert list(metadata.styles) == ["waves", "stars"]
    images, style = torch.rand(2, 3, 33, 47), torch.tensor([[1.0, 0.0], [0.3, 0.7]])
    assert torch.equal(loaded(images, style), network(images, style))
    assert not loaded.training
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    assert [file.name for file in path.parent.iterdir()] == ["net.safetensors"]


def test_anyone_may_read_the_file(path: Path) -> None:
    assert path.stat().st_mode & 0o777 == 0o644


def test_the_file_is_plain_safetensors(path: Path) -> None:
    expected = LightNet(styles=2, width=4, blocks=1).state_dict()
    assert {name: tensor.shape for name, tensor in load(path.read_bytes()).items()} == {
        name: tensor.shape for name, tensor in expected.items()
    }


def test_half_precision_halves_the_file_and_is_read_as_float32(tmp_path: Path, network: TransformNet) -> None:
    path = tmp_path / "net.safetensors"
    save_network(path, network, METADATA, torch.float16)
    stored = load(path.read_bytes())
    assert {tensor.dtype for tensor in stored.values()} == {torch.float16}
    loaded, metadata = load_network(path)
    assert metadata == METADATA
    for name, weight in network.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], weight.half().float())
    # What is in memory stays as it was.
    assert {weight.dtype for weight in network.state_dict().values()} == {torch.float32}


def test_small_tensors_can_stay_as_they_are(tmp_path: Path, network: TransformNet) -> None:
    path = tmp_path / "net.safetensors"
    save_network(path, network, METADATA, torch.float16, from_size=100)
    for name, tensor in load(path.read_bytes()).items():
        assert tensor.dtype == (torch.float32 if tensor.numel() < 100 else torch.float16), name


@pytest.mark.parametrize("value", [65_520.0, float("inf"), float("nan")])
def test_what_half_precision_cannot_hold_is_an_error_and_the_old_file_stays(path: Path, value: float) -> None:
    before = path.read_bytes()
    network = LightNet(styles=2, width=4, blocks=1)
    name, weight = next(iter(network.named_parameters()))
    weight.data.view(-1)[0] = value
    with raises(CheckpointError, f"{path} written {name} {value:g} float16 65504"):
        save_network(path, network, METADATA, torch.float16)
    assert path.read_bytes() == before


def test_what_is_converted_for_other_runtimes_is_float32_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "net.safetensors"
    save_network(path, LightNet(styles=2, width=4, blocks=1), METADATA, torch.float16)
    converted: list[TransformNet] = []
    monkeypatch.setattr(export, "to_onnx", lambda network, metadata: converted.append(network))
    monkeypatch.setattr(export, "distance", lambda *_: 0.0)
    export.export(read_network_file(path), "onnx")
    assert {weight.dtype for weight in converted[0].state_dict().values()} == {torch.float32}


def test_an_older_file_is_replaced(path: Path) -> None:
    save_network(path, LightNet(styles=1, width=8, blocks=1), Metadata({"stars": {}}))
    network, metadata = load_network(path)
    assert network.arguments["width"] == 8
    assert list(metadata.styles) == ["stars"]


@pytest.mark.parametrize("fails", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    path: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(*{"fsync": (os, "fsync", full), "replace": (os, "replace", full)}[fails])
    with raises(CheckpointError, f"{path} written No space left on device"):
        save_network(path, LightNet(styles=2, width=8, blocks=1), METADATA)
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = path.read_bytes()

    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        save_network(path, LightNet(styles=2, width=8, blocks=1), METADATA)
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_folder_that_cannot_be_made_is_reported(path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"cannot be written \((Not a directory|File exists)\)$"):
        save_network(path / "below" / "net.safetensors", LightNet(styles=2, width=4, blocks=1), METADATA)


def test_styles_must_be_described_as_many_as_there_are(path: Path) -> None:
    with raises(ValueError, "2 styles 3"):
        save_network(path, LightNet(styles=3, width=4, blocks=1), METADATA)


def test_any_changed_byte_of_the_weights_is_noticed(path: Path) -> None:
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    for position in (start, (start + len(data)) // 2, len(data) - 1):
        path.write_bytes(data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :])
        assert_names(message(path), "weights SHA-256")


def test_a_file_cut_short_anywhere_is_reported(path: Path) -> None:
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    lengths = [*range(1, 64), *range(64, start, 97), *range(start - 2, start + 3), *range(start, len(data), 4099)]
    for length in [*lengths, len(data) - 1]:
        path.write_bytes(data[:length])
        assert message(path).startswith("damaged")
    path.write_bytes(data + b"more")
    assert message(path).startswith("damaged")


def test_a_file_with_nothing_in_it_is_reported(path: Path) -> None:
    path.write_bytes(b"")
    assert_names(message(path), "empty")


def test_a_missing_file_is_reported(tmp_path: Path) -> None:
    assert message(tmp_path / "none.safetensors").startswith("no such file; ")


def test_a_folder_is_reported(tmp_path: Path) -> None:
    assert_names(message(tmp_path), "folder .safetensors")


@pytest.mark.parametrize("data", [b"<!DOCTYPE html>", b"\xff" * 100, b"\x00" * 100, (2).to_bytes(8, "little") + b"[]"])
def test_a_file_of_another_kind_is_reported(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    assert_names(message(path), "damaged safetensors")


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}])
def test_a_foreign_safetensors_file_is_reported(path: Path, metadata: dict[str, str] | None) -> None:
    save_file({"weight": torch.zeros(3)}, path, metadata)
    assert_names(message(path), "safetensors network fast_style")


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "null", "[" * 100_000])
def test_a_description_that_is_none_is_reported(path: Path, text: str) -> None:
    save_file({"weight": torch.zeros(3)}, path, {KEY: text})
    assert_names(message(path), "metadata readable")


class Malicious:
    """Pickled, it makes a file when it is loaded."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.trace,)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5, "torch"])
def test_a_pickle_is_refused_and_not_run(tmp_path: Path, protocol: int | str) -> None:
    path, trace = tmp_path / "last.ckpt", tmp_path / "executed"
    if isinstance(protocol, int):
        path.write_bytes(pickle.dumps({"state_dict": Malicious(trace)}, protocol))
    else:
        torch.save({"state_dict": Malicious(trace)}, path)
    assert_names(message(path), "pickled .safetensors")
    assert not trace.exists()


@pytest.mark.parametrize("start", [b"PK", bytes([0x80, 4, 1])])
def test_a_network_that_begins_like_a_pickle_is_read(path: Path, start: bytes) -> None:
    length = int.from_bytes(start, "little")  # A network file begins with the length of its header.
    missing = length - int.from_bytes(path.read_bytes()[:8], "little")
    rewrite(path, lambda description: description["config"].update(notes="x" * (missing - len(', "notes": ""') - 4)))
    assert path.read_bytes()[:8] == start.ljust(8, bytes(1))
    assert list(load_network(path)[1].styles) == ["waves", "stars"]


def test_a_newer_format_asks_for_an_upgrade(path: Path) -> None:
    rewrite(path, lambda description: description.update(format=FORMAT + 1))
    assert_names(message(path), f"format {FORMAT + 1} {FORMAT} upgrade")


@pytest.mark.parametrize(
    "name", ["HeavyNet", "ConditionalInstanceNorm", "TransformNet", "layers", "__name__", "os.system", "", None, 3]
)
def test_only_a_network_of_ours_is_made(path: Path, name: object) -> None:
    rewrite(path, lambda description: description["network"].update({"class": name}))
    assert_names(message(path), f"network {name!r} unknown")


def test_a_network_from_before_an_argument_is_what_it_was(path: Path) -> None:
    network = BalancedNet(styles=2, width=4, blocks=3, dilation=1).eval()
    save_network(path, network, METADATA)
    rewrite(path, lambda description: description["network"]["arguments"].pop("dilation"))
    loaded, _ = load_network(path)
    assert loaded.arguments == network.arguments
    images, style = torch.rand(1, 3, 32, 32), torch.tensor([[0.5, 0.5]])
    assert torch.equal(loaded(images, style), network(images, style))


@pytest.mark.parametrize(
    "arguments",
    [
        {"styles": 2, "width": 10**9, "blocks": 1},
        {"styles": 2, "width": 4096, "blocks": 1},
        {"styles": 2, "width": -4, "blocks": 1},
        {"styles": 2, "width": "4", "blocks": 1},
        {"styles": 2, "width": 4.0, "blocks": 1},
        {"styles": 2, "width": 4, "blocks": 2},
        {"styles": 2, "width": 4, "blocks": 1, "depth": 3},
        {},
        [],
        None,
    ],
)
def test_absurd_arguments_are_refused_without_asking_for_memory(path: Path, arguments: object) -> None:
    rewrite(path, lambda description: description["network"].update(arguments=arguments))
    assert_names(message(path), "weights LightNet")


def test_as_many_styles_must_be_named_as_the_network_has(path: Path) -> None:
    rewrite(path, lambda description: description["styles"].pop())
    assert_names(message(path), "metadata 1 styles network 2")


def test_a_style_named_twice_is_refused(path: Path) -> None:
    rewrite(path, lambda description: description["styles"][1].update(name="waves"))
    assert_names(message(path), "metadata 1 styles network 2")


@pytest.mark.parametrize("key", ["format", "sha256", "network", "styles", "config", "losses"])
def test_a_part_of_the_description_that_is_missing_is_named(path: Path, key: str) -> None:
    rewrite(path, lambda description: description.pop(key))
    assert_names(message(path), f"metadata malformed KeyError({key!r})")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("format", "1"),
        ("format", None),
        ("network", 3),
        ("network", ["LightNet", {}]),
        ("styles", {"waves": {}, "stars": {}}),
        ("styles", ["waves", "stars"]),
        ("styles", [{"name": 1}, {"name": 2}]),
        ("styles", [{"name": ["waves"]}, {"name": ["stars"]}]),
        ("styles", [{"artist": "Hokusai"}, {"artist": "van Gogh"}]),
        ("styles", 7),
        ("config", 3),
        ("config", "text"),
        ("losses", [1.0, 2.0]),
    ],
)
def test_a_part_of_the_description_of_the_wrong_kind_is_reported(path: Path, key: str, value: object) -> None:
    rewrite(path, lambda description: description.update({key: value}))
    assert_names(message(path), "metadata malformed")
