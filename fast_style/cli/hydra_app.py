"""What the scripts share: Hydra around a function, and every mistake of the user's told in one line."""

import glob
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

# Before torch: OpenMP's threads would otherwise spin while they wait for one another, and on a machine with
# few cores keep the processes that make the training pictures from running.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import hydra
from hydra.errors import HydraException, InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fast_style.batch.names import apart
from fast_style.cli import command as command
from fast_style.cli import errors_in_one_line
from fast_style.cli.log_lines import log_to_standard_error
from fast_style.cli.overrides import CONFIGS, check, check_names, explain, full_key, read_arguments, with_paths
from fast_style.cli.plugins import find_own_configs, import_plugins
from fast_style.cli.run_folder import remove_failed_start, run_id, sweep_folder
from fast_style.cli.sweep import exit_if_any_failed, survive
from fast_style.errors import ConfigError, FastStyleError
from fast_style.images.formats import PICTURE_SUFFIXES, WRITABLE_SUFFIXES, copy_suffix
from fast_style.images.picture import require_size
from fast_style.stylizing.controls import Controls, Settings
from fast_style.system.devices import torch_computes_bfloat16
from fast_style.system.files import append_to_name, natural_sort_key
from fast_style.zoo import who_knows


def run(
    main: Callable[[DictConfig], object],
    config_name: str,
    rewrite: Callable[[list[str]], list[str]] = lambda arguments: arguments,
) -> None:
    """Run `main` with the configuration that the command line, rewritten if one wants, asks for.

    Ends the process with status 1 and one line on standard error for what the user can mend; with
    HYDRA_FULL_ERROR=1 in the environment, as with Hydra itself, with the traceback.
    """
    register_resolvers()
    log_to_standard_error()
    for name in ("stdout", "stderr"):
        # Closed, as by >&-: then what is printed goes nowhere, and no other file gets its number.
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115  # as long as the program
    full_error = os.environ.get("HYDRA_FULL_ERROR", "0")
    # Otherwise the system would end the process without a word, and without its exit status.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))

    def told() -> AbstractContextManager[None]:
        return errors_in_one_line(
            lambda error: explain(error, config_name), (HydraException, OmegaConfBaseException), full_error == "1"
        )

    @contextmanager
    def full_errors(wanted: str) -> Iterator[None]:
        before, os.environ["HYDRA_FULL_ERROR"] = os.environ.get("HYDRA_FULL_ERROR", "0"), wanted
        try:
            yield
        finally:
            os.environ["HYDRA_FULL_ERROR"] = before

    def checked(config: DictConfig) -> object:
        # Within, so that Hydra adds no lines of its own. Processes that the trainer starts see what the user set.
        with told(), full_errors(full_error), remove_failed_start():
            check(config, config_name)
            return main(config)

    # Hydra would print what is wrong with a configuration over several lines; with "1" it raises it.
    with told(), full_errors("1"):
        sys.argv[1:] = import_plugins(rewrite(read_arguments(with_paths(sys.argv[1:], config_name))))
        hydra.main(version_base="1.3", config_path=str(CONFIGS), config_name=config_name)(survive(checked))()
        exit_if_any_failed()


def build(node: Any, **arguments: Any) -> Any:
    """Make what a part of the configuration describes, from plain containers.

    Raises:
        ConfigError: if a setting does not fit; the message begins with its full key.
        FastStyleError: any other that the maker raises.
    """
    check_names(node)
    try:
        return instantiate(node, **arguments, _convert_="all")
    except InstantiationException as error:
        cause = error.__cause__ or error
        key = full_key(error)
        if isinstance(cause, ConfigError):
            # A constructor's message begins with the parameter's name.
            raise ConfigError(f"{key}.{cause}" if key else str(cause)) from None
        if isinstance(cause, FastStyleError):
            raise cause from None
        raise


def find_pictures(names: Any, suffixes: tuple[str, ...] = PICTURE_SUFFIXES) -> list[Path]:
    """Return the pictures that a path, a folder, a glob, or a list of them stands for, in natural order and once each.

    Raises:
        ConfigError: if one of them stands for nothing.
    """
    found: dict[Path, None] = {}
    for name in map(str, names if isinstance(names, list | ListConfig) else [names]):
        path = Path(name)
        if path.is_dir() or not path.exists():
            files = list(map(Path, glob.glob(f"{glob.escape(name)}/*"))) if path.is_dir() else matches(name)[1]
            files.sort(key=natural_sort_key)
            files = [file for file in files if file.suffix.lower() in suffixes and file.is_file()]
        else:
            files = [path]
        if not files:
            kinds = ", ".join(PICTURE_SUFFIXES)
            raise ConfigError(
                f"{name}: no picture in this folder ({kinds})"
                if path.is_dir()
                else f"{name}: no such picture; give a file, a folder or a quoted glob"
            )
        found |= dict.fromkeys(files)
    return list(found)


def one_network(ckpt: Any) -> str:
    """Return the setting `ckpt` of a script that stylizes with one network.

    Raises:
        ConfigError: if there are several; one that knows what they know is named.
    """
    if not isinstance(ckpt, list | ListConfig):
        return str(ckpt)
    names = [str(name) for name in ckpt]
    also = f"; {knowing}: give that one" if (knowing := who_knows(names)) else ""
    raise ConfigError(f"ckpt must be one network, which may know several styles, not {', '.join(names)}{also}")


def matches(pattern: str) -> tuple[Path, list[Path]]:
    """Return what a glob finds, and the folder before its first part that stands for several.

    Brackets may be part of a folder's name, as in 'photos [2024]/*.jpg': they are where there is such a folder, or
    where nothing else is found.
    """
    parts = list(Path(pattern).parts)
    fixed = 0
    while fixed < len(parts) - 1 and not glob.has_magic(parts[fixed].replace("[", "")):
        if "[" in parts[fixed] and not Path(*parts[: fixed + 1]).is_dir():
            break
        parts[fixed] = glob.escape(parts[fixed])
        fixed += 1
    root, rest = Path(*Path(pattern).parts[:fixed]), parts[fixed:]
    for tried in (rest, [part.replace("[", "[[]") for part in rest]):
        if files := glob.glob(os.path.join(*parts[:fixed], *tried), recursive=True):
            return root, list(map(Path, files))
    return root, []


def checked_controls(settings: dict[str, Any], known: list[str]) -> Controls:
    """Return how to stylize, by the settings `styles`, `masks`, `strength` and so on, with masks that are read.

    Raises:
        ConfigError: if a setting does not fit, or is not one of the styles that the network knows.
    """
    require_size(settings["size"])
    controls = Controls(style=settings["styles"], **{name: settings[name] for name in Settings.__annotations__})
    controls.rows(known)
    return controls


def output_paths(files: list[Path], output: str | None, name: str, *, overwrite: bool) -> list[Path]:
    """Return where the result for each file goes: beside it, into a folder or, for one, to a file. Makes the folder.

    Raises:
        ConfigError: if two results would have one name, one would replace a file that it must not, or a folder cannot
            be written in.
    """
    if output is None:
        outputs = [beside(file, name) for file in files]
    elif is_folder(output, len(files)):
        outputs = [Path(output) / f"{file.stem}{copy_suffix(file)}" for file in files]
    else:
        outputs = [Path(output)]
    outputs = apart(files, outputs)
    require_outputs(files, outputs, overwrite=overwrite)
    for folder in {path.parent for path in outputs}:
        require_writable(folder, "output")
    return outputs


def beside(file: Path, name: str) -> Path:
    """Return the name of a result beside its picture."""
    return file.with_name(append_to_name(file.stem, f"_{safe(name)}{copy_suffix(file)}"))


def safe(name: str) -> str:
    """Return a name that may come from a file that others made: it must not lead to another folder."""
    return re.sub(r"[^\w+.-]", "_", name)


def is_folder(output: str, pictures: int) -> bool:
    """Return whether an output is a folder, and not a file for one picture.

    Raises:
        ConfigError: if it is a file, but of no format that can be written, or there are more pictures.
    """
    if Path(output).is_dir() or not Path(output).suffix or output.endswith("/"):
        return True
    if Path(output).suffix.lower() not in WRITABLE_SUFFIXES:
        kinds = ", ".join(WRITABLE_SUFFIXES)
        raise ConfigError(f"{output}: unknown picture format; end it in one of {kinds}, or in / for a folder")
    if pictures > 1:
        raise ConfigError(f"{output}: one file cannot take {pictures} pictures; give a folder as output")
    return False


def require_outputs(
    files: Sequence[Path | None], outputs: Sequence[Path], *, overwrite: bool, otherwise: str = "or give another output"
) -> None:
    """Make sure, before the first picture is made and not after an hour of them, that nothing is lost.

    Args:
        files: the pictures; None: it is in an archive.
        outputs: where the result of each goes.
        overwrite: whether results may replace other files.
        otherwise: what else one may do about a file that is there.

    Raises:
        ConfigError: if two results would have one name, or one would replace a file that it must not.
    """
    seen: set[Path] = set()
    for file, path in zip(files, outputs, strict=True):
        if path in seen:
            raise ConfigError(f"{path}: two of the pictures have the same name; take their folders one at a time")
        seen.add(path)
        if file is not None and path.resolve() == file.resolve():
            raise ConfigError(f"{path}: is the input itself; give another output")
        if not overwrite and os.path.lexists(path):
            raise ConfigError(f"{path}: exists already; add overwrite=true to replace it, {otherwise}")


def require_writable(folder: Path, setting: str) -> None:
    """Make sure, before the work and not after it, that files can be written in a folder. Makes it.

    Raises:
        ConfigError: if not; the message begins with the setting that names the folder.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = error.strerror or error
        raise ConfigError(f"{setting}: nothing can be written in {folder}/ ({reason}); give another") from None


def plain(node: DictConfig) -> dict[str, Any]:
    """Return a part of the configuration as a dictionary of plain values."""
    return dict(OmegaConf.to_container(node, resolve=True))  # type: ignore[arg-type]  # a DictConfig gives a dict


def register_resolvers() -> None:
    """Teach the configuration files functions of their own, and Hydra where there are more of them."""
    find_own_configs()
    for name, function in (
        ("joined_keys", lambda node: "+".join(node)),
        ("largest_size", lambda styles: max(style.size for style in styles.values())),
        ("config_file", lambda path: str(CONFIGS / path)),
        ("native_precision", native_precision),
        ("sweep_folder", sweep_folder),
        ("if_equal", lambda value, expected, then: then if value == expected else None),
    ):
        OmegaConf.register_new_resolver(name, function, replace=True)
    # Once for a process: a time would move on.
    OmegaConf.register_new_resolver("run_id", run_id, replace=True, use_cache=True)


def native_precision(device: str = "auto") -> str:
    """Return `bf16-mixed` where a device (cpu, cuda, auto, ...) computes in bfloat16 itself, else `32-true`."""
    return "bf16-mixed" if torch_computes_bfloat16(device) else "32-true"


def duration(seconds: float) -> str:
    """Return a length of time as a person would say it."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
