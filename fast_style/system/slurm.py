"""The scheduler SLURM, as far as a training has to do with it (https://slurm.schedmd.com/sbatch.html)."""

import logging
import os
import subprocess

_log = logging.getLogger(__name__)


def job_id() -> str | None:
    """Return the name of the job that this process is in, array_task for one of an array; None outside of any."""
    array, task, job = (os.environ.get(f"SLURM_{name}") for name in ("ARRAY_JOB_ID", "ARRAY_TASK_ID", "JOB_ID"))
    return f"{array}_{task}" if array else job


def requeue() -> None:
    """Ask SLURM to start this job again; under the same name, it finds this run's folder. Logs how that went."""
    command = ["scontrol", "requeue", str(job_id())]
    try:
        status = subprocess.run(command, check=False).returncode
        reason = f"status {status}" if status else ""
    except OSError as error:
        reason = str(error.strerror)
    if reason:
        _log.warning("%s: failed (%s); submit the job again", " ".join(command), reason)
    else:
        _log.info("%s: done", " ".join(command))
