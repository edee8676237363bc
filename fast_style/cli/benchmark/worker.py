"""One thing that the benchmark measures, in a process of its own, so that its peak of memory is its own.

Started by scripts/benchmark.py, with what is to be done as JSON. Each function imports what it needs and no more, as a
program that does this and nothing else would.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fast_style.cli.benchmark.turns import Turns, peak_memory_of_children, serve

Job = dict[str, Any]


def convert(job: Job, answers: int) -> None:
    """Open a network's file with a backend that converts it, and keeps what it has made."""
    import fast_style

    turns = Turns(answers, "cpu")
    fast_style.load(job["file"], "cpu", job["backend"], job["precision"])
    turns.ready(None)


def peers_stylize(job: Job, answers: int) -> None:
    """Stylize noise in the peers' way."""
    import torch

    from fast_style.cli.benchmark.peers import johnson

    turns = Turns(answers, job["device"])
    torch.manual_seed(0)
    network = johnson().to(job["device"]).eval()
    images = 255 * torch.from_numpy(_noise(job)).to(job["device"])
    with torch.no_grad():
        serve(lambda: network(images).clamp(0, 255), turns, job["multiply_adds"])


def ours_stylize(job: Job, answers: int) -> None:
    """Stylize noise with a network's file: numbers to numbers, as the backend has them; no file, and no conversion.

    So all backends do the same, batches as well, and none has to import what another is made of.
    """
    import numpy as np

    import fast_style

    backend = fast_style.load(job["file"], job["device"], job["backend"], job["precision"]).backend
    turns = Turns(answers, job["device"])
    styles = job.get("styles", 1)
    images, style = backend.place(_noise(job)), np.full((job["batch"], styles), 1 / styles, np.float32)
    serve(lambda: backend(images, style).clip(0, 1), turns, job["multiply_adds"])


def peers_step(job: Job, answers: int) -> None:
    """Train in the peers' way."""
    from fast_style.cli.benchmark.peers import Training

    turns = Turns(answers, job["device"])
    serve(Training(job["batch"], job["width"], job["device"]).step, turns, job["multiply_adds"])


def ours_step(job: Job, answers: int) -> None:
    """Train as scripts/train.py does."""
    from fast_style.cli.benchmark import step as benchmark_step

    benchmark_step.serve(job["overrides"], job["width"], job["batch"], job["folder"], answers, job["device"])


def peers_quality(job: Job, answers: int) -> None:
    """Train in the peers' way on the pictures and with the loss of scripts/train.py, and measure now and then."""
    from fast_style.cli.benchmark import training as benchmark_training

    benchmark_training.peers(job, answers)


def ours_quality(job: Job, answers: int) -> None:
    """Train as scripts/train.py does, and measure now and then; or only find out how long a step takes."""
    from fast_style.cli.benchmark import training as benchmark_training

    benchmark_training.ours(job, answers)


def loader(job: Job, answers: int) -> None:
    """Make and read training pictures, on one core."""
    from fast_style.cli.benchmark.loader import measure_loader

    turns = Turns(answers, "cpu")
    source = Path(job["source"]) if job["source"] else None
    turns.answer(**measure_loader(source, job["size"], job["batch"], job["seconds"], job["rounds"]))


def peak(job: Job, answers: int) -> None:
    """Multiply and add as fast as the machine can: in a large matrix product, or a convolution if that is faster.

    On processors it can be by far: the two come from different libraries, one of which may not know the processor.
    """
    import torch
    import torch.nn.functional as F

    turns = Turns(answers, job["device"])
    size, on_cpu = job["size"], job["device"] == "cpu"
    if not on_cpu:
        # As torch lets the convolutions of float32 do unless it is told otherwise: in TF32.
        torch.set_float32_matmul_precision("high")
    kind = {"device": job["device"], "dtype": getattr(torch, job["type"])}
    a, b = (torch.rand(size, size, device=job["device"]).to(**kind) for _ in range(2))
    works: list[tuple[Callable[[], object], int]] = [(lambda: torch.mm(a, b), size**3)]
    if on_cpu:
        channels, side, kernel = 128, 128, 3
        adds = (channels * side * kernel) ** 2
        batch = max(1, size**3 // adds)
        images = torch.rand(batch, channels, side, side).to(**kind, memory_format=torch.channels_last)
        weights = torch.rand(channels, channels, kernel, kernel).to(**kind, memory_format=torch.channels_last)
        works.append((lambda: F.conv2d(images, weights, padding=kernel // 2), batch * adds))
    with torch.no_grad():
        work, multiply_adds = max(works, key=lambda each: each[1] / _shortest(each[0]))
        serve(work, turns, multiply_adds)


def _shortest(work: Callable[[], object]) -> float:
    """Return the seconds of the fastest of a few runs."""
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def command(job: Job, answers: int) -> None:
    """Run a program, from its start to its end."""
    turns = Turns(answers, "cpu", memory=peak_memory_of_children)
    serve(lambda: subprocess.run(job["command"], check=True, stdout=subprocess.DEVNULL), turns, multiply_adds=None)


def _noise(job: Job) -> Any:
    """Return pictures in [0, 1], the same for everyone, of shape (batch, 3, height, width)."""
    import numpy as np

    return np.random.default_rng(0).random((job["batch"], 3, job["height"], job["width"]), np.float32)


def main() -> None:
    """Do the job that the command line describes, for as long as there are turns."""
    job: Job = json.loads(sys.argv[1])
    # Answers have standard output for themselves: a training prints, too.
    answers = os.dup(1)
    os.dup2(2, 1)
    stylize, step, quality = (peers_stylize, ours_stylize), (peers_step, ours_step), (peers_quality, ours_quality)
    kinds = (convert, *stylize, *step, *quality, loader, peak, command)
    {kind.__name__: kind for kind in kinds}[job["kind"]](job, answers)


if __name__ == "__main__":
    main()
