"""The command that makes a trained network anew, from the settings that its file holds. See zoo.py."""

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import hydra
from hydra.core.override_parser.types import Quote, QuotedString
from omegaconf import OmegaConf

from fast_style.cli.hydra_app import register_resolvers
from fast_style.cli.overrides import CONFIGS, read_arguments
from fast_style.errors import ConfigError

#: Settings that are files or folders of whoever trained.
_PATHS = {"image", "images", "source"}
#: Settings without a part in what the network becomes.
_APART = {"checkpoint", "logger", "overwrite", "resume", "preview", "started_from", "steps"} | {
    f"callback.{name}" for name in ("checkpoint", "learning_rate", "throughput", "progress")
}
_NOTE = re.compile(r"style\.\w+\.note")
#: Where the default is what the hardware computes in itself, it is taken to be this.
_NATIVE_PRECISION = "bf16-mixed"

_ABSOLUTE = re.compile(r"[/~]|\w:[/\\]|\\\\|file:")
_PATH_IN_TEXT = re.compile(r"""(?:^|[\s"'=:,(\[])(?:(?:/[\w.-]+){2}|~/|[A-Za-z]:[/\\]|\\\\\w|file:)""")


def portable(node: Any, key: str = "") -> Any:
    """Return settings without the folders of the machine they come from: of its files only the bare names."""
    if isinstance(node, Mapping):
        return {name: portable(value, str(name)) for name, value in node.items()}
    if isinstance(node, list | tuple):
        return [portable(value, key) for value in node]
    if isinstance(node, str) and (key in _PATHS or _ABSOLUTE.match(node) or ".." in re.split(r"[/\\]", node)):
        return re.split(r"[/\\]", node.rstrip("/\\"))[-1]
    return node


def folders(node: Any) -> list[str]:
    """Return the texts among plain values that name a place on a machine."""
    if isinstance(node, Mapping):
        return [found for value in node.items() for found in folders(value)]
    if isinstance(node, list | tuple):
        return [found for value in node for found in folders(value)]
    return [node] if isinstance(node, str) and _PATH_IN_TEXT.search(node) else []


def command(config: Mapping[str, Any]) -> str:
    """Return the command that trains with these settings: its settings differ from the defaults, no others do.

    Args:
        config: as `portable` returns it; of the user's own files the command has the bare names.

    Raises:
        ConfigError: if there is no such command, for instance because a style has no file in configs/style.
    """
    config = fixed(config)
    # What is learned comes first.
    overrides = sorted(_choices(config), key=lambda choice: not choice.startswith("style="))
    before = None
    # One at a time: what is set may change what others default to.
    while difference := next(differences(config, composed(overrides)), None):
        if difference == before:
            raise ConfigError(f"{difference.partition('=')[0]} cannot be set to what the network was trained with")
        before = difference
        overrides.append(difference)
    return shlex.join(["python", "scripts/train.py", *overrides])


def fixed(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings that do not depend on the zoo or on the machine.

    They name what the network started from, which may not stay the nearest, and the steps that its time was enough for.
    """
    origin = config.get("started_from")
    others = {key: value for key, value in config.items() if key != "init"}
    settings = {"init": origin["network"] if origin else "none", **others}
    if "steps" in config:
        settings["trainer"] = {**config["trainer"], "max_steps": config["steps"], "max_time": None}
    return settings


def composed(overrides: Sequence[str]) -> dict[str, Any]:
    """Return the portable settings of a training that is started with some overrides."""
    register_resolvers()
    with hydra.initialize_config_dir(str(CONFIGS), version_base="1.3"):
        config = hydra.compose("train", overrides=read_arguments(list(overrides)))
    for key, value in _leaves(OmegaConf.to_container(config)):
        if isinstance(value, str) and "${hydra:" in value:
            # The folder of a run, which there is not: of what is in it, the bare name.
            OmegaConf.update(config, key, re.sub(r"\$\{hydra:[^}]*\}", "", value).rpartition("/")[2])
        elif isinstance(value, str) and value.startswith("${native_precision"):
            OmegaConf.update(config, key, _NATIVE_PRECISION)
    settings: dict[str, Any] = portable(OmegaConf.to_container(config, resolve=True))
    return settings


def _choices(config: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is to be chosen from each group."""
    defaults: Any = OmegaConf.to_container(OmegaConf.load(CONFIGS / "train.yaml"))
    for group, default in (next(iter(entry.items())) for entry in defaults["defaults"] if isinstance(entry, dict)):
        node = config.get(group)
        # Hydra's own, and what older networks do not name and no network depends on.
        if group.startswith("override ") or group == "logger":
            continue
        if isinstance(default, list):
            names = list(node or ())
            unknown = [name for name in names if not (CONFIGS / group / f"{name}.yaml").exists()]
            if unknown:
                raise ConfigError(f"there is no configs/{group}/{unknown[0]}.yaml, so nobody could train it again")
            # The style is said in any case.
            if names != default or group == "style":
                yield f"{group}={names[0] if len(names) == 1 else _written(names)}"
        elif default is not None:
            choice = _closest(group, node, default) if isinstance(node, Mapping) else None
            if choice != default:
                yield f"{group}={choice}" if choice else f"~{group}"


def _closest(group: str, node: Mapping[str, Any], default: str) -> str:
    def distance(option: str) -> tuple[bool, int, bool]:
        known: Any = OmegaConf.to_container(OmegaConf.load(CONFIGS / group / f"{option}.yaml"))
        keys = {*node, *known} - {key for key, value in known.items() if "${" in str(value) or value == "???"}
        other = node.get("_target_") != known.get("_target_")
        return other, sum(node.get(key, "") != known.get(key, "") for key in keys), option != default

    return min(sorted(file.stem for file in (CONFIGS / group).glob("*.yaml")), key=distance)


def differences(wanted: Mapping[str, Any], found: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Yield the overrides that make `found` what is wanted."""
    for key in [*wanted, *(key for key in found if key not in wanted)]:
        name = f"{prefix}{key}"
        if name in _APART or _NOTE.fullmatch(name):
            continue
        if key not in wanted:
            # A setting that is newer than the network, at the top, is one that the script needs.
            if prefix and found[key] is not None:
                yield f"~{name}"
        elif key not in found:
            yield f"+{name}={_written(wanted[key])}"
        elif isinstance(wanted[key], Mapping) and isinstance(found[key], Mapping):
            yield from differences(wanted[key], found[key], f"{name}.")
        # Classes have moved since some networks were trained; their names have not changed.
        elif key == "_target_" and str(wanted[key]).rpartition(".")[2] == str(found[key]).rpartition(".")[2]:
            continue
        elif wanted[key] != found[key]:
            yield f"{name}={_written(wanted[key])}"


def _leaves(node: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in node.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _written(value: Any) -> str:
    """Return a plain value as Hydra reads it."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_written(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_written, value)) + "]"
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    if not isinstance(value, str) or (
        re.fullmatch(r"[A-Za-z_][\w./-]*", value) and value.lower() not in ("null", "true", "false", "nan", "inf")
    ):
        return str(value)
    return str(QuotedString(value, Quote.single).with_quotes())
