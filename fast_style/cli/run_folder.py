"""The folder of a run: its name, which all processes know, and whether it is kept when the run fails."""

import contextlib
import itertools
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

#: The rank of a process as its environment has it before Lightning is there to ask, in Lightning's order.
_RANKS = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK")
#: What Hydra puts into a run's folder, and into that of a sweep.
_HYDRAS = {".hydra", "multirun.yaml"}
#: In characters: what a sweep's folder says of its settings.
_LONGEST = 80

#: The folders that this process has made, each for a run that begins.
_created: set[Path] = set()
#: Those of runs that have not yet taken a step.
_fresh: set[Path] = set()


def run_id(folder: str | None = None) -> str:
    """Return the name of this run among those of its style: the same in every process of it, on every machine.

    And the same again when a scheduler starts it again; so it finds its folder, and goes on.

    Args:
        folder: where runs have their folders. If it is the time that names the run, its folder is made there, so that
            no other run that begins in this second gets it, too.
    """
    given = os.environ.get("FAST_STYLE_RUN_ID") or _slurm_job() or os.environ.get("TORCHELASTIC_RUN_ID")
    by_itself = re.fullmatch(r"none|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", given or "")
    if by_itself and given == os.environ.get("TORCHELASTIC_RUN_ID"):  # torchrun without --rdzv-id
        given = _first_process_time()
    if given is None:
        return _now() if folder is None else _made(Path(folder))
    return "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in given)


def _made(folder: Path) -> str:
    time = _now()
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
    for name in itertools.chain([time], (f"{time}-{number}" for number in itertools.count(2))):
        try:
            (folder / name).mkdir()
        except FileExistsError:
            continue
        except OSError:  # What is wrong is said by who is to write there.
            return time
        _created.add((folder / name).resolve())
        return name
    raise AssertionError("there is always another name")


def _slurm_job() -> str | None:
    # Within an allocation of one's own, one command after the other is no requeued job.
    if os.environ.get("SLURM_JOB_NAME") in ("bash", "interactive"):
        return None
    return slurm_job_id()


def _first_process_time() -> str:
    """Return the time at the first process that asks, told to all by way of torchrun's own store."""
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        raise ConfigError("torchrun must be given --rdzv-id=NAME, by which its processes find the folder of their run")
    # Only here: most runs need no torch for their name, and some scripts none at all.
    from torch.distributed import TCPStore  # type: ignore[attr-defined]  # which its __all__ leaves out

    store = TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), is_master=False)
    return str(store.compare_set("fast_style/run_id", "", _now()).decode())


def _now() -> str:
    return f"{datetime.now():%Y-%m-%d_%H-%M-%S}"


def sweep_folder(number: int, name: str, overrides: Sequence[str]) -> str:
    """Return the name of a folder for one run of a sweep: its number, and the settings in which it differs.

    Args:
        number: of the run, from 0.
        name: of the network, where the command line sweeps over nothing.
        overrides: those of the run.
    """
    swept = [key for key in map(_swept_key, sys.argv[1:]) if key]
    values = {key: value for key, _, value in (override.partition("=") for override in overrides)}
    shorts = [key.rpartition(".")[2] for key in swept]
    parts = [
        f"{short if shorts.count(short) == 1 else key}={values.get(key, '')}"
        for short, key in zip(shorts, swept, strict=True)
    ]
    settings = re.sub(r"[^\w.+=,-]", "_", ",".join(parts))[:_LONGEST]
    return f"{number}_{settings or name}"


def _swept_key(argument: str) -> str | None:
    """Return the key of a setting that is given several values, such as seed=1,2."""
    if argument[0] == "-":
        return None
    override = OverridesParser.create().parse_override(argument)
    return override.key_or_group if override.is_sweep_override() else None


def is_first_process() -> bool:
    """Return whether this is the process that writes and speaks for all."""
    if lightning := sys.modules.get("lightning.pytorch.utilities"):
        rank = getattr(lightning.rank_zero_only, "rank", 0)
    else:
        rank = next((int(os.environ[name]) for name in _RANKS if name in os.environ), 0)
    # Until the trainer has met the others, the rank is known on this machine only.
    return not rank and os.environ.get("NODE_RANK", "0") == "0"


def started_by_lightning() -> bool:
    """Return whether Lightning's trainer in another process has started this one."""
    return str(HydraConfig.get().job.name).startswith("train_ddp_process_")


@contextmanager
def remove_failed_start() -> Iterator[None]:
    """Remove the folder that Hydra has made for this start if it ends in an error before `note_progress` is called."""
    folder = Path(HydraConfig.get().runtime.output_dir).resolve()
    if HydraConfig.get().output_subdir is not None and _is_fresh(folder):
        _fresh.add(folder)
    try:
        yield
    except BaseException:
        # What the message names stays: the list of pictures that cannot be read.
        if folder in _fresh and is_first_process() and not (folder / "bad_files.txt").exists():
            _remove(folder)
        raise
    finally:
        _fresh.discard(folder)


def note_progress(*_: object) -> None:
    """Note that the run has taken a step: from now on its folder is kept, whatever happens."""
    _fresh.clear()


def has_progress(folder: Path) -> bool:
    """Return whether the run in a folder has taken a step, so that it can go on from there."""
    return folder.resolve() not in _fresh


def _is_fresh(folder: Path) -> bool:
    inside = {path.name for path in folder.iterdir()}
    return folder != Path.cwd() and inside <= _HYDRAS


def _remove(folder: Path) -> None:
    # That it is this start's own, its name tells; of one that was given a name, that nobody is there.
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
            # Of a sweep whose first run has failed.
            if {path.name for path in parent.iterdir()} == {"multirun.yaml"}:
                (parent / "multirun.yaml").unlink()
            parent.rmdir()
