"""The package as others install it: a wheel, in an environment of its own, used from an empty folder."""

import os
import shutil
import subprocess
import sysconfig
import venv
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_runs import ROOT, SMALL, environment

UV = os.environ.get("UV") or shutil.which("uv")
pytestmark = pytest.mark.skipif(UV is None, reason="needs uv")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    done = subprocess.run([str(UV), "build", "--wheel", "--out-dir", folder, ROOT], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("*.whl")
    return path


def test_the_wheel_carries_what_the_command_needs(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        inside = set(archive.namelist())
    carried = [path for path in (ROOT / "configs").rglob("*") if path.is_file()]
    assert {f"fast_style/{path.relative_to(ROOT)}" for path in carried} <= inside
    assert {"fast_style/py.typed", "fast_style/__main__.py", "fast_style/zoo/starry_night.safetensors"} <= inside
    assert not any(name.startswith(("tests/", "scripts/", "configs/", "docs/")) for name in inside)


def test_the_installed_command_trains_and_stylizes_where_it_is_called(wheel: Path, tmp_path: Path) -> None:
    place, work = tmp_path / "environment", tmp_path / "empty folder"
    work.mkdir()
    venv.create(place)
    python = place / "bin" / "python"
    subprocess.run([str(UV), "pip", "install", "--quiet", "--no-deps", "--python", python, wheel], check=True)
    # What the package needs, without what this checkout has put there for itself.
    packages = subprocess.check_output(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], text=True
    )
    Path(packages.strip(), "needed.pth").write_text(sysconfig.get_path("purelib"))
    before = {path for path in place.rglob("*") if "__pycache__" not in path.parts}

    def run(*arguments: str) -> str:
        variables = {name: value for name, value in environment().items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
        variables["PATH"] = f"{place / 'bin'}{os.pathsep}{variables['PATH']}"
        variables.pop("UV_RUN_RECURSION_DEPTH", None)
        command = [str(place / "bin" / "fast-style"), *arguments]
        done = subprocess.run(command, cwd=work, env=variables, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stderr
        return done.stdout

    code = "import fast_style; print(fast_style.__file__)"
    found = subprocess.check_output([python, "-c", code], cwd=work, text=True, env={**os.environ, "PYTHONPATH": ""})
    assert Path(found.strip()).is_relative_to(place)

    output = run("train", "style=starry_night", *SMALL)
    assert "use it    fast-style stylize ckpt=checkpoints/starry_night.safetensors input=photo.jpg" in output
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 48, 3), np.uint8)).save(work / "photo.jpg")
    assert run("stylize", "photo.jpg", "ckpt=starry_night") == "photo_starry_night.jpg\n"
    assert "checkpoints/" in run("list")
    assert {path.name for path in work.iterdir()} == {"checkpoints", "runs", "photo.jpg", "photo_starry_night.jpg"}
    assert {path for path in place.rglob("*") if "__pycache__" not in path.parts} == before
