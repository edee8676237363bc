"""Shared by the commands: Hydra around a function, errors in one line, input and output paths."""

import functools
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

# Set before torch is imported: spinning OpenMP threads would starve the data loader's processes on machines with few
# cores.
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
from fast_style.cli.sweep import continue_sweep, exit_if_any_failed
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
    """Run `main` with the configuration that the command line, after `rewrite`, asks for.

    A user's mistake ends the process with status 1 and one line on standard error, or with the traceback if
    HYDRA_FULL_ERROR=1 is in the environment, as in Hydra.
    """
    register_resolvers()
    log_to_standard_error()
    # Closed by >&-: discard the output, and keep its file descriptor from being reused by another file.
    sys.stdout, sys.stderr = sys.stdout or open(os.devnull, "w"), sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    full_error = os.environ.get("HYDRA_FULL_ERROR", "0")
    # By default SIGTERM would end the process without cleanup and without this exit status.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))

    def one_line() -> AbstractContextManager[None]:
        line = functools.partial(explain, config_name=config_name)
        return errors_in_one_line(line, (HydraException, OmegaConfBaseException), full_error == "1")

    @contextmanager
    def full_errors(wanted: str) -> Iterator[None]:
        before, os.environ["HYDRA_FULL_ERROR"] = os.environ.get("HYDRA_FULL_ERROR", "0"), wanted
        try:
            yield
        finally:
            os.environ["HYDRA_FULL_ERROR"] = before

    def checked(config: DictConfig) -> object:
        # Errors are caught inside Hydra, which would add lines. Child processes see the user's HYDRA_FULL_ERROR.
        with one_line(), full_errors(full_error), remove_failed_start():
            check(config, config_name)
            return main(config)

    # With "1" Hydra raises configuration errors instead of printing them over several lines.
    with one_line(), full_errors("1"):
        sys.argv[1:] = import_plugins(rewrite(read_arguments(with_paths(sys.argv[1:], config_name))))
        hydra.main(version_base="1.3", config_path=str(CONFIGS), config_name=config_name)(continue_sweep(checked))()
        exit_if_any_failed()


def build(node: Any, **arguments: Any) -> Any:
    """Instantiate a node of the configuration, with plain containers as arguments.

    A constructor's ConfigError gets the full key before its message; other FastStyleErrors are raised as they are.
    """
    check_names(node)
    try:
        return instantiate(node, **arguments, _convert_="all")
    except InstantiationException as error:
        cause = error.__cause__ or error
        key = full_key(error)
        if isinstance(cause, ConfigError):
            # Its message begins with the parameter's name.
            raise ConfigError(f"{key}.{cause}" if key else str(cause)) from None
        if isinstance(cause, FastStyleError):
            raise cause from None
        raise


def find_pictures(names: Any, suffixes: tuple[str, ...] = PICTURE_SUFFIXES) -> list[Path]:
    """Return the pictures of a file, folder, glob or list of them, in natural order; ConfigError if one has none."""
    found: dict[Path, None] = {}
    for name in map(str, names if isinstance(names, list | ListConfig) else [names]):
        path = Path(name)
        if path.is_dir() or not path.exists():
            files = list(map(Path, glob.glob(f"{glob.escape(name)}/*"))) if path.is_dir() else matches(name)[1]
            files.sort(key=natural_sort_key)
            files = [file for file in files if file.suffix.lower() in suffixes and file.is_file()]
        else:
            files = [path]
        if not files and path.is_dir():
            raise ConfigError(f"{name}: no picture in this folder ({', '.join(PICTURE_SUFFIXES)})")
        if not files:
            raise ConfigError(f"{name}: no such picture; give a file, a folder or a quoted glob")
        found |= dict.fromkeys(files)
    return list(found)


def one_network(ckpt: Any) -> str:
    """Return `ckpt` of a command that takes one network; ConfigError suggests one that knows all styles."""
    if not isinstance(ckpt, list | ListConfig):
        return str(ckpt)
    names = [*map(str, ckpt)]
    also = f"; {knowing}: give that one" if (knowing := who_knows(names)) else ""
    raise ConfigError(f"ckpt must be one network, which may know several styles, not {', '.join(names)}{also}")


def matches(pattern: str) -> tuple[Path, list[Path]]:
    """Return the folder before a glob's first wildcard, and the files that match.

    Brackets may be part of a folder's name, as in 'photos [2024]/*.jpg': literal if such a folder exists, or if the
    pattern matches nothing.
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
    """Return the `Controls` of the settings `styles`, `masks`, `strength` ...; ConfigError if one is invalid."""
    require_size(settings["size"])
    controls = Controls(style=settings["styles"], **{name: settings[name] for name in Settings.__annotations__})
    controls.rows(known)
    return controls


def output_paths(files: list[Path], output: str | None, name: str, *, overwrite: bool) -> list[Path]:
    """Return the result's path for each file: beside it, in the folder `output`, or at `output`. Creates the folder."""
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
    """Return the path of a result beside its picture."""
    return file.with_name(append_to_name(file.stem, f"_{safe(name)}{copy_suffix(file)}"))


def safe(name: str) -> str:
    """Return a name without path separators: it may come from a file that others made."""
    return re.sub(r"[^\w+.-]", "_", name)


def is_folder(output: str, pictures: int) -> bool:
    """Return whether `output` is a folder, not a file for one picture; ConfigError if it fits neither."""
    if Path(output).is_dir() or not Path(output).suffix or output.endswith("/"):
        return True
    if Path(output).suffix.lower() not in WRITABLE_SUFFIXES:
        kinds = ", ".join(WRITABLE_SUFFIXES)
        raise ConfigError(f"{output}: unknown picture format; end it in one of {kinds}, or in / for a folder")
    if pictures > 1:
        raise ConfigError(f"{output}: one file cannot take {pictures} pictures; give a folder as output")
    return False


def require_new(path: Path, *, overwrite: bool, otherwise: str = "or give another output") -> None:
    """Check, before any work, that no file is replaced without `overwrite`; `otherwise` ends the ConfigError."""
    # lexists: a dangling link occupies the name too.
    if not overwrite and os.path.lexists(path):
        raise ConfigError(f"{path}: exists already; add overwrite=true to replace it, {otherwise}")


def require_outputs(
    files: Sequence[Path | None], outputs: Sequence[Path], *, overwrite: bool, otherwise: str = "or give another output"
) -> None:
    """Check that no result overwrites an input, another result or an existing file; see `require_new`.

    A file is None inside an archive.
    """
    seen: set[Path] = set()
    for file, path in zip(files, outputs, strict=True):
        if path in seen:
            raise ConfigError(f"{path}: two of the pictures have the same name; take their folders one at a time")
        seen.add(path)
        if file is not None and path.resolve() == file.resolve():
            raise ConfigError(f"{path}: is the input itself; give another output")
        require_new(path, overwrite=overwrite, otherwise=otherwise)


def require_writable(folder: Path, setting: str) -> None:
    """Create a folder and check that it is writable; ConfigError, beginning with `setting`, if not."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = error.strerror or error
        raise ConfigError(f"{setting}: nothing can be written in {folder}/ ({reason}); give another") from None


def plain(node: DictConfig) -> dict[str, Any]:
    """Return a node of the configuration as a dictionary of plain values."""
    return dict(OmegaConf.to_container(node, resolve=True))  # type: ignore[arg-type]  # a DictConfig gives a dict


def register_resolvers() -> None:
    """Register the resolvers that configs/ use, and the plugins' YAML files."""
    find_own_configs()
    for name, function in (
        ("joined_keys", lambda node: "+".join(node)),
        ("largest_size", lambda styles: max(style.size for style in styles.values())),
        ("config_file", lambda path: str(CONFIGS / path)),
        # Of a device (cpu, cuda, auto, ...), as Lightning calls it.
        ("native_precision", lambda device="auto": "bf16-mixed" if torch_computes_bfloat16(device) else "32-true"),
        ("sweep_folder", sweep_folder),
        ("if_equal", lambda value, expected, then: then if value == expected else None),
    ):
        OmegaConf.register_new_resolver(name, function, replace=True)
    # Cached for the process: a time would change.
    OmegaConf.register_new_resolver("run_id", run_id, replace=True, use_cache=True)


def duration(seconds: float) -> str:
    """Return seconds as text, such as `2 min 5 s`."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
