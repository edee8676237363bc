"""How fast, and how much memory, against the usual way and the machine's floor: python scripts/benchmark.py."""

import json
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from fast_style.cli.benchmark.cases import ALONE, PARTS, Known, effort_of, planned
from fast_style.cli.benchmark.jobs import convert, jobs_for, prepare
from fast_style.cli.benchmark.machine import device_of, environment_for, machine
from fast_style.cli.benchmark.plot import plot
from fast_style.cli.benchmark.processes import Worker, WorkerError
from fast_style.cli.benchmark.quality import comparison, curves
from fast_style.cli.benchmark.report import show
from fast_style.cli.benchmark.runs import measure
from fast_style.cli.benchmark.scale import scale
from fast_style.cli.benchmark.scale_jobs import check, scale_jobs
from fast_style.cli.hydra_app import duration, plain, run
from fast_style.errors import ConfigError
from fast_style.system.files import atomic_write
from fast_style.system.optional_packages import how_to_install

#: Raised when the meaning of a key of the output changes.
FORMAT = 2


def main(config: DictConfig) -> None:
    """Measure what the configuration asks for; the file is written anew after each case."""
    started = time.monotonic()
    settings = plain(config)
    cases, effort = planned(settings), effort_of(settings)
    if "scale" in settings["parts"]:
        check(settings["scale"])
    output = Path(settings["output"])
    has_matplotlib = find_spec("matplotlib") is not None
    if settings["plot"] and not has_matplotlib:
        raise ConfigError(f"plot needs matplotlib: {how_to_install('plot')}; or plot=false")
    plots = has_matplotlib and settings["plot"] is not False
    outputs = [output, output.with_suffix(".png")] if plots else [output]
    if output.suffix != ".json":
        raise ConfigError(f"output must end in .json, such as benchmark.json, not {output}")
    for path in outputs:
        if path.exists() and not settings["overwrite"]:
            raise ConfigError(f"{path}: exists already; add overwrite=true to replace it, or give another output")
    device = device_of(settings["device"])
    report: dict[str, Any] = {
        "format": FORMAT,
        "machine": machine(device, settings["threads"]),
        "settings": {key: value for key, value in settings.items() if key not in ("output", "plot", "overwrite")},
        "cases": [],
        "loader": None,
        "quality": None,
        "scale": None,
        "left_out": [],
    }

    def write(done: str) -> None:
        with atomic_write(output) as file:
            file.write(json.dumps(report, indent=1, allow_nan=False).encode())
        print(f"{done}: done after {duration(time.monotonic() - started)}", file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        environment, device = environment_for(device, settings["threads"], folder)
        prepare(settings, folder)
        unfit = convert(settings, device, folder, environment)
        report["left_out"] += [{"case": "all", "candidate": name, "reason": reason} for name, reason in unfit.items()]
        output.parent.mkdir(parents=True, exist_ok=True)
        yardsticks: dict[str, Worker] = {}
        known: dict[str, dict[str, Known]] = {part: {} for part in PARTS}
        for case in cases:
            is_scale = case.part == "scale"
            jobs = dict(scale_jobs(settings, device, folder)) if is_scale else jobs_for(case, settings, device, folder)
            jobs = {name: job for name, job in jobs.items() if job.get("needs", name) not in unfit}
            if case.part in ALONE:
                stack.close()
                title = case.part if is_scale else str(case)
                for done, reason in _alone(case.part, jobs, settings, environment, report):
                    if reason:
                        report["left_out"].append({"case": title, "candidate": done, "reason": reason})
                    write(f"{title}, {done}")
                continue
            if not yardsticks:
                yardsticks = _yardsticks(settings["matmul"], device, environment, stack)
            measured, left_out = measure(case, jobs, yardsticks, effort, environment, known[case.part])
            report["cases"] += [measured] if measured["candidates"] else []
            report["left_out"] += left_out
            write(str(case))
    show(report)
    if plots:
        plot(report, outputs[1])
    print(*outputs, sep="\n")


def _alone(
    part: str,
    jobs: dict[str, dict[str, Any]],
    settings: dict[str, Any],
    environment: dict[str, str],
    report: dict[str, Any],
) -> Iterator[tuple[str, str | None]]:
    """Enter what is measured without taking turns; yield what has been done, and why it failed (None: it did not)."""
    if part == "loader":
        try:
            with Worker(jobs[part], environment) as worker:
                report[part] = next(worker.answers(), None)
            yield part, None
        except WorkerError as error:
            yield part, str(error)
        return
    if part == "scale":
        for name, report[part], reason in scale(jobs, settings, environment):
            yield name, reason
        return
    trained: dict[str, Any] = {}
    for name, curve, reason in curves(jobs, settings["quality"], environment):
        trained[name] = curve
        report[part] = comparison(trained)
        yield name, reason


def _yardsticks(side: int | None, device: str, environment: dict[str, str], stack: ExitStack) -> dict[str, Worker]:
    """Start what measures the machine: multiply-adds of each type, in processes that end with the stack."""
    size = side or (8192 if device.startswith("cuda") else 2048)
    yardsticks = {}
    for kind in ("float32", "bfloat16"):
        job = {"kind": "peak", "device": device, "size": size, "type": kind}
        yardsticks[kind] = stack.enter_context(Worker(job, environment))
    try:
        for yardstick in yardsticks.values():
            yardstick.begin()
    except WorkerError as error:
        raise ConfigError(f"matmul={size}, device={device}: {error}") from None
    return yardsticks


def entry_point() -> None:
    """Run the command."""
    run(main, config_name="benchmark")
