"""How cost grows, as the benchmark measures it. None of these tests looks at a time."""

import json
import os
from pathlib import Path
from typing import Any

import performance
import pytest
from PIL import Image
from small_messages import raises
from small_runs import ROOT

from fast_style.cli.benchmark import command as benchmark
from fast_style.cli.benchmark import scale as benchmark_scale
from fast_style.cli.benchmark.command import environment_for
from fast_style.cli.benchmark.jobs import LAYERS, composed, prepare
from fast_style.cli.benchmark.report import plot, show, tables
from fast_style.cli.benchmark.rounds import Bench, Budget, WorkerError
from fast_style.cli.benchmark.scale import NOTHING_KEPT, MemoryModel, judged, measured, scale, scale_jobs
from fast_style.cli.hydra_app import build, run
from fast_style.errors import ConfigError

STEP = {"network": "light", "sizes": [32, 64, 96], "size": 48, "batch": 2, "batches": [1, 2], "layers": [1, 5]}
SCALE = {
    **{"sizes": [64, 32, 128, 96], "size": 64, "batches": [1, 4], "styles": [1, 3], "step": STEP},
    **{"memory": [1, 2], "tried": [1], "seconds": 1.0},
}
SETTINGS: dict[str, Any] = {
    **{"networks": ["light"], "backends": ["torch", "openvino"], "precisions": ["auto"], "train": "", "scale": SCALE},
    **{"rounds": 3, "warmup": 0, "matmul": None, "threads": None, "min_seconds": 0, "max_seconds": 60, "max_memory": 6},
}
MACHINE = {"processor": "a processor", "device": "cpu", "threads": 1, "torch": "2"}


def point(side: int, batch: int = 1, *, varies: str = "size", memory: float, working: float | None = None) -> Any:
    shape = {"width": side, "height": side, "batch": batch, "styles": 1}
    measured = {"seconds": 1e-8 * batch * side**2, "runs": 1, "memory": memory, "working": working, "base": 1e6}
    return {"candidate": "light", "varies": [varies], **shape, **measured}


class Fake:
    """In place of a process: memory and seconds in proportion to pixels, and some of the memory kept."""

    def __init__(self, job: dict[str, Any], environment: dict[str, str]) -> None:
        self.pixels: int = job["width"] * job["height"] * job["batch"]
        kept = 0 if NOTHING_KEPT.items() <= environment.items() else 5_000
        self.facts, self.memory = {"base": 90_000}, 100_000 + kept + 40 * self.pixels
        if job["batch"] == 4:
            raise WorkerError("four are too many")

    def __enter__(self) -> "Fake":
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def begin(self) -> None:
        pass

    def run(self, repeats: int = 1) -> float:
        return 1e-9 * self.pixels


def test_each_point_is_measured_once_for_all_curves_that_it_is_in(tmp_path: Path) -> None:
    jobs = scale_jobs(Bench(SETTINGS, folder=tmp_path))
    of_torch = {name: job["varies"] for name, job in jobs.items() if job["candidate"] == "light"}
    assert of_torch == {
        "light, 1 x 32x32, 1 style": ["size"],
        "light, 1 x 64x64, 1 style": ["size", "batch", "styles"],
        "light, 1 x 64x64, 3 styles": ["styles"],
        "light, 1 x 96x96, 1 style": ["size"],
        "light, 4 x 64x64, 1 style": ["batch"],
        "light, 1 x 128x128, 1 style": ["size"],
    }
    # Small before large: what is known of the one says whether to begin the other.
    loads = [job["width"] * job["height"] * job["batch"] for job in jobs.values() if job["candidate"] == "light"]
    assert loads == sorted(loads)
    assert jobs["light openvino, 1 x 64x64, 3 styles"]["file"] == str(tmp_path / "light_3.safetensors")
    trainings = [job["varies"] for job in jobs.values() if job["kind"] == "worker.ours_step"]
    assert sorted(trainings, key=str) == [
        *(["batch", "styles"], ["batch"], ["layers"], ["layers"]),
        *(["size"], ["size"], ["size"], ["styles"]),
    ]


def test_a_training_has_the_styles_and_the_layers_that_it_is_named_for(tmp_path: Path) -> None:
    settings = {**SETTINGS, "train": "style=great_wave style.great_wave.size=128 network.width=8"}
    jobs = {
        (job["styles"], job["layers"]): job
        for job in scale_jobs(Bench(settings, folder=tmp_path)).values()
        if "layers" in job
    }
    for (styles, layers), job in jobs.items():
        config = composed(job["overrides"])
        assert len({style.name for style in build(config.style).values()}) == styles
        assert tuple(build(config.loss)["style"].layers) == LAYERS[:layers]
        assert config.network.width == 8
    assert set(jobs) == {(1, 4), (3, 4), (1, 1), (1, 5)}


def test_a_line_is_fitted_to_what_is_in_use_and_covers_what_is_kept() -> None:
    # In use: 1 MB and 300 bytes a pixel. Kept: up to 2 MB, but not of large pictures.
    small = [point(side, memory=1e6 + 300 * side**2 + kept, working=1e6 + 300 * side**2) for side, kept in KEPT]
    large = [point(2000, memory=1e6 + 300 * 4e6), point(500, 4, varies="batch", memory=1e6 + 300 * 1e6)]
    model, values = judged([*small, *large], {side**2 for side, _ in KEPT}, [1, 2])
    assert model.per_pixel == pytest.approx(300)
    assert model.fixed == pytest.approx(3e6)
    assert [check["batch"] for check in values["checks"]] == [1, 4]
    assert values["checks"][0]["error"] == pytest.approx(2e6 / (1e6 + 300 * 4e6))
    assert values["largest"] == {"1": int(((1e9 - 3e6) / 300) ** 0.5), "2": int(((2e9 - 3e6) / 300) ** 0.5)}


KEPT = [(200, 1e6), (400, 2e6), (800, 0.0)]


def test_pictures_that_starting_hides_do_not_bend_the_line() -> None:
    # A peak of 50 MB at the start, of 200 bytes a pixel on top of 30 MB.
    sides = (64, 128, 512, 1024)
    points = [{**point(side, memory=max(50e6, 30e6 + 200 * side**2)), "base": 50e6} for side in sides]
    model, _ = judged(points, {side**2 for side in sides}, [])
    assert model.per_pixel == pytest.approx(200)
    assert model.predict(64**2) >= 50e6


def test_the_largest_is_the_last_that_fits() -> None:
    model = MemoryModel(fixed=600e6, per_pixel=376)
    largest = model.largest(2e9)
    assert model.predict(largest) <= 2e9 < model.predict(largest + 1)
    # 600 MB of two gigabytes are taken.
    assert largest == 1_400_000_000 // 376
    assert model.largest(600e6) == model.largest(1e6) == 0


@pytest.mark.parametrize(
    ("memory", "reason"),
    [
        ([2e9], "scale.sizes few"),
        ([1.001e6, 1.002e6], "scale.sizes small memory"),
        ([2e9, 1e9], "scale.sizes memory grow"),
    ],
)
def test_what_tells_nothing_of_growth_is_no_model(memory: list[float], reason: str) -> None:
    points = [point(side, memory=each) for side, each in zip((64, 128), memory, strict=False)]
    with raises(ConfigError, reason):
        judged(points, {64**2, 128**2}, [])


def test_small_pictures_predict_large_ones_and_what_fails_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(benchmark_scale, "Worker", Fake)
    settings = {**SETTINGS, "backends": ["torch"], "scale": {**SCALE, "tried": [0.001, 0.0001]}}
    jobs = scale_jobs(Bench(settings, folder=tmp_path))
    report: dict[str, Any] = {}
    reasons = {name: reason for name, reason in scale(jobs, Bench(settings), report) if reason}
    assert reasons == {
        "light, 4 x 64x64, 1 style": "four are too many",
        "light, the largest for 0.0001 GB": "no picture fits",
    }
    found = report["scale"]
    json.dumps(found)
    light = found["models"]["light"]
    assert light["fitted"] == [32**2, 64**2]
    assert (light["per_pixel"], light["fixed"]) == (pytest.approx(40), pytest.approx(105_000))
    (tried,) = light["tried"]
    assert tried["side"] == int(((1e6 - 105_000) / 40) ** 0.5)
    assert tried["measured"] <= 1e6
    assert tried["error"] == pytest.approx(0)
    # Of a training, nothing is known but its peak.
    assert {each["working"] is None for each in found["points"] if "layers" in each} == {True}
    assert found["models"]["light training"]["tried"] == []


def test_what_would_take_too_much_is_not_begun(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(benchmark_scale, "Worker", Fake)
    budget = Budget({**SETTINGS, "max_memory": 0.0005}, runs=3)
    job = next(iter(scale_jobs(Bench(SETTINGS, folder=tmp_path)).values()))
    measured(job, budget, Bench(SETTINGS))
    measured({**job, "width": 64, "height": 64}, budget, Bench(SETTINGS))
    with raises(WorkerError, "GB max_memory=0.0005"):
        measured({**job, "width": 640, "height": 640}, budget, Bench(SETTINGS))


def test_a_measurement_is_of_a_process_of_its_own(tmp_path: Path) -> None:
    settings = {**SETTINGS, "parts": ["scale"], "backends": ["torch"], "train": "network.blocks=1", "rounds": 2}
    bench = Bench(settings, "cpu", tmp_path, environment_for("cpu", 1, tmp_path))
    prepare(bench)
    job = scale_jobs(bench)["light, 1 x 64x64, 3 styles"] | {"width": 512, "height": 256}
    found = measured(job, Budget(settings, runs=3), bench, with_working=True)
    assert (found["width"], found["height"], found["styles"], found["runs"]) == (512, 256, 3, 2)
    assert found["seconds"] > 0
    # Two float32 pictures, and one of them clipped, are there beside what torch takes; in use is less than what is had.
    assert found["base"] + 3 * 12 * 512 * 256 < found["working"] <= 1.01 * found["memory"]


def test_a_run_leaves_its_curves_in_the_file_the_terminal_and_the_plot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(benchmark_scale, "Worker", Fake)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    small = [
        "parts=[scale]",
        "networks=[light]",
        "scale.step.network=light",
        "threads=1",
        "device=cpu",
        "rounds=2",
        "scale.batches=[1,4]",
    ]
    monkeypatch.setattr("sys.argv", ["scripts/benchmark.py", *small])
    run(benchmark.main, "benchmark")
    report = json.loads(Path("benchmark.json").read_text())
    scale = report["scale"]
    curve = [each["width"] for each in scale["points"] if each["candidate"] == "light" and "size" in each["varies"]]
    assert curve == [256, 512, 1024, 1448, 2048, 2880]
    assert [check["width"] for check in scale["models"]["light"]["checks"]] == curve[3:]
    assert [check["width"] for check in scale["models"]["light training"]["checks"]] == [192, 256, 192, 384]
    assert [each["memory"] for each in scale["models"]["light"]["tried"]] == [1e9, 2e9]
    assert {left["reason"] for left in report["left_out"]} == {"four are too many"}
    with Image.open("benchmark.png") as picture:
        assert picture.format == "PNG"
    assert "bytes a pixel" in capsys.readouterr().out
    assert sorted(os.listdir()) == ["benchmark.json", "benchmark.png"]


def filled() -> dict[str, Any]:
    points = [point(side, memory=1e9 + 300 * side**2, working=1e9 + 300 * side**2) for side in (256, 512, 1024)]
    _, values = judged(points, {256**2, 512**2}, [1, 2])
    values["tried"] = [{"memory": 2e9, "side": 1825, "predicted": 2e9, "measured": 1.9e9, "error": 2 / 1.9 - 1}]
    return {"points": points, "models": {"light": values}}


def test_the_tables_show_what_was_measured(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    found = dict(tables(filled()))
    assert list(found) == ["size", "model", "checks", "tried"]
    assert found["size"][2] == ["light", "1 x 512x512", "0.26", "2.6 ms", "1079", "10", "4115"]
    assert found["model"][1] == ["light", "1000", "300", "0.26 MP", "+0.0 %", "-", "1825x1825"]
    assert found["tried"][1] == ["light", "2 GB", "1825x1825", "2000", "1900", "+5.3 %"]
    report: dict[str, Any] = {
        "machine": MACHINE,
        "cases": [],
        "loader": None,
        "quality": None,
        "left_out": [],
        "scale": filled(),
    }
    show(report)
    assert "1825x1825" in capsys.readouterr().out
    plot(report, tmp_path / "plot.png")
    with Image.open(tmp_path / "plot.png") as picture:
        colors = {color for _, color in picture.convert("RGB").getcolors(1 << 20) or []}
    assert (0xCC, 0x33, 0x11) in colors


def test_a_page_gets_its_tables_and_keeps_the_rest(tmp_path: Path) -> None:
    names = ["machine", "size", "model", "checks", "tried"]
    page, file = tmp_path / "page.md", tmp_path / "scale.json"
    page.write_text("before\n" + "".join(f"<!-- {name} -->\nold\n<!-- end -->\nbetween\n" for name in names))
    file.write_text(json.dumps({"machine": MACHINE, "scale": filled()}))
    for _ in range(2):  # the second time, there is nothing left to do
        performance.main([str(file), str(page)])
        text = page.read_text()
        assert "| light | 2 GB | 1825x1825 | 2000 | 1900 | +5.3 % |\n<!-- end -->\nbetween\n" in text
        assert "old" not in text
        assert text.count("between\n") == len(names)


def test_a_later_file_replaces_what_an_earlier_one_has_measured() -> None:
    earlier, later = (point(256, memory=memory) for memory in (1e9, 2e9))
    other = {**point(512, memory=3e9), "candidate": "residual"}
    scales = [{"points": [earlier, other], "models": {}}, {"points": [later], "models": {}}]
    assert performance.together([{"scale": each} for each in scales])["points"] == [later, other]


def test_the_page_shows_what_the_files_beside_it_hold() -> None:
    text = (ROOT / "docs" / "performance.md").read_text()
    files = sorted((ROOT / "docs").glob("*.json"))
    for name, block in performance.blocks([json.loads(file.read_text()) for file in files]):
        assert f"<!-- {name} -->\n{block}\n<!-- end -->" in text
