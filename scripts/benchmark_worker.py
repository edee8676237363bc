"""One thing that the benchmark measures, in a process of its own, so that its peak of memory is its own.

Started by scripts/benchmark.py, with what is to be done as JSON. Each function imports what it needs and no more, as a
program that does this and nothing else would.
"""

import json
import os
import subprocess
import sys
from typing import Any

from benchmark_turns import Turns, peak_memory_of_children, serve

Job = dict[str, Any]


def peers_stylize(job: Job, answers: int) -> None:
    """Stylise noise in the peers' way."""
    import torch
    from peers import johnson

    turns = Turns(answers, job["device"])
    torch.manual_seed(0)
    network = johnson().to(job["device"]).eval()
    images = 255 * torch.rand(job["batch"], 3, job["height"], job["width"], device=job["device"])
    with torch.no_grad():
        serve(lambda: network(images).clamp(0, 255), turns)


def ours_stylize(job: Job, answers: int) -> None:
    """Stylise noise with a network's file."""
    import torch

    import fast_style

    turns = Turns(answers, job["device"])
    stylizer = fast_style.load(job["file"], device=job["device"])
    torch.manual_seed(0)
    images = torch.rand(job["batch"], 3, job["height"], job["width"], device=job["device"])
    serve(lambda: stylizer(images), turns)


def peers_step(job: Job, answers: int) -> None:
    """Train in the peers' way."""
    from peers import Training

    turns = Turns(answers, job["device"])
    serve(Training(job["batch"], job["width"], job["device"]).step, turns)


def ours_step(job: Job, answers: int) -> None:
    """Train as scripts/train.py does."""
    import benchmark_step

    benchmark_step.serve(
        job["network"], job["overrides"], job["width"], job["batch"], job["folder"], answers, job["device"]
    )


def matmul(job: Job, answers: int) -> None:
    """Multiply two large square matrices, than which a machine does nothing faster."""
    import torch

    turns = Turns(answers, job["device"])
    size = job["size"]
    a, b = torch.rand(2, size, size, device=job["device"]).to(getattr(torch, job["type"])).unbind()
    product = torch.empty_like(a)
    with torch.no_grad():
        serve(lambda: torch.mm(a, b, out=product), turns, multiply_adds=size**3)


def command(job: Job, answers: int) -> None:
    """Run a program, from its start to its end."""
    turns = Turns(answers, "cpu", memory=peak_memory_of_children)
    serve(lambda: subprocess.run(job["command"], check=True, stdout=subprocess.DEVNULL), turns, multiply_adds=0)


def main() -> None:
    """Do the job that the command line describes, for as long as there are turns."""
    job: Job = json.loads(sys.argv[1])
    # Answers have standard output for themselves: a training prints, too.
    answers = os.dup(1)
    os.dup2(2, 1)
    kinds = (peers_stylize, ours_stylize, peers_step, ours_step, matmul, command)
    {kind.__name__: kind for kind in kinds}[job["kind"]](job, answers)


if __name__ == "__main__":
    main()
