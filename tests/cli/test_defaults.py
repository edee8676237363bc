"""One value, one home: a default stands in a constructor, and a configuration file agrees with it or says why not."""

import inspect
import pkgutil
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import hydra
import pytest
from omegaconf import OmegaConf

from fast_style.cli.hydra_app import register_resolvers
from fast_style.cli.overrides import CONFIGS
from fast_style.data.datamodule import ContentData
from fast_style.optimize import optimize
from fast_style.stylizing.controls import Controls
from fast_style.stylizing.stylizer import load
from fast_style.training.callbacks import Preview
from fast_style.video.stylize import stylize_video

FILES = sorted(str(path.relative_to(CONFIGS)) for path in CONFIGS.glob("*/*.yaml"))
EXPERIMENTS = sorted(path.stem for path in (CONFIGS / "experiment").glob("*.yaml"))

#: Facts about a painting, which no constructor can know.
FACTS = {"artist", "work", "year", "note"}

#: What a command hands on by itself: the parameters that settings at the top of its configuration are for.
HANDED_ON: dict[str, list[tuple[Callable[..., Any], dict[str, str]]]] = {
    "train": [
        (ContentData, {**{name: name for name in ("batch_size", "workers", "seed")}, "heldout_size": "heldout.size"}),
        (Preview, {"every_n_steps": "preview.every_n_steps", "size": "preview.size"}),
    ],
    "optimize": [(optimize, {name: name for name in inspect.signature(optimize).parameters if name != "content"})],
    "stylize": [
        (Controls, {name: name for name in inspect.signature(Controls).parameters}),
        (load, {name: name for name in ("backend", "precision", "memory", "tiles")}),
        (stylize_video, {"temporal": "temporal"}),
    ],
    "stylize_distributed": [
        (Controls, {name: name for name in inspect.signature(Controls).parameters}),
        (load, {name: name for name in ("backend", "precision", "memory", "tiles")}),
    ],
    "webcam": [(Controls, {name: name for name in inspect.signature(Controls).parameters})],
}


def defaults(maker: Callable[..., Any]) -> dict[str, Any]:
    """Return the plain values that a constructor or a function takes by default, as YAML would have them."""
    made = {}
    for name, parameter in inspect.signature(maker).parameters.items():
        value = parameter.default
        if type(value).__name__ == "_HAS_DEFAULT_FACTORY_CLASS":  # of a dataclass
            value = inspect.getattr_static(maker, "__dataclass_fields__")[name].default_factory()
        if value is not inspect.Parameter.empty:
            made[name] = list(value) if isinstance(value, tuple) else value
    return made


def same(value: Any, default: Any) -> bool:
    """Return whether two values are one: several of which there is one are that one, and a number is a number."""
    one, other = (each[0] if isinstance(each, list) and len(each) == 1 else each for each in (value, default))
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def makers(node: Any, prefix: str = "") -> Iterator[tuple[str, Mapping[str, Any], Callable[..., Any]]]:
    """Yield what a file describes of this package's classes: the key, the settings and the constructor."""
    if isinstance(node, dict):
        if str(node.get("_target_", "")).startswith("fast_style."):
            yield prefix, node, pkgutil.resolve_name(node["_target_"])
        for key, child in node.items():
            yield from makers(child, f"{prefix}{key}.")


def disagreements(text: str) -> list[str]:
    """Return the values of a file that are not the constructor's, and do not say in their line why: `not DEFAULT`."""
    found = []
    for prefix, node, maker in makers(OmegaConf.to_container(OmegaConf.create(text))):
        for name, default in defaults(maker).items():
            value = node.get(name, default)
            if name in FACTS or "${" in str(value) or value == "???" or same(value, default):
                continue
            (line,) = re.findall(rf"^ *{name}: .*$", text, re.MULTILINE)
            avoided = default.values() if isinstance(default, dict) else [default]
            if not any(re.search(rf"# .*\bnot {re.escape(str(one))}\b", line) for one in avoided):
                found.append(f"{prefix}{name} is {value}, the constructor has {default}")
    return found


def leaves(node: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the values of a configuration by their full keys."""
    for key, value in node.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def repetitions(text: str, before: Mapping[str, Any]) -> list[str]:
    """Return the settings of an experiment that are what they would be without it."""
    settings: Any = OmegaConf.to_container(OmegaConf.create(text))
    settings.pop("defaults", None)
    known = dict(leaves(before))
    return [key for key, value in leaves(settings) if key in known and same(value, known[key])]


def without_experiment(name: str) -> dict[str, Any]:
    """Return the configuration that an experiment changes: the command's, with the experiment's choices of groups."""
    path = CONFIGS / "experiment" / f"{name}.yaml"
    (script,) = set(re.findall(r"python scripts/(\w+)\.py experiment=", path.read_text()))
    settings: Any = OmegaConf.to_container(OmegaConf.load(path))
    chosen = [next(iter(choice.items())) for choice in settings.get("defaults", [])]
    overrides = [
        f"~{group.rpartition('/')[2]}"
        if option is None
        else f"{group.rpartition('/')[2]}={str(option).replace(chr(39), '').replace(' ', '')}"
        for group, option in chosen
    ]
    return composed(script, *overrides)


def composed(script: str, *overrides: str) -> dict[str, Any]:
    """Return the configuration of a command, as it is written."""
    register_resolvers()
    with hydra.initialize_config_dir(str(CONFIGS), version_base="1.3"):
        made: Any = OmegaConf.to_container(hydra.compose(script, overrides=list(overrides)))
    return dict(made)


@pytest.mark.parametrize("file", FILES)
def test_a_file_agrees_with_the_constructors_or_says_why_not(file: str) -> None:
    assert disagreements((CONFIGS / file).read_text()) == []


@pytest.mark.parametrize("script", HANDED_ON)
def test_what_a_command_hands_on_agrees_with_what_takes_it(script: str) -> None:
    settings = dict(leaves(composed(script)))
    for maker, keys in HANDED_ON[script]:
        taken = {keys[name]: default for name, default in defaults(maker).items() if keys.get(name) in settings}
        assert taken
        for key, default in taken.items():
            assert same(settings[key], default), f"{key}: {maker.__name__} has {default}"


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_sets_nothing_but_what_it_changes(name: str) -> None:
    text = (CONFIGS / "experiment" / f"{name}.yaml").read_text()
    assert repetitions(text, without_experiment(name)) == []


def test_what_is_the_same_for_all_choices_of_a_group_is_one_value() -> None:
    sizes = {file: OmegaConf.load(CONFIGS / file).size for file in FILES if file.startswith("data/")}
    assert len(set(sizes.values())) == 1, sizes


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("weight: 0.1", []),
        ("weight: 0.2", ["smooth.weight is 0.2, the constructor has 0.1"]),
        ("weight: 0.2 # because", ["smooth.weight is 0.2, the constructor has 0.1"]),
        ("weight: 0.2 # not 0.1: for the reason that stands here", []),
        ("weight: true", ["smooth.weight is True, the constructor has 0.1"]),
    ],
)
def test_a_contradiction_is_seen(line: str, found: list[str]) -> None:
    assert disagreements(f"smooth:\n  _target_: fast_style.losses.TotalVariationLoss\n  {line}\n") == found


def test_a_repetition_is_seen() -> None:
    assert repetitions("batch_size: 2\nseed: 1\n", {"batch_size": 2, "seed": 0}) == ["batch_size"]


def test_the_files_of_configs_are_looked_at() -> None:
    looked_at = {file for file in FILES if list(makers(OmegaConf.to_container(OmegaConf.load(CONFIGS / file))))}
    assert {Path(file).parts[0] for file in looked_at} >= {"style", "loss", "network", "encoder", "data", "callback"}
