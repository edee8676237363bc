"""Under which name a trained network is saved, and that none is lost."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from fast_style.system.files import atomic_copy
from fast_style.training.run import free_name, own_name, save_as

WANTED = Path("checkpoints/wave.safetensors")


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def writing(text: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_text(text)

    return write


def saved(text: str, folder: str, *, overwrite: bool = False) -> str:
    run = Path(folder)
    run.mkdir(exist_ok=True)
    path = save_as(WANTED, run, writing(text), overwrite=overwrite)
    assert path.parent == WANTED.parent
    assert (run / path.name).read_text() == path.read_text() == text
    return path.name


def contents() -> dict[str, str]:
    return {path.name: path.read_text() for path in WANTED.parent.iterdir()}


def test_each_run_gets_a_name_of_its_own_and_goes_on_under_it() -> None:
    assert saved("first", "a") == "wave.safetensors"
    assert free_name(WANTED).name == "wave-2.safetensors"
    assert saved("second", "b") == "wave-2.safetensors"
    assert saved("third", "c") == "wave-3.safetensors"
    # Each goes on, and replaces nothing but its own.
    assert saved("second, longer", "b") == "wave-2.safetensors"
    assert saved("first, longer", "a") == "wave.safetensors"
    assert contents() == {
        "wave.safetensors": "first, longer",
        "wave-2.safetensors": "second, longer",
        "wave-3.safetensors": "third",
    }
    # Also when others are gone by now.
    (WANTED.parent / "wave-2.safetensors").unlink()
    assert saved("third, longer", "c") == "wave-3.safetensors"
    assert saved("second again", "b") == "wave-2.safetensors"


def test_a_name_that_is_by_now_anothers_is_not_taken_back() -> None:
    assert saved("mine", "a") == "wave.safetensors"
    WANTED.write_text("of somebody else")
    assert own_name(WANTED, Path("a")) is None
    assert saved("mine, longer", "a") == "wave-2.safetensors"
    assert WANTED.read_text() == "of somebody else"


def test_a_network_is_replaced_where_that_is_asked_for() -> None:
    saved("first", "a")
    assert saved("second", "b", overwrite=True) == "wave.safetensors"
    assert contents() == {"wave.safetensors": "second"}


def test_a_name_of_a_link_that_leads_nowhere_is_one_that_exists() -> None:
    WANTED.parent.mkdir()
    WANTED.symlink_to("nowhere")
    assert saved("first", "a") == "wave-2.safetensors"


def test_in_the_runs_own_folder_one_file_is_enough() -> None:
    path = Path("run/wave.safetensors")
    path.parent.mkdir()
    for text in ("first", "second"):
        assert save_as(path, path.parent, writing(text), overwrite=False) == path
    assert path.read_text() == "second"
    assert [file.name for file in path.parent.iterdir()] == ["wave.safetensors"]


@pytest.mark.parametrize("links", [True, False])
def test_runs_that_end_at_once_lose_nothing(links: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")  # what FAT answers

    if not links:
        monkeypatch.setattr("os.link", refuse)
    WANTED.parent.mkdir()
    texts = [f"network {number}" for number in range(16)]
    threads = [threading.Thread(target=saved, args=(text, text)) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(contents().values()) == sorted(texts)
    names = {"wave.safetensors", *(f"wave-{number}.safetensors" for number in range(2, 17))}
    assert set(contents()) == names


def test_a_copy_is_whole_or_not_there() -> None:
    Path("source").write_bytes(b"all of it")
    Path("target").write_bytes(b"older")
    with pytest.raises(FileExistsError):
        atomic_copy(Path("source"), Path("target"))
    assert Path("target").read_bytes() == b"older"
    with pytest.raises(FileNotFoundError):
        atomic_copy(Path("none"), Path("new"))
    assert sorted(path.name for path in Path().iterdir()) == ["source", "target"]
