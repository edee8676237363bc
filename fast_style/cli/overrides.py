"""Command-line settings: read with tolerance, checked, and explained when wrong."""

import contextlib
import functools
import glob
import inspect
import os
import pkgutil
import re
import shlex
import sys
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import (
    ConfigCompositionException,
    HydraException,
    InstantiationException,
    MissingConfigException,
    OverrideParseException,
)
from omegaconf import Container, DictConfig, ListConfig, Node, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from fast_style.backends import AUTO, BACKENDS
from fast_style.cli import command_name, program
from fast_style.cli.configs import CONFIGS as CONFIGS  # for those that import it from here
from fast_style.cli.help import all_settings
from fast_style.cli.moved_names import require_present_name
from fast_style.cli.signatures import written_parameters
from fast_style.errors import CheckpointError, ConfigError, FastStyleError
from fast_style.images.formats import PICTURE_SUFFIXES
from fast_style.stylizing.controls import PRESERVE_COLOR
from fast_style.stylizing.memory_budget import TILES
from fast_style.system.files import explain_url, is_url
from fast_style.zoo import all_networks, saved_networks
from fast_style.zoo.network_file import read_network_file

OPTIONAL = ("schedule",)
#: Settings, by the last part of their keys, that take one name (text, even `2024`).
ONE_NAME = frozenset(
    {"checkpoint", "codec", "folder", "image", "init", "mask", "name", "output", "record", "report", "resume"}
)
#: Allowed values, by the last part of the key.
CHOICES = {"preserve_color": PRESERVE_COLOR, "tiles": TILES, "backend": (AUTO, *BACKENDS)}
#: Settings, by full key, that take one name or several. (`scale.styles` of the benchmark takes numbers.)
NAMES = frozenset(
    {"ckpt", "content", "data.source", "heldout.images", "input", "outputs", "preview.images", "source", "styles"}
)
#: The settings above that name output files.
WRITTEN = frozenset({"checkpoint", "folder", "output", "record", "report"})
#: `input` and `output` of stylize.py: standard input or output.
STREAM = "-"
#: The setting that a bare path stands for, by configuration: `fast-style stylize photo.jpg`.
PATHS = {
    "train": "style.image",
    "stylize": "input",
    "stylize_distributed": "input",
    "webcam": "camera",
    "optimize": "content",
    "evaluate": "data.source",
    "prepare_data": "source",
    "export": "ckpt",
}


def with_paths(arguments: list[str], config_name: str) -> list[str]:
    """Replace bare paths by their setting, such as input=photo.jpg; ConfigError if it is also given by its key."""
    if config_name not in PATHS:
        return arguments
    if config_name == "prepare_data":
        arguments = _with_command(arguments)
    key = PATHS[config_name]
    # Excludes values of options, such as `job` in `--cfg job`.
    known, rest = get_args_parser().parse_known_args(arguments)
    settings = {*known.overrides, *rest}
    bare = [text for text in arguments if text in settings]
    paths = [text for text in bare if _is_path(text, key, config_name)]
    _require_no_name(bare, config_name)
    if not paths:
        return arguments
    others = [text for text in arguments if text not in paths]
    if given := next((text for text in others if text.partition("=")[0] == key), None):
        raise ConfigError(f"{paths[0]} stands for {key}={paths[0]}, and there is {given}: give one of the two")
    several = key.rpartition(".")[2] in NAMES and key != "ckpt"
    if len(paths) > 1 and not several:
        raise ConfigError(f"{' and '.join(paths)}: there can be one {key}")
    quoted = [QuotedString(_literal(path), Quote.single).with_quotes() for path in paths]
    return [f"{key}={quoted[0] if len(quoted) == 1 else '[' + ','.join(quoted) + ']'}", *others]


def _with_command(arguments: list[str]) -> list[str]:
    """Replace a bare first word, such as check of `fast-style data check photos`, by command=check."""
    first = next((index for index, argument in enumerate(arguments) if argument[:1] not in ("-", "~")), None)
    if first is not None and arguments[first].isalpha():
        return [*arguments[:first], f"command={arguments[first]}", *arguments[first + 1 :]]
    return arguments


def _is_path(text: str, key: str, config_name: str) -> bool:
    """Return whether an argument is a path and not a setting or a typo."""
    if text == STREAM:
        return True
    exists, name = os.path.lexists(text), text.partition("=")[0].split(".")[0].lstrip("+~")
    if text[:1] in ("-", "+", "~") and not exists:
        return False
    is_setting = name in _own_settings(config_name) or bool(_group(name))
    if "=" in text or is_setting:
        return exists and not is_setting
    # For train, a bare word without an image suffix is probably a setting without its value.
    return exists or config_name != "train" or Path(text).suffix.lower() in PICTURE_SUFFIXES


def _require_no_name(bare: list[str], config_name: str) -> None:
    """Refuse a bare style or network name where only a path may stand without its key."""
    styles, named = set(_options("style")), all_networks()
    for text in bare:
        if os.path.lexists(text):
            continue
        if config_name == "train" and text in styles:
            raise ConfigError(f"{text} is a style: write style={text}")
        if config_name in ("stylize", "stylize_distributed", "evaluate") and text in named:
            raise ConfigError(f"{text} is a network: write ckpt={text}")


def read_arguments(arguments: list[str]) -> list[str]:
    """Quote text that is outside Hydra's grammar, and move -m first; ConfigError for unknown options."""
    unknown = [argument for argument in get_args_parser().parse_known_args(arguments)[1] if argument[0] == "-"]
    if unknown:
        raise ConfigError(f"there is no option {unknown[0]}; settings have no dashes: key=value, such as seed=1")
    # First: argparse drops what follows an option between settings.
    sweep = sorted({"-m", "--multirun"}.intersection(arguments))
    others = [argument for argument in arguments if argument not in sweep]
    return sweep + [text if text[:1] in ("-", "~") else _quoted(text, bool(sweep)) for text in others]


def style_name(painting: str | Path) -> str:
    """Return a style's name from its painting's file name."""
    return re.sub(r"\W+", "_", Path(painting).stem).strip("_") or "painting"


def own_painting(arguments: list[str]) -> list[str]:
    """Expand `style.image=FILE` to a style named after the file; ConfigError if `style` is given too.

    `style.title` and `style.artist` are stored in the network; the default title is the file's name.
    """
    given = {key: value for key, _, value in (argument.partition("=") for argument in arguments)}
    if "style.image" not in given:
        return arguments
    if "style" in given:
        remedy = "leave out style, or replace the picture of one by style.starry_night.image"
        raise ConfigError(f"style.image is a painting of your own: {remedy}")
    expanded = [re.sub(r"^style\.title=", "style.work=", argument) for argument in arguments]
    settings = "image|size|layers|artist|work|year|note"
    expanded = [re.sub(rf"^(\+?style)\.({settings})(?=[.=])", r"\1.painting.\2", text) for text in expanded]
    name = style_name(given["style.image"].strip("'\""))
    names = [f"{key}='{name}'" for key in ("style.painting.name", "name") if key not in given]
    return ["style=painting", *names, *expanded]


def check(config: DictConfig, config_name: str) -> None:
    """Check that required settings are given and that overrides keep their type; ConfigError names the key."""
    _check_experiment(config, config_name)
    # Unresolved: resolving an interpolation may import PyTorch, which takes seconds.
    missing = sorted(_missing(OmegaConf.to_container(config)))
    if missing:
        example = ", such as ckpt=starry_night; ckpt=list shows them" if "ckpt" in missing else ""
        wanted = " ".join(f"{key}=..." for key in missing)
        raise ConfigError(f"{' and '.join(missing)} must be given: add {wanted}{example}")
    overrides = HydraConfig.get().overrides.task
    defaults = _defaults(config_name, tuple(override for override in overrides if _group(override)))
    for override in overrides:
        key = override.partition("=")[0]
        if key[0] == "+":
            _check_added(config, key[1:].lstrip("+"))
        if _group(override) or key[0] in "+~":
            continue
        default, value = _default(defaults, key), OmegaConf.select(config, key)
        parent = OmegaConf.select(config, key.rpartition(".")[0]) if "." in key else config
        name = key.rpartition(".")[2]
        if (choices := CHOICES.get(name)) and default in choices and value not in choices:
            typed = "null" if value is None else str(value).lower() if isinstance(value, bool) else repr(value)
            raise ConfigError(f"{key} must be one of {', '.join(choices)}, not {typed}")
        # Null for a constructor's argument: the constructor checks it.
        if not (_same_kind(default, value) or (value is None and "_target_" in parent)):
            raise ConfigError(f"{key} must be {_kind(default)}, such as {default}, not {value!r}")
        if name in ONE_NAME and isinstance(value, Container | bool) and default is not False:
            raise ConfigError(f"{key} must be one name, not {value}")
        if _names_something(key):
            _check_place(key, value, streams=config_name == "stylize" and key in ("input", "output"))


def _check_added(config: DictConfig, key: str) -> None:
    """Check that a constructor has the parameter that +key sets."""
    prefix, _, name = key.rpartition(".")
    parent = OmegaConf.select(config, prefix) if prefix else None
    target = parent.get("_target_") if isinstance(parent, DictConfig) else None
    if target and name not in (written_parameters(str(target)) or [name]):
        raise ConfigError(_no_setting(key, parent))


def _check_place(key: str, value: Any, streams: bool) -> None:
    """Refuse URLs, and `-` where there is no stream."""
    for name in value if isinstance(value, ListConfig) else [value]:
        if isinstance(name, str) and is_url(name):
            raise ConfigError(f"{key}: {explain_url(name, key.rpartition('.')[2] in WRITTEN)}")
        if name == STREAM and not streams:
            stylize = command_name("stylize.py")
            raise ConfigError(f"{key}=-: standard streams are for input and output of {stylize}; give a file")


def _missing(node: Any, prefix: str = "") -> Iterator[str]:
    if isinstance(node, dict | list):
        for key, child in node.items() if isinstance(node, dict) else enumerate(node):
            yield from _missing(child, f"{prefix}.{key}" if prefix else str(key))
    elif node == "???":
        yield prefix


def _default(defaults: DictConfig, key: str) -> Any:
    parent = OmegaConf.select(defaults, key.rpartition(".")[0]) if "." in key else defaults
    name = key.rpartition(".")[2]
    if isinstance(parent, DictConfig) and OmegaConf.is_interpolation(parent, name):
        node = parent._get_node(name)
        if isinstance(node, Node) and str(node._value()).startswith("${native_precision:"):
            return "32-true"  # bf16-mixed with some hardware; only the type counts here
    return OmegaConf.select(defaults, key)


def _check_experiment(config: DictConfig, config_name: str) -> None:
    """Refuse an experiment of another command."""
    overrides = HydraConfig.get().overrides.task
    chosen = next((override for override in overrides if override.lstrip("+").startswith("experiment=")), None)
    if chosen is None:
        return
    added = {re.split(r"[=.]", override.lstrip("+"))[0] for override in overrides if override[0] == "+"}
    known = set(_defaults(config_name, ())) | added
    if foreign := [str(key) for key in config if key not in known]:
        raise ConfigError(f"{chosen} is for another command: {program()} has no setting {foreign[0]!r}")


@functools.cache
def _defaults(config_name: str, choices: tuple[str, ...]) -> DictConfig:
    """Compose a configuration with its group choices alone; cached for the runs of a sweep."""
    return hydra.compose(config_name, overrides=list(choices))


def explain(error: Exception, config_name: str) -> str:
    """Return one line that says what is wrong with the command line and what was probably meant."""
    text = " ".join((str(error).splitlines() or [type(error).__name__])[0].split())
    if isinstance(error, OverrideParseException):
        # Without the value: read_arguments may have quoted it.
        return f"{error.override.partition('=')[0] or error.override!r}: settings are written key=value, such as seed=1"
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, name = error.missing_cfg_file.rpartition("/")
        if group == "style" and (meant := _own_style(name)):
            return f"there is no style {name!r}; {meant}"
        # `painting` is chosen by style.image=FILE only.
        options = [each for each in error.options or _options(group) if (group, each) != ("style", "painting")]
        return f"there is no {group or 'config'} {name!r}; {_choices(options, _closest(name, options))}"
    if isinstance(error, ConfigCompositionException):
        cause = error.__cause__
        if isinstance(cause, OmegaConfBaseException) and cause.full_key:
            return _no_setting(cause.full_key, cause.parent_node, config_name)
        if foreign := re.match(r"In 'experiment/(\w+)': Could not override '(\w+)'", text):
            return f"experiment={foreign[1]} is for another command: {program()} has no setting {foreign[2]!r}"
        if unused := re.match(r"Could not override '(\w+)'", text):
            return _no_setting(unused[1], _own_settings(config_name), config_name)
    if isinstance(error, InstantiationException):
        text = " ".join(str(error.__cause__ or error).split())
        if text.startswith("No supported gpu backend found"):
            return "trainer.accelerator=gpu: PyTorch finds no GPU here; leave it out, or write trainer.accelerator=cpu"
        return f"{full_key(error)}: {text}"
    if isinstance(error, ConfigAttributeError | ConfigKeyError) and error.full_key:
        return f"{error.full_key} must be given"
    if isinstance(error, OmegaConfBaseException) and error.full_key:
        return f"{error.full_key}: {text}"
    if isinstance(error, OSError) and error.filename:
        remedy = "; choose another place, or let it be used" if isinstance(error, PermissionError) else ""
        return f"{error.filename}: {error.strerror}{remedy}"
    return _in_settings(text, config_name) if isinstance(error, FastStyleError) else text


def _own_settings(config_name: str) -> DictConfig:
    """Return the top-level settings of a configuration, including shared parts."""
    own = next(settings for group, settings in all_settings(config_name) if group is None)
    return OmegaConf.create(dict.fromkeys(setting.key.partition(".")[0] for setting in own))


def _in_settings(text: str, config_name: str) -> str:
    """Replace parameter names of the library by configuration keys."""
    text = re.sub(r"(?<==)(True|False|None)\b", lambda found: {"None": "null"}.get(found[0], found[0].lower()), text)
    if config_name == "train":
        text = re.sub(r"(?<![\w.])(max_steps|max_time|gradient_clip_val|precision=32-true)", r"trainer.\1", text)
        text = text.replace("lower lr", "lower optimizer.lr")
        text = re.sub(r"^network (?=must be of a class)", "network._target_ ", text)
        text = text.replace("architecture=vgg19 weights=oxford", "encoder=vgg19 encoder.weights=oxford")
    return text


def _own_style(name: str) -> str:
    """Return how to train on the user's own painting or network of that name; empty: there is none."""
    note, painting = "", None
    if Path(name).suffix.lower() in PICTURE_SUFFIXES:
        painting = Path(name)
    elif (path := saved_networks().get(name)) is not None:
        note = f"{path} is a network of your own; "
        with contextlib.suppress(CheckpointError):
            styles = read_network_file(path).metadata.config.get("style")
            images = [style.get("image") for style in styles.values()] if isinstance(styles, dict) else []
            painting = Path(str(images[0])) if len(images) == 1 and images[0] else None
    else:
        files = (Path(name + suffix) for suffix in PICTURE_SUFFIXES)
        painting = next((file for file in files if file.is_file()), None)
    if painting is None and not note:
        return ""
    file = shlex.quote(f"style.image={painting or 'FILE'}")
    return (
        f"{note}to train on a painting of your own write {file}, or, to choose it by name and together with others, "
        f"make configs/style/{style_name(name)}.yaml, like those that are there"
    )


def _names_something(key: str) -> bool:
    return key in NAMES or key.rpartition(".")[2] in ONE_NAME


def _group(override: str) -> str:
    """Return the config group that an override chooses from; empty: none."""
    key = override.partition("=")[0].lstrip("+")
    return key if re.fullmatch(r"\w+", key) and (CONFIGS / key).is_dir() else ""


def _options(group: str) -> list[str]:
    return sorted(file.stem for file in (CONFIGS / group).glob("*.yaml"))


def _quoted(argument: str, sweep: bool) -> str:
    """Quote an override's value if it is text that Hydra would read as something else."""
    key, equals, value = argument.partition("=")
    if not key:
        raise OverrideParseException(argument, f"{argument!r} has no key")
    names = _names_something(key.lstrip("+"))
    if names and (literal := _literal(value)) != value:
        return f"{key}={QuotedString(literal, Quote.single).with_quotes()}"
    quoted = f"{key}={QuotedString(os.path.expanduser(value), Quote.single).with_quotes()}"
    try:
        override = OverridesParser.create().parse_override(argument)
    except HydraException:
        return quoted if equals else argument
    several, chosen = override.is_sweep_override() and not sweep, override._value
    if names and equals and not value.strip():
        raise ConfigError(f"{key}= is empty; give it a value, or leave it out")
    if group := _group(argument):
        # Files of choose-many groups have no `_target_` at the top: their key is the file's name.
        one = any("_target_" in OmegaConf.load(CONFIGS / group / f"{name}.yaml") for name in _options(group))
        if one and (several or isinstance(chosen, list)):
            raise ConfigError(f"{argument}: only one; add -m and write {key}=a,b for one run each")
        if several:
            raise ConfigError(f"{argument}: add -m for one run each, or write {key}=[{value}] for one run with all")
        if group in OPTIONAL and chosen is None:
            return f"~{group}"
        if not override.is_sweep_override() and not (isinstance(chosen, str | list | QuotedString) and chosen):
            raise ConfigError(f"{argument} chooses nothing; {_choices(_options(group))}")
        return argument
    # input=a,b.jpg or input=[draft] if such a file exists; a number stays a number.
    is_number = isinstance(chosen, int | float)
    is_file = os.path.exists(value) and not (is_number or chosen is None)
    # A file called `true`; `null` is a file only for input, which has no default.
    is_file |= key in NAMES and os.path.exists(value) and (isinstance(chosen, bool) or key == "input")
    # output=2024 is a name; resume=true is a boolean.
    is_text = names and is_number and not isinstance(chosen, bool)
    inner = value.strip()[1:-1]
    if names and isinstance(chosen, list) and not is_file and len(each := inner.split(",")) == len(chosen) > 0:
        # A plain list of names: 007 is no number, null is a file.
        texts = [QuotedString(_literal(name.strip()), Quote.single).with_quotes() for name in each]
        return argument if re.search(r"['\"\[\]]", inner) else f"{key}=[{','.join(texts)}]"
    return quoted if is_file or is_text or several else argument


def _literal(name: str) -> str:
    """Escape a file name so that Hydra does not interpret it."""
    if name == "???":  # Hydra's mark of a required value
        return os.path.join(os.curdir, name)
    if "${" in name and (os.path.lexists(name) or (glob.has_magic(name) and glob.glob(name))):
        # Not an interpolation. Backslashes before it are escaped too.
        return re.sub(r"(\\*)\$\{", r"\1\1\\${", name)
    return name


def full_key(error: InstantiationException) -> str:
    """Return the key of the node that could not be instantiated; only Hydra's message has it."""
    return str(next(reversed(re.findall(r"full_key: (\S+)", str(error))), ""))


def _choices(known: Iterable[str], meant: str = "") -> str:
    return (f"did you mean {meant}? C" if meant else "c") + f"hoose from {', '.join(sorted(known)) or 'nothing'}"


def _closest(wrong: str, known: Iterable[str]) -> str:
    return next(iter(get_close_matches(wrong, list(known), n=1)), "")


def _no_setting(full_key: str, node: Any, config_name: str = "") -> str:
    parent: Any = OmegaConf.to_container(node)
    prefix, dot, name = full_key.rpartition(".")
    known = [str(key) for key in parent if key not in (name, "hydra", "defaults") and not str(key).startswith("_")]
    # Constructor parameters that the configuration does not set can be added with +.
    target = str(parent.get("_target_", "")) if isinstance(parent, dict) else ""
    # Read from source unless PyTorch is already imported, which takes seconds.
    parameters = _parameters(parent) if "torch" in sys.modules else written_parameters(target)
    more = [parameter for parameter in parameters or () if parameter not in known]
    close = _closest(name, [*known, *more])
    meant = f"{'+' if close in more else ''}{prefix}{dot}{close}" if close else ""
    if not meant and config_name and not prefix:
        # max_steps for trainer.max_steps.
        keys = [setting.key for _, settings in all_settings(config_name) for setting in settings]
        meant = next((key for key in keys if key.rpartition(".")[2] == name), "")
    # Mappings of weights can be extended, such as style.starry_night.layers.
    is_open = bool(known) and all(isinstance(parent[key], float) for key in known)
    return f"there is no setting {full_key!r}; {_choices(known, meant)}" + (f", or add +{full_key}" if is_open else "")


def _parameters(node: Any) -> list[str] | None:
    """Return the parameters of a node's constructor; None: it takes any keyword, or there is no constructor."""
    try:
        parameters = inspect.signature(pkgutil.resolve_name(node["_target_"])).parameters.values()
    except Exception:  # Importing the user's class may fail in any way; Hydra reports it.
        return None
    named = [parameter.name for parameter in parameters if parameter.kind is not parameter.VAR_KEYWORD]
    # pytorch_optimizer's constructors accept and ignore unknown keywords: check the named ones.
    if len(named) < len(parameters) and not str(node["_target_"]).startswith("pytorch_optimizer."):
        return None
    return named


def check_names(node: Any) -> None:
    """Refuse unknown parameters, which instantiate reports as a TypeError, and for a partial only when called."""
    if not isinstance(node, DictConfig):
        return
    require_present_name(node._get_full_key("_target_"), node.get("_target_"))
    allowed = _parameters(node)
    for key, child in node.items():
        if allowed is not None and key not in allowed and not str(key).startswith("_"):
            raise ConfigError(_no_setting(node._get_full_key(key), node))
        check_names(child)


def _same_kind(default: Any, value: Any) -> bool:
    if default is None:
        return True
    if isinstance(default, ListConfig) and isinstance(value, int | float):
        # One number for a list, such as steps of optimize.
        return all(_same_kind(item, value) for item in default)
    if isinstance(default, Container | bool) or isinstance(value, bool):
        return type(default) is type(value)
    # Text may look like a number (name=2); trainer.devices and trainer.precision take both.
    return isinstance(value, (int, float, str) if isinstance(default, str) else (int, type(default)))


def _kind(value: Any) -> str:
    if isinstance(value, Container):
        return "a mapping" if isinstance(value, DictConfig) else "a list"
    return {bool: "true or false", int: "a whole number", float: "a number"}.get(type(value), "text")
