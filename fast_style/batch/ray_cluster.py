"""Joins or starts a Ray cluster, and counts the workers that fit on it."""

import logging
import math
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path

from fast_style.errors import ConfigError
from fast_style.system.optional_packages import how_to_install

#: Environment variables that Ray reads on import or when it starts a cluster; values set by the user win.
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",  # no telemetry
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",  # deaths of workers are printed in long repeated lines
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # under `uv run`, Ray would send the working folder to all machines
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # avoids a warning; the device is passed to the loading function
}


@dataclass(frozen=True)
class Workers:
    """The worker processes, each with its own network."""

    count: int  # those without room wait, or make the cluster grow, if it can
    cpus: float  # cores per worker
    gpus: float  # per worker; with fractions, such as 0.5, several share one
    machines: int  # currently in the cluster


@contextmanager
def cluster(address: str) -> Iterator[None]:
    """Join or start a cluster for the duration of the block. A process that has already joined one stays in it.

    Args:
        address: `auto`: the cluster in RAY_ADDRESS, or the last one on this machine; `HOST:PORT`: a cluster that this
            machine belongs to; `local`: a new one of this machine alone, which ends with the block.

    Raises:
        ConfigError: if Ray is not installed, or there is no such cluster.
    """
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise ConfigError(f"many machines need ray: {how_to_install('ray')} ({error})") from None
    # No console log: Ray logs to files, and failures of pictures are in the reports.
    logging.getLogger("ray.data").handlers = [
        handler for handler in logging.getLogger("ray.data").handlers if handler.name != "console"
    ]
    if ray.is_initialized():
        yield
        return
    terminate = signal.getsignal(signal.SIGTERM)
    try:
        if address != "local":
            _require_listener(_last_cluster() if address == "auto" else address)
        # A small object store: only short lists of names pass through it.
        own = {"include_dashboard": False, "object_store_memory": 2**27} if address == "local" else {}
        with _silence():
            ray.init(address, logging_level=logging.CRITICAL, log_to_driver=False, **own)
    except (OSError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(
            f"address={address}: no Ray cluster to join ({reason}); start one with `ray start --head`, or take this "
            "machine alone with address=local"
        ) from error
    try:
        # Ray has replaced the program's handler.
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, terminate)
        yield
    finally:
        ray.shutdown()


def count_workers(count: int | None = None, cpus: float = 1, gpus: float | None = None) -> Workers:
    """Return the workers for the joined cluster.

    Args:
        count: number of workers; None: as many as fit.
        cpus: CPU cores per worker.
        gpus: GPUs per worker; None: one, if the cluster has any.

    Raises:
        ConfigError: if a number is out of range, or no worker fits.
    """
    import ray

    if count is not None and not (isinstance(count, Integral) and count >= 1):
        raise ConfigError(f"workers must be a whole number from 1 on, not {count!r}")
    for name, share in (("cpus", cpus), ("gpus", gpus)):
        if share is not None and not (isinstance(share, Real) and 0 <= share < math.inf):
            raise ConfigError(f"{name} must be 0 or more, not {share!r}")
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if gpus is None:
        gpus = 1 if any(machine.get("GPU") for machine in machines) else 0
    if count is None:
        wanted = {"CPU": cpus, "GPU": gpus}
        shares = {name: share for name, share in wanted.items() if share}
        fitting = ([int(machine.get(name, 0) / share) for name, share in shares.items()] for machine in machines)
        count = sum(min(each, default=1) for each in fitting)
        if not count:
            has = {name: sum(machine.get(name, 0) for machine in machines) for name in wanted}
            raise ConfigError(
                f"no machine has room for a worker of cpus={cpus} gpus={gpus}; all {len(machines)} together have "
                f"{has['CPU']:g} CPUs and {has['GPU']:g} GPUs. Ask for less, or for workers=N if the cluster can grow"
            )
    return Workers(count, cpus, gpus, len(machines))


def _last_cluster() -> str:
    """Return the address that Ray uses by default; its cluster may have ended."""
    note = Path(os.environ.get("RAY_TMPDIR", "/tmp"), "ray", "ray_current_cluster")
    return os.environ.get("RAY_ADDRESS") or (note.read_text().strip() if note.is_file() else "")


def _require_listener(address: str) -> None:
    """Raise if nothing listens at an address: Ray would try for minutes and then end the process."""
    if not address:
        raise ValueError("none was started on this machine")
    if address.startswith("ray://"):
        raise ValueError("Ray Data cannot be used through Ray's client: go to a machine of it, or use `ray job submit`")
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise ValueError("it is not of the form HOST:PORT")
    with closing(socket.create_connection((host.strip("[]"), int(port)), timeout=10)):
        pass


@contextmanager
def _silence() -> Iterator[None]:
    """Discard standard error, where Ray prints the level of its log."""
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "w") as nothing:
        os.dup2(nothing.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
