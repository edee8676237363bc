"""Every file under configs/: it composes, resolves, and makes what it describes."""

import inspect
import pkgutil
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hydra
import pytest
import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from fast_style.cli.hydra_app import build, plain, register_resolvers
from fast_style.cli.overrides import CONFIGS, own_painting
from fast_style.encoders.vgg import CHANNELS, CONVOLUTIONS
from fast_style.losses import Loss
from fast_style.losses.styles import Style
from fast_style.networks import TransformNet

SCRIPTS = sorted(path.stem for path in CONFIGS.glob("*.yaml"))
OPTIONS = sorted(f"{path.parent.name}={path.stem}" for path in CONFIGS.glob("*/*.yaml"))
CHOOSE_MANY = ("style", "loss", "callback")
Compose = Callable[..., DictConfig]


@pytest.fixture
def compose(tmp_path: Path) -> Iterator[Compose]:
    """Composes a configuration, with the settings that must be given and no file that must be fetched."""
    register_resolvers()

    def compose(config_name: str, *overrides: str) -> DictConfig:
        config = hydra.compose(config_name, [*overrides, f"hydra.runtime.output_dir={tmp_path}"], True)
        HydraConfig.instance().set_config(config)
        with open_dict(config):
            del config["hydra"]
        if "data" in config and OmegaConf.is_missing(config.data, "source"):
            Image.new("RGB", (48, 48)).save(tmp_path / "photo.png")
            config.data.source = str(tmp_path)
        if "painting" in (config.get("style") or {}):
            Image.new("RGB", (48, 48)).save(tmp_path / "painting.png")
            config.style.painting.image = str(tmp_path / "painting.png")
        if OmegaConf.select(config, "encoder.architecture") == "vgg16":
            config.encoder.weights, config.encoder.normalization = str(vgg16_file(tmp_path)), "imagenet"
        return config

    with hydra.initialize_config_dir(str(CONFIGS), version_base="1.3"):
        yield compose


def vgg16_file(folder: Path) -> Path:
    """Weights of the right shapes, in torchvision's names."""
    tensors, inputs, index = {}, 3, 0
    for count, channels in zip(CONVOLUTIONS["vgg16"], CHANNELS, strict=True):
        for _ in range(count):
            # As many inputs are added up, of which half are not 0.
            tensors[f"features.{index}.weight"] = torch.randn(channels, inputs, 3, 3) / (4.5 * inputs) ** 0.5
            tensors[f"features.{index}.bias"] = torch.zeros(channels)
            inputs, index = channels, index + 2  # a ReLU between them
        index += 1  # the pooling
    save_file(tensors, folder / "vgg16.safetensors")
    return folder / "vgg16.safetensors"


def is_part(option: str) -> bool:
    """Return whether an option is a part that several configurations share, and describes no object."""
    group, name = option.split("=")
    return group != "experiment" and (CONFIGS / group / f"{name}.yaml").read_text().startswith("# @package _global_\n")


def script_of(option: str) -> str:
    """Return the script that an option is for; an experiment's header shows the command, and a part has its users."""
    group, name = option.split("=")
    text = (CONFIGS / group / f"{name}.yaml").read_text()
    if is_part(option):
        return next(
            script for script in SCRIPTS if {group: name} in OmegaConf.load(CONFIGS / f"{script}.yaml").defaults
        )
    return re.findall(r"python scripts/(\w+)\.py experiment=", text)[0] if group == "experiment" else "train"


def nodes(node: Any) -> Iterator[DictConfig]:
    """Yield every part of a configuration that describes an object."""
    if isinstance(node, DictConfig):
        if "_target_" in node:
            yield node
        for key in node:
            yield from nodes(None if OmegaConf.is_missing(node, key) else node._get_node(key))


def make(config: DictConfig) -> None:
    """Make all that a configuration describes, and look at what it is."""
    for group, cls in (("style", Style), ("loss", Loss), ("callback", object)):
        made = build(config.get(group, {}))
        assert list(made) == list(config.get(group, {}))
        # What is nothing, evaluate.py takes from the files of networks.
        assert all(isinstance(value, cls) for value in made.values() if value is not None)
    if "encoder" in config:
        build(config.encoder)
    if "network" in config:
        network = build(config.network, styles=2)
        assert isinstance(network, TransformNet)
        assert network.styles == 2
    if "size" in config.get("data", {}):
        size = config.data.size
        assert build(config.data)[0, 0].shape == (3, size, size)
    if "trainer" in config:
        assert build(config.trainer, logger=False, accelerator="cpu").max_steps == config.trainer.max_steps
    if "optimizer" in config:
        optimizer = build(config.optimizer)([nn.Parameter(torch.zeros(1))])
        if "schedule" in config:
            assert build(config.schedule)(optimizer, total_steps=20).total_steps == 20


@pytest.mark.parametrize("steps", [1, 2, 3, 5, 9, 10, 11, 20])
def test_the_default_schedule_fits_any_number_of_steps(compose: Compose, steps: int) -> None:
    config = compose("train", f"trainer.max_steps={steps}")
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], momentum=0.9)
    schedule = build(config.schedule)(optimizer, total_steps=steps)
    rates = []
    for _ in range(steps):
        rates.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    # Where there is time it rises to the rate that was set; it falls to almost nothing in any case.
    assert 0 < rates[-1] < config.optimizer.lr / 20
    assert max(rates) <= config.optimizer.lr
    if steps > 10:
        assert rates[0] < config.optimizer.lr / 20
        assert max(rates) > 0.9 * config.optimizer.lr


def test_a_training_takes_half_an_hour_at_most_unless_one_says_how_long(compose: Compose) -> None:
    assert compose("train").trainer.max_time == "00:00:30:00"
    assert compose("train", "trainer.max_steps=10000").trainer.max_time is None
    assert compose("train", "trainer.max_steps=10000", "trainer.max_time=00:01:00:00").trainer.max_time == "00:01:00:00"


@pytest.mark.parametrize("script", SCRIPTS)
def test_what_a_script_does_by_default_can_be_made(compose: Compose, script: str) -> None:
    make(compose(script))


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_resolves_sets_what_there_is_and_can_be_made(compose: Compose, option: str) -> None:
    config = compose(script_of(option), option)
    assert "${" not in str(plain(config))
    for node in nodes(config):
        arguments = inspect.signature(pkgutil.resolve_name(node["_target_"])).parameters
        settings = {str(key) for key in node if not str(key).startswith("_")}
        assert settings <= set(arguments), node["_target_"]
    make(config)


@pytest.mark.parametrize("group", CHOOSE_MANY)
def test_a_file_of_a_choose_many_group_has_one_key_its_own_name(group: str) -> None:
    for path in (CONFIGS / group).glob("*.yaml"):
        assert list(OmegaConf.load(path)) == [path.stem]


def test_every_other_file_of_a_choice_makes_one_object() -> None:
    for path in CONFIGS.glob("*/*.yaml"):
        if path.parent.name not in (*CHOOSE_MANY, "experiment"):
            assert ("_target_" in OmegaConf.load(path)) != is_part(f"{path.parent.name}={path.stem}"), path


def test_settings_are_shared_by_the_commands_that_stylize_and_are_the_only_part() -> None:
    parts = {option: script_of(option) for option in OPTIONS if is_part(option)}
    assert parts == {"controls=default": "webcam", "controls=pictures": "stylize"}


@pytest.mark.parametrize("script", ["train", "optimize"])
def test_styles_are_replaced_not_added(compose: Compose, script: str) -> None:
    assert list(compose(script).style) == ["starry_night"]
    assert list(compose(script, "style=great_wave").style) == ["great_wave"]
    assert list(compose(script, "style=[starry_night,great_wave]").style) == ["starry_night", "great_wave"]
    assert compose(script, "style=[starry_night,great_wave]").name == "starry_night+great_wave"


def test_every_style_is_named_as_its_file_and_has_its_picture(compose: Compose) -> None:
    for path in (CONFIGS / "style").glob("*.yaml"):
        style = build(compose("train", f"style={path.stem}").style)[path.stem]
        assert style.name == path.stem
        assert min(style.read().shape[2:]) == style.size
        if style.image.is_relative_to(CONFIGS):  # else it is the user's, of whatever size
            with Image.open(style.image) as picture:
                assert min(picture.size) == style.size  # a smaller one would be enlarged, and its strokes with it


def test_a_swatch_is_as_large_as_its_style_is_seen(compose: Compose) -> None:
    assert compose("optimize", "experiment=swatch", "style.starry_night.size=96").size == 96
    both = compose("optimize", "experiment=swatch", "style=[starry_night,udnie]", "style.udnie.size=640")
    assert both.size == 640  # a texture of two: as large as the larger


def test_the_precision_is_what_the_hardware_has(compose: Compose) -> None:
    assert compose("train").trainer.precision in ("bf16-mixed", "32-true")


def test_a_painting_of_ones_own_has_a_credit_by_key_or_is_called_after_its_file(
    compose: Compose, tmp_path: Path
) -> None:
    Image.new("RGB", (48, 48)).save(tmp_path / "poppies.png")
    image = f"style.image={tmp_path / 'poppies.png'}"
    for given, artist, work in ((("style.artist=me", "style.work=Field"), "me", "Field"), ((), "unknown", "poppies")):
        config = compose("train", *own_painting([image, *given]))
        config.style.painting.image = str(tmp_path / "poppies.png")
        (style,) = build(config.style).values()
        assert (style.name, style.credit["artist"], style.credit["work"]) == ("poppies", artist, work)
