"""The benchmark: what it compares, and what it makes of the times. None of these tests looks at a time."""

import json
import os
import re
from collections.abc import Callable
from contextlib import nullcontext
from itertools import pairwise
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import forked
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save_file
from small_messages import assert_names, assert_says, raises
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from fast_style import cli
from fast_style.cli.benchmark import command as benchmark
from fast_style.cli.benchmark import quality as benchmark_quality
from fast_style.cli.benchmark.command import environment_for
from fast_style.cli.benchmark.jobs import composed, jobs_for, planned, prepare, vgg16
from fast_style.cli.benchmark.peers import LossNetwork, Training, johnson
from fast_style.cli.benchmark.quality import PeersNet, PlainLoss, compare, comparison, judge, passed
from fast_style.cli.benchmark.report import plot, show
from fast_style.cli.benchmark.rounds import Bench, Budget, Case, Worker, WorkerError, measure, ratios, rotated, spread
from fast_style.cli.benchmark.worker import measure_loader
from fast_style.cli.hydra_app import build, run
from fast_style.encoders.vgg import VGGEncoder
from fast_style.losses import ContentLoss, PerceptualLoss, StyleLoss
from fast_style.losses.styles import Style
from fast_style.networks import ResidualNet

#: Johnson et al. 2016, supplementary material, table 1: inputs, outputs, kernel, and by how much the result is smaller.
TABLE = [(3, 32, 9, 1), (32, 64, 3, 2), (64, 128, 3, 4), *[(128, 128, 3, 4)] * 10, (128, 64, 3, 2), (64, 32, 3, 1)]
LAST = (32, 3, 9, 1)

#: What runs in the tests.
TRAIN = "network.width=8 network.blocks=1 heldout.size=48 preview.size=48"
SMALL = ("step.size=48", "step.batch=1", "sizes=[48x32]", "batches=[2]", "networks=[light]", "rounds=2", "warmup=0")
FAST = ("min_seconds=0", "matmul=16", "threads=1", "device=cpu", f"train={TRAIN}")
TINY = f"{TRAIN} data.size=48 batch_size=1 workers=0 style.starry_night.size=48"
SPREAD = {"lower_quartile", "median", "upper_quartile"}


# Of the trainings in this process.
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning:lightning", "ignore::DeprecationWarning:lightning")


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
    # Ours leaves out the biases that the normalization takes away.
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


def test_the_peers_loss_is_that_of_the_published_training(tmp_path: Path, style: Style) -> None:
    # Our losses, encoder and experiment, told to do what peers do, against the peers' own few lines.
    case = Case("step", 32, 32, 2)
    settings = {"networks": ["light"], "train": "network.width=8 loss=[content] optimizer.lr=0.1"}
    job = jobs_for(case, Bench(settings, folder=tmp_path))["residual, peers' loss"]
    torch.manual_seed(0)
    save_file(vgg16(), tmp_path / "vgg16.safetensors")
    config = composed(job["overrides"])
    assert config.network["_target_"].endswith("ResidualNet")
    assert config.network.width == 8
    training = Training(batch=2, size=32, device="cpu")
    torch.manual_seed(0)
    training.judge.load_state_dict(LossNetwork().state_dict())  # the same draw as that of vgg16()
    content, output = torch.rand(2, 2, 3, 32, 32).unbind()
    loss = PerceptualLoss(build(config.encoder), build(config.loss), [style])
    terms = loss(content, output, torch.ones(2, 1))
    assert set(terms) == {"content", "style"}
    painting = style.read()
    features, of_content, of_style = (training.judge(255 * images) for images in (output, content, painting))
    assert float(terms["content"]) == pytest.approx(float(F.mse_loss(features[2], of_content[2])), rel=1e-4)
    grams = [(gram(a), gram(b).expand(2, -1, -1)) for a, b in zip(features, of_style, strict=True)]
    # The experiment weighs the style five times.
    assert float(terms["style"]) == pytest.approx(5 * sum(float(F.mse_loss(a, b)) for a, b in grams), rel=1e-3)


def gram(features: torch.Tensor) -> torch.Tensor:
    flat = features.flatten(2)
    return torch.einsum("bcp,bdp->bcd", flat, flat) / flat[0].numel()


def test_our_loss_in_the_peers_way_is_our_loss(encoder: VGGEncoder, style: Style) -> None:
    losses = {"content": ContentLoss(), "style": StyleLoss()}
    content, output = torch.rand(2, 1, 3, 32, 48).unbind()
    arguments = (content, output, torch.ones(1, 1))
    ours = PerceptualLoss(encoder, losses, [style])(*arguments)
    peers = PlainLoss(VGGEncoder(), losses, [style])(*arguments)
    for name, value in ours.items():
        assert float(peers[name]) == pytest.approx(float(value), rel=1e-4)


def test_a_judge_measures_what_a_training_measures(style: Style, monkeypatch: pytest.MonkeyPatch) -> None:
    config = composed(["encoder.weights=oxford"])
    monkeypatch.setattr(benchmark_quality, "build", lambda node: {"s": style} if node == config.style else build(node))
    pictures = [torch.rand(1, 3, 32, 40), torch.rand(1, 3, 48, 32)]
    torch.manual_seed(0)
    network = PeersNet()
    measured = judge(config, pictures, "cpu")(network)
    loss = PerceptualLoss(VGGEncoder(), {"content": ContentLoss(), "style": StyleLoss()}, [style])
    weights = torch.ones(1, 1)
    with torch.no_grad():
        each = [loss(picture, network(picture, weights).clamp(0, 1), weights) for picture in pictures]
    for term in ("content", "style"):
        assert measured[term] == pytest.approx(sum(float(terms[term]) for terms in each) / 2, rel=1e-4)


def test_a_loss_is_passed_on_the_line_between_two_measurements() -> None:
    curve = [{"seconds": 10.0 * number, "loss": loss} for number, loss in enumerate((8.0, 4.0, 5.0, 1.0), start=1)]
    assert passed(curve, 6.0) == 15.0
    assert passed(curve, 4.0) == 20.0
    assert passed(curve, 2.0) == 37.5
    assert passed(curve, 0.5) is None
    # Whoever is as good when first measured may have been before; only what was measured counts.
    assert passed(curve, 9.0) == 10.0
    reference = [{"seconds": 60.0, "loss": 9.0}, {"seconds": 120.0, "loss": 2.0}]
    found = comparison({"peers": reference, "light": curve, "residual": curve[:1]})["candidates"]
    assert (found["light"]["reached"], found["light"]["speed"]) == (37.5, 3.2)
    assert (found["residual"]["reached"], found["residual"]["speed"]) == (None, None)


class Here:
    """In place of a process: does the job at once, and in this one."""

    def __init__(self, job: dict[str, Any], environment: dict[str, str]) -> None:
        self.answers: list[dict[str, Any]] = []
        resolve_name(f"fast_style.cli.benchmark.{job['kind']}")(job, lambda **answer: self.answers.append(answer))

    def __enter__(self) -> "Here":
        return self

    def __exit__(self, *error: object) -> None:
        pass


# Pictures of several sizes stand in one list, which a checked shape takes for several of one size.
@pytest.mark.usefixtures("unchecked_shapes")
def test_two_trainings_are_measured_on_the_way_and_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark_quality, "Worker", Here)
    monkeypatch.chdir(tmp_path)
    settings: dict[str, Any] = {"networks": ["light"], "train": f"{TINY} trainer.precision=32-true"}
    settings["quality"] = {"minutes": 0.005, "ours_minutes": 0.02, "points": 2}
    bench, report = Bench(settings, folder=tmp_path), dict[str, Any]()
    jobs = jobs_for(Case("quality", 48, 48, 1), bench)
    assert list(compare(jobs, bench, report)) == [("peers", None), ("light", None)]
    for row in report["quality"]["candidates"].values():
        assert len(row["curve"]) >= 2
        for earlier, later in pairwise(row["curve"]):
            assert 0 < earlier["seconds"] < later["seconds"]
            assert 0 < earlier["step"] < later["step"]
        for point in row["curve"]:
            assert point["content"] > 0
            assert point["loss"] == pytest.approx(point["content"] + 10 * point["style"])
    # The time of measurements, several of these seconds, does not count.
    assert 1.2 <= report["quality"]["candidates"]["light"]["curve"][-1]["seconds"] < 2.5
    assert (tmp_path / "quality_0" / "network.safetensors").is_file()


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


LIMITS = {"rounds": 8, "warmup": 1, "min_seconds": 0.5, "max_seconds": 60, "max_memory": 4}


@pytest.mark.parametrize(
    ("known", "load", "reason"),
    [
        ((6400, 6.0, 0, 4 * 10**9), 6400, None),
        ((6400, 7.0, 0, 10**9), 6400, "70 s max_seconds=60"),
        ((6400, 1.0, 0, 5 * 10**9), 6400, "5.0 GB max_memory=4"),
        # Ten times as many pixels: ten times as long, and ten times the memory that the pictures took.
        ((6400, 0.4, 10**9, 2 * 10**9), 64000, "11.0 GB max_memory=4"),
        ((6400, 0.4, 10**9, 12 * 10**8), 64000, None),
        (None, 64000, None),
    ],
)
def test_what_exceeds_the_budget_is_left_out_and_said(known: Any, load: int, reason: str | None) -> None:
    budget = Budget(LIMITS, runs=10)
    if known:
        budget.note("light", *known)
    with nullcontext() if reason is None else raises(WorkerError, reason):
        budget.check("light", load)


def test_one_that_fails_is_named_and_the_others_go_on() -> None:
    programs = {"good": "pass", "bad": "raise MemoryError('not enough')"}
    jobs = {name: {"kind": "worker.command", "command": [program]} for name, program in programs.items()}
    settings = {"rounds": 1, "warmup": 0, "min_seconds": 0, "max_seconds": 60, "max_memory": 1}
    bench = Bench(settings, environment=os.environ)
    result, left_out = measure(Case("startup", 1, 1, 1), jobs, {}, Budget(settings, runs=2), bench)
    assert list(result["candidates"]) == ["good"]
    assert left_out == {"bad": "MemoryError: not enough"}


def test_the_memory_of_a_program_is_its_own() -> None:
    # Less than this process has, which has loaded torch: a peak is not handed down.
    program = ["x = bytearray(b'1') * 50_000_000"]
    with Worker({"kind": "worker.command", "command": program}, os.environ) as worker:
        worker.begin()
        worker.run(repeats=2)
        assert 50e6 <= worker.memory <= 100e6


def test_a_process_that_cannot_begin_says_why() -> None:
    with (
        Worker({"kind": "worker.nothing"}, os.environ) as worker,
        raises(WorkerError, "attribute 'nothing'"),
    ):
        worker.begin()


def test_a_run_leaves_a_file_with_every_round_and_what_comes_of_it(
    call: Callable[..., None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("subprocess.Popen", forked.Module)
    call(*SMALL, *FAST, "parts=[stylize,step]", "output=new/result.json")
    report: dict[str, Any] = json.loads(Path("new/result.json").read_text())
    assert report["left_out"] == []
    assert [(case["part"], case["width"], case["height"], case["batch"]) for case in report["cases"]] == [
        ("step", 48, 48, 1),
        ("stylize", 48, 32, 2),
    ]
    for case in report["cases"]:
        candidates = ["peers", "light", *(["residual, peers' loss"] if case["part"] == "step" else [])]
        everyone = [*candidates, "float32", "bfloat16"]
        assert [list(seconds) for seconds in case["rounds"]] == [everyone, [*everyone[1:], everyone[0]]]
        assert list(case["candidates"]) == candidates
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
    with raises(SystemExit, "new/result.json exists overwrite=true"):
        call("output=new/result.json")


def test_what_a_gpu_cannot_do_is_left_out_and_said(tmp_path: Path) -> None:
    settings = {"parts": ["stylize"], "networks": ["light"], "backends": ["openvino"], "precisions": ["bf16"]}
    bench = Bench({**settings, "train": ""}, "cuda", tmp_path)
    prepare(bench)
    job = jobs_for(Case("stylize", 32, 32, 1), bench)["light openvino bf16"]
    with Worker(job, os.environ) as worker, raises(WorkerError, "device cpu backend=openvino"):
        worker.begin()


def test_processes_see_the_device_that_is_measured_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    def visible(name: str) -> str:
        return environment_for(name, None, tmp_path)["CUDA_VISIBLE_DEVICES"]

    assert [visible(name) for name in ("cpu", "cuda", "cuda:1")] == ["", "0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,GPU-7")
    assert visible("cuda:1") == "GPU-7"
    assert environment_for("cpu", 2, tmp_path)["OMP_NUM_THREADS"] == "2"


def test_a_start_up_is_that_of_the_script_itself(tmp_path: Path) -> None:
    settings = {"networks": ["light", "residual"], "backends": ["torch"], "precisions": ["auto"]}
    jobs = jobs_for(Case("startup", 512, 512, 1), Bench(settings, folder=tmp_path))
    assert list(jobs) == ["import torch", "light", "residual"]
    for name in settings["networks"]:
        program = jobs[name]["command"]
        assert "script('stylize')" in program[0]
        assert f"ckpt={tmp_path}/{name}_1.safetensors" in program


def test_a_plot_shows_bars_and_curves(tmp_path: Path) -> None:
    speed = {"lower_quartile": 1.9, "median": 2.0, "upper_quartile": 2.2}
    rows = {"peers": {"speed": dict.fromkeys(speed, 1.0)}, "light": {"speed": speed}}
    case = {"part": "step", "width": 8, "height": 8, "batch": 1, "reference": "peers", "candidates": rows}
    curve = [{"seconds": 60.0 * number, "loss": 8.0 / number} for number in (1, 2, 3)]
    quality = comparison({"peers": curve, "light": curve[:1], "residual": []})
    heights = []
    for report in ({"cases": [case], "quality": None}, {"cases": [case], "quality": quality}):
        plot({**report, "scale": None}, tmp_path / "plot.png")
        with Image.open(tmp_path / "plot.png") as picture:
            heights.append(picture.height)
            colors = {color for _, color in picture.convert("RGB").getcolors(1 << 20) or []}
            assert (0x44, 0x77, 0xAA) in colors
    assert heights[0] < heights[1]


def test_every_source_of_the_loader_is_measured_as_often_and_nothing_is_left_changed() -> None:
    threads, affinity = torch.get_num_threads(), os.sched_getaffinity(0)
    rates = measure_loader(size=32, batch=2, seconds=0.01, rounds=2)
    sources = ["source", "packed .zip", "packed .npz"]
    assert set(rates) == {*sources, *(f"{name} by worker" for name in sources), "memory map", "procedural"}
    assert {len(each) for each in rates.values()} == {2}
    assert min(map(min, rates.values())) > 0
    assert (torch.get_num_threads(), os.sched_getaffinity(0)) == (threads, affinity)


def test_pictures_come_in_the_order_of_their_size_and_once() -> None:
    settings = {
        **{"parts": ["stylize"], "step": {"size": 256, "batch": 4}},
        **{"sizes": ["100x200", 64, "64x64"], "batches": [8, 1]},
        **{"loader": {"size": 64, "batch": 1}},
    }
    cases = [str(case).removeprefix("stylize ") for case in planned(settings)]
    assert cases == ["64x64, batch 1", "100x200, batch 1", "64x64, batch 8", "100x200, batch 8"]


def test_a_table_shows_what_was_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    machine = {"processor": "a processor", "device": "cpu", "threads": 1, "torch": "2"}
    left = {"case": "stylize 8x8, batch 1", "candidate": "peers", "reason": "would take 9.0 GB (max_memory=6)"}
    show({"machine": machine, "cases": [], "loader": None, "quality": None, "scale": None, "left_out": [left]})
    assert_says(capsys.readouterr().out, "peers stylize 8x8 batch 1 9.0 GB max_memory=6")


@pytest.mark.parametrize(
    ("argument", "answer"),
    [
        ("parts=[steps]", "parts loader quality scale startup step stylize 'steps'"),
        ("parts=[]", "parts loader quality scale startup step stylize"),
        ("networks=[lite]", "networks balanced light residual 'lite'"),
        ("sizes=[12x]", "sizes 1280x720 512 32 65535 12x"),
        ("sizes=[16]", "sizes 1280x720 512 32 65535 16"),
        ("batches=[0]", "batches 1 0"),
        ("step.batch=0", "step.batch 1 0"),
        ("backends=[tvm]", "backends compile onnx openvino torch 'tvm'"),
        ("quality.ours_minutes=0", "quality.ours_minutes 0"),
        ("quality.points=0", "quality.points 1 0"),
        ("loader.size=8", "loader.size 32 8"),
        ("step.size=8", "step.size 32 8"),
        ("rounds=0", "rounds 1 0"),
        ("rounds=many", "rounds 7 'many'"),
        ("max_memory=0", "max_memory 0"),
        ("threads=x", "threads 1 x"),
        ("device=gpu", "device auto cpu cuda cuda:1 'gpu'"),
        ("device=cuda:99", "device=cuda:99"),
        ("output=x.txt", "output .json benchmark.json x.txt"),
        ("train=nam=3", "train setting 'nam' name"),
        ("scale.sizes=[256,512]", "scale.sizes three [256, 512]"),
        ("scale.sizes=[8,64,128]", "scale.sizes 32 8"),
        ("scale.step.layers=[6]", "scale.step.layers 5 6"),
        ("scale.step.network=lite", "scale.step.network balanced light residual 'lite'"),
        ("scale.styles=[0]", "scale.styles 1 0"),
        ("scale.tried=[0]", "scale.tried 0"),
        ("scale.seconds=0", "scale.seconds 0"),
        ("round=3", "setting 'round' rounds"),
    ],
)
def test_a_mistake_gets_one_line(call: Callable[..., None], tmp_path: Path, argument: str, answer: str) -> None:
    with pytest.raises(SystemExit) as stop:
        call(argument)
    line = str(stop.value.code)
    assert_names(line.removeprefix("benchmark.py: "), answer)
    assert "\n" not in line
    assert list(tmp_path.iterdir()) == []


def test_help_shows_examples_and_settings(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["scripts/benchmark.py", "--help"])
    cli.script("benchmark")
    text, errors = capfd.readouterr()
    assert errors == ""
    assert text.startswith("benchmark.py: ")
    assert re.search(r"^  .*python scripts/benchmark\.py parts=", text, re.MULTILINE)
    assert re.search(r"^  rounds=7 +\w+", text, re.MULTILINE)
