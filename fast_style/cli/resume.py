"""How a run goes on after it was stopped: the command line and settings that it began with, and its folder's lock."""

import inspect
import os
import pkgutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import MISSING
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import hydra
from filelock import FileLock, Timeout
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from omegaconf import DictConfig, OmegaConf

from fast_style.cli.hydra_app import require_writable
from fast_style.cli.overrides import CONFIGS
from fast_style.cli.run_folder import has_progress, is_first_process, started_by_lightning
from fast_style.errors import CheckpointError, ConfigError
from fast_style.system.files import atomic_write, remove_leftovers
from fast_style.system.processes import end_with_parent
from fast_style.zoo.network_file import read_network_file

#: What a run that goes on may have otherwise than before: where it computes and for how long, what it shows, and what
#: it began with.
FREE = (
    *("resume", "init", "checkpoint", "overwrite", "workers", "preview", "heldout", "callback", "logger", "minutes"),
    *("data.source", "data.max_bad"),
    *(
        f"trainer.{name}"
        for name in ("accelerator", "devices", "num_nodes", "strategy", "max_time", "log_every_n_steps")
    ),
)

#: What it may have otherwise if it is given: the remedies that messages advise where the numbers of a run go wrong.
REMEDIES = ("trainer.precision", "trainer.gradient_clip_val", "optimizer.lr", "loss.*.weight")
#: The two ways to say how long a run may take.
LIMITS = ("minutes", "trainer.max_time")
#: In bytes: most file systems end at 255.
_LONGEST = 248


def resume_arguments(arguments: list[str]) -> list[str]:
    """Return the command line with `resume=FOLDER` or `resume=last` spelt out: what that run was started with.

    What else is given takes the place of what was given then.

    Raises:
        ConfigError: if there is no such run.
    """
    wanted = [argument for argument in arguments if argument.partition("=")[0] == "resume"]
    value = OverridesParser.create().parse_override(wanted[-1]).value() if wanted else None
    if value is None:
        return arguments
    others = [argument for argument in arguments if argument not in wanted]
    if {"-m", "--multirun"} & set(others):
        raise ConfigError("resume: only one run at a time goes on; leave out -m")
    folder = _last_run(others) if value == "last" else Path(str(value))
    before = folder / "overrides.yaml"
    if not before.is_file():
        raise ConfigError(f"resume={value}: there is no run in this folder; give one of runs/*/*, or resume=last")
    path = QuotedString(str(folder), Quote.single).with_quotes()
    # The settings that the run began with stay beside it as they were.
    place = [f"hydra.run.dir={path}", "hydra.output_subdir=null", f"resume={path}"]
    given: dict[str, str] = {}
    for text in (*map(str, OmegaConf.load(before)), *others, *place):
        key = text.partition("=")[0]
        if key in LIMITS:  # The later one counts.
            given.pop(LIMITS[1 - LIMITS.index(key)], None)
        given[key] = text
    return list(given.values())


def _last_run(arguments: list[str]) -> Path:
    """Return the folder of the run that was saved last; if a name, style or experiment is given, of that name."""
    name = None
    if any(argument.partition("=")[0] in ("name", "style", "experiment") for argument in arguments):
        arguments = [argument for argument in arguments if argument[0] != "-"]
        with hydra.initialize_config_dir(str(CONFIGS), version_base="1.3"):
            name = str(hydra.compose("train", overrides=arguments).name)
    saved = []
    for file in Path("runs").glob("**/checkpoints/last.ckpt"):
        settings = file.parent.parent / "settings.yaml"
        if settings.is_file() and name in (None, str(OmegaConf.load(settings).name)):
            saved.append(file)
    if not saved:
        of_name = "" if name is None else f" of {name}"
        raise ConfigError(f"resume=last: there is no saved run{of_name} in runs; start one without resume")
    return max(saved, key=lambda file: file.stat().st_mtime).parent.parent


def check_names_of_files(config: DictConfig) -> None:
    """Make sure that a run and its network can be called as the settings say.

    Raises:
        ConfigError: if not.
    """
    # In a sweep, or in a user's own YAML, a name may look like a number.
    if str(config.name) in ("", ".", "..") or {"/", "\\"} & set(str(config.name)):
        raise ConfigError(f"name must be fit for a file, such as my_painting, not {config.name!r}")
    _check_checkpoint(Path(config.checkpoint), overwrite=config.overwrite)


@contextmanager
def locked_folder(config: DictConfig) -> Iterator[Path]:
    """Give the folder of this run to the program, for it alone.

    Raises:
        ConfigError: if another run is using it, or it holds a run with other settings.
    """
    folder = Path(HydraConfig.get().runtime.output_dir)
    check_names_of_files(config)
    if config.trainer.num_nodes > 1 and "run.dir" not in str(HydraConfig.get().overrides.hydra):
        known = ("FAST_STYLE_RUN_ID", "SLURM_JOB_ID", "TORCHELASTIC_RUN_ID")
        if not any(name in os.environ for name in known):
            raise ConfigError(
                "trainer.num_nodes: set FAST_STYLE_RUN_ID to the same text on each machine, "
                "by which they find the folder of their run"
            )
    if not is_first_process():
        # Not what was started by hand: who started that may leave.
        if started_by_lightning() or "TORCHELASTIC_RUN_ID" in os.environ:
            end_with_parent(os.getppid())
        yield folder
        return
    # Its place tells which folder is meant, its lock that someone is there; the system drops it with the process.
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ConfigError(f"{folder}: another run is writing there; wait for its end, or stop it") from None
    with lock:
        for place, age in ((folder, 0.0), (folder / "checkpoints", 0.0), (Path(config.checkpoint).parent, 3600.0)):
            remove_leftovers(place, older_than=age)
        _check_settings(folder, config)
        place = Path(config.checkpoint).parent
        made = not place.exists()
        try:
            require_writable(place, "checkpoint")
            yield folder
        except BaseException:
            if made and not has_progress(folder):
                with suppress(OSError):
                    place.rmdir()
            raise


def _check_checkpoint(path: Path, *, overwrite: bool) -> None:
    """Make sure that the trained network can be saved, and will replace nothing but another network.

    Raises:
        ConfigError: if not.
    """
    example = "such as checkpoints/my_painting.safetensors"
    if path.is_dir() or path.suffix != ".safetensors":
        kind = "a folder" if path.is_dir() else "called otherwise"
        raise ConfigError(f"checkpoint must be a .safetensors file, {example}; {path} is {kind}")
    # With room for a number, if there is one of that name.
    if len(os.fsencode(path.name)) > _LONGEST:
        raise ConfigError(
            f"checkpoint: a name of {len(os.fsencode(path.name))} bytes is too long; give another name=..."
        )
    if path.exists() and overwrite:
        try:
            read_network_file(path)
        except CheckpointError:
            raise ConfigError(f"checkpoint would replace {path}, which is no network of ours; give another") from None


def _check_settings(folder: Path, config: DictConfig) -> None:
    """Make sure that a run goes on with the settings it began with; or write them down, if it begins.

    Hydra's own record will not do: it is written anew for every start, also for one that is refused.
    """
    path = folder / "settings.yaml"
    settings = OmegaConf.create(OmegaConf.to_container(config))
    settings.trainer.precision = config.trainer.precision  # which depends on the machine
    if not path.exists():
        overrides = OmegaConf.create(list(HydraConfig.get().overrides.task))
        for record, node in ((folder / "overrides.yaml", overrides), (path, settings)):
            with atomic_write(record) as file:
                file.write(OmegaConf.to_yaml(node).encode())
        return
    before, now = (_settled(flat(OmegaConf.to_container(node))) for node in (OmegaConf.load(path), settings))
    given = {text.partition("=")[0].lstrip("+") for text in HydraConfig.get().overrides.task}
    for key in sorted(before.keys() | now.keys()):
        free = any(f"{key}.".startswith(f"{name}.") for name in FREE)
        free = free or (key in given and any(fnmatch(key, name) for name in REMEDIES))
        if before.get(key) != now.get(key) and not free:
            raise ConfigError(
                f"{key} was {before.get(key)} when the run in {os.path.relpath(folder)} began, and is {now.get(key)}; "
                "leave it, or start a new run without resume, and in a cluster with another FAST_STYLE_RUN_ID"
            )


def _settled(settings: dict[str, Any]) -> dict[str, Any]:
    """Return settings with what our constructors take where nothing is said.

    A run goes on that began before there was a setting, or when a file said what is a constructor's default now.
    """
    settled = dict(settings)
    for key, target in settings.items():
        if key.rpartition(".")[2] != "_target_" or not str(target).startswith("fast_style."):
            continue
        for name, value in _defaults(str(target)).items():
            place = key.removesuffix("_target_") + name
            if not any(f"{known}.".startswith(f"{place}.") for known in settings):
                settled |= flat({place: value})
    return settled


def _defaults(target: str) -> dict[str, Any]:
    try:
        cls = pkgutil.resolve_name(target)
    except (ImportError, AttributeError):  # which is told where it is to be made
        return {}
    fields = {field.name: field.default_factory for field in getattr(cls, "__dataclass_fields__", {}).values()}
    parameters = inspect.signature(cls).parameters.values()
    found = {one.name: one.default for one in parameters if one.default is not one.empty}
    found |= {name: make() for name, make in fields.items() if make is not MISSING}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in found.items()}


def flat(node: Any) -> dict[str, Any]:
    """Return the settings of a part of the configuration by their full keys, such as optimizer.lr."""
    return dict(_pairs(node))


def _pairs(node: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(node, Mapping):
        for key, child in node.items():
            yield from _pairs(child, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, node
