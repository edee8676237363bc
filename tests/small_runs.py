"""Runs of the scripts that are small enough for a test, and a look at what they leave."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

ROOT = Path(__file__).parent.parent
Run = Callable[..., "subprocess.CompletedProcess[str]"]
Train = Run  # without the name of the script

#: Otherwise what the bare command does. At its own size the painting alone would take as long as all the rest.
SMALL = (
    "trainer.accelerator=cpu",
    "trainer.max_steps=3",
    "trainer.val_check_interval=2",
    "trainer.log_every_n_steps=1",
    "callback.throughput.every_n_steps=1",
    "network.width=8",
    "network.blocks=1",
    "init=none",
    "style.starry_night.size=96",
    "data.size=32",
    "batch_size=2",
    "workers=0",
    "heldout.size=32",
    "preview.size=48",
    "preview.every_n_steps=2",
    "callback.checkpoint.every_n_steps=2",
)

#: The same to the last bit, each time.
EXACT = (*SMALL, "trainer.precision=32-true", "+trainer.deterministic=true")


def command(script: str, *overrides: str) -> list[str]:
    return [sys.executable, str(ROOT / "scripts" / script), *overrides]


def run_script(folder: Path, script: str, *overrides: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    """Run a script in a folder, in a process that begins with nothing, as a user's does."""
    return subprocess.run(
        command(script, *overrides),
        cwd=folder,
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=600,
    )


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", **more}


def events(folder: Path) -> EventAccumulator:
    accumulator = EventAccumulator(str(folder))
    accumulator.Reload()
    return accumulator


def only(folder: Path, pattern: str) -> Path:
    (found,) = folder.glob(pattern)
    return found
