"""Where the processes of one run get the name of its folder."""

from datetime import timedelta

import pytest
from lightning.fabric.plugins.environments.lightning import find_free_network_port
from torch.distributed import TCPStore  # type: ignore[attr-defined]  # which its __all__ leaves out

from fast_style.cli.run_folder import run_id
from fast_style.errors import ConfigError

KNOWN = ("FAST_STYLE_RUN_ID", "SLURM_JOB_ID", "SLURM_JOB_NAME", "SLURM_ARRAY_JOB_ID", "TORCHELASTIC_RUN_ID")


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in KNOWN:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"FAST_STYLE_RUN_ID": "mine", "SLURM_JOB_ID": "12", "TORCHELASTIC_RUN_ID": "theirs"}, "mine"),
        ({"SLURM_JOB_ID": "12", "TORCHELASTIC_RUN_ID": "theirs"}, "12"),
        ({"SLURM_JOB_ID": "14", "SLURM_ARRAY_JOB_ID": "12", "SLURM_ARRAY_TASK_ID": "2"}, "12_2"),
        ({"TORCHELASTIC_RUN_ID": "theirs"}, "theirs"),
        ({"FAST_STYLE_RUN_ID": "../../etc/x y"}, ".._.._etc_x_y"),
    ],
)
def test_the_scheduler_names_the_run(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: str) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert run_id() == expected


@pytest.mark.parametrize("variables", [{}, {"SLURM_JOB_ID": "12", "SLURM_JOB_NAME": "interactive"}])
def test_without_a_scheduler_the_time_names_the_run(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert run_id().startswith("20")
    assert len(run_id()) == len("2026-01-01_00-00-00")


def test_all_processes_of_torchrun_hear_of_one_time(monkeypatch: pytest.MonkeyPatch) -> None:
    port = find_free_network_port()
    store = TCPStore("127.0.0.1", port, is_master=True, timeout=timedelta(seconds=10))
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    monkeypatch.setenv("TORCHELASTIC_USE_AGENT_STORE", "True")
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", str(port))
    first = run_id()
    monkeypatch.setattr("fast_style.cli.run_folder._now", lambda: "later")
    assert run_id() == first
    assert store.get("fast_style/run_id").decode() == first


def test_torchrun_without_a_store_must_be_given_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    monkeypatch.delenv("TORCHELASTIC_USE_AGENT_STORE", raising=False)
    with pytest.raises(ConfigError, match="--rdzv-id=NAME"):
        run_id()
