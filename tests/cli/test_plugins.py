"""Classes of one's own: in an installed package, in a module beside one's pictures, and in Python."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import forked
import pytest
import torch
from PIL import Image
from small_messages import assert_names, raises
from small_runs import ROOT, SMALL, Run, Train

import fast_style
from fast_style.errors import CheckpointError, ConfigError
from fast_style.networks import LightNet, TransformNet
from fast_style.networks.registry import network_class, register
from fast_style.system import plugins
from fast_style.zoo.network_file import read_network_file
from fast_style.zoo.saving import Metadata, load_network, require_loadable, save_network

EXAMPLE = ROOT / "docs" / "examples" / "tiny_style"
MODULE = "from fast_style.networks import LightNet\n\n\nclass Mine(LightNet):\n    pass\n"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder where the example package is installed, as its README says, but for this test alone."""
    uv = os.environ.get("UV") or shutil.which("uv")
    if uv is None:
        pytest.skip("needs uv")
    folder = tmp_path_factory.mktemp("installed")
    source = shutil.copytree(EXAMPLE, folder / "source")
    command = [uv, "pip", "install", "--quiet", "--python", sys.executable, "--no-deps", "--target"]
    subprocess.run([*command, str(folder / "site"), str(source)], check=True)
    return str(folder / "site")


@pytest.fixture
def forgotten(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """After the test, nothing is left of what it has registered and imported."""
    monkeypatch.setattr("fast_style.networks.registry._registered", {})
    monkeypatch.setattr(plugins, "_added", [])
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield
    for name in [name for name in sys.modules if name.split(".")[0] in ("mynets", "tiny_style")]:
        del sys.modules[name]


def saved(path: Path, network: TransformNet) -> Path:
    save_network(path, network, Metadata({"waves": {"artist": "nobody"}}))
    return path


def test_an_installed_package_brings_a_network_and_a_loss(installed: str, run: Run, tmp_path: Path) -> None:
    settings = ("network=tiny", "loss=[content,style,saturation]", "loss.saturation.weight=2")
    done = run("train.py", *settings, *SMALL, PYTHONPATH=installed)
    assert done.returncode == 0, done.stderr
    file = read_network_file(tmp_path / "checkpoints/starry_night.safetensors")
    assert file.network == {"class": "TinyNet", "arguments": {"styles": 1, "width": 8, "blocks": 1}}
    assert file.metadata.config["loss"]["saturation"]["weight"] == 2
    assert file.metadata.losses["heldout/saturation"] >= 0
    Image.new("RGB", (40, 33), "teal").save(tmp_path / "photo.png")
    stylize = ("ckpt=starry_night", "input=photo.png", "backend=torch")
    done = forked.run(tmp_path, *stylize, program=forked.STYLIZE, PYTHONPATH=installed)
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "photo_starry_night.png") as picture:
        assert picture.size == (40, 33)
    # Without the package, the file brings in nothing.
    done = forked.run(tmp_path, *stylize, "overwrite=true", program=forked.STYLIZE)
    assert done.returncode == 1
    assert_names(done.stderr.strip().splitlines()[-1], "network 'TinyNet' unknown")


def test_a_module_where_one_works_is_named_by_a_setting(train: Train, tmp_path: Path) -> None:
    (tmp_path / "mynets.py").write_text(MODULE)
    settings = ("network=light", "network._target_=mynets.Mine", *SMALL)
    done = train("plugins=mynets", *settings)
    assert done.returncode == 0, done.stderr
    # What to do next is said so that it can be done.
    assert "plugins=mynets" in next(line for line in done.stdout.splitlines() if line.startswith("use it"))
    Image.new("RGB", (40, 33), "teal").save(tmp_path / "photo.png")
    stylize = ("plugins=mynets", "ckpt=starry_night", "input=photo.png", "backend=torch")
    done = forked.run(tmp_path, *stylize, program=forked.STYLIZE)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "photo_starry_night.png").exists()


def test_what_could_not_be_loaded_afterwards_is_not_trained(train: Train, tmp_path: Path) -> None:
    (tmp_path / "mynets.py").write_text(MODULE)
    settings = ("network=light", "network._target_=mynets.Mine", *SMALL)
    done = train(*settings, PYTHONPATH=str(tmp_path))
    assert done.returncode == 1
    text = done.stderr.strip().splitlines()[-1]
    assert_names(text, "network subclass TransformNet fast_style.networks")
    assert 'Mine = "mynets:Mine"' in text
    assert list(tmp_path.glob("checkpoints/*")) == []


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ("plugins=nowhere", "plugins nowhere ModuleNotFoundError"),
        ("plugins=broken", "plugins broken ZeroDivisionError"),
    ],
)
def test_a_module_that_cannot_be_imported_is_told_in_one_line(
    train: Train, tmp_path: Path, setting: str, reason: str
) -> None:
    (tmp_path / "broken.py").write_text("1 / 0\n")
    done = train(setting)
    assert done.returncode == 1
    assert_names(done.stderr, f"train.py {reason}")


@pytest.mark.usefixtures("forgotten")
def test_a_class_is_named_in_python(tmp_path: Path) -> None:
    class Mine(LightNet):
        pass

    path = saved(tmp_path / "mine.safetensors", Mine(1, width=4, blocks=1))
    with raises(CheckpointError, "network 'Mine' unknown"):
        fast_style.load(path, "cpu", "torch")
    stylizer = fast_style.load(path, "cpu", "torch", network=Mine)
    assert stylizer(Image.new("RGB", (40, 33))).size == (40, 33)
    assert isinstance(load_network(path)[0], Mine)
    require_loadable(Mine(1, width=4, blocks=1))


@pytest.mark.usefixtures("forgotten")
def test_a_class_that_is_none_or_has_the_name_of_another_is_refused() -> None:
    register(LightNet)
    with raises(ConfigError, "network LightNet fast_style.networks"):
        register(type("LightNet", (LightNet,), {}))
    for cls in (torch.nn.Identity, TransformNet, "LightNet"):
        with raises(ConfigError, "network subclass fast_style.networks.TransformNet"):
            register(cls)  # type: ignore[arg-type]
    assert network_class("LightNet") is LightNet


@pytest.mark.usefixtures("forgotten")
def test_a_file_does_not_decide_what_is_imported(
    installed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(installed)
    assert network_class("SaturationLoss") is None
    assert network_class("tiny_style.networks:TinyNet") is None
    assert "tiny_style" not in sys.modules
    found = network_class("TinyNet")
    assert found is not None
    assert found.__module__ == "tiny_style.networks"


@pytest.mark.usefixtures("forgotten")
def test_what_a_network_is_converted_from_depends_on_the_code_of_its_package(
    installed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(installed)
    names = {path.name for path in plugins.network_sources("TinyNet")}
    assert names == {"__init__.py", "networks.py", "losses.py"}
    assert plugins.network_sources("LightNet") == []
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mynets.py").write_text(MODULE)
    monkeypatch.setenv(plugins.VARIABLE, "mynets")
    assert [module.__name__ for module in plugins.modules()] == ["mynets"]
    assert plugins.network_sources("Mine") == [tmp_path / "mynets.py"]
    assert network_class("Mine") is sys.modules["mynets"].Mine
