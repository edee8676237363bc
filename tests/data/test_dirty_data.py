"""A training on a folder in which everything is that can be in a folder."""

import os
import socket
import struct
import subprocess
import zlib
from pathlib import Path

import forked
import numpy as np
import pytest
from PIL import Image
from small_messages import assert_names, assert_says
from small_runs import SMALL, events, only

#: Runs train.py as an ordinary user would, to whom permissions mean something (capabilities(7)).
WITHOUT_PRIVILEGES = f"""
import ctypes, runpy
libc, header, sets = ctypes.CDLL(None), (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
for capability in (1, 2):
    libc.prctl(24, capability)
libc.capget(header, sets)
for kind in range(3):
    sets[kind] &= ~0b110
libc.capset(header, sets)
runpy.run_path({forked.TRAIN!r}, run_name="__main__")
"""
GOOD = 20
OPTIONS = (*SMALL, "data=photos", "data.source=photos", "callback=[checkpoint,throughput,progress,bad_pictures]")


def png_of_claimed_size(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.fixture
def bad(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Makes the folder; returns what cannot be read, and words of the reason."""
    photos = tmp_path / "photos"
    (photos / "deep" / "er").mkdir(parents=True)
    monkeypatch.chdir(photos)  # A socket's path must be short.
    for index in range(GOOD - 2):
        levels = np.random.default_rng(index).integers(0, 256, (60, 50 + index, 3), np.uint8)
        Image.fromarray(levels).save(f"deep/{index}.jpg")
    Image.new("RGB", (1, 1)).save("one_pixel.png")
    Image.new("L", (50, 40)).save(os.fsdecode(b"gr\xfcn.png"))
    Path("notes.txt").write_text("no picture, and not meant as one")
    Path("deep/er/round").symlink_to(photos)
    jpeg = Path("deep/0.jpg").read_bytes()

    Path("cut.jpg").write_bytes(jpeg[: len(jpeg) // 2])
    Path("zero.jpg").touch()
    Path("page.jpg").write_bytes(b"<!DOCTYPE html><title>404</title>")
    Path("text.png").write_text("GIMME")
    Path("bomb.png").write_bytes(png_of_claimed_size(20_000, 20_000))
    Path("itself.jpg").symlink_to("itself.jpg")
    Path("nowhere.jpg").symlink_to("gone.jpg")
    Path("device.jpg").symlink_to("/dev/zero")
    os.mkfifo("pipe.jpg")
    Path("secret.jpg").write_bytes(jpeg)
    Path("secret.jpg").chmod(0)
    Path(os.fsdecode(b"caf\xe9\n.jpg")).touch()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.jpg")
    return {
        "cut.jpg": "truncated",
        "zero.jpg": "empty",
        "page.jpg": "markup",
        "text.png": "JPEG",
        "bomb.png": "200,000,000",
        "itself.jpg": "symbolic links",
        "nowhere.jpg": "No such file",
        "device.jpg": "regular",
        "pipe.jpg": "regular",
        "secret.jpg": "Permission denied",
        r"caf\udce9\n.jpg": "empty",
        "socket.jpg": "No such device",
    }


def train(folder: Path, *overrides: str) -> "subprocess.CompletedProcess[str]":
    program = folder / "train.py"
    program.write_text(WITHOUT_PRIVILEGES)
    return forked.run(folder, *OPTIONS, *overrides, program=str(program))


def listed(folder: Path) -> dict[str, str]:
    lines = only(folder, "runs/starry_night/*/bad_files.txt").read_text().splitlines()
    return dict(line.split("\t") for line in lines)


def test_everything_trains_on_and_what_is_bad_is_counted_and_named(tmp_path: Path, bad: dict[str, str]) -> None:
    # Two batches of workers see each picture once.
    options = ("data.max_bad=0.9", "batch_size=4", f"trainer.max_steps={(GOOD + len(bad)) // 4}", "workers=2")
    trained = train(tmp_path, *options)
    assert trained.returncode == 0, trained.stderr
    assert trained.stderr == ""
    found = listed(tmp_path)
    assert list(found) == sorted(bad)
    for name, words in bad.items():
        assert_names(found[name], words)
    counts = events(only(tmp_path, "runs/starry_night/*")).Scalars("pictures/bad")
    assert counts[-1].value == len(bad)
    assert_says(trained.stdout, f"{len(bad)} {GOOD + len(bad)} bomb.png")


def test_too_many_bad_pictures_stop_the_run_with_one_line(tmp_path: Path, bad: dict[str, str]) -> None:
    stopped = train(tmp_path, "batch_size=8", "workers=1")
    assert stopped.returncode == 1
    assert_names(stopped.stderr, f"train.py photos {GOOD + len(bad)} bad_files.txt data.max_bad")
    assert 0 < len(listed(tmp_path)) <= len(bad)
