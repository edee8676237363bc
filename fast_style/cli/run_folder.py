"""The folder of a run: its name, shared by all processes, and its removal if the run fails at the start."""

import contextlib
import os
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser

from fast_style.errors import ConfigError
from fast_style.system.processes import slurm_job_id

#: Rank variables before Lightning is imported, in Lightning's order.
_RANKS = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK")
#: Hydra's files in the folder of a run or sweep.
_HYDRAS = {".hydra", "multirun.yaml"}
#: Most characters of settings in the name of a sweep's folder.
_LONGEST = 80

#: Folders created by this process for a new run.
_created: set[Path] = set()
#: Folders of runs that have not taken a step yet.
_fresh: set[Path] = set()


def run_id(folder: str | None = None) -> str:
    """Return the name of this run, the same in all its processes on all machines, and after a scheduler restarts it.

    For a name from the time, the run's folder is created in `folder`, so that no other run of this second takes it.
    """
    # Commands in an interactive allocation share its job id, but are no requeued job.
    slurm_job = None if os.environ.get("SLURM_JOB_NAME") in ("bash", "interactive") else slurm_job_id()
    given = os.environ.get("FAST_STYLE_RUN_ID") or slurm_job or os.environ.get("TORCHELASTIC_RUN_ID")
    generated = re.fullmatch(r"none|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", given or "")
    if generated and given == os.environ.get("TORCHELASTIC_RUN_ID"):  # torchrun without --rdzv-id
        given = _first_process_time()
    if given is None:
        return _now() if folder is None else _new_folder(Path(folder))
    return "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in given)


def _new_folder(folder: Path) -> str:
    time = _now()
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
    name, number = time, 1
    while True:
        try:
            (folder / name).mkdir()
        except FileExistsError:
            number += 1
            name = f"{time}-{number}"
        except OSError:  # reported when the run writes there
            return time
        else:
            _created.add((folder / name).resolve())
            return name


def _first_process_time() -> str:
    """Return the time at the first process that asks, shared through torchrun's store."""
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        raise ConfigError("torchrun must be given --rdzv-id=NAME, by which its processes find the folder of their run")
    # Imported lazily: slow, and most runs need no torch for their name.
    from torch.distributed import TCPStore  # type: ignore[attr-defined]  # which its __all__ leaves out

    store = TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), is_master=False)
    return str(store.compare_set("fast_style/run_id", "", _now()).decode())


def _now() -> str:
    return f"{datetime.now():%Y-%m-%d_%H-%M-%S}"


def sweep_folder(number: int, name: str, overrides: Sequence[str]) -> str:
    """Return the folder name of one run of a sweep: its number and swept settings, or `name` if none is swept."""
    given = OverridesParser.create().parse_overrides([text for text in sys.argv[1:] if text[0] != "-"])
    swept = [override.key_or_group for override in given if override.is_sweep_override()]
    values = {key: value for key, _, value in (override.partition("=") for override in overrides)}
    shorts = [key.rpartition(".")[2] for key in swept]
    names = [short if shorts.count(short) == 1 else key for short, key in zip(shorts, swept, strict=True)]
    parts = [f"{each}={values.get(key, '')}" for each, key in zip(names, swept, strict=True)]
    settings = re.sub(r"[^\w.+=,-]", "_", ",".join(parts))[:_LONGEST]
    return f"{number}_{settings or name}"


def is_first_process() -> bool:
    """Return whether this process writes and prints for all."""
    if lightning := sys.modules.get("lightning.pytorch.utilities"):
        rank = getattr(lightning.rank_zero_only, "rank", 0)
    else:
        rank = next((int(os.environ[name]) for name in _RANKS if name in os.environ), 0)
    # Before the trainer's setup, the rank is known within this machine only.
    return not rank and os.environ.get("NODE_RANK", "0") == "0"


def started_by_lightning() -> bool:
    """Return whether Lightning's trainer in another process started this one."""
    return str(HydraConfig.get().job.name).startswith("train_ddp_process_")


@contextmanager
def remove_failed_start() -> Iterator[None]:
    """Remove the run's folder if it fails before `note_progress` is called."""
    folder = Path(HydraConfig.get().runtime.output_dir).resolve()
    is_own = HydraConfig.get().output_subdir is not None and folder != Path.cwd()
    if is_own and {path.name for path in folder.iterdir()} <= _HYDRAS:
        _fresh.add(folder)
    try:
        yield
    except BaseException:
        # The error message refers to bad_files.txt: keep it.
        if folder in _fresh and is_first_process() and not (folder / "bad_files.txt").exists():
            _remove(folder)
        raise
    finally:
        _fresh.discard(folder)


def note_progress(*_: object) -> None:
    """Note that the run has taken a step: its folder is kept from now on."""
    _fresh.clear()


def has_progress(folder: Path) -> bool:
    """Return whether the run in a folder has taken a step and can be resumed."""
    return folder.resolve() not in _fresh


def _remove(folder: Path) -> None:
    # Other processes may use a folder that was given by name: remove it only if nobody holds its lock.
    if folder not in _created:
        try:
            with FileLock(folder / ".lock", timeout=0):
                pass
        except (Timeout, OSError):
            return
    shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(OSError):
        for parent in folder.parents:
            if Path.cwd() not in parent.parents:
                break
            # Left by a sweep whose first run failed.
            if {path.name for path in parent.iterdir()} == {"multirun.yaml"}:
                (parent / "multirun.yaml").unlink()
            parent.rmdir()
