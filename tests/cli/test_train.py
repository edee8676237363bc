"""What a user types, from a painting to a stylized photograph."""

import shlex
import shutil
import subprocess
from pathlib import Path

import forked
import numpy as np
import pytest
import torch
from omegaconf import DictConfig, OmegaConf
from PIL import Image
from safetensors.torch import load_file
from small_messages import assert_names, assert_says
from small_runs import SMALL, Run, Train, events, only, run_script

import fast_style
from fast_style.images.tensors import read_image
from fast_style.zoo import shipped_networks

Trained = tuple["subprocess.CompletedProcess[str]", Path]


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.jpg"
    levels = np.random.default_rng(0).integers(0, 256, (41, 67, 3), np.uint8)
    Image.fromarray(levels).save(path)
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A training as a user types it, in a process that begins with nothing, and its folder."""
    place = tmp_path_factory.mktemp("trained")
    return run_script(place, "train.py", *SMALL), place


def test_one_command_trains_and_the_next_stylizes(trained: Trained, run: Run, tmp_path: Path, photo: Path) -> None:
    done, place = trained
    assert done.returncode == 0, done.stderr
    assert "step 3/3" in done.stdout
    assert "Traceback" not in done.stderr
    assert "warn" not in done.stderr.lower()

    network = place / "checkpoints" / "starry_night.safetensors"
    folder = only(place, "runs/starry_night/*")
    assert load_file(network).keys() == load_file(folder / "starry_night.safetensors").keys()
    assert (folder / ".hydra" / "config.yaml").exists()
    assert (folder / "checkpoints" / "last.ckpt").exists()
    stylizer = fast_style.load(network)
    assert stylizer.metadata.styles["starry_night"]["artist"] == "Vincent van Gogh"
    assert set(stylizer.metadata.losses) == {
        f"heldout/{name}" for name in ("content", "style", "total_variation", "grid", "total", "stillness")
    }

    (command,) = [line for line in done.stdout.splitlines() if "stylize.py" in line]
    # As it stands, but for the name of this very Python.
    words = shlex.split(command.partition("python ")[2])
    shutil.copytree(place / "checkpoints", tmp_path / "checkpoints")
    stylized = run(*words)
    assert stylized.returncode == 0, stylized.stderr
    assert read_image(tmp_path / "photo_starry_night.jpg").shape == read_image(photo).shape


def test_tensorboard_shows_losses_rates_and_pictures(trained: Trained) -> None:
    folder = only(trained[1], "runs/starry_night/*")
    shown = events(folder).Tags()
    terms = ("content", "style", "total_variation", "grid")
    expected = {f"{kind}/{name}" for kind in ("train", "train_weighted", "heldout") for name in terms}
    expected |= {
        "train/total",
        "heldout/total",
        "heldout/stillness",
        "speed/pictures_per_second",
        "speed/learning_rate",
    }
    assert expected <= set(shown["scalars"])
    assert {"style/starry_night", "preview"} <= set(shown["images"])
    # It opens on the losses and the preview: what comes first by name, and nothing stands alone but the preview.
    assert sorted({name.partition("/")[0] for name in (*shown["scalars"], *shown["images"])})[:2] == [
        "heldout",
        "preview",
    ]
    assert all("/" in name for name in shown["scalars"])
    # What TensorBoard's table of runs is made of.
    table = events(folder).PluginTagToContent("hparams")
    assert "_hparams_/session_start_info" in table
    assert {f"result/{name}" for name in (*terms, "total")} <= set(shown["scalars"])
    # And what it shows of each run, in words.
    known = DictConfig(OmegaConf.load(folder / "hparams.yaml"))
    assert (known["data.size"], known["network.width"], known["style.starry_night.size"]) == (32, 8, 96)
    assert not list(folder.glob("*.log"))


def test_a_second_run_leaves_the_first_ones_network_and_keeps_its_own_name(train: Train, tmp_path: Path) -> None:
    first = tmp_path / "checkpoints" / "starry_night.safetensors"
    first.parent.mkdir()
    shutil.copy(shipped_networks()["starry_night"], first)
    made = train(*SMALL)
    assert_says(made.stdout, f"{first.relative_to(tmp_path)} stays")
    assert f"ckpt={Path('checkpoints/starry_night-2.safetensors')} input=" in made.stdout
    assert first.read_bytes() == shipped_networks()["starry_night"].read_bytes()
    second = first.with_name("starry_night-2.safetensors")
    second.unlink()
    assert train("resume=last").returncode == 0
    assert sorted(first.parent.iterdir()) == [second, first]


def test_one_network_learns_two_styles_and_blends_them(train: Train, tmp_path: Path, photo: Path) -> None:
    learnt = train(*SMALL, "style=[starry_night,great_wave]", "style.great_wave.size=96", "optimizer.lr=0.1")
    assert learnt.returncode == 0, learnt.stderr
    for output, choice in (("one.png", "starry_night"), ("blend.png", "{starry_night: 0.7, great_wave: 0.3}")):
        arguments = ("ckpt=starry_night+great_wave", f"input={photo}", f"output={output}", f"styles={choice}")
        stylized = forked.run(tmp_path, *arguments, program=forked.STYLIZE)
        assert stylized.returncode == 0, stylized.stderr
    one, blend = (read_image(tmp_path / name) for name in ("one.png", "blend.png"))
    assert not torch.equal(one, blend)


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_old_network(train: Train, tmp_path: Path) -> None:
    kept = tmp_path / "checkpoints" / "starry_night.safetensors"
    kept.parent.mkdir()
    shutil.copy(shipped_networks()["starry_night"], kept)
    before = kept.read_bytes()
    stopped = train(*SMALL, "optimizer=adamw", "optimizer.lr=1e38", "trainer.max_steps=30")
    assert stopped.returncode == 1
    assert "Traceback" not in stopped.stderr
    assert_names(stopped.stderr, "loss nan step optimizer.lr")
    assert kept.read_bytes() == before


def test_an_unreadable_style_picture_is_told_before_anything_starts(train: Train, tmp_path: Path) -> None:
    stopped = train(*SMALL, "style.starry_night.image=nowhere.jpg")
    assert stopped.returncode == 1
    assert_names(stopped.stderr, "train.py nowhere.jpg readable No such file or directory")
    assert "step" not in stopped.stdout


def test_the_published_experiments_take_a_step(train: Train, shared: Path) -> None:
    weights = (f"encoder.weights={shared / 'vgg' / 'vgg16.safetensors'}", "encoder.normalization=imagenet")
    for experiment in ("johnson2016", "dumoulin2017"):
        small = [text for text in SMALL if not text.startswith("trainer.max_steps")]
        trained = train(*small, *weights, f"experiment={experiment}", "trainer.max_steps=1")
        assert trained.returncode == 0, trained.stderr
