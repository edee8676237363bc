"""How many training crops a second one core delivers, by where they come from: python scripts/benchmark_loader.py."""

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path

import numpy as np
from PIL import Image

from fast_style.data.batches import Batches, TrainingImages
from fast_style.data.datamodule import EndlessSampler
from fast_style.data.photographs import Photographs
from fast_style.data.prepare.pack import one_thread, pack
from fast_style.data.procedural import ProceduralPictures
from fast_style.images.photographs import packaged_photographs


def measure_loader(
    source: Path | None = None, size: int = 256, batch: int = 32, seconds: float = 1.0, rounds: int = 3
) -> dict[str, list[float]]:
    """Return crops a second for each round, one core at work; the cases take turns, to and fro.

    The cases: `source` as it is, what pack makes of it, a .zip of JPEGs and an .npz of pixels, and procedural
    pictures; with "by worker", as the training process receives them from one worker, that core its own. The measure
    for all: "memory map", as many bytes copied from random places of the .npz. All files are in the system's cache.

    Args:
        source: a folder, zip or tar; nothing: 64 JPEGs, of the photographs that scikit-image ships.
        size: the side of the crops, in pixels.
        batch: crops in a batch, where a worker makes them.
        seconds: how long each case runs in each round.
        rounds: how many there are.
    """
    with tempfile.TemporaryDirectory() as folder, one_thread():
        source = source or photographs(Path(folder))
        archives = [Path(folder, name) for name in ("packed.zip", "packed.npz")]
        for archive in archives:
            pack(source, archive, 2 * size, workers=len(os.sched_getaffinity(0)), size=size)
        read = dict(zip(("source", "packed .zip", "packed .npz"), (source, *archives), strict=True))
        pictures: dict[str, TrainingImages] = {name: Photographs(path, size) for name, path in read.items()}
        cases: dict[str, Callable[[], float]] = {"memory map": lambda: copied(archives[1], size, seconds)}
        for name, each in pictures.items():
            cases[name] = lambda each=each: made(each, seconds)  # type: ignore[misc]
            cases[f"{name} by worker"] = lambda each=each: received(each, batch, seconds)  # type: ignore[misc]
        cases["procedural"] = lambda: made(ProceduralPictures(size), seconds)
        rates: dict[str, list[float]] = {name: [] for name in cases}
        for turn in range(rounds):
            for name in list(cases)[:: -1 if turn % 2 else 1]:
                rates[name].append(cases[name]())
    return rates


def copied(path: Path, size: int, seconds: float) -> float:
    """Return the rate of plain copies of as many bytes from a memory map."""
    memory, length = np.memmap(path, np.uint8, "r"), 3 * size**2
    places = np.random.default_rng(0).integers(0, len(memory) - length, 4096).tolist()
    return rate(lambda index: np.array(memory[places[index % 4096] :][:length]), seconds)


def made(pictures: TrainingImages, seconds: float) -> float:
    """Return the rate at which this process makes pictures, in the order of a training."""
    stream = iter(EndlessSampler(len(pictures), 0))
    return rate(lambda index: pictures[next(stream)], seconds)


def received(pictures: TrainingImages, batch: int, seconds: float) -> float:
    """Return the rate at which this process receives pictures from a worker that has a core to itself."""
    mine, *others = sorted(os.sched_getaffinity(0))
    loader = Batches(
        pictures, batch, EndlessSampler(len(pictures), 0), 1, lambda worker: os.sched_setaffinity(0, {mine})
    )
    batches = iter(loader)
    os.sched_setaffinity(0, others or {mine})
    try:
        for _ in range(4):  # more than were made ahead
            next(batches)
        return batch * rate(lambda index: next(batches), seconds)
    finally:
        os.sched_setaffinity(0, {mine, *others})


def rate(make: Callable[[int], object], seconds: float) -> float:
    """Return how often a second something can be done, once it has been done."""
    make(0)
    started = time.perf_counter()
    for index in count():
        make(index)
        if (spent := time.perf_counter() - started) >= seconds:
            return (index + 1) / spent
    raise AssertionError


def photographs(folder: Path) -> Path:
    """Write what a camera would have, and return where: the packaged photographs at 640 pixels, sixteen times."""
    folder = folder / "photographs"
    folder.mkdir()
    for path in packaged_photographs():
        with Image.open(path) as image:
            picture = image.convert("RGB").resize((640, 480), Image.Resampling.BICUBIC)
        for number in range(16):
            picture.save(folder / f"{path.stem}{number}.jpg", quality=90)
    return folder


def entry_point() -> None:
    """Run the command."""
    print(json.dumps(measure_loader(Path(sys.argv[1]) if sys.argv[1:] else None), indent=2))
