"""The slow way, from the command line."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from small_messages import assert_names, assert_says

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
        ("device=cuda:99", "device=cuda:99 cpu auto"),
        ("device=gpu", "device=gpu cpu auto"),
        ("output=/proc/x/", "output written /proc/x/"),
        ("precision=fp16", "precision bf16-mixed 32-true 'fp16'"),
        ("precision=32", "precision bf16-mixed 32-true 32"),
        ("preview_every_n_steps=-1", "preview_every_n_steps 0 -1"),
        ("patience=0", "patience 1 0 min_delta=0"),
        ("experiment=johnson2016", "experiment=johnson2016 optimize.py 'network'"),
    ],
)
def test_a_mistake_gets_one_line(call: Callable[..., None], photos: Path, setting: str, answer: str) -> None:
    with pytest.raises(SystemExit) as stopped:
        call(*SHALLOW, f"content={photos / 'a.png'}", setting)
    line = str(stopped.value.code).removeprefix("optimize.py: ")
    assert_names(line, answer)
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
    assert_says(capsys.readouterr().err, "2 results")
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
