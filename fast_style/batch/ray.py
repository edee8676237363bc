"""Many pictures stylized by processes on many machines, with Ray Data; the machines share a file system.

A process that dies is started again, and so are its pictures: those that it had written are left alone.
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

#: How often a picture is begun again because its process died: it may be what kills.
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
    """Stylize pictures on the cluster that was joined, and yield what became of each, in the order they are done.

    Each is there whole or not at all, and is made once, but for those in the making when a process is killed. A target
    that exists when this begins is replaced.

    Args:
        jobs: pictures, and where each is to be written, to names that differ. Every machine must see them. Relative
            paths are seen from the folder of this process.
        load: what loads the network in each process, such as a partial of `fast_style.load`.
        pool: the processes to have.
        size: as for `Stylizer.stylize_file`.
        controls: as for `Stylizer.stylize_file`.
        batch: the most pictures to hand to a process at a time.

    Raises:
        ConfigError: if a machine cannot load the network or does not see the folders, or Ray gives up.
    """
    if batch < 1:
        raise ConfigError(f"batch must be at least 1, not {batch}")
    import ray

    # Bytes, for a name need not be text.
    rows = [
        {
            "index": index,
            "source": os.fsencode(Path(str(job.source)).absolute()),
            "target": os.fsencode(job.target.absolute()),
            "before": _state(job.target),
        }
        for index, job in enumerate(jobs)
    ]
    # Few at the end of a run, when some would be idle and others have their hands full.
    pieces = min(len(rows), max(math.ceil(len(rows) / batch), 4 * pool.count))
    context = ray.data.DataContext.get_current().copy()
    context.enable_progress_bars = False
    context.max_consecutive_actor_init_deaths = RETRIES
    context.execution_no_progress_timeout_s = -1  # a giant picture takes its time, and a cluster may have to grow
    with ray.data.DataContext.current(context):
        done = ray.data.from_items(rows, override_num_blocks=pieces).map(
            _Worker,
            fn_constructor_kwargs={"load": load, "size": size, "controls": controls or Controls()},
            # Fixed, so that no process is ended, and its network loaded anew, while there is work. Ray Data starts one
            # that died again, and its work, without end (max_restarts and max_task_retries are -1): machines may come
            # and go. What must not go on for ever is the same picture, and that is counted by who stylizes it.
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
        except Exception as error:  # Any: from the depths of Ray, and from what workers could not even import.
            lines = str(error).strip().splitlines() or [type(error).__name__]
            raise ConfigError(f"the workers could not be kept running ({lines[-1].strip()})") from error


class _Worker:
    """A process of the pool, with its network."""

    def __init__(self, load: Callable[[], Stylizer], size: int | None, controls: Controls) -> None:
        self.size, self.controls = size, controls
        self.name = f"{socket.gethostname()}:{os.getpid()}"
        self.unusable = ""
        try:
            self.stylizer = load()
        except (FastStyleError, OSError) as error:
            # Not raised: Ray would start the process again and again.
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
        # Left behind by who dies; it has a byte for each attempt, and a name such as `files.sweep` removes.
        attempts = target.with_name(f".{blake2b(os.fsencode(target.name), digest_size=8).hexdigest()}.part")
        try:
            if _state(target) == before:
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
            # Else it was made by a process that died before it could say so.
        except Exception as error:  # Any: the others are not to be lost for it.
            return one_line(error) if isinstance(error, FastStyleError) else f"{source}: {one_line(error)}"
        finally:
            attempts.unlink(missing_ok=True)
        return ""


def _state(file: Path) -> str:
    """Return what differs after a file was replaced, and is the same wherever one looks from."""
    try:
        found = file.stat()
    except FileNotFoundError:
        return ""
    # No inode, which some file systems number on each machine anew; whole seconds, as not all know finer ones.
    return f"{int(found.st_mtime)} {found.st_size}"
