"""The name of a run, which all its processes know without asking."""

import contextlib
import itertools
import os
from datetime import datetime
from pathlib import Path

from fast_style.errors import ConfigError
from fast_style.system.processes import slurm_job_id

#: The folders that this process has made, each for a run that begins.
made: set[Path] = set()


def run_id(folder: str | None = None) -> str:
    """Return the name of this run among those of its style: the same in every process of it, on every machine.

    And the same again when a scheduler starts it again; so it finds its folder, and goes on.

    Args:
        folder: where runs have their folders. If it is the time that names the run, its folder is made there, so that
            no other run that begins in this second gets it, too.
    """
    given = os.environ.get("FAST_STYLE_RUN_ID") or _slurm_job() or os.environ.get("TORCHELASTIC_RUN_ID")
    if given == "none":  # torchrun without --rdzv-id
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
        made.add((folder / name).resolve())
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
