"""Sweeps: a table of what differs and came out, a sheet of previews, folders that say their settings."""

import sys
from pathlib import Path

import pytest
from PIL import Image
from small_messages import assert_says
from small_runs import SMALL, Train, only

from fast_style.cli.run_folder import sweep_folder
from fast_style.cli.sweep import Failed, Member, differing, table
from fast_style.training.run import Trained


def member(folder: Path, **overrides: str) -> Member:
    losses = {"heldout/content": 0.5, "heldout/style": 0.25, "heldout/total": 9.0}
    return Member(overrides, folder, Trained(Path("checkpoints/a.safetensors"), losses, 3, 61.0))


def test_the_table_has_the_settings_that_differ_the_losses_without_weights_and_the_time(tmp_path: Path) -> None:
    failed = Member({"seed": "3", "name": "a"}, tmp_path, Failed("out of memory"))
    members = [member(tmp_path, seed="1", name="a"), member(tmp_path, seed="2", name="a"), failed]
    assert differing(members) == ["seed"]
    heading, first, _, last = (line.split() for line in table(members))
    assert heading == ["run", "seed", "heldout/content", "heldout/style", "time", "network"]
    assert first == ["0", "1", "0.5", "0.25", "61", "s", "checkpoints/a.safetensors"]
    assert last == ["2", "3", "-", "-", "-", "failed:", "out", "of", "memory"]


@pytest.mark.parametrize(
    ("arguments", "overrides", "expected"),
    [
        (["-m", "optimizer.lr=0.1,0.2", "seed=3"], ["optimizer.lr=0.1", "seed=3"], "0_lr=0.1"),
        (["-m", "loss.a.weight=1,2", "loss.b.weight=3,4"], ["loss.a.weight=1", "loss.b.weight=4"],
         "0_loss.a.weight=1,loss.b.weight=4"),
        (["-m", "name='../x','y z'"], ["name=../x"], "0_name=.._x"),
        (["-m", "seed=3"], ["seed=3"], "0_wave"),
    ],
)  # fmt: skip
def test_a_folder_of_a_sweep_is_called_by_what_differs(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], overrides: list[str], expected: str
) -> None:
    monkeypatch.setattr(sys, "argv", ["train.py", *arguments])
    assert sweep_folder(0, "wave", overrides) == expected
    monkeypatch.setattr(sys, "argv", ["train.py", "-m", f"name={'x' * 300},y"])
    assert len(sweep_folder(0, "wave", [f"name={'x' * 300}"])) < 100


def test_a_run_that_fails_does_not_lose_the_others(train: Train, tmp_path: Path) -> None:
    swept = train("-m", *SMALL, "network.blocks=1,-1,2", "optimizer=adamw")
    assert swept.returncode == 1
    assert "network.blocks" in swept.stderr
    assert_says(swept.stderr, "1 failed")
    folder = only(tmp_path, "runs/sweep/*")
    lines = (folder / "table.txt").read_text().splitlines()
    assert "\n".join(lines) in swept.stdout
    assert [line.split()[:2] for line in lines] == [["run", "network.blocks"], ["0", "1"], ["1", "-1"], ["2", "2"]]
    assert "failed: network.blocks" in lines[2]
    assert lines[3].endswith("checkpoints/starry_night-2.safetensors")
    assert {path.name for path in folder.glob("*_*")} == {"0_blocks=1", "2_blocks=2"}
    with Image.open(folder / "sheet.png") as sheet:
        assert sheet.width > 2 * 160  # two previews, side by side
