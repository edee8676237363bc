"""Stylise many pictures on many machines: python scripts/stylize_distributed.py ckpt=starry_night input=A output=B."""

import os
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

from command_line import duration, find_pictures, output_paths, plain, run
from omegaconf import DictConfig
from progress import Amount

import fast_style
from fast_style.clusters import cluster, count_workers
from fast_style.controls import Controls, Settings
from fast_style.distributed import Job, stylize_files
from fast_style.errors import ConfigError, ImageError
from fast_style.files import sweep
from fast_style.network_files import read_network_file
from fast_style.zoo import find, networks

#: A file that a process was killed over is not being written any more, in seconds.
STALE = 60.0


def main(config: DictConfig) -> None:
    """Stylise all pictures that `input` names on the cluster at `address`."""
    settings = plain(config)
    network = find(Path(str(config.ckpt)))
    controls = checked_controls(settings, list(read_network_file(network).metadata.styles))
    jobs = unmade(settings)
    total, failed, seen, began = len(jobs), 0, set(), time.monotonic()
    if not jobs:
        print("all pictures are there already")
        return
    with cluster(config.address), Amount("pictures") as amount:
        pool = count_workers(config.workers, config.cpus, config.gpus)
        # Of a network that ships, every machine has its own.
        name = network.stem if network in networks().values() else str(network.absolute())
        machine = {key: settings[key] for key in ("backend", "precision", "memory", "tiles")}
        load = partial(fast_style.load, name, device=None if pool.gpus else "cpu", **machine)
        amount.say(f"{total:,} pictures, {pool.count} workers, {pool.machines} machines")
        amount.update(str(config.output), 0, total)
        options = {"size": config.size, "controls": controls, "batch": config.batch}
        for done, outcome in enumerate(stylize_files(jobs, load, pool, **options), 1):
            seen.add(outcome.worker)
            if outcome.error:
                failed += 1
                print(outcome.error, file=sys.stderr, flush=True)
            amount.update(str(config.output), done, total)
    for folder in {target.parent for _, target in jobs}:
        sweep(folder, STALE)
    seconds = time.monotonic() - began
    by = f"by {len(seen - {None})} processes"
    print(f"{total - failed:,} pictures in {duration(seconds)}, {(total - failed) / seconds:.1f}/s, {by}", flush=True)
    if failed:
        raise ImageError(f"{failed} of {total} pictures failed; the others are done")


def unmade(settings: dict[str, Any]) -> list[Job]:
    """Return the pictures to stylise, each with its output in the folder, which is made.

    Raises:
        ConfigError: as `find_pictures` and `output_paths` do; or if `resume` and `overwrite` are both asked for.
    """
    resume, overwrite = settings["resume"], settings["overwrite"]
    if resume and overwrite:
        raise ConfigError("resume keeps the outputs that are there, and overwrite replaces them: give one of the two")
    files = find_pictures(settings["input"])
    outputs = output_paths(files, os.path.join(str(settings["output"]), ""), "", overwrite=overwrite or resume)
    # What an earlier run over the same folder made is not stylised again.
    made = set(outputs)
    jobs = [(file, output) for file, output in zip(files, outputs, strict=True) if file not in made]
    return [(file, output) for file, output in jobs if not (resume and output.exists())]


def checked_controls(settings: dict[str, Any], known: list[str]) -> Controls:
    """Return how to stylise, with masks that are read here: workers need not see their files.

    Raises:
        ConfigError: if a setting does not fit, or is not one of the network's styles.
    """
    style = settings["styles"]
    if isinstance(style, dict) and not all(isinstance(weight, int | float) for weight in style.values()):
        raise ConfigError(f"styles must give numbers, such as {{{known[0]}: 1}}, not {style}")
    if settings["size"] is not None and type(settings["size"]) is not int:
        raise ConfigError(f"size must be a whole number of pixels, such as 1024, not {settings['size']!r}")
    controls = Controls(style=style, **{name: settings[name] for name in Settings.__annotations__})
    controls.rows(known)
    return controls


if __name__ == "__main__":
    run(main, config_name="stylize_distributed")
