"""Processes: workers that end with their parent, and SLURM jobs."""

import logging
import os
import subprocess
import threading
import time

_log = logging.getLogger(__name__)


def end_with_parent(parent: int) -> None:
    """End this process when its parent ends; otherwise it might wait forever.

    Args:
        parent: process ID, passed by the parent, which may have ended by now.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        # Not sys.exit, which ends only this thread: the main thread may wait for processes that are gone.
        os._exit(1)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()


def slurm_job_id() -> str | None:
    """Return the ID of this process's SLURM job, ARRAY_TASK for an array job; None outside of SLURM."""
    array, task, job = (os.environ.get(f"SLURM_{name}") for name in ("ARRAY_JOB_ID", "ARRAY_TASK_ID", "JOB_ID"))
    return f"{array}_{task}" if array else job


def requeue_slurm_job() -> None:
    """Ask SLURM to requeue this job, and log the result. The job keeps its ID, which names the run's folder."""
    command = ["scontrol", "requeue", str(slurm_job_id())]
    try:
        status = subprocess.run(command, check=False).returncode
        reason = f"status {status}" if status else ""
    except OSError as error:
        reason = str(error.strerror)
    if reason:
        _log.warning("%s: failed (%s); submit the job again", " ".join(command), reason)
    else:
        _log.info("%s: done", " ".join(command))
