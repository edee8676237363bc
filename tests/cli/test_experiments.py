"""Published settings are right by themselves, whichever family of weights the loss network gets."""

from pathlib import Path
from typing import Any

import hydra
import pytest
import torch
from omegaconf import OmegaConf
from safetensors.torch import load_file, save_file
from torch import Tensor

from fast_style.cli.hydra_app import build, register_resolvers
from fast_style.cli.overrides import CONFIGS
from fast_style.encoders.vgg import CONVOLUTIONS, VGGEncoder
from fast_style.images.photographs import packaged_photographs
from fast_style.images.tensors import read_image
from fast_style.losses import PerceptualLoss


def indices(architecture: str) -> list[int]:
    """Return the places of the convolutions in torchvision's list of layers, among ReLUs and poolings."""
    places, place = [], 0
    for count in CONVOLUTIONS[architecture]:
        for _ in range(count):
            places.append(place)
            place += 2
        place += 1
    return places


def rescaled(weights: dict[str, Tensor], architecture: str) -> dict[str, Tensor]:
    """Return the same function with every layer's activations scaled, by 1/58 on average, as torchvision's are.

    A ReLU passes a positive factor on, so that the next convolution can take it away again.
    """
    generator = torch.Generator().manual_seed(0)
    made, before = {}, 1.0
    for index in indices(architecture):
        factor = float(torch.exp(torch.randn((), generator=generator) / 2)) / 58
        made[f"features.{index}.weight"] = weights[f"features.{index}.weight"].float() * (factor / before)
        made[f"features.{index}.bias"] = weights[f"features.{index}.bias"].float() * factor
        before = factor
    return made


@pytest.fixture(scope="module")
def families(shared: Path, encoder: VGGEncoder, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Path]]:
    """Files of weights for each architecture: Oxford's, and a copy with activations as small as torchvision's.

    Those of VGG19 are the embedded ones, whose first convolution takes pixels as Caffe does.
    """
    folder = tmp_path_factory.mktemp("weights")
    vgg16 = load_file(shared / "vgg" / "vgg16.safetensors")
    convolutions = encoder.convolutions.state_dict()
    names = [f"conv{block}_{i + 1}" for block, count in enumerate(CONVOLUTIONS["vgg19"], 1) for i in range(count)]
    vgg19 = {
        f"features.{index}.{kind}": convolutions[f"{name}.{kind}"].contiguous()
        for index, name in zip(indices("vgg19"), names, strict=True)
        for kind in ("weight", "bias")
    }
    files: dict[str, list[Path]] = {}
    for architecture, weights in (("vgg16", vgg16), ("vgg19", vgg19)):
        files[architecture] = [folder / f"{architecture}_{family}.safetensors" for family in ("oxford", "other")]
        save_file(weights, files[architecture][0])
        save_file(rescaled(weights, architecture), files[architecture][1])
    return files


def losses_at_step_0(script: str, *overrides: str) -> dict[str, float]:
    """Return what a training or an optimization with these settings begins with, each term before its weight."""
    register_resolvers()
    with hydra.initialize_config_dir(str(CONFIGS), version_base="1.3"):
        config: Any = hydra.compose(script, overrides=[*overrides, "style=starry_night", "style.starry_night.size=192"])
    OmegaConf.set_struct(config, False)
    torch.manual_seed(0)
    photograph = read_image(packaged_photographs()[0], size=192)
    styles = list(build(config.style).values())
    loss = PerceptualLoss(build(config.encoder), build(config.loss), styles)
    one = torch.ones(1, 1)
    with torch.no_grad():
        output = (
            build(config.network, styles=1)(photograph, one) if "network" in config else torch.rand_like(photograph)
        )
        return {name: float(term) for name, term in loss(photograph, output, one).items()}


@pytest.mark.parametrize(
    ("script", "experiment", "architecture", "normalization"),
    [
        ("train", "johnson2016", "vgg16", "imagenet"),
        ("train", "dumoulin2017", "vgg16", "imagenet"),
        ("optimize", "gatys2015", "vgg19", "caffe"),
    ],
)
def test_an_experiment_begins_with_the_same_losses_from_both_families_of_weights(
    families: dict[str, list[Path]], script: str, experiment: str, architecture: str, normalization: str
) -> None:
    settings = (script, f"experiment={experiment}", f"encoder.normalization={normalization}")
    weights = [f"encoder.weights={path}" for path in families[architecture]]
    as_published = losses_at_step_0(*settings, weights[0], "encoder.scale=null")
    for family in weights:
        assert losses_at_step_0(*settings, family) == pytest.approx(as_published, rel=0.02)
    # Without a scale, those of the second are of another order of magnitude.
    unscaled = losses_at_step_0(*settings, weights[1], "encoder.scale=null")
    assert unscaled["content"] < as_published["content"] / 100
    assert unscaled["style"] < as_published["style"] / 10_000


def test_the_embedded_weights_are_those_of_the_scale_and_stay_as_they_are(encoder: VGGEncoder) -> None:
    scaled = VGGEncoder(scale="oxford").convolutions.state_dict()
    torch.testing.assert_close(scaled, encoder.convolutions.state_dict(), rtol=0, atol=0)
