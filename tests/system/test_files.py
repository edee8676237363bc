"""Files that appear whole or not at all, and what an interruption leaves."""

import os
import time
from pathlib import Path

import pytest

from fast_style.system.files import atomic_write, remove_leftovers


def test_a_file_takes_its_place_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with atomic_write(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(TypeError), atomic_write(path) as file:
        file.write("no bytes")  # type: ignore[call-overload]
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_new_file_may_be_read_by_whoever_may_read_other_files(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "one") as file:
        file.write(b"1")
    (tmp_path / "two").write_bytes(b"2")
    assert (tmp_path / "one").stat().st_mode == (tmp_path / "two").stat().st_mode


def test_a_file_name_may_be_as_long_as_the_system_allows(tmp_path: Path) -> None:
    with atomic_write(tmp_path / ("n" * 255)) as file:
        file.write(b"1")
    assert (tmp_path / ("n" * 255)).read_bytes() == b"1"


def test_what_a_killed_program_left_is_swept_and_nothing_else(tmp_path: Path) -> None:
    leftover, fresh, other = (
        tmp_path / ".0123456789abcdef.part",
        tmp_path / ".fedcba9876543210.part",
        tmp_path / ".video.part",
    )
    for file in (leftover, fresh, other):
        file.write_bytes(b"1")
    hour_ago = time.time() - 3600
    os.utime(leftover, (hour_ago, hour_ago))
    remove_leftovers(tmp_path, older_than=1800)
    assert sorted(tmp_path.iterdir()) == sorted([fresh, other])
    remove_leftovers(tmp_path)
    assert list(tmp_path.iterdir()) == [other]
    remove_leftovers(tmp_path / "nowhere")
