"""Stylizes many pictures on several machines with Ray Data; the machines share a file system.

A worker that dies is restarted with its pictures; those that it has already written are skipped.
"""

import math
import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

from fast_style.batch.ray_cluster import Workers
from fast_style.errors import ConfigError, FastStyleError
from fast_style.images.formats import ANIMATIONS
from fast_style.images.notes import tell
from fast_style.images.opening import contents_of
from fast_style.stylizing.controls import Controls
from fast_style.stylizing.jobs import Job, Report, one_line
from fast_style.stylizing.stylizer import Stylizer
from fast_style.video.work import stylize_animation

#: How often a picture is retried after its worker died: the picture may be the cause.
RETRIES = 3


def stylize_on_ray(
    jobs: Sequence[Job],
    load: Callable[[], Stylizer],
    pool: Workers,
    *,
    size: int | None = None,
    controls: Controls | None = None,
    batch: int = 16,
) -> Iterator[Report]:
    """Stylize pictures on the joined cluster, and yield their reports in the order in which they finish.

    Files are written atomically. Each picture is stylized once, unless its worker is killed. Targets that exist at the
    start are replaced.

    Args:
        jobs: pictures and their targets, with unique paths that every machine can access. Relative paths refer to the
            working folder of this process.
        load: loads the network in each worker, such as a partial of `fast_style.load`.
        pool: the workers.
        size: as for `Stylizer.stylize_file`.
        controls: as for `Stylizer.stylize_file`.
        batch: maximum number of pictures to hand to a worker at a time.

    Raises:
        ConfigError: if a machine cannot load the network or access the folders, or Ray fails.
    """
    if batch < 1:
        raise ConfigError(f"batch must be at least 1, not {batch}")
    import ray

    # Paths as bytes, since file names may be invalid Unicode.
    rows = [
        {
            "index": index,
            "source": os.fsencode(Path(str(job.source)).absolute()),
            "target": os.fsencode(job.target.absolute()),
            "before": _fingerprint(job.target),
        }
        for index, job in enumerate(jobs)
    ]
    # At least four pieces per worker, so that all stay busy until near the end.
    pieces = min(len(rows), max(math.ceil(len(rows) / batch), 4 * pool.count))
    context = ray.data.DataContext.get_current().copy()
    context.enable_progress_bars = False
    context.max_consecutive_actor_init_deaths = RETRIES
    context.execution_no_progress_timeout_s = -1  # a giant picture, or a growing cluster, takes long
    with ray.data.DataContext.current(context):
        done = ray.data.from_items(rows, override_num_blocks=pieces).map(
            _Worker,
            fn_constructor_kwargs={"load": load, "size": size, "controls": controls or Controls()},
            # A fixed size, so that no worker is stopped and its network reloaded while there is work. Ray Data restarts
            # workers and retries their tasks forever (max_restarts and max_task_retries are -1), since machines may
            # come and go. Retries of the same picture are limited in `_Worker`.
            compute=ray.data.ActorPoolStrategy(size=min(pool.count, pieces)),
            num_cpus=pool.cpus,
            num_gpus=pool.gpus or None,
        )
        try:
            for piece in done.iter_batches(batch_size=None, prefetch_batches=0):
                columns = (piece[name].tolist() for name in ("index", "error", "unusable", "worker"))
                for index, error, unusable, worker in zip(*columns, strict=True):
                    if unusable:
                        raise ConfigError(f"{worker}: {unusable}")
                    yield Report(jobs[index], "failed" if error else "done", error=error or None, worker=worker)
        except FastStyleError:
            raise
        except Exception as error:  # Any: from Ray itself, and from imports that fail in the workers.
            lines = str(error).strip().splitlines() or [type(error).__name__]
            raise ConfigError(f"the workers could not be kept running ({lines[-1].strip()})") from error


class _Worker:
    """A worker process with its network."""

    def __init__(self, load: Callable[[], Stylizer], size: int | None, controls: Controls) -> None:
        self.size, self.controls = size, controls
        self.name = f"{socket.gethostname()}:{os.getpid()}"
        self.unusable = ""
        try:
            self.stylizer = load()
        except (FastStyleError, OSError) as error:
            # Not raised: Ray would restart the worker forever.
            self.unusable = one_line(error)

    def __call__(self, row: Mapping[str, Any]) -> dict[str, Any]:
        source, target = (Path(os.fsdecode(row[name])) for name in ("source", "target"))
        error = self.unusable or self._stylize(source, target, row["before"])
        return {"index": row["index"], "error": error, "unusable": self.unusable, "worker": self.name}

    def _stylize(self, source: Path, target: Path, before: str) -> str:
        for folder in (source.parent, target.parent):
            if not folder.is_dir():
                self.unusable = f"there is no folder {folder} on this machine; all must see the same files"
                return self.unusable
        # One byte per attempt. A worker that dies leaves this file, whose name `remove_leftovers` recognizes.
        attempts = target.with_name(f".{blake2b(os.fsencode(target.name), digest_size=8).hexdigest()}.part")
        try:
            if _fingerprint(target) == before:
                with open(attempts, "ab") as file:
                    file.write(b".")
                    attempt = file.tell()
                if attempt > RETRIES + 1:
                    return f"{source}: {RETRIES + 1} processes that began it died, perhaps for want of memory"
                if contents_of(source).kind == "frame" and target.suffix.lower() in ANIMATIONS:
                    stylize_animation(self.stylizer, source, target, self.controls, size=self.size)
                else:
                    report = self.stylizer.stylize_file(source, target, size=self.size, controls=self.controls)
                    tell(str(source), report.notes)
            # Otherwise a worker has written it and died before reporting it.
        except Exception as error:  # Any: one picture must not stop the others.
            return one_line(error) if isinstance(error, FastStyleError) else f"{source}: {one_line(error)}"
        finally:
            attempts.unlink(missing_ok=True)
        return ""


def _fingerprint(file: Path) -> str:
    """Return a fingerprint of a file that changes when it is replaced and is the same on all machines."""
    try:
        found = file.stat()
    except FileNotFoundError:
        return ""
    # No inode, which may differ between machines; whole seconds, since not all file systems have finer ones.
    return f"{int(found.st_mtime)} {found.st_size}"
