"""How good networks are: the yardstick, the curves that are kept, and scripts/evaluate.py."""

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from small_messages import assert_names, assert_says, raises

import fast_style
from fast_style.cli import evaluate
from fast_style.cli.evaluation.columns import columns_of
from fast_style.cli.evaluation.page import FAULTS, verdict
from fast_style.cli.hydra_app import run
from fast_style.encoders.vgg import VGGEncoder
from fast_style.evaluation.yardstick import Yardstick, cached_curve, equivalent_iterations, quartiles, structure
from fast_style.images.tensors import read_image
from fast_style.losses import ContentLoss, GridLoss, Loss, StyleLoss, TotalVariationLoss
from fast_style.losses.styles import Style
from fast_style.networks import LightNet
from fast_style.optimize import optimize
from fast_style.types import Images
from fast_style.zoo import shipped_networks
from fast_style.zoo.network_file import read_network_file
from fast_style.zoo.saving import Metadata, save_network

Call = Callable[..., dict[str, Any]]

SMALL = (
    "device=cpu",
    "precision=32-true",
    "sizes=[32,48]",
    "yardstick.size=32",
    "yardstick.steps=4",
    "loss.content.layers=[relu2_1]",
    "style.layers={relu1_1: 1}",
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own for what is kept."""
    monkeypatch.setenv("FAST_STYLE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def losses(**weights: float) -> dict[str, Loss]:
    return {
        "content": ContentLoss(weights.get("content", 1.0), layers=["relu2_1"]),
        "style": StyleLoss(weights.get("style", 10.0)),
        "total_variation": TotalVariationLoss(0.1),
        "grid": GridLoss(500.0),
    }


@pytest.fixture
def yardstick(encoder: VGGEncoder, style: Style) -> Yardstick:
    return Yardstick(encoder, losses(), style)


@pytest.fixture
def photograph() -> Images:
    return torch.rand(1, 3, 32, 40, generator=torch.Generator().manual_seed(0))


def test_the_curve_is_that_of_slow_style_transfer(
    yardstick: Yardstick, encoder: VGGEncoder, style: Style, photograph: Images
) -> None:
    seen: list[float] = []
    optimize(
        *(photograph, losses(), encoder, [style], torch.ones(1, 1)),
        steps=6,
        min_delta=0,
        on_step=lambda step, loss, images: seen.append(loss),
    )
    # It tells the loss before each step.
    assert yardstick.curve(photograph, steps=5) == pytest.approx(seen, rel=1e-5)


def test_what_the_optimizer_made_is_worth_as_many_iterations_as_it_took(
    yardstick: Yardstick, encoder: VGGEncoder, style: Style, photograph: Images
) -> None:
    curve = yardstick.curve(photograph, steps=8)
    for steps in (0, 3, 8):
        picture = optimize(photograph, losses(), encoder, [style], torch.ones(1, 1), steps=steps, min_delta=0)
        loss = yardstick.losses(photograph, picture)["total"]
        assert equivalent_iterations(curve, loss) == pytest.approx(steps, abs=1e-3)


def test_the_total_is_the_sum_of_the_weighted_terms(yardstick: Yardstick, photograph: Images) -> None:
    terms = yardstick.losses(photograph, photograph.flip(2))
    assert terms.pop("total") == pytest.approx(sum(terms.values()))
    assert set(terms) == set(losses())


@pytest.mark.parametrize(
    ("loss", "iterations"), [(9, 0), (4, 0), (3, 0.5), (2, 1), (1.75, 1.25), (1, 2), (0.5, 4), (0.4, math.inf)]
)
def test_iterations_are_read_off_between_steps_where_the_loss_is_first_reached(loss: float, iterations: float) -> None:
    assert equivalent_iterations([4, 2, 1, 1.5, 0.5], loss) == iterations


def test_quartiles_are_numpys_and_know_infinity() -> None:
    values = [5.0, 1.0, 3.0, 8.0]
    assert list(quartiles(values).values()) == pytest.approx(np.quantile(values, [0.25, 0.5, 0.75]).tolist())
    assert quartiles([1.0, math.inf, 2.0]) == {"low": 1.5, "median": 2.0, "high": math.inf}
    assert quartiles([math.inf]) == dict.fromkeys(("low", "median", "high"), math.inf)


def test_distances_are_none_from_the_thing_itself_and_one_from_nothing(
    yardstick: Yardstick, style: Style, photograph: Images, encoder: VGGEncoder
) -> None:
    assert yardstick.layers == ["relu1_1", "relu2_1"]
    near = yardstick.distances(photograph, photograph)["content"]
    assert near == pytest.approx(dict.fromkeys(yardstick.layers, 0), abs=1e-6)
    near = yardstick.distances(style.read(), style.read())["style"]
    assert near == pytest.approx(dict.fromkeys(yardstick.layers, 0), abs=1e-6)
    # The mean over the layers is the loss of that name.
    found = yardstick.distances(photograph, photograph.flip(3))
    even = Yardstick(encoder, {"style": StyleLoss(1.0)}, style).losses(photograph, photograph.flip(3))
    assert even["total"] == pytest.approx(sum(found["style"].values()) / 2)


def test_structure_is_all_there_or_hardly_any(photograph: Images) -> None:
    assert structure(photograph, photograph) == pytest.approx(1)
    assert abs(structure(photograph, photograph.flip(3))) < 0.2


def test_a_curve_is_kept_until_anything_that_it_depends_on_changes(
    yardstick: Yardstick, encoder: VGGEncoder, style: Style, photograph: Images, tmp_path: Path
) -> None:
    steps: list[int] = []

    def optimized(yardstick: Yardstick, photograph: Images, count: int, lr: float = 0.02) -> bool:
        before = len(steps)
        curve = cached_curve(yardstick, photograph, count, lr, on_step=steps.append)
        assert curve == pytest.approx(yardstick.curve(photograph, count, lr), rel=1e-5)
        return len(steps) > before

    assert optimized(yardstick, photograph, 3)
    assert not optimized(yardstick, photograph, 3)
    assert not optimized(Yardstick(encoder, losses(), style), photograph.clone(), 3)
    assert optimized(yardstick, photograph, 4)
    assert optimized(yardstick, photograph, 3, 0.01)
    assert optimized(yardstick, photograph.flip(2), 3)
    assert optimized(Yardstick(encoder, losses(style=11), style), photograph, 3)
    assert optimized(Yardstick(encoder, losses(content=0), style), photograph, 3)
    shutil.copy(style.image, tmp_path / "elsewhere.png")
    moved = Style("other", tmp_path / "elsewhere.png", style.size, style.layers)
    assert not optimized(Yardstick(encoder, losses(), moved), photograph, 3)
    Image.open(style.image).rotate(180).save(tmp_path / "elsewhere.png")
    assert optimized(Yardstick(encoder, losses(), moved), photograph, 3)


@pytest.mark.parametrize("damage", ["", "[]", '{"probe": [1, 1], "losses": [1, 1, 1]}', '{"format": 1}'])
def test_a_kept_curve_that_is_damaged_or_of_other_code_is_made_anew(
    yardstick: Yardstick, photograph: Images, cache: Path, damage: str
) -> None:
    expected = cached_curve(yardstick, photograph, 2)
    (file,) = (cache / "curves").iterdir()
    whole = json.loads(file.read_text())
    file.write_text(damage)
    assert cached_curve(yardstick, photograph, 2) == pytest.approx(expected)
    again = json.loads(file.read_text())
    assert again.keys() == whole.keys()
    assert all(again[key] == pytest.approx(whole[key]) for key in whole)


def test_where_no_curve_can_be_kept_that_is_said_and_the_work_goes_on(
    yardstick: Yardstick, photograph: Images, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cache.write_text("a file")
    assert len(cached_curve(yardstick, photograph, 1)) == 2
    assert_says(capsys.readouterr().err, "FAST_STYLE_CACHE")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, style: Style) -> Path:
    """The folder to work in, with photographs and a network."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    generator = np.random.default_rng(0)
    Path("photos").mkdir()
    for name, size in (("a<b>.png", (48, 60)), ("c.png", (60, 48))):
        Image.fromarray(generator.integers(0, 256, (*size, 3), np.uint8)).save(Path("photos", name))
    torch.manual_seed(0)
    save_network(Path("checkpoints/waves.safetensors"), LightNet(styles=1, width=8, blocks=1), trained_on(style))
    return tmp_path


def trained_on(*styles: Style) -> Metadata:
    config = {"style": {one.name: {"image": str(one.image), "size": one.size} for one in styles}}
    return Metadata({one.name: {} for one in styles}, config)


@pytest.fixture
def call(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Runs the script, and returns the numbers."""

    def call(*arguments: str) -> dict[str, Any]:
        monkeypatch.setattr("sys.argv", ["evaluate.py", *SMALL, *arguments])
        run(evaluate.main, "evaluate")
        numbers: dict[str, Any] = json.loads(Path("evaluation.json").read_text())
        return numbers

    return call


def test_a_network_is_judged_on_every_photograph_at_every_size(call: Call, encoder: VGGEncoder, style: Style) -> None:
    numbers = call("ckpt=waves", "data.source=photos")
    (column,) = numbers["columns"]
    assert (numbers["format"], numbers["left_out"]) == (1, {})
    assert column["style"]["image"] == style.image.name
    assert column["sha256"] == read_network_file(Path("checkpoints/waves.safetensors")).sha256
    assert set(column["stillness"]) == {
        *("still_camera", "still_camera_10", "moving_camera", "moving_camera_10", "stillness")
    }
    assert "Stillness" in Path("evaluation.html").read_text()
    assert list(column["pictures"]) == ["a<b>.png", "c.png"]
    for picture in column["pictures"].values():
        assert picture["ratio"] == picture["loss"] / picture["plateau"]
        assert picture["loss"] == pytest.approx(sum(picture["terms"].values()))
        assert list(picture["sizes"]) == ["32", "48"]
        for size in picture["sizes"].values():
            assert list(size["style"]) == list(size["content"]) == ["relu1_1", "relu2_1"]
            assert set(size["faults"]) == set(numbers["visible_above"])
    # Against the loss as the package alone has it.
    photograph = read_image("photos/c.png", 32)
    alone = Style("waves", style.image, style.size, {"relu1_1": 1.0})
    judge = Yardstick(encoder, {**losses(style=10), "content": ContentLoss(layers=["relu2_1"])}, alone)
    output = fast_style.load("waves", device="cpu")(photograph)
    assert column["pictures"]["c.png"]["loss"] == pytest.approx(judge.losses(photograph, output)["total"], rel=0.01)
    assert column["pictures"]["c.png"]["plateau"] == pytest.approx(judge.curve(photograph, 4)[-1], rel=1e-4)


def test_the_page_holds_everything_and_nothing_of_a_name_is_markup(call: Call) -> None:
    call("ckpt=waves", "data.source=photos")
    page = Path("evaluation.html").read_text()
    assert "a&lt;b&gt;.png" in page
    assert "<b>.png" not in page
    assert page.count("data:image/jpeg;base64,") == 4
    for other in ("http://", "https://", "<script", 'src="/'):
        assert other not in page
    for said in (
        "equivalent iterations",
        "style relu2_1",
        "structure",
        "grid",
        "dots",
        "border",
        "washed out",
        "clipped",
    ):
        assert said in page


@pytest.mark.parametrize(
    ("iterations", "dots", "grade"),
    [
        (18.0, [0, 0], "good"),
        (math.inf, [0, 0], "good"),
        (17.0, [0, 0], "fair"),
        (5.0, [0, 0], "poor"),
        (20.0, [9, 0], "fair"),  # a visible fault in half of the pictures
        (20.0, [9, 9], "poor"),
        (5.0, [9, 0], "poor"),
    ],
)
def test_the_verdict_is_by_iterations_and_visible_faults(iterations: float, dots: list[float], grade: str) -> None:
    pictures = {str(number): {"sizes": {"256": {"faults": {"dots": value}}}} for number, value in enumerate(dots)}
    column = {"name": "waves", "pictures": pictures, "summary": {"equivalent_iterations": {"median": iterations}}}
    report = {"yardstick": {"steps": 30}, "sizes": [256], "visible_above": dict.fromkeys(FAULTS, 5.0)}
    name, found, words = verdict(report, column)
    assert (name, found) == ("waves", grade)
    assert ("dots in" in words) == any(dots)


def test_ready_made_pictures_are_judged_as_the_network_that_made_them(call: Call) -> None:
    Path("theirs").mkdir()
    network = fast_style.load("waves", device="cpu")
    for file in Path("photos").iterdir():
        network(Image.fromarray((read_image(file, 32)[0] * 255).round().byte().permute(1, 2, 0).numpy())).save(
            Path("theirs", file.name)
        )
    ours, theirs = call("ckpt=waves", "outputs=theirs", "data.source=photos")["columns"]
    assert (ours["name"], theirs["name"], theirs["kind"]) == ("waves", "theirs", "pictures")
    assert theirs["stillness"] is None
    for name, picture in theirs["pictures"].items():
        # Above their own size they are not judged.
        assert list(picture["sizes"]) == ["32"]
        assert picture["loss"] == pytest.approx(ours["pictures"][name]["loss"], rel=0.01)


def test_networks_and_styles_have_a_column_each(call: Call, style: Style, folder: Path) -> None:
    Image.open(style.image).rotate(90).save("turned.png")
    other = Style("turned", Path("turned.png"), style.size)
    network = LightNet(styles=2, width=8, blocks=1)
    save_network(Path("two.safetensors"), network, trained_on(style, other))
    numbers = call("ckpt=[waves,two.safetensors]", "data.source=photos/c.png")
    assert [column["name"] for column in numbers["columns"]] == ["waves", "two: waves", "two: turned"]
    assert [column["style"]["image"] for column in numbers["columns"]] == [style.image.name] * 2 + ["turned.png"]
    plateaus = [column["pictures"]["c.png"]["plateau"] for column in numbers["columns"]]
    assert plateaus[0] == plateaus[1] != plateaus[2]
    # All by one picture, and only in the style that is asked for.
    arguments = ("style.image=turned.png", "styles=waves", "overwrite=true", "data.source=photos/c.png")
    numbers = call("ckpt=[waves,two.safetensors]", *arguments)
    assert [column["style"]["image"] for column in numbers["columns"]] == ["turned.png"] * 2


def test_a_network_that_ships_is_judged_by_its_swatch(call: Call, capsys: pytest.CaptureFixture[str]) -> None:
    (column,) = call("ckpt=the_scream", "data.source=photos/c.png")["columns"]
    assert column["style"]["image"] == "the_scream.jpg"
    assert_says(capsys.readouterr().err, "the_scream texture painting")


def test_every_network_that_ships_finds_a_picture_to_be_judged_by() -> None:
    settings = {"ckpt": list(shipped_networks()), "outputs": None, "styles": None}
    columns = columns_of({**settings, "style": {"image": None, "size": None, "layers": None}}, [], torch.device("cpu"))
    assert len(columns) > len(shipped_networks())
    assert all(column.style.image.is_file() for column in columns)


def test_what_is_missing_in_each_column_is_counted_in_each(call: Call) -> None:
    Path("photos/cut.png").write_bytes(b"not a picture")
    with raises(SystemExit, "evaluate.py 2 6 failed"):
        call("ckpt=[waves,waves]", "data.source=photos")


def test_a_damaged_photograph_is_named_and_left_out(call: Call, capsys: pytest.CaptureFixture[str]) -> None:
    whole = Path("photos/c.png").read_bytes()
    Path("photos/cut.png").write_bytes(whole[: len(whole) // 2])
    with raises(SystemExit, "evaluate.py 1 3 failed"):
        call("ckpt=waves", "data.source=photos")
    assert_says(capsys.readouterr().err, "photos/cut.png readable")
    numbers = json.loads(Path("evaluation.json").read_text())
    assert list(numbers["columns"][0]["pictures"]) == ["a<b>.png", "c.png"]
    assert list(numbers["left_out"]) == ["cut.png"]


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        (("ckpt=waves",), "data.source given data.source="),
        (("data.source=photos",), "ckpt outputs given ckpt= outputs="),
        (("data.source=photos", "ckpt=none"), "none checkpoints/ waves"),
        (("data.source=none", "ckpt=waves"), "none picture folder glob"),
        (("data.source=photos", "outputs=photos"), "style.image given"),
        (("data.source=photos", "outputs=none"), "outputs folder none"),
        (("data.source=photos", "ckpt=waves", "outputs=checkpoints"), "outputs checkpoints picture a"),
        (("data.source=photos", "ckpt=waves", "output=/proc/x/a.html"), "output written /proc/x/"),
        (("data.source=photos", "ckpt=waves", "device=gpu"), "device=gpu"),
        (("data.source=photos", "ckpt=waves", "precision=fp16"), "precision bf16-mixed 32-true"),
        (("data.source=photos", "ckpt=waves", "styles=dusk"), "styles style dusk waves"),
        (("data.source=photos", "ckpt=waves", "style.image=none.jpg"), "none.jpg readable"),
        (("data.source=photos", "ckpt=waves", "style.size=big"), "style.size whole"),
        (("data.source=photos", "ckpt=waves", "style.size=9"), "style.size 16 4096 9"),
        (("data.source=photos", "ckpt=waves", "sizes=[8]"), "sizes 32 4096 8"),
        (("data.source=photos", "ckpt=waves", "yardstick.steps=0"), "yardstick.steps 1 0"),
        (("data.source=photos", "ckpt=waves", "yardstick.lr=0"), "yardstick.lr 0"),
        (("data.source=photos", "ckpt=waves", "output=report.pdf"), "output evaluation.html"),
        (("data.source=photos", "ckpt=waves", "output=old.html"), "old.json exists overwrite=true"),
        (("data.source=photos", "ckpt=waves", "loss.style.wieght=1"), "setting 'loss.style.wieght'"),
        (("data.source=photos", "ckpt=moved.safetensors"), "moved.safetensors gone.png"),
        (("data.source=cut.png", "ckpt=waves"), "cut.png readable"),
    ],
)
def test_a_mistake_gets_one_line_and_changes_no_file(call: Call, arguments: tuple[str, ...], answer: str) -> None:
    Path("old.json").write_text("{}")
    Path("cut.png").write_bytes(Path("photos/c.png").read_bytes()[:400])
    save_network(
        Path("moved.safetensors"), LightNet(styles=1, width=8, blocks=1), trained_on(Style("x", Path("gone.png")))
    )
    before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    with pytest.raises(SystemExit) as stopped:
        call(*arguments)
    line = str(stopped.value.code).removeprefix("evaluate.py: ")
    assert_names(line, answer)
    assert {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()} == before
