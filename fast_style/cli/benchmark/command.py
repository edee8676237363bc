"""Measure time and memory against the usual way and the machine's floor: python scripts/benchmark.py."""

import json
import os
import platform
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig

from fast_style.cli.benchmark.jobs import PARTS, check, jobs_for, planned, prepare, yardsticks
from fast_style.cli.benchmark.report import plot, show
from fast_style.cli.benchmark.rounds import Bench, Budget, Case, Job, Worker, WorkerError, measure
from fast_style.cli.benchmark.scale import scale, scale_jobs
from fast_style.cli.hydra_app import duration, plain, require_new
from fast_style.errors import ConfigError
from fast_style.system.files import atomic_write
from fast_style.system.optional_packages import how_to_install

#: Raised when the meaning of a key of the output changes.
FORMAT = 2


def main(config: DictConfig) -> None:
    """Measure what the configuration asks for; the file is written anew after each case."""
    started, settings = time.monotonic(), plain(config)
    check(settings)
    cases, output, plots = planned(settings), Path(settings["output"]), find_spec("matplotlib") is not None
    if settings["plot"] and not plots:
        raise ConfigError(f"plot needs matplotlib: {how_to_install('plot')}; or plot=false")
    if output.suffix != ".json":
        raise ConfigError(f"output must end in .json, such as benchmark.json, not {output}")
    outputs = [output, output.with_suffix(".png")] if plots and settings["plot"] is not False else [output]
    for path in outputs:
        require_new(path, overwrite=settings["overwrite"])
    device = _device(settings["device"])
    report: dict[str, Any] = {
        "format": FORMAT,
        "machine": _machine(device, settings["threads"]),
        "settings": {key: value for key, value in settings.items() if key not in ("output", "plot", "overwrite")},
        **{"cases": [], "loader": None, "quality": None, "scale": None, "left_out": []},
    }
    with tempfile.TemporaryDirectory() as folder:
        environment = environment_for(device, settings["threads"], Path(folder))
        bench = Bench(settings, device.partition(":")[0], Path(folder), environment)
        prepare(bench)
        output.parent.mkdir(parents=True, exist_ok=True)
        for case, name, reason in _measured(cases, bench, report):
            report["left_out"] += [{"case": case, "candidate": name, "reason": reason}] if reason else []
            with atomic_write(output) as file:
                file.write(json.dumps(report, indent=1, allow_nan=False).encode())
            done = f"{case}{', ' if name else ''}{name}: {'left out' if reason else 'done'}"
            print(f"{done} after {duration(time.monotonic() - started)}", file=sys.stderr, flush=True)
    show(report)
    if outputs[1:]:
        plot(report, outputs[1])
    print(*outputs, sep="\n")


def _measured(cases: list[Case], bench: Bench, report: dict[str, Any]) -> Iterator[tuple[str, str, str | None]]:
    """Fill in the report; yield the case, the candidate unless all have been measured, and why it was left out."""
    budgets = {part: Budget(bench.settings, bench.settings["rounds"] + bench.settings["warmup"] + 1) for part in PARTS}
    for case in cases:
        if case.part == "scale":
            results = scale(scale_jobs(bench), bench, report)
        elif case.part == "quality":
            # Here: Lightning takes seconds to import.
            from fast_style.cli.benchmark.quality import compare

            results = compare(jobs_for(case, bench), bench, report)
        elif case.part == "loader":
            results = _loader(jobs_for(case, bench)["loader"], bench, report)
        else:
            result, left_out = measure(case, jobs_for(case, bench), yardsticks(bench), budgets[case.part], bench)
            report["cases"] += [result] if result["candidates"] else []
            results = iter([*left_out.items(), ("", None)])
        title = case.part if case.part == "scale" else str(case)  # whose jobs have shapes of their own
        yield from ((title, *each) for each in results)


def _loader(job: Job, bench: Bench, report: dict[str, Any]) -> Iterator[tuple[str, str | None]]:
    try:
        with Worker(job, bench.environment) as worker:
            report["loader"] = next(worker.answers)
        yield "loader", None
    except WorkerError as error:
        yield "loader", str(error)


def _device(name: str) -> str:
    """Return where to measure, without putting anything there; ConfigError if there is no such device here."""
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", name):
        raise ConfigError(f"device must be auto, cpu, cuda or cuda:1, not {name!r}")
    available = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name.startswith("cuda") and int(name.partition(":")[2] or 0) >= available:
        raise ConfigError(f"device={name}: there are {available} such devices here; use device=cpu")
    return name if name != "auto" else "cuda" if available else "cpu"


def environment_for(device: str, threads: int | None, folder: Path) -> dict[str, str]:
    """Return the environment of the processes: no GPU but the one that is measured, and caches of their own."""
    kind, _, number = device.partition(":")
    index, visible = int(number or 0), [*filter(None, os.environ.get("CUDA_VISIBLE_DEVICES", "").split(","))]
    gpu = visible[index] if index < len(visible) else str(index)
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": gpu if kind == "cuda" else ""}
    environment |= {"FAST_STYLE_CACHE": f"{folder}/converted", "TORCHINDUCTOR_CACHE_DIR": f"{folder}/compiled"}
    return environment | (dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(threads)) if threads else {})


def _machine(device: str, threads: int | None) -> dict[str, Any]:
    """Return what the figures depend on."""
    cpuinfo, on_cuda = Path("/proc/cpuinfo"), device.startswith("cuda")
    found = re.search(r"model name\s*:\s*(.+)", cpuinfo.read_text()) if cpuinfo.exists() else None
    return {
        "processor": found[1] if found else platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": threads or torch.get_num_threads(),
        "waiting": os.environ.get("OMP_WAIT_POLICY"),
        "device": torch.cuda.get_device_name(device) if on_cuda else device,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda if on_cuda else None,
    }
