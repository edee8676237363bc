"""The name of a run, which all its processes know without asking."""

import os
from datetime import datetime

from fast_style import slurm
from fast_style.errors import ConfigError


def run_id() -> str:
    """Return the name of this run among those of its style: the same in every process of it, on every machine.

    And the same again when a scheduler starts it again; so it finds its folder, and goes on.
    """
    given = os.environ.get("FAST_STYLE_RUN_ID") or _slurm_job() or os.environ.get("TORCHELASTIC_RUN_ID")
    if given == "none":  # torchrun without --rdzv-id
        given = _first_process_time()
    return "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in given or _now())


def _slurm_job() -> str | None:
    # Within an allocation of one's own, one command after the other is no requeued job.
    if os.environ.get("SLURM_JOB_NAME") in ("bash", "interactive"):
        return None
    return slurm.job_id()


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
