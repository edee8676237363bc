"""One job of the benchmark, in a process of its own, so that its peak of memory is its own.

Started by rounds.Worker with the job as JSON. Reads on each line of standard input how often to run, and answers with a
line of JSON. Each function imports what it needs and no more, as a program that does nothing else would.
"""

import json
import os
import re
import resource
import subprocess
import sys
import time
import timeit
from collections.abc import Callable, Iterator
from functools import partial
from itertools import cycle
from pathlib import Path
from pkgutil import resolve_name
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

Job = dict[str, Any]
#: Prints its keyword arguments as JSON.
Answer = Callable[..., object]

#: More steps than any training takes: what happens so seldom is no part of it.
NEVER = 1_000_000_000


def turns(
    job: Job, answer: Answer, multiply_adds: Callable[[], int | None], warmups: int, memory: Callable[[], int]
) -> Iterator[None]:
    """Yield before each run, warm-ups first; answer after each turn, with the last of which the process ends."""
    on_cuda, base = job.get("device") == "cuda", memory()

    def now() -> float:
        if on_cuda:
            sys.modules["torch"].cuda.synchronize()
        return time.perf_counter()

    for _ in range(warmups):
        yield
    answer(multiply_adds=multiply_adds(), base=base)
    for line in iter(sys.stdin.readline, ""):
        started = now()
        for _ in range(int(line)):
            yield
        seconds = (now() - started) / int(line)
        device_memory = sys.modules["torch"].cuda.max_memory_allocated() if on_cuda else None
        answer(seconds=seconds, memory=memory(), device_memory=device_memory)
    # At once: a trainer that is asked to stop would save its network first.
    os._exit(0)


def serve(work: Callable[[], object], job: Job, answer: Answer, memory: Callable[[], int] | None = None) -> None:
    """Do the work in turns. On a GPU, libraries still choose their algorithms in the second run."""
    warmups = 3 if job.get("device") == "cuda" else 1
    for _ in turns(job, answer, lambda: job.get("multiply_adds"), warmups, memory or peak_memory):
        work()


def peers_stylize(job: Job, answer: Answer) -> None:
    """Stylize noise in the peers' way."""
    import torch

    from fast_style.cli.benchmark.peers import johnson

    torch.manual_seed(0)
    network = johnson().to(job["device"]).eval()
    images = 255 * torch.from_numpy(_noise(job)).to(job["device"])
    with torch.no_grad():
        serve(lambda: network(images).clamp(0, 255), job, answer)


def ours_stylize(job: Job, answer: Answer) -> None:
    """Stylize noise with a backend, numbers to numbers. A conversion, once, is a process of its own."""
    import numpy as np

    import fast_style

    backend = fast_style.load(job["file"], job["device"], job["backend"], job["precision"]).backend
    style = np.full((job["batch"], job["styles"]), 1 / job["styles"], np.float32)
    images = backend.place(_noise(job))
    serve(lambda: backend(images, style).clip(0, 1), job, answer)


def _noise(job: Job) -> Any:
    """Return images in [0, 1], always the same, of shape (batch, 3, height, width)."""
    import numpy as np

    return np.random.default_rng(0).random((job["batch"], 3, job["height"], job["width"]), np.float32)


def peers_step(job: Job, answer: Answer) -> None:
    """Train in the peers' way."""
    from fast_style.cli.benchmark.peers import Training

    serve(Training(job["batch"], job["width"], job["device"]).step, job, answer)


def ours_step(job: Job, answer: Answer) -> None:
    """Train as train.py does, on one batch of noise. A step lasts until the next begins."""
    from lightning.pytorch.callbacks import LambdaCallback
    from torch.utils.flop_counter import FlopCounterMode

    from fast_style.cli.benchmark.quality import train

    counter = FlopCounterMode(display=False)
    # The first step shows the preview as well, and the second is counted. On a GPU, more of them choose and compile.
    warmups = 5 if job["device"] == "cuda" else 2
    runs = turns(job, answer, lambda: counter.get_total_flops() // 2, warmups, peak_memory)

    def before_step(trainer: object, task: object, batch: object, number: int) -> None:
        if number == 1:
            counter.__enter__()  # type: ignore[no-untyped-call]
        elif number == 2:
            counter.__exit__(None, None, None)  # type: ignore[no-untyped-call]
        next(runs)

    settings = [f"batch_size={job['batch']}", f"data._target_={__name__}.Noise", f"data.size={job['width']}"]
    keys = ("trainer.max_steps", "trainer.val_check_interval", "callback.checkpoint.every_n_steps")
    settings += [f"{key}={NEVER}" for key in (*keys, "preview.every_n_steps", "preview.every_n_seconds")]
    gate = LambdaCallback(on_train_batch_start=before_step)
    train([*job["overrides"], *settings, "workers=0"], job["folder"], job["device"], gate)


class Noise:
    """Training images that cost nothing to make. See fast_style.data.batches.TrainingImages."""

    def __init__(self, size: int, **others: object) -> None:
        import torch

        self.image = torch.randint(0, 256, (3, size, size), dtype=torch.uint8)

    def __len__(self) -> int:
        return 1000

    def __getitem__(self, key: tuple[int, int]) -> "Tensor":
        return self.image


def peak(job: Job, answer: Answer) -> None:
    """Multiply and add as fast as the machine can: in a large matrix product, or a convolution if that is faster.

    On processors it can be by far: the two come from different libraries, one of which may not know the processor.
    """
    import torch
    import torch.nn.functional as F

    size, kind = job["size"], {"device": job["device"], "dtype": getattr(torch, job["type"])}
    a, b = (torch.rand(size, size, device=job["device"]).to(**kind) for _ in range(2))
    works: list[tuple[Callable[[], object], int]] = [(lambda: torch.mm(a, b), size**3)]
    if job["device"] == "cpu":
        adds = (128 * 128 * 3) ** 2  # of 128 channels of 128 x 128 pixels
        batch = max(1, size**3 // adds)
        images = torch.rand(batch, 128, 128, 128).to(**kind, memory_format=torch.channels_last)
        weights = torch.rand(128, 128, 3, 3).to(**kind, memory_format=torch.channels_last)
        works.append((lambda: F.conv2d(images, weights, padding=1), batch * adds))
    else:
        # TF32, which torch allows convolutions of float32 by default.
        torch.set_float32_matmul_precision("high")
    with torch.no_grad():
        work, adds = max(works, key=lambda each: each[1] / min(timeit.repeat(each[0], number=1, repeat=5)))
        serve(work, {**job, "multiply_adds": adds}, answer)


def command(job: Job, answer: Answer) -> None:
    """Run a program in Python, from its start to its end. Its memory is that of the last run: the first may convert."""
    memory = 0

    def once() -> None:
        nonlocal memory
        process = subprocess.Popen([sys.executable, "-c", *job["command"]], stdout=subprocess.DEVNULL)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        memory = _bytes(used)
        if status:
            sys.exit(1)  # it has said why

    serve(once, job, answer, lambda: memory)


def peak_memory() -> int:
    """Return the most physical memory that this process has had so far, in bytes."""
    # Not ru_maxrss where there is another way: on Linux it begins with the peak of the process that started this one.
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s*(\d+) kB", status.read_text()) if status.exists() else None
    return 1024 * int(found[1]) if found else _bytes(resource.getrusage(resource.RUSAGE_SELF))


def _bytes(used: resource.struct_rusage) -> int:
    return used.ru_maxrss if sys.platform == "darwin" else 1024 * used.ru_maxrss


def loader(job: Job, answer: Answer) -> None:
    """Make and read training images, on one core."""
    source = Path(job["source"]) if job["source"] else None
    answer(**measure_loader(source, job["size"], job["batch"], job["seconds"], job["rounds"]))


def measure_loader(
    source: Path | None = None, size: int = 256, batch: int = 32, seconds: float = 1.0, rounds: int = 3
) -> dict[str, list[float]]:
    """Return crops a second for each round, with one core at work; the cases take turns, to and fro.

    The cases: `source` (a folder, zip or tar, or 64 JPEGs of packaged photographs) as it is, a .zip of JPEGs and an
    .npz of pixels that pack makes of it, and procedural images; with "by worker", as the training process receives them
    from one worker that has a core to itself. For comparison: "memory map", copies of as many bytes from random places
    of the .npz. All files are in the system's cache.
    """
    import numpy as np

    from fast_style.data.batches import Batches, TrainingImages
    from fast_style.data.datamodule import EndlessSampler
    from fast_style.data.photographs import Photographs
    from fast_style.data.prepare.pack import one_thread, pack
    from fast_style.data.procedural import ProceduralPictures

    cores = sorted(os.sched_getaffinity(0))

    def rate(make: Callable[[], object]) -> float:
        make()
        started, done = time.perf_counter(), 0
        while not done or time.perf_counter() - started < seconds:
            make()
            done += 1
        return done / (time.perf_counter() - started)

    def copied(path: Path) -> float:
        memory, length = np.memmap(path, np.uint8, "r"), 3 * size**2
        places = cycle(np.random.default_rng(0).integers(0, len(memory) - length, 4096).tolist())
        return rate(lambda: np.array(memory[next(places) :][:length]))

    def made(images: TrainingImages) -> float:
        stream = iter(EndlessSampler(len(images), 0))
        return rate(lambda: images[next(stream)])

    def received(images: TrainingImages) -> float:
        stream = EndlessSampler(len(images), 0)
        batches = iter(Batches(images, batch, stream, 1, lambda worker: os.sched_setaffinity(0, cores[:1])))
        os.sched_setaffinity(0, cores[1:] or cores)
        try:
            for _ in range(4):  # more than are made ahead
                next(batches)
            return batch * rate(lambda: next(batches))
        finally:
            os.sched_setaffinity(0, cores)

    with TemporaryDirectory() as folder, one_thread():
        sources = {"source": source or _photographs(Path(folder, "photographs"))}
        for kind in ("zip", "npz"):
            archive = sources[f"packed .{kind}"] = Path(folder, f"packed.{kind}")
            pack(sources["source"], archive, 2 * size, workers=len(cores), size=size)
        cases: dict[str, Callable[[], float]] = {"memory map": partial(copied, archive)}
        for name, path in sources.items():
            images = Photographs(path, size)
            cases |= {name: partial(made, images), f"{name} by worker": partial(received, images)}
        cases["procedural"] = partial(made, ProceduralPictures(size))
        rates: dict[str, list[float]] = {name: [] for name in cases}
        for turn in range(rounds):
            for name in list(cases)[:: -1 if turn % 2 else 1]:
                rates[name].append(cases[name]())
    return rates


def _photographs(folder: Path) -> Path:
    """Write JPEGs as of a camera, the packaged photographs at 640 pixels, sixteen times, and return their folder."""
    from PIL import Image

    from fast_style.images.photographs import packaged_photographs

    folder.mkdir()
    for path in packaged_photographs():
        with Image.open(path) as image:
            small = image.convert("RGB").resize((640, 480), Image.Resampling.BICUBIC)
        for number in range(16):
            small.save(folder / f"{path.stem}{number}.jpg", quality=90)
    return folder


if __name__ == "__main__":
    # Answers have standard output for themselves: a training prints, too.
    answers = os.dup(1)
    os.dup2(2, 1)
    job = json.loads(sys.argv[1])
    kind = resolve_name(f"fast_style.cli.benchmark.{job['kind']}")
    kind(job, lambda **values: os.write(answers, (json.dumps(values) + "\n").encode()))
