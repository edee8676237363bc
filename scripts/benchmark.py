"""How fast, and how much memory, against the usual way and the machine's floor: python scripts/benchmark.py."""

import json
import os
import shlex
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import hydra
import torch
from benchmark_cases import PARTS, Case, Known, effort_of, planned
from benchmark_machine import device_of, machine
from benchmark_processes import Worker, WorkerError
from benchmark_report import plot, show
from benchmark_runs import measure
from command_line import build, duration, plain, run
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from overrides import explain, read_arguments
from PIL import Image

from fast_style.checkpoints import Metadata, save_network
from fast_style.errors import ConfigError
from fast_style.files import written_whole

#: Raised when the meaning of a key of the output changes.
FORMAT = 1


def main(config: DictConfig) -> None:
    """Measure what the configuration asks for; the file is written anew after each case."""
    started = time.monotonic()
    settings = plain(config)
    cases, effort = planned(settings), effort_of(settings)
    output = Path(settings["output"])
    outputs = [output, output.with_suffix(".png")] if settings["plot"] else [output]
    if output.suffix != ".json":
        raise ConfigError(f"output must end in .json, such as benchmark.json, not {output}")
    for path in outputs:
        if path.exists() and not settings["overwrite"]:
            raise ConfigError(f"{path}: exists already; add overwrite=true to replace it, or give another output")
    device = device_of(settings["device"])
    environment = dict(os.environ)
    if settings["threads"] is not None:
        environment["OMP_NUM_THREADS"] = environment["MKL_NUM_THREADS"] = str(settings["threads"])
    report: dict[str, Any] = {
        "format": FORMAT,
        "machine": machine(device, settings["threads"]),
        "settings": {key: value for key, value in settings.items() if key not in ("output", "plot", "overwrite")},
        "cases": [],
        "left_out": [],
    }
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        prepare(settings, folder)
        output.parent.mkdir(parents=True, exist_ok=True)
        size = settings["matmul"] or (8192 if device.startswith("cuda") else 2048)
        matmul = {"kind": "matmul", "device": device, "size": size}
        yardsticks = {
            kind: stack.enter_context(Worker({**matmul, "type": kind}, environment)) for kind in ("float32", "bfloat16")
        }
        try:
            for yardstick in yardsticks.values():
                yardstick.begin()
        except WorkerError as error:
            raise ConfigError(f"matmul={size}, device={device}: {error}") from None
        known: dict[str, dict[str, Known]] = {part: {} for part in PARTS}
        for case in cases:
            jobs = jobs_for(case, settings, device, folder)
            measured, left_out = measure(case, jobs, yardsticks, effort, environment, known[case.part])
            report["cases"] += [measured] if measured["candidates"] else []
            report["left_out"] += left_out
            with written_whole(output) as file:
                file.write(json.dumps(report, indent=1, allow_nan=False).encode())
            print(f"{case}: done after {duration(time.monotonic() - started)}", file=sys.stderr, flush=True)
    show(report)
    if settings["plot"]:
        plot(report, outputs[1])
    print(*outputs, sep="\n")


def prepare(settings: dict[str, Any], folder: Path) -> None:
    """Make what the processes read: an untrained network of each kind, and a photograph's worth of pixels."""
    for name in settings["networks"]:
        try:
            trained = hydra.compose("train", [f"network={name}", *typed(settings)])
        except (HydraException, OmegaConfBaseException) as error:
            raise ConfigError(f"train: {explain(error, 'train')}") from None
        torch.manual_seed(0)
        save_network(folder / f"{name}.safetensors", build(trained.network, styles=1), Metadata({"none": {}}))
    pixels = torch.randint(0, 256, (16, 16, 3), dtype=torch.uint8).numpy()
    Image.fromarray(pixels).resize((512, 512), Image.Resampling.BICUBIC).save(folder / "photo.jpg", quality=90)


def typed(settings: dict[str, Any]) -> list[str]:
    """Return the settings for scripts/train.py one by one."""
    try:
        return read_arguments(shlex.split(str(settings["train"])))
    except ValueError as error:
        raise ConfigError(f"train: {error}: {settings['train']}") from None


def jobs_for(case: Case, settings: dict[str, Any], device: str, folder: Path) -> dict[str, dict[str, Any]]:
    """Return what each candidate has to do, the reference first. See benchmark_worker."""
    files = {name: str(folder / f"{name}.safetensors") for name in settings["networks"]}
    shape = {"device": device, "width": case.width, "height": case.height, "batch": case.batch}
    if case.part == "stylize":
        ours = {name: {"kind": "ours_stylize", "file": file, **shape} for name, file in files.items()}
        return {"peers": {"kind": "peers_stylize", **shape}, **ours}
    if case.part == "step":
        training = {"kind": "ours_step", "overrides": typed(settings), **shape}
        ours = {name: {**training, "network": name, "folder": str(folder / f"run_{name}")} for name in files}
        return {"peers": {"kind": "peers_step", **shape}, **ours}
    stylize = [sys.executable, str(Path(__file__).with_name("stylize.py")), f"input={folder}/photo.jpg"]
    stylize += [f"output={folder}/stylised.jpg", "overwrite=true"]
    programs = {"import torch": [sys.executable, "-c", "import torch"]}
    programs |= {name: [*stylize, f"ckpt={file}"] for name, file in files.items()}
    return {name: {"kind": "command", "command": program} for name, program in programs.items()}


if __name__ == "__main__":
    run(main, config_name="benchmark")
