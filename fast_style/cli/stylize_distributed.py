"""Stylize many pictures on many machines: fast-style stylize-distributed photos ckpt=starry_night output=stylized."""

import os
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

import fast_style
from fast_style.batch.ray import stylize_on_ray
from fast_style.batch.ray_cluster import cluster, count_workers
from fast_style.cli.hydra_app import checked_controls, duration, one_network, plain
from fast_style.cli.inputs import find_inputs
from fast_style.cli.progress import ProgressBar
from fast_style.cli.stylize_images import picture_jobs
from fast_style.errors import ConfigError, ImageError
from fast_style.stylizing.jobs import Job
from fast_style.system.files import remove_leftovers
from fast_style.zoo import ZOO, find, shipped_networks
from fast_style.zoo.network_file import read_network_file

#: Age in seconds at which a temporary file is no longer being written.
STALE = 60.0


def main(config: DictConfig) -> None:
    """Stylize all pictures of `input` on the cluster at `address`."""
    settings = plain(config)
    network = find(Path(one_network(config.ckpt)))
    # Reads masks here: workers need not see their files.
    controls = checked_controls(settings, list(read_network_file(network).metadata.styles))
    jobs = unmade(settings)
    total, failed, seen, began = len(jobs), 0, set[str](), time.monotonic()
    if not jobs:
        print("all pictures are there already")
        return
    with cluster(config.address), ProgressBar("pictures") as bar:
        pool = count_workers(config.workers, config.cpus, config.gpus)
        # Every machine has its own copy of a shipped network.
        name = f"{ZOO}/{network.stem}" if network in shipped_networks().values() else str(network.absolute())
        machine = {key: settings[key] for key in ("backend", "precision", "memory", "tiles")}
        load = partial(fast_style.load, name, device=None if pool.gpus else "cpu", **machine)
        bar.say(f"{total:,} pictures, {pool.count} workers, {pool.machines} machines")
        bar.update(str(config.output), 0, total)
        options = {"size": config.size, "controls": controls, "batch": config.batch}
        for done, report in enumerate(stylize_on_ray(jobs, load, pool, **options), 1):
            seen.add(report.worker)
            if report.error:
                failed += 1
                print(report.error, file=sys.stderr, flush=True)
            bar.update(str(config.output), done, total)
    for folder in {job.target.parent for job in jobs}:
        remove_leftovers(folder, STALE)
    seconds = time.monotonic() - began
    by = f"by {len(seen)} processes"
    print(f"{total - failed:,} pictures in {duration(seconds)}, {(total - failed) / seconds:.1f}/s, {by}", flush=True)
    if failed:
        raise ImageError(f"{failed} of {total} pictures failed; the others are done")


def unmade(settings: dict[str, Any]) -> list[Job]:
    """Return a job for each picture without a result. Creates the output folder."""
    resume, overwrite = settings["resume"], settings["overwrite"]
    if resume and overwrite:
        raise ConfigError("resume keeps the outputs that are there, and overwrite replaces them: give one of the two")
    folder = os.path.join(str(settings["output"]), "")
    found = picture_jobs(find_inputs(settings["input"], folder), folder, "", overwrite=overwrite, resume=resume)
    jobs = [job for job in found if isinstance(job.source, Path)]
    if len(jobs) < len(found):
        raise ConfigError(f"input: {settings['input']} holds pictures that workers cannot open one by one; unpack it")
    return [job for job in jobs if not (resume and job.target.exists())]
