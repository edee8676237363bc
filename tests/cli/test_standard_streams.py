"""input=- and output=-, names that are URLs, and readers that leave."""

import contextlib
import io
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from PIL import Image
from small_messages import assert_names, raises
from small_runs import command, environment

import fast_style
from fast_style.cli import stylize
from fast_style.cli.hydra_app import run
from fast_style.errors import CheckpointError, ImageError
from fast_style.networks import LightNet
from fast_style.system.files import explain_url, is_url
from fast_style.zoo.saving import Metadata, save_network

Call = Callable[..., bytes]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder to work in, with a network and two pictures."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    torch.manual_seed(0)
    save_network(Path("checkpoints/one.safetensors"), LightNet(styles=1, width=8, blocks=1), Metadata({"day": {}}))
    red, green = np.meshgrid(np.linspace(0, 255, 40), np.linspace(0, 255, 24))
    image = Image.fromarray(np.stack([red, green, red], axis=2).round().astype(np.uint8))
    image.save("a.png")
    image.save("a.jpg")
    return tmp_path


class Terminal(io.TextIOWrapper):
    """A standard stream that is one."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def call(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Runs the script with what comes from standard input, and returns what goes to standard output."""

    def call(*arguments: str, received: bytes = b"", terminal: str = "") -> bytes:
        streams = {"stdin": io.BytesIO(received), "stdout": io.BytesIO()}
        for name, stream in streams.items():
            wrapper = Terminal if name == terminal else io.TextIOWrapper
            monkeypatch.setattr(sys, name, wrapper(stream, encoding="utf-8"))
        monkeypatch.setattr(sys, "argv", ["stylize.py", "ckpt=one", *arguments])
        run(stylize.main, "stylize", stylize.without_input)
        sys.stdout.flush()
        return streams["stdout"].getvalue()

    return call


@contextlib.contextmanager
def refused(says: str) -> Iterator[None]:
    with pytest.raises(SystemExit) as stop:
        yield
    line = str(stop.value.code)
    assert line.startswith("stylize.py: ")
    assert_names(line, says)
    assert "/tmp" not in line


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_streams_carry_what_files_hold(call: Call, folder: Path, name: str) -> None:
    call(f"input={name}", f"output=b/{name}")
    expected, given = Path("b", name).read_bytes(), Path(name).read_bytes()
    assert call(f"input={name}", "output=-") == expected
    assert call("input=-", "output=-", received=given) == expected
    assert call("input=-", f"output=c/{name}", received=given) == f"c/{name}\n".encode()
    assert Path("c", name).read_bytes() == expected
    assert {path.name for path in folder.iterdir()} == {"a.png", "a.jpg", "b", "c", "checkpoints"}


def test_settings_hold_and_what_is_only_read_becomes_png(call: Call) -> None:
    icon = io.BytesIO()
    Image.open("a.png").resize((32, 32)).save(icon, "ICO", sizes=[(32, 32)])
    made = Image.open(io.BytesIO(call("input=-", "output=-", "size=20", received=icon.getvalue())))
    assert (made.format, made.size) == ("PNG", (20, 20))
    call("input=-", "output=b.webp", "strength=0.5", received=Path("a.png").read_bytes())
    with Image.open("b.webp") as image:
        assert image.format == "WEBP"


def test_what_streams_cannot_do_is_told_in_one_line(call: Call, folder: Path) -> None:
    given = Path("a.png").read_bytes()
    os.mkdir("photos")
    for name in ("b.png", "c.png"):
        Path("photos", name).write_bytes(given)
    frames = [Image.new("RGB", (16, 16), color) for color in ("red", "blue")]
    frames[0].save("moving.gif", save_all=True, append_images=frames[1:])
    Path("clip.mp4").touch()
    with av.open("film.mp4", "w") as container:
        stream: Any = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height = 64, 48
        for _ in range(6):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), "rgb24")))
        container.mux(stream.encode(None))
    for arguments, received, says in (
        (("input=-",), given, "input=- output=-"),
        (("input=-", "output=a.png"), given, "a.png exists"),
        (("input=[a.png,-]", "output=b"), given, "input=- one picture"),
        (("input=-", "output=-", "json=true"), given, "output=- JSON"),
        (("input=a.png", "output=-", "resume=true"), b"", "output=- resume"),
        (("input=a.png", "output=-", "temporal=0.2"), b"", "temporal videos"),
        (("input=photos", "output=-"), b"", "output=- photos 2"),
        (("input=clip.mp4", "output=-"), b"", "output=- videos animations"),
        (("input=-", "output=-"), Path("moving.gif").read_bytes(), "output=- videos animations"),
        (("input=-", "output=-"), Path("film.mp4").read_bytes(), "output=- videos animations"),
        (("input=-", "output=-"), b"#EXTM3U\n", "input readable playlist"),
        (("input=-", "output=-"), b"", "input readable empty"),
        (("input=-", "output=-"), b"hello", "input readable JPEG"),
    ):
        with refused(says):
            call(*arguments, received=received)
        assert not sys.stdout.buffer.getvalue()  # type: ignore[union-attr]
    for terminal, says in (("stdin", "input terminal"), ("stdout", "output terminal")):
        with refused(says):
            call("input=-", "output=-", received=given, terminal=terminal)


@pytest.mark.parametrize("key", ["input", "ckpt", "output", "mask"])
@pytest.mark.parametrize("url", ["https://example.org/a.jpg?b=1,2", "s3://bucket/a.png", "data:image/png;base64,iVBO"])
def test_a_url_is_told_to_be_one(call: Call, folder: Path, key: str, url: str) -> None:
    given = {"input": "a.png", "output": "b.png"} | {key: url}
    with refused(f"{key} {url} URL {'upload' if key == 'output' else 'download'}"):
        call(*(f"{name}={value}" for name, value in given.items()))
    assert not [path for path in folder.iterdir() if ":" in path.name]


def test_a_url_is_told_to_be_one_in_python(folder: Path) -> None:
    with raises(CheckpointError, "URL"):
        fast_style.load("https://example.org/a.safetensors")
    with raises(ImageError, "URL"):
        fast_style.load("one")("https://example.org/a.jpg")
    # What is called so is a file nevertheless; and drives, times and names with colons are no URLs.
    Path("ab:").mkdir()
    Path("ab:/c.png").touch()
    assert not any(map(is_url, ("ab:/c.png", "C:/a.jpg", "12:30.jpg", "a: b.jpg", "photo.jpg", "/a:/b.jpg")))
    assert_names(explain_url("file:///photos/a.jpg"), "file:///photos/a.jpg URL /photos/a.jpg")


def test_whoever_has_read_enough_hears_no_complaint() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        command("stylize.py", "--help"),
        stdout=writer,
        stderr=subprocess.PIPE,
        env=environment(),
        text=True,
        timeout=120,
    )
    os.close(writer)
    # 128 and the number of SIGPIPE, as shells have it.
    assert (done.returncode, done.stderr) == (141, "")
