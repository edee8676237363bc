"""`fast_style.train`: what the command does, from Python."""

import os
import random
import signal
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from PIL import Image
from safetensors.torch import load_file
from small_messages import raises
from small_runs import EXACT, SMALL, Train

import fast_style
import fast_style.cli.safety  # what libraries do to a process when they are imported is not looked at
from fast_style.cli.train_from_python import train as fast_train
from fast_style.errors import FastStyleError
from fast_style.losses.styles import Style

# Lightning uses what this version of PyTorch deprecates.
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning:lightning", "ignore::DeprecationWarning:lightning")


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unchecked_shapes: None) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def process_state() -> dict[str, Any]:
    """What else in a process could tell that a training has been there."""
    return {
        "signals": [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)],
        "environment": dict(os.environ),
        "hydra": (GlobalHydra.instance().hydra, HydraConfig.instance().cfg),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "hook": threading.excepthook,
        "warnings": list(warnings.filters),
        "random": (random.getstate(), repr(np.random.get_state()), torch.get_rng_state().tolist()),
        "folder": Path.cwd(),
    }


@pytest.fixture
def command(train: Train) -> Train:
    """The command, in a process of its own."""
    return train


def test_it_does_what_the_command_does_and_leaves_the_process_as_it_was(command: Train) -> None:
    before = process_state()
    trained = fast_train(style="starry_night", max_steps=3, overrides=EXACT)
    assert process_state() == before
    assert trained.path == Path("checkpoints/starry_night.safetensors")
    assert trained.steps == 3
    assert trained.seconds > 0
    terms = ("content", "style", "total_variation", "grid", "total", "stillness")
    assert set(trained.losses) == {f"heldout/{term}" for term in terms}
    assert fast_style.load(trained.path).metadata.losses == trained.losses

    assert command(*EXACT, "name=other").returncode == 0
    ours, theirs = load_file(trained.path), load_file("checkpoints/other.safetensors")
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())


def test_it_learns_paintings_of_ones_own_beside_styles_that_ship_in_another_thread_and_twice(place: Path) -> None:
    Image.effect_noise((96, 96), 60).convert("RGB").save("Garden at dusk.png")
    Image.effect_noise((96, 96), 30).convert("RGB").save("other.png")
    mine = Style("mine", place / "other.png", size=64, layers={"relu1_1": 1.0}, artist="Me", work="Other")
    results: list[Any] = []

    def learn() -> None:
        styles: list[str | Style] = ["starry_night", "Garden at dusk.png", mine]
        results.extend(fast_train(styles, max_steps=1, overrides=SMALL) for _ in range(2))

    thread = threading.Thread(target=learn)
    thread.start()
    thread.join()
    first, second = results
    name = "starry_night+Garden_at_dusk+mine"
    assert (first.path.name, second.path.name) == (f"{name}.safetensors", f"{name}-2.safetensors")
    styles = fast_style.load(second.path).metadata.styles
    assert list(styles) == ["starry_night", "Garden_at_dusk", "mine"]
    assert styles["Garden_at_dusk"]["work"] == "Garden at dusk"
    assert (styles["mine"]["artist"], styles["mine"]["work"]) == ("Me", "Other")
    # And it goes on as the command does.
    again = fast_train(resume="last")
    assert (again.path, again.steps) == (second.path, 1)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: fast_train("starry_nigth"), "style 'starry_nigth' starry_night"),
        (lambda: fast_train(Path("nowhere.jpg")), "nowhere.jpg"),
        (lambda: fast_train(network="lite"), "network 'lite' light"),
        (lambda: fast_train(batchsize=2), "setting 'batchsize' batch_size"),
        (lambda: fast_train(minutes=-1), "minutes 0"),
        (lambda: fast_train(data="no/such/folder"), "no/such/folder folder"),
        (lambda: fast_train(overrides=["trainer.devices=2"]), "trainer.devices 1"),
        (lambda: fast_train(resume="last"), "saved run"),
    ],
)
def test_what_is_wrong_is_an_error_that_leaves_nothing(place: Path, call: Callable[[], object], words: str) -> None:
    before = process_state()
    with raises(FastStyleError, words):
        call()
    assert process_state() == before
    assert list(place.iterdir()) == []


def test_control_c_saves_the_step_and_is_a_keyboard_interrupt() -> None:
    def press() -> None:
        while not list(Path().glob("runs/*/*/checkpoints/last.ckpt")):
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=press, daemon=True).start()
    with raises(KeyboardInterrupt, 'step fast_style.train(resume="'):
        fast_train(max_steps=5000, overrides=SMALL)
