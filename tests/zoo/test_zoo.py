"""The networks that ship: how they are found, what is true of each, and how docs/zoo.py publishes one."""

import hashlib
import json
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import zoo
from PIL import Image
from small_messages import assert_each, assert_names, assert_says, raises
from zoo_card import LIMITS, index
from zoo_command import command, composed, differences, fixed, folders, portable

import fast_style
from fast_style.cli.evaluation.columns import columns_of
from fast_style.cli.overrides import CONFIGS
from fast_style.errors import CheckpointError, ConfigError
from fast_style.images.photographs import packaged_photographs
from fast_style.networks import LightNet, TransformNet
from fast_style.zoo import find, shipped_networks
from fast_style.zoo.network_file import read_network_file
from fast_style.zoo.saving import Metadata, load_network, require_loadable, save_network

SMALL = ("network=light", "network.width=8", "network.blocks=1", "data.size=48")


def trained(folder: Path, *names: str, network: Callable[[], TransformNet] | None = None, **changes: Any) -> Path:
    """Return the file of a network as a training on another machine leaves it, but that it was never trained."""
    torch.manual_seed(0)
    made = network() if network else LightNet(styles=len(names), width=8, blocks=1)
    config = composed([f"style=[{','.join(names)}]", *SMALL])
    credits = {}
    for name, style in config["style"].items():
        style["image"] = f"/home/somebody/{style['image']}"
        credits[name] = {key: style[key] for key in ("artist", "work", "year", "note")}
    config["callback"]["checkpoint"]["path"] = "/home/somebody/runs/last.ckpt"
    losses = {"heldout/content": 0.8125, "heldout/style": 0.03125, "heldout/total": 1.4375}
    path = folder / "runs" / f"{'+'.join(names)}.safetensors"
    save_network(path, made, Metadata(**{"styles": credits, "config": config, "losses": losses, **changes}))
    return path


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with a network in its zoo, beside the folder of the run that made it."""
    folder = tmp_path_factory.mktemp("published")
    zoo.main([str(trained(folder, "starry_night"))], folder)
    return folder


@pytest.fixture
def named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder one works in, with a network `mine` and a zoo of `wave` and `night`."""
    monkeypatch.chdir(tmp_path)
    ships = {name: Path(f"zoo/{name}") for name in ("night", "wave")}
    monkeypatch.setattr("fast_style.zoo.names.shipped_networks", lambda: ships)
    Path("checkpoints").mkdir()
    Path("checkpoints/mine.safetensors").touch()
    monkeypatch.setenv("FAST_STYLE_NETWORKS", "user")
    return tmp_path


def test_a_name_is_a_file_or_a_network_of_ones_own_or_one_that_ships(named: Path) -> None:
    assert find(Path("mine")) == Path("checkpoints/mine.safetensors")
    for name in ("wave", "wave.safetensors"):
        assert find(Path(name)) == Path("zoo/wave")
    Path("checkpoints/wave.safetensors").touch()
    assert find(Path("wave")) == Path("checkpoints/wave.safetensors")
    Path("wave").touch()
    assert find(Path("wave")) == Path("wave")
    # The user's folder comes between the two.
    Path("user").mkdir()
    for name in ("mine", "night", "users"):
        Path(f"user/{name}.safetensors").touch()
    assert [find(Path(name)).parent.name for name in ("mine", "night", "users")] == ["checkpoints", "user", "user"]
    assert find(Path("elsewhere/night")) == Path("elsewhere/night")


def test_networks_that_have_names_are_listed_with_what_their_files_say(
    named: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ships = {name: trained(named, name) for name in ("great_wave", "starry_night")}
    monkeypatch.setattr("fast_style.zoo.names.shipped_networks", lambda: ships)
    shutil.copy(ships["great_wave"], "checkpoints")
    found = fast_style.list()
    assert [network.name for network in found] == ["great_wave", "zoo/great_wave", "starry_night"]
    assert found[0].path == Path("checkpoints/great_wave.safetensors")
    assert found[2].styles == ("starry_night",)
    assert found[2].credit == "The Starry Night, Vincent van Gogh, 1889"
    heading, *rows = repr(found).splitlines()
    assert heading.split() == ["name", "network", "credit", "path"]
    assert [row.split()[0] for row in rows] == [network.name for network in found]
    # Of one that is damaged, nothing is known.
    assert_each(found.damaged, "checkpoints/mine.safetensors empty")


def test_a_name_that_hides_one_that_ships_says_so_once_and_the_zoo_has_that_one(
    named: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    Path("checkpoints/night.safetensors").touch()
    for _ in range(2):
        assert find(Path("night")) == Path("checkpoints/night.safetensors")
    out, errors = capfd.readouterr()
    assert out == ""
    assert_names(errors, "checkpoints/night.safetensors zoo/night")
    # Neither of those hides anything, nor is the one in the zoo hidden.
    for name in ("mine", "wave"):
        find(Path(name))
    for name in ("zoo/night", "zoo/night.safetensors"):
        assert find(Path(name)) == Path("zoo/night")
    assert capfd.readouterr() == ("", "")
    with raises(CheckpointError, "zoo/mine zoo"):
        find(Path("zoo/mine"))


def test_who_knows_several_styles_is_named_where_one_does_not() -> None:
    stylizer = fast_style.load("zoo/starry_night", device="cpu")
    picture = Image.new("RGB", (40, 40))
    with raises(ConfigError, "style great_wave starry_night twelve"):
        stylizer(picture, {"starry_night": 1, "great_wave": 1})
    with raises(ConfigError, "great_wave twelve"):
        stylizer(picture, "great_wave")
    with raises(ConfigError, "starry_night"):
        stylizer(picture, "nothing")
    with raises(CheckpointError, "twelve starry_night great_wave"):
        find(Path("starry_night+great_wave"))


def test_a_folder_is_no_network_and_says_what_is(named: Path) -> None:
    Path("run").mkdir()
    for name in ("run", "./run", str(named / "run")):
        with raises(CheckpointError, "run folder .safetensors"):
            fast_style.load(name)
    Path("run/a.safetensors").touch()
    with raises(CheckpointError, "network run/a.safetensors"):
        fast_style.load("run")


def test_a_network_that_could_not_be_loaded_is_refused() -> None:
    class Own(LightNet):
        pass

    same_name = type("LightNet", (LightNet,), {})
    for made in (Own(1, width=4, blocks=1), same_name(1, width=4, blocks=1), torch.nn.Identity()):
        with raises(ConfigError, "network subclass TransformNet"):
            require_loadable(made)
    require_loadable(LightNet(1, width=4, blocks=1))


def test_a_name_of_nothing_lists_both_and_says_what_may_be_meant(named: Path) -> None:
    for name, meant in (("waev", "wave"), ("mien", "mine"), ("other", None)):
        with raises(CheckpointError, f"{name} checkpoints/ mine zoo night wave user") as error:
            find(Path(name))
        # All that there are, and once more the one that is meant.
        counts = {each: str(error.value).count(each) for each in ("mine", "wave")}
        assert counts == {each: 1 + (each == meant) for each in counts}


def test_every_network_that_ships_is_small_whole_free_of_paths_and_has_its_card_and_sheet() -> None:
    for name, path in shipped_networks().items():
        assert path.stat().st_size <= zoo.LARGEST, name
        network, metadata = load_network(path)
        assert folders([metadata.config, metadata.styles]) == [], name
        assert metadata.config == portable(metadata.config), name
        if network.styles == 1:
            assert list(metadata.styles) == [name]
            assert (CONFIGS / "style" / f"{name}.yaml").exists(), name
        card = (zoo.ROOT / f"docs/zoo/{name}.md").read_text()
        assert hashlib.sha256(path.read_bytes()).hexdigest() in card
        assert folders(card.splitlines()) == [], name
        # Otherwise a default has changed since: python docs/zoo.py fast_style/zoo/*.safetensors
        (line,) = re.findall(r"^python (scripts/train.py .*)$", card, re.MULTILINE)
        wanted = fixed({**metadata.config, "name": name})
        assert list(differences(wanted, composed(shlex.split(line)[1:]))) == [], name
        sheet = zoo.ROOT / f"docs/zoo/{name}.jpg"
        assert sheet.stat().st_size <= zoo.LARGEST_SHEET, name


def test_the_page_shows_every_network_that_ships() -> None:
    page = (zoo.ROOT / "docs/zoo.md").read_text()
    assert page == index([read_network_file(path) for path in shipped_networks().values()])


def test_what_is_published_is_the_network_at_half_the_size_with_nothing_of_the_machine(published: Path) -> None:
    before, after = published / "runs/starry_night.safetensors", published / "fast_style/zoo/starry_night.safetensors"
    weights = sum(4 * weight.numel() for weight in load_network(before)[0].parameters())
    assert after.stat().st_size < before.stat().st_size - 0.45 * weights
    photograph = torch.rand(1, 3, 40, 56, generator=torch.manual_seed(1))
    levels = [
        (fast_style.load(path, device="cpu", precision="fp32")(photograph) * 255).round() for path in (before, after)
    ]
    assert (levels[0] - levels[1]).abs().max() <= 1
    assert b"somebody" not in after.read_bytes()
    metadata = read_network_file(after).metadata
    assert metadata.config["style"]["starry_night"]["image"] == "starry_night.jpg"
    assert metadata.losses == read_network_file(before).metadata.losses


def test_the_card_says_what_the_network_is_and_how_to_make_it_again(published: Path) -> None:
    card = (published / "docs/zoo/starry_night.md").read_text()
    file = published / "fast_style/zoo/starry_night.safetensors"
    for text in (
        "# The Starry Night\n",
        "*The Starry Night*, Vincent van Gogh, 1889; in the public domain.",
        "](starry_night.jpg)",
        f"python scripts/train.py style=starry_night network=light init=none {' '.join(SMALL[1:])}\n",
        "| content | 1 | relu4_1 | 0.8125 |",
        "| total |  |  | 1.438 |",
        f"{sum(weight.numel() for weight in load_network(file)[0].parameters()):,} parameters",
        f"{file.stat().st_size:,} bytes",
        hashlib.sha256(file.read_bytes()).hexdigest(),
    ):
        assert text in card
    (row,) = re.findall(r"^\| starry_night \|(.*)\|$", card.partition("## Stillness")[2], re.MULTILINE)
    assert all(0 < float(decibels) < 60 for decibels in row.split("|"))
    page = (published / "docs/zoo.md").read_text()
    assert "[starry_night](zoo/starry_night.md)" in page
    assert "](zoo/starry_night.jpg)" in page


def test_the_sheet_shows_photographs_above_their_stylizations(published: Path) -> None:
    path = published / "docs/zoo/starry_night.jpg"
    assert path.stat().st_size <= zoo.LARGEST_SHEET
    with Image.open(path) as sheet:
        rows = [sheet.crop((0, top, 256, top + 256)) for top in (0, 264)]
        assert sheet.height == 520
    # The first photograph is astronaut, which is square.
    with Image.open(packaged_photographs()[0]) as photograph:
        apart = [
            sum((a - b) ** 2 for a, b in zip(row.resize((8, 8)).tobytes(), expected, strict=True))
            for expected in [photograph.convert("RGB").resize((8, 8)).tobytes()]
            for row in rows
        ]
    assert apart[0] < 0.1 * apart[1]


def test_publishing_again_changes_nothing_but_keeps_what_was_written_of_limits(published: Path) -> None:
    card = published / "docs/zoo/starry_night.md"
    card.write_text(card.read_text().partition(LIMITS)[0] + f"{LIMITS}\nFaces become skies.\n")
    before = contents(published)
    zoo.main([str(published / "runs/starry_night.safetensors")], published)
    assert contents(published) == before
    # Nor if what is published is what was.
    zoo.main([str(published / "fast_style/zoo/starry_night.safetensors")], published)
    assert contents(published) == before


def test_a_network_of_several_styles_has_a_row_for_each(tmp_path: Path) -> None:
    zoo.publish(trained(tmp_path, "starry_night", "great_wave"), tmp_path)
    with Image.open(tmp_path / "docs/zoo/starry_night+great_wave.jpg") as sheet:
        assert sheet.width / sheet.height == pytest.approx(1433 / (3 * 264 - 8), rel=0.01)
    card = (tmp_path / "docs/zoo/starry_night+great_wave.md").read_text()
    assert card.startswith("# The Starry Night and The Great Wave off Kanagawa\n")
    assert "Katsushika Hokusai, 1831" in card
    assert "'style=[starry_night,great_wave]'" in card


def test_what_evaluate_has_measured_comes_on_the_card(published: Path, tmp_path: Path) -> None:
    def quartiles(*values: float | None) -> dict[str, float | None]:
        return dict(zip(("low", "median", "high"), values, strict=True))

    column = {
        "name": "starry_night",
        "kind": "network",
        "style": {"name": "starry_night"},
        "pictures": {"a.jpg": {}, "b.jpg": {}},
        "summary": {
            "equivalent_iterations": quartiles(20.25, 41.5, None),
            "ratio": quartiles(1.5, 1.625, 1.75),
            "sizes": {"256": {"faults": {"grid": quartiles(0.25, 0.375, 0.5)}}},
        },
    }
    other = {**column, "name": "great_wave", "summary": {}}
    report = {"format": 1, "sizes": [256], "yardstick": {"size": 256, "steps": 250}, "visible_above": {"grid": 1.0}}
    path = tmp_path / "evaluation.json"
    path.write_text(json.dumps({**report, "columns": [other, column]}))
    zoo.main([str(published / "runs/starry_night.safetensors"), str(path)], tmp_path)
    card = (tmp_path / "docs/zoo/starry_night.md").read_text()
    assert "on 2 photographs" in card
    assert "| equivalent iterations | 41.5 (20.2 to more) |" in card
    assert "| loss over that of slow style transfer | 1.62 (1.5 to 1.75) |" in card
    assert "| mesh, levels of 255 | 0.375 (0.25 to 0.5) | 1 |" in card
    assert "great_wave" not in card


def extreme(scale: float) -> TransformNet:
    """Return a network with large weights at its end."""
    network = LightNet(styles=1, width=32, blocks=1)
    with torch.no_grad():
        for weight in network.output.parameters():
            weight.mul_(scale)
    return network


@pytest.mark.parametrize(
    ("changes", "answer"),
    [
        ({"config": {}}, "trained"),
        ({"styles": {"other": {"year": 1889}}}, "network other called"),
        ({"styles": {"starry_night": {"year": None}}}, "starry_night unknown year"),
        ({"styles": {"starry_night": {"year": 1937}}}, "starry_night 1937"),
        (
            {"styles": {"starry_night": {"year": 1889, "note": "from /home/somebody/pictures"}}},
            "folder /home/somebody/pictures",
        ),
        ({"network": lambda: extreme(1e6)}, "starry_night.safetensors written output."),
        ({"network": lambda: extreme(1e3)}, "levels 255 precision"),
        ({"network": lambda: LightNet(styles=1, width=160, blocks=2)}, "bytes precision"),
    ],
)
def test_what_is_not_fit_for_the_zoo_is_refused_and_nothing_written(
    tmp_path: Path, changes: dict[str, Any], answer: str
) -> None:
    path = trained(tmp_path, "starry_night", **changes)
    before = contents(tmp_path)
    with pytest.raises(SystemExit) as stop:
        zoo.main([str(path)], tmp_path)
    text = str(stop.value.code)
    assert text.startswith(f"zoo.py: {path}: ")
    assert_says(text, answer)
    assert "\n" not in text
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        ([], "networks train.py"),
        (["notes.txt"], "networks train.py"),
        (["none.safetensors"], "none.safetensors"),
        (["none.safetensors", "none.json"], "none.json report scripts/evaluate.py"),
    ],
)
def test_a_mistake_gets_one_line(tmp_path: Path, arguments: list[str], answer: str) -> None:
    with raises(SystemExit, f"zoo.py {answer}"):
        zoo.main(arguments, tmp_path)


@pytest.mark.parametrize(
    "overrides",
    [
        (),
        ("style=[starry_night,great_wave]", "network=residual", "network.width=48", "seed=7", "name='2 x'"),
        ("experiment=johnson2016", "data=photos", "data.source=/home/somebody/train2014.zip", "optimizer.lr=3e-5"),
        ("~schedule", "loss=[content,style]", "callback=[ema]", "loss.style.layers={relu1_1: 1, relu2_1: 2}"),
        (
            "style=great_wave",
            "style.great_wave.image='../my painting.jpg'",
            "style.great_wave.layers.relu2_1=0.5",
            "~style.great_wave.layers.relu1_1",
            "++style.great_wave.layers.relu5_2=2",
            "trainer.precision=32-true",
            "+optimizer.weight_decay=0.1",
        ),
    ],
)
def test_the_command_of_a_network_gives_its_settings(overrides: tuple[str, ...]) -> None:
    wanted = {**composed(overrides), "init": "none"}
    text = command(wanted)
    python, script, *arguments = shlex.split(text)
    assert (python, script) == ("python", "scripts/train.py")
    assert composed(arguments) == {**wanted, "callback": composed(arguments)["callback"]}
    assert composed(arguments)["callback"].keys() == wanted["callback"].keys()
    assert folders(wanted) == []


def test_the_command_says_no_more_than_is_needed() -> None:
    assert command(composed(["seed=3"])) == "python scripts/train.py style=starry_night init=none seed=3"


def test_the_command_says_what_the_network_started_from() -> None:
    started = {"started_from": {"network": "great_wave", "styles": ["great_wave"]}}
    assert command({**composed([]), **started}) == "python scripts/train.py style=starry_night init=great_wave"


def test_the_command_takes_the_steps_that_the_time_was_enough_for() -> None:
    config = {**composed(["trainer.max_time=00:00:05:00"]), "steps": 700}
    assert command(config) == "python scripts/train.py style=starry_night init=none trainer.max_steps=700"


def test_a_style_that_is_no_more_has_no_command() -> None:
    config = composed([])
    config["style"] = {"gone": config["style"]["starry_night"]}
    with raises(ConfigError, "configs/style/gone.yaml"):
        command(config)


def test_paths_become_bare_names() -> None:
    assert portable(
        {
            "source": "data/photos/train/",
            "images": ["a/b.jpg", "c.jpg"],
            "weights": "/home/somebody/vgg.pth",
            "cache": "C:\\Users\\somebody\\cache",
            "other": "../../secret/file",
            "kept": "checkpoints/a.safetensors",
            "number": 3,
            "none": None,
        }
    ) == {
        "source": "train",
        "images": ["b.jpg", "c.jpg"],
        "weights": "vgg.pth",
        "cache": "cache",
        "other": "file",
        "kept": "checkpoints/a.safetensors",
        "number": 3,
        "none": None,
    }
    assert folders(["see https://example.org/a/b", "1/2", "in /srv/data/photos", "fast_style/zoo/x"]) == [
        "in /srv/data/photos"
    ]


def test_a_published_network_is_judged_by_the_picture_it_was_trained_on(published: Path) -> None:
    settings = {
        "ckpt": str(published / "fast_style/zoo/starry_night.safetensors"),
        **{"outputs": None, "styles": None, "style": {"image": None, "size": None, "layers": None}},
    }
    (column,) = columns_of(settings, [], torch.device("cpu"))
    assert column.style.image == CONFIGS / "style/images/starry_night.jpg"
