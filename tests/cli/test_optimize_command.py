"""The slow way, from the command line."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fast_style.cli import optimize
from fast_style.cli.hydra_app import run
from fast_style.images.tensors import read_image

#: Small and shallow enough for a test.
SMALL = (
    "size=32",
    "steps=3",
    "device=cpu",
    "style.starry_night.size=32",
    "preview_every_n_steps=2",
)
SHALLOW = ("loss.content.layers=[relu2_1]", "loss.style.layers={relu1_1: 1.0}")


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)

    def call(*overrides: str) -> None:
        monkeypatch.setattr("sys.argv", ["scripts/optimize.py", *SMALL, *overrides])
        run(optimize.main, "optimize")

    return call


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    generator = np.random.default_rng(0)
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, size in (("a.png", (40, 50)), ("b.png", (40, 50)), ("c.png", (50, 40))):
        Image.fromarray(generator.integers(0, 256, (*size, 3), np.uint8)).save(folder / name)
    return folder


@pytest.mark.parametrize(
    ("setting", "answer"),
    [
        ("device=cuda:99", r"device=cuda:99 cannot be used here \(.*\); use cpu, or auto"),
        ("device=gpu", r"device=gpu cannot be used here \(.*\); use cpu, or auto"),
        ("output=/proc/x/", r"output: nothing can be written in /proc/x/ \(.*\); give another$"),
        ("precision=fp16", "precision must be one of bf16-mixed, 32-true, not 'fp16'"),
        ("precision=32", "precision must be one of bf16-mixed, 32-true, not 32"),
        ("preview_every_n_steps=-1", "preview_every_n_steps must be 0, for none, or more, not -1"),
        ("patience=0", "patience must be at least 1, not 0; min_delta=0 never stops early"),
        ("experiment=johnson2016", "experiment=johnson2016 is for another command: optimize.py has no setting 'netw"),
    ],
)
def test_a_mistake_gets_one_line(call: Callable[..., None], photos: Path, setting: str, answer: str) -> None:
    with pytest.raises(SystemExit) as stopped:
        call(*SHALLOW, f"content={photos / 'a.png'}", setting)
    line = str(stopped.value.code).removeprefix("optimize.py: ")
    assert re.match(answer, line)
    assert "\n" not in line
    assert len(list(photos.iterdir())) == 3


def test_by_lbfgs_each_picture_comes_out_as_alone(call: Callable[..., None], photos: Path) -> None:
    call(*SHALLOW, f"content={photos}", "algorithm=lbfgs", "output=together")
    call(*SHALLOW, f"content={photos / 'b.png'}", "algorithm=lbfgs", "output=alone")
    assert torch.equal(read_image(Path("together/b.png")), read_image(Path("alone/b.png")))


def test_previews_may_be_left_out(call: Callable[..., None], photos: Path) -> None:
    call(*SHALLOW, f"content={photos / 'a.png'}", "preview_every_n_steps=0", "output=2024")
    assert read_image(Path("2024/a.png")).shape == (1, 3, 32, 40)


def test_a_photograph_gets_a_stylized_neighbor(call: Callable[..., None], photos: Path) -> None:
    call(*SHALLOW, f"content={photos / 'a.png'}")
    assert read_image(photos / "a_starry_night_optimized.png").shape == (1, 3, 32, 40)


def test_what_was_made_before_is_no_content(
    call: Callable[..., None], photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a_starry_night.png", "b_great_wave+udnie_optimized.png", "c_beach.png"):
        shutil.copy(photos / "a.png", photos / name)
    call(*SHALLOW, f"content={photos}", "output=out")
    assert sorted(path.name for path in Path("out").iterdir()) == ["a.png", "b.png", "c.png", "c_beach.png"]
    assert "2 results of earlier runs are left out, " in capsys.readouterr().err
    # One that is named itself is meant.
    call(*SHALLOW, f"content={photos}/a_starry_night.png", "output=named")
    assert [path.name for path in Path("named").iterdir()] == ["a_starry_night.png"]


def test_several_are_optimized_together_whatever_their_shapes(call: Callable[..., None], photos: Path) -> None:
    call(*SHALLOW, f"content={photos}", "output=out")
    sizes = [tuple(read_image(file).shape[2:]) for file in sorted(Path("out").iterdir())]
    assert sizes == [(32, 40), (32, 40), (40, 32)]
    assert len(list(Path("runs/optimize/starry_night").glob("*/*/events.out.tfevents.*"))) == 2


def test_without_content_a_texture_comes_of_noise(call: Callable[..., None]) -> None:
    call(*SHALLOW, "init=noise", "content_weight=0", "scales=[0.5,1.0]", "steps=[2,1]")
    assert read_image("texture_starry_night.png").shape == (1, 3, 32, 32)


def test_the_same_command_gives_the_same_picture_and_overwrites_only_when_told(
    call: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    noise = (*SHALLOW, "init=noise", "content_weight=0", "output=texture.png")
    call(*noise)
    first = read_image("texture.png")
    with pytest.raises(SystemExit) as stopped:
        call(*noise)
    assert "texture.png: exists already" in str(stopped.value)
    call(*noise, "overwrite=true")
    assert torch.equal(read_image("texture.png"), first)


def test_the_published_setting_and_the_swatch_run(call: Callable[..., None], photos: Path) -> None:
    call("experiment=gatys2015", f"content={photos / 'c.png'}", "style.starry_night.size=64", "size=64")
    call("experiment=swatch", "steps=[1,1,1]", "output=swatch.jpg")
    assert Path("swatch.jpg").exists()
