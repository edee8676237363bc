"""What a start leaves behind: the folder of a run that has taken a step, and of one that has failed before, nothing."""

import contextlib
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout
from hydra.core.hydra_config import HydraConfig

from fast_style.cli import run_id

#: What the process that is started has of its rank before Lightning is there to ask, in Lightning's order.
_RANKS = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK")
#: What Hydra puts into a run's folder, and into that of a sweep.
_HYDRAS = {".hydra", "multirun.yaml"}

_fresh: set[Path] = set()


def is_first_process() -> bool:
    """Return whether this is the process that writes and speaks for all."""
    if lightning := sys.modules.get("lightning.pytorch.utilities"):
        rank = getattr(lightning.rank_zero_only, "rank", 0)
    else:
        rank = next((int(os.environ[name]) for name in _RANKS if name in os.environ), 0)
    # Until the trainer has met the others, the rank is known on this machine only.
    return not rank and os.environ.get("NODE_RANK", "0") == "0"


def started_by_trainer() -> bool:
    """Return whether the trainer in another process has started this one."""
    return str(HydraConfig.get().job.name).startswith("train_ddp_process_")


@contextmanager
def nothing_left_of_a_failed_start() -> Iterator[None]:
    """Remove the folder that Hydra has made for this start if it ends in an error before `begun` is called."""
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


def begun(*_: object) -> None:
    """Note that the run has taken a step: from now on its folder stays."""
    _fresh.clear()


def stays(folder: Path) -> bool:
    """Return whether there will be something in a run's folder to go on from, if it ends now."""
    return folder.resolve() not in _fresh


def _is_fresh(folder: Path) -> bool:
    inside = {path.name for path in folder.iterdir()}
    return folder != Path.cwd() and inside <= _HYDRAS


def _remove(folder: Path) -> None:
    # That it is this start's own, its name tells; of one that was given a name, that nobody is there.
    if folder not in run_id.made:
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
