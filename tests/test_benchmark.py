"""The benchmark: what it compares, and what it makes of the times. None of these tests looks at a time."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import benchmark
import pytest
import torch
from benchmark_cases import Case, Effort, Known, planned
from benchmark_processes import Worker, WorkerError
from benchmark_report import show
from benchmark_runs import measure, ratios, rotated, spread
from command_line import run
from peers import LossNetwork, Training, johnson
from PIL import Image
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from fast_style.networks import ResidualNet

#: Johnson et al. 2016, supplementary material, table 1: inputs, outputs, kernel, and by how much the result is smaller.
TABLE = [(3, 32, 9, 1), (32, 64, 3, 2), (64, 128, 3, 4), *[(128, 128, 3, 4)] * 10, (128, 64, 3, 2), (64, 32, 3, 1)]
LAST = (32, 3, 9, 1)

#: What runs in the tests.
TRAIN = "network.width=8 network.blocks=1 heldout.size=48 preview.size=48"
SMALL = ("step.size=48", "step.batch=1", "sizes=[48x32]", "batches=[2]", "networks=[light]", "rounds=2", "warmup=0")
FAST = ("min_seconds=0", "matmul=16", "threads=1", "device=cpu", f"train={TRAIN}")
SPREAD = {"lower_quartile", "median", "upper_quartile"}


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)

    def call(*overrides: str) -> None:
        monkeypatch.setattr("sys.argv", ["scripts/benchmark.py", *overrides])
        run(benchmark.main, "benchmark")

    return call


def size_of(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_the_peers_network_has_the_parameters_of_the_papers_table() -> None:
    kernels = sum(inputs * outputs * kernel**2 for inputs, outputs, kernel, _ in (*TABLE, LAST))
    biases = sum(outputs for _, outputs, _, _ in TABLE)
    assert size_of(johnson()) == kernels + biases + LAST[1] + 2 * biases == 1_679_235
    # Ours leaves out the biases that the normalisation takes away.
    assert size_of(ResidualNet()) == size_of(johnson()) - biases


def test_the_peers_network_does_the_arithmetic_of_the_papers_table() -> None:
    with torch.device("meta"):
        network, images = johnson(), torch.empty(1, 3, 512, 512)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        assert network(images).shape == images.shape
    adds = sum(inputs * outputs * kernel**2 * (512 // by) ** 2 for inputs, outputs, kernel, by in (*TABLE, LAST))
    assert counter.get_total_flops() == 2 * adds


def test_the_peers_loss_network_is_vgg16_up_to_relu4_3() -> None:
    network = LossNetwork()
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    assert [conv.out_channels for conv in convolutions] == [64, 64, 128, 128, 256, 256, 256, 512, 512, 512]
    features = network(255 * torch.rand(1, 3, 32, 48))
    shapes = [(1, 64, 32, 48), (1, 128, 16, 24), (1, 256, 8, 12), (1, 512, 4, 6)]
    assert [tuple(feature.shape) for feature in features] == shapes
    assert all(bool((feature >= 0).all()) for feature in features)


def test_a_step_of_the_peers_moves_the_network_and_nothing_else() -> None:
    training = Training(batch=1, size=32, device="cpu")
    before, judge = ([p.clone() for p in module.parameters()] for module in (training.network, training.judge))
    training.step()
    moved = [not torch.equal(a, b) for a, b in zip(before, training.network.parameters(), strict=True) if a.ndim == 4]
    assert all(moved)
    assert len(moved) == len(TABLE) + 1
    assert all(torch.equal(a, b) for a, b in zip(judge, training.judge.parameters(), strict=True))


def test_a_ratio_is_between_runs_of_one_round() -> None:
    # A machine that slows down all the time, and a candidate that always takes half of the reference's time.
    rounds = [{"peers": 2.0 * slow, "light": 1.0 * slow} for slow in (1, 3, 10, 50)]
    assert spread(ratios(rounds, "peers", "light")) == dict.fromkeys(SPREAD, 2.0)
    # A round that lacks one of them says nothing.
    assert ratios([*rounds, {"peers": 1.0}], "peers", "light") == [2.0] * 4


def test_the_spread_is_the_median_and_the_quartiles() -> None:
    assert spread([5, 1, 4, 2, 3]) == {"lower_quartile": 2, "median": 3, "upper_quartile": 4}
    assert spread([7.0]) == dict.fromkeys(SPREAD, 7.0)


def test_everyone_has_every_place_once() -> None:
    orders = [rotated(["a", "b", "c"], number) for number in range(3)]
    assert orders == [["a", "b", "c"], ["b", "c", "a"], ["c", "a", "b"]]
    assert rotated(["a", "b", "c"], 4) == orders[1]


def test_what_exceeds_the_budget_is_left_out_and_said() -> None:
    effort = Effort(rounds=8, warmup=1, min_seconds=0.5, max_seconds=60, max_memory=4e9)
    assert effort.refusal(seconds=6, memory=4e9) is None
    assert effort.refusal(seconds=7, memory=1e9) == "would take 70 s (max_seconds=60)"
    assert effort.refusal(seconds=1, memory=5e9) == "would take 5.0 GB (max_memory=4)"
    # Ten times as many pixels: ten times as long, and ten times the memory that the pictures took.
    case, small = Case("stylize", 640, 100, 1), Known(load=6400, seconds=0.4, base=10**9, memory=2 * 10**9)
    assert effort.forecast(case, small) == "would take 11.0 GB (max_memory=4)"
    assert effort.forecast(case, Known(6400, 0.4, 10**9, 12 * 10**8)) is None
    assert effort.forecast(case, None) is None


def test_one_that_fails_is_named_and_the_others_go_on() -> None:
    good, bad = [sys.executable, "-c", ""], [sys.executable, "-c", "raise MemoryError('not enough')"]
    jobs = {name: {"kind": "command", "command": program} for name, program in (("good", good), ("bad", bad))}
    effort = Effort(rounds=1, warmup=0, min_seconds=0, max_seconds=60, max_memory=1e9)
    result, left_out = measure(Case("startup", 1, 1, 1), jobs, {}, effort, os.environ, {})
    assert list(result["candidates"]) == ["good"]
    (left,) = left_out
    assert (left["case"], left["candidate"]) == ("startup 1x1, batch 1", "bad")
    assert "exit status 1" in left["reason"]


def test_the_memory_of_a_program_is_its_own() -> None:
    # Less than this process has, which has loaded torch: a peak is not handed down.
    program = [sys.executable, "-c", "x = bytearray(b'1') * 50_000_000"]
    with Worker({"kind": "command", "command": program}, os.environ) as worker:
        worker.begin().run(repeats=2)
        assert 50e6 <= worker.memory <= 100e6


def test_a_process_that_cannot_begin_says_why() -> None:
    with Worker({"kind": "nothing"}, os.environ) as worker, pytest.raises(WorkerError, match="KeyError: 'nothing'"):
        worker.begin()


def test_a_run_leaves_a_file_with_every_round_and_what_comes_of_it(
    call: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    call(*SMALL, *FAST, "parts=[stylize,step]", "output=new/result.json")
    report: dict[str, Any] = json.loads(Path("new/result.json").read_text())
    assert report["left_out"] == []
    assert [(case["part"], case["width"], case["height"], case["batch"]) for case in report["cases"]] == [
        ("step", 48, 48, 1),
        ("stylize", 48, 32, 2),
    ]
    everyone = ["peers", "light", "float32", "bfloat16"]
    for case in report["cases"]:
        assert [list(seconds) for seconds in case["rounds"]] == [everyone, [*everyone[1:], everyone[0]]]
        assert list(case["candidates"]) == everyone[:2]
        for name, row in case["candidates"].items():
            speed = [seconds["peers"] / seconds[name] for seconds in case["rounds"]]
            assert row["speed"] == pytest.approx(spread(speed))
            assert (
                set(row["seconds"]) == set(row["over_floor"]["float32"]) == set(row["over_floor"]["bfloat16"]) == SPREAD
            )
            assert row["memory"] > 50e6
        light, peers = case["candidates"]["light"], case["candidates"]["peers"]
        assert 0 < light["multiply_adds"] < peers["multiply_adds"]
        assert light["memory_ratio"] == pytest.approx(light["memory"] / peers["memory"])
    with Image.open("new/result.png") as picture:
        assert picture.format == "PNG"
    output = capsys.readouterr().out
    assert "stylize" in output
    assert output.endswith("new/result.json\nnew/result.png\n")
    # Nothing else is left behind.
    assert [path.name for path in Path().iterdir()] == ["new"]
    with pytest.raises(SystemExit, match=r"new/result\.json: exists already; add overwrite=true"):
        call("output=new/result.json")


def test_a_start_up_is_that_of_the_script_itself(tmp_path: Path) -> None:
    settings = {"networks": ["light", "residual"]}
    jobs = benchmark.jobs_for(Case("startup", 512, 512, 1), settings, "cpu", tmp_path)
    assert list(jobs) == ["import torch", "light", "residual"]
    for name in settings["networks"]:
        program = jobs[name]["command"]
        assert Path(program[1]).samefile(Path(benchmark.__file__).with_name("stylize.py"))
        assert f"ckpt={tmp_path}/{name}.safetensors" in program


def test_pictures_come_in_the_order_of_their_size_and_once() -> None:
    settings = {
        **{"parts": ["stylize"], "networks": ["light"], "step": {"size": 256, "batch": 4}},
        **{"sizes": ["100x200", 64, "64x64"], "batches": [8, 1]},
    }
    cases = [str(case).removeprefix("stylize ") for case in planned(settings)]
    assert cases == ["64x64, batch 1", "100x200, batch 1", "64x64, batch 8", "100x200, batch 8"]


def test_a_table_shows_what_was_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    machine = {"processor": "a processor", "device": "cpu", "threads": 1, "torch": "2"}
    left = {"case": "stylize 8x8, batch 1", "candidate": "peers", "reason": "would take 9.0 GB (max_memory=6)"}
    show({"machine": machine, "cases": [], "left_out": [left]})
    assert "left out: peers, stylize 8x8, batch 1: would take 9.0 GB (max_memory=6)\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argument", "answer"),
    [
        ("parts=[steps]", "parts must be one of startup, step, stylize, not 'steps'"),
        ("parts=[]", "parts must name at least one of startup, step, stylize"),
        ("networks=[lite]", "networks must be one of light, residual, not 'lite'"),
        ("sizes=[12x]", "sizes must be such as 1280x720 or 512, from 32 to 65535 pixels, not 12x"),
        ("sizes=[16]", "sizes must be such as 1280x720 or 512, from 32 to 65535 pixels, not 16"),
        ("batches=[0]", "batches must be at least 1, not 0"),
        ("step.batch=0", "step.batch must be at least 1, not 0"),
        ("step.size=8", "step.size must be at least 32 pixels, not 8"),
        ("rounds=0", "rounds must be at least 1, not 0"),
        ("rounds=many", "rounds must be a whole number, such as 7, not 'many'"),
        ("max_memory=0", "max_memory must be above 0, not 0"),
        ("threads=x", "threads must be at least 1, not x"),
        ("device=gpu", "device must be auto, cpu, cuda or cuda:1, not 'gpu'"),
        ("device=cuda:99", "device=cuda:99: there are "),
        ("output=x.txt", "output must end in .json, such as benchmark.json, not x.txt"),
        ("train=nam=3", "train: there is no setting 'nam'; did you mean name?"),
        ("round=3", "there is no setting 'round'; did you mean rounds?"),
    ],
)
def test_a_mistake_gets_one_line(call: Callable[..., None], tmp_path: Path, argument: str, answer: str) -> None:
    with pytest.raises(SystemExit) as stop:
        call(argument)
    line = str(stop.value.code)
    assert line.removeprefix("benchmark.py: ").startswith(answer)
    assert "\n" not in line
    assert list(tmp_path.iterdir()) == []


def test_help_shows_examples_and_settings(call: Callable[..., None], capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        call("--help")
    text, errors = capfd.readouterr()
    assert errors == ""
    assert text.startswith("benchmark.py: ")
    assert "  python scripts/benchmark.py " in text
    assert "\nrounds: 7\n" in text
