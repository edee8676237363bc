"""What the scripts share: Hydra around a function, and every mistake of the user's told in one line."""

import glob
import os
import re
import sys
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Any

# Before torch: OpenMP's threads would otherwise spin while they wait for one another, and on a machine with
# few cores keep the processes that make the training pictures from running.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import hydra
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.errors import ConfigCompositionException, HydraException, InstantiationException, MissingConfigException
from hydra.utils import instantiate
from omegaconf import Container, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fast_style.errors import ConfigError, FastStyleError
from fast_style.images import PICTURE_SUFFIXES

CONFIGS = Path(__file__).resolve().parent.parent / "configs"


def run(main: Callable[[DictConfig], None], config_name: str) -> None:
    """Run `main` with the configuration that the command line asks for.

    Ends the process with status 1 and one line on standard error for what the user can mend; with
    HYDRA_FULL_ERROR=1 in the environment, as with Hydra itself, also with the traceback.
    """
    register_resolvers()
    traceback = os.environ.get("HYDRA_FULL_ERROR") == "1"
    # Hydra would print its own errors, over several lines; with this it raises them.
    os.environ["HYDRA_FULL_ERROR"] = "1"

    def checked(config: DictConfig) -> None:
        check(config, config_name)
        main(config)

    try:
        hydra.main(version_base="1.3", config_path=str(CONFIGS), config_name=config_name)(checked)()
    except (FastStyleError, HydraException, OmegaConfBaseException) as error:
        if traceback:
            raise
        sys.exit(f"{Path(sys.argv[0]).name}: {explain(error, config_name)}")


def build(node: Any, **arguments: Any) -> Any:
    """Make what a part of the configuration describes, from plain containers.

    Raises:
        ConfigError: if a setting does not fit; the message begins with its full key.
        FastStyleError: any other that the maker raises.
    """
    try:
        return instantiate(node, **arguments, _convert_="all")
    except InstantiationException as error:
        cause = error.__cause__ or error
        key = _full_key(error)
        if isinstance(cause, ConfigError):
            # A constructor's message begins with the parameter's name.
            raise ConfigError(f"{key}.{cause}" if key else str(cause)) from None
        if isinstance(cause, FastStyleError):
            raise cause from None
        raise


def find_pictures(names: str | Iterable[str]) -> list[Path]:
    """Return the pictures that a path, a folder, a glob, or several of them stand for, in order and once each.

    Raises:
        ConfigError: if one of them stands for nothing.
    """
    found: dict[Path, None] = {}
    for name in [names] if isinstance(names, str) else names:
        path = Path(name)
        if path.is_dir():
            files = sorted(file for file in path.iterdir() if file.suffix.lower() in PICTURE_SUFFIXES)
            files = [file for file in files if not file.name.startswith(".") and file.is_file()]
            if not files:
                raise ConfigError(f"{path}: no picture in this folder ({', '.join(PICTURE_SUFFIXES)})")
        elif path.exists():
            files = [path]
        else:
            files = [Path(file) for file in sorted(glob.glob(name, recursive=True)) if Path(file).is_file()]
            if not files:
                raise ConfigError(f"{name}: no such picture")
        found |= dict.fromkeys(files)
    return list(found)


def check(config: DictConfig, config_name: str) -> None:
    """Check that what must be given is there, and that overrides keep the type of what they replace.

    Raises:
        ConfigError: naming the full key.
    """
    missing = OmegaConf.missing_keys(config)
    if missing:
        key = min(missing)
        raise ConfigError(f"{key} must be given: add {key}=...")
    overrides = HydraConfig.get().overrides.task
    groups = [override for override in overrides if (CONFIGS / override.partition("=")[0].strip("+~")).is_dir()]
    defaults = hydra.compose(config_name, overrides=groups)
    for override in overrides:
        key = override.partition("=")[0]
        if override in groups or key[0] in "+~":
            continue
        default, value = OmegaConf.select(defaults, key), OmegaConf.select(config, key)
        if not _same_kind(default, value):
            raise ConfigError(f"{key} must be {_kind(default)}, such as {default}, not {value!r}")


def explain(error: Exception, config_name: str) -> str:
    """Say in one line what is wrong with the command line, and what was probably meant."""
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, name = error.missing_cfg_file.rpartition("/")
        return f"there is no {group or 'config'} {name!r}; {_choices(name, error.options or [])}"
    cause = error.__cause__
    full_key = getattr(cause, "full_key", None)
    if isinstance(error, ConfigCompositionException) and full_key:
        parent, _, name = str(full_key).rpartition(".")
        # Choices on the command line (style=...) decide which keys there are.
        groups = [text for text in sys.argv[1:] if (CONFIGS / text.partition("=")[0]).is_dir()]
        with hydra.initialize_config_dir(str(CONFIGS), version_base="1.3"):
            config = hydra.compose(config_name, overrides=groups)
        siblings = OmegaConf.select(config, parent) if parent else config
        known = [str(key) for key in siblings] if isinstance(siblings, DictConfig) else []
        return f"there is no setting {full_key!r}; {_choices(name, [key for key in known if key[0] != '_'])}"
    if isinstance(error, InstantiationException):
        return f"{_full_key(error)}: {' '.join(str(cause or error).split())}"
    return " ".join(str(error).splitlines()[0].split())


def register_resolvers() -> None:
    """Teach the configuration files three functions of their own."""
    for name, function in (
        ("joined_keys", lambda node: "+".join(node)),
        ("config_file", lambda path: str(CONFIGS / path)),
        ("native_precision", native_precision),
    ):
        OmegaConf.register_new_resolver(name, function, replace=True)


def native_precision() -> str:
    """Return `bf16-mixed` where the hardware computes in bfloat16 itself, else `32-true`."""
    if torch.cuda.is_available():
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        capabilities = torch.cpu.get_capabilities()
        native = bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16") or capabilities.get("bf16"))
    return "bf16-mixed" if native else "32-true"


def command(script: str, *overrides: str) -> str:
    """Return the command that runs a script in the way this one was run."""
    python = "uv run python" if "UV_RUN_RECURSION_DEPTH" in os.environ else "python"
    return " ".join([python, f"scripts/{script}", *overrides])


def duration(seconds: float) -> str:
    """Return a length of time as a person would say it."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _full_key(error: InstantiationException) -> str:
    # Hydra says it in the message only.
    return (re.findall(r"full_key: (\S+)", str(error)) or [""])[-1]


def _choices(wrong: str, known: Iterable[str]) -> str:
    known = sorted(known)
    close = get_close_matches(wrong, known, n=1)
    return (f"did you mean {close[0]}? " if close else "") + f"There is {', '.join(known) or 'nothing'}"


def _same_kind(default: Any, value: Any) -> bool:
    if default is None or value is None:
        return True
    if isinstance(default, Container):
        return type(default) is type(value)
    if isinstance(default, bool) or isinstance(value, bool):
        return type(default) is type(value)
    if isinstance(default, float):
        return isinstance(value, (int, float))
    if isinstance(default, str):
        # Some settings take a word or a number: trainer.devices, trainer.precision.
        return isinstance(value, (str, int))
    return type(default) is type(value)


def _kind(value: Any) -> str:
    if isinstance(value, Container):
        return "a mapping" if isinstance(value, DictConfig) else "a list"
    return {bool: "true or false", int: "a whole number", float: "a number"}.get(type(value), "text")
