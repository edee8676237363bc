"""Resuming a run: its original command line and settings, and the lock of its folder."""

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

#: Settings that a resumed run may change: where it computes and for how long, what it shows, how it began.
FREE = (
    *("resume", "init", "checkpoint", "overwrite", "workers", "preview", "heldout", "callback", "logger", "minutes"),
    *("data.source", "data.max_bad", "trainer.accelerator", "trainer.devices", "trainer.num_nodes"),
    *("trainer.strategy", "trainer.max_time", "trainer.log_every_n_steps"),
)
#: Settings it may change if given: remedies that error messages advise for diverging losses.
REMEDIES = ("trainer.precision", "trainer.gradient_clip_val", "optimizer.lr", "loss.*.weight")
#: The two settings of the time limit.
LIMITS = ("minutes", "trainer.max_time")
#: Longest file name in bytes, with room for a number: most file systems allow 255.
_LONGEST = 248


def resume_arguments(arguments: list[str]) -> list[str]:
    """Replace `resume=FOLDER` or `resume=last` by that run's arguments, followed by the others given."""
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
    # output_subdir=null keeps Hydra's record of the first start.
    location = [f"hydra.run.dir={path}", "hydra.output_subdir=null", f"resume={path}"]
    given: dict[str, str] = {}
    for text in (*map(str, OmegaConf.load(before)), *others, *location):
        key = text.partition("=")[0]
        if key in LIMITS:  # the later one wins
            given.pop(LIMITS[1 - LIMITS.index(key)], None)
        given[key] = text
    return list(given.values())


def _last_run(arguments: list[str]) -> Path:
    """Return the folder of the run saved last; given a name, style or experiment, of that name."""
    name = None
    if any(argument.partition("=")[0] in ("name", "style", "experiment") for argument in arguments):
        with hydra.initialize_config_dir(str(CONFIGS), version_base="1.3"):
            overrides = [argument for argument in arguments if argument[0] != "-"]
            name = str(hydra.compose("train", overrides=overrides).name)
    settings = {file: file.parents[1] / "settings.yaml" for file in Path("runs").glob("**/checkpoints/last.ckpt")}
    saved = [
        file for file, path in settings.items() if path.is_file() and name in (None, str(OmegaConf.load(path).name))
    ]
    if not saved:
        of_name = "" if name is None else f" of {name}"
        raise ConfigError(f"resume=last: there is no saved run{of_name} in runs; start one without resume")
    return max(saved, key=lambda file: file.stat().st_mtime).parent.parent


def check_names_of_files(config: DictConfig) -> None:
    """Check the names of the run and its network's file, which may replace nothing but another network."""
    # str: in a sweep or a user's YAML, a name may look like a number.
    if str(config.name) in ("", ".", "..") or {"/", "\\"} & set(str(config.name)):
        raise ConfigError(f"name must be fit for a file, such as my_painting, not {config.name!r}")
    path = Path(config.checkpoint)
    if path.is_dir() or path.suffix != ".safetensors":
        kind = "a folder" if path.is_dir() else "called otherwise"
        example = "such as checkpoints/my_painting.safetensors"
        raise ConfigError(f"checkpoint must be a .safetensors file, {example}; {path} is {kind}")
    if (length := len(os.fsencode(path.name))) > _LONGEST:
        raise ConfigError(f"checkpoint: a name of {length} bytes is too long; give another name=...")
    if path.exists() and config.overwrite:
        try:
            read_network_file(path)
        except CheckpointError:
            raise ConfigError(f"checkpoint would replace {path}, which is no network of ours; give another") from None


@contextmanager
def locked_folder(config: DictConfig) -> Iterator[Path]:
    """Yield the run's folder, locked for this process; ConfigError if another run or other settings use it."""
    folder = Path(HydraConfig.get().runtime.output_dir)
    check_names_of_files(config)
    has_id = {"FAST_STYLE_RUN_ID", "SLURM_JOB_ID", "TORCHELASTIC_RUN_ID"} & os.environ.keys()
    if config.trainer.num_nodes > 1 and not has_id and "run.dir" not in str(HydraConfig.get().overrides.hydra):
        raise ConfigError(
            "trainer.num_nodes: set FAST_STYLE_RUN_ID to the same text on each machine, "
            "by which they find the folder of their run"
        )
    if not is_first_process():
        # Not processes started by hand: their parent may exit.
        if started_by_lightning() or "TORCHELASTIC_RUN_ID" in os.environ:
            end_with_parent(os.getppid())
        yield folder
        return
    # The system releases the lock when the process ends.
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ConfigError(f"{folder}: another run is writing there; wait for its end, or stop it") from None
    with lock:
        parent = Path(config.checkpoint).parent
        for place, age in ((folder, 0.0), (folder / "checkpoints", 0.0), (parent, 3600.0)):
            remove_leftovers(place, older_than=age)
        _check_settings(folder, config)
        is_new = not parent.exists()
        try:
            require_writable(parent, "checkpoint")
            yield folder
        except BaseException:
            if is_new and not has_progress(folder):
                with suppress(OSError):
                    parent.rmdir()
            raise


def _check_settings(folder: Path, config: DictConfig) -> None:
    """Check that a resumed run keeps its settings; a new run writes them down.

    Hydra's own record is rewritten at every start, even a refused one.
    """
    path = folder / "settings.yaml"
    settings = OmegaConf.create(OmegaConf.to_container(config))
    settings.trainer.precision = config.trainer.precision  # resolved: it depends on the machine
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
    """Return settings with the defaults of our constructors filled in.

    So a run resumes that began before a setting existed, or whose YAML file named what is a constructor's default now.
    """
    settled = dict(settings)
    for key, target in settings.items():
        if key.rpartition(".")[2] != "_target_" or not str(target).startswith("fast_style."):
            continue
        for name, value in _defaults(str(target)).items():
            full_key = key.removesuffix("_target_") + name
            if not any(f"{known}.".startswith(f"{full_key}.") for known in settings):
                settled |= flat({full_key: value})
    return settled


def _defaults(target: str) -> dict[str, Any]:
    try:
        cls = pkgutil.resolve_name(target)
    except (ImportError, AttributeError):  # reported when it is instantiated
        return {}
    fields = {field.name: field.default_factory for field in getattr(cls, "__dataclass_fields__", {}).values()}
    parameters = inspect.signature(cls).parameters.values()
    found = {one.name: one.default for one in parameters if one.default is not one.empty}
    found |= {name: make() for name, make in fields.items() if make is not MISSING}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in found.items()}


def flat(node: Any, prefix: str = "") -> dict[str, Any]:
    """Return nested settings by full key, such as optimizer.lr."""
    if not isinstance(node, Mapping):
        return {prefix: node}
    children = (flat(child, f"{prefix}.{key}" if prefix else str(key)) for key, child in node.items())
    return {key: value for child in children for key, value in child.items()}
