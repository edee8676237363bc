"""What README.md and the pages of docs/ say to type: every block of shell or Python is run, or at least understood."""

import os
import re
import shlex
import shutil
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple
from zipfile import ZipFile

import forked
import hydra
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from markdown_it import MarkdownIt
from PIL import Image
from settings_page import settings_page
from small_runs import SMALL
from small_videos import picture, write_video

from fast_style.cli import COMMANDS
from fast_style.cli.help import all_settings
from fast_style.cli.hydra_app import register_resolvers
from fast_style.cli.overrides import CONFIGS, own_painting, read_arguments, with_paths

ROOT = Path(__file__).parent.parent
GUIDES = ROOT / "docs" / "guides"
#: The first ones first, which do what others only mention. Not the cards of the zoo, which docs/zoo.py writes:
#: tests/zoo/test_zoo.py composes the command of each, and compares all settings.
PAGES = sorted(
    [ROOT / "README.md", *(path for path in (ROOT / "docs").rglob("*.md") if not {"_build", "zoo"} & set(path.parts))],
    key=lambda path: (len(path.parts), path),
)
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"].keys()
SCRIPTS = {command.script: word for word, command in COMMANDS.items() if command.script}

#: Programs of others in the blocks, which are not run: they install, build, or need a cluster.
OTHERS = {"cat", "eval", "pip", "pytest", "sphinx-build", "tensorboard", "uv"}

#: Which of our commands are composed only, every key of theirs checked against the configuration, and why.
COMPOSED_ONLY = {
    r"^webcam ": "needs a camera",
    r"^stylize-distributed ": "starts a cluster",
    r"^benchmark ": "takes an hour",
    r"^export ": "converts the network, for half a minute",
    r"^stylize .*backend=openvino": "likewise",
    r"^stylize .*=-( |$)": "reads and writes standard streams; tests/cli/test_standard_streams.py does so",
    r"^stylize .*plugins=": "needs a module of the reader's; tests/cli/test_plugins.py has one",
    r"^stylize .*my_painting\+great_wave": "needs the network of the line before",
    r"^data coco=": "downloads",
    r"^data pack|^prepare": "starts processes of its own; tests/cli/test_data_command.py does so",
    r"^train (?!my_painting\.jpg|resume=last$)": "takes seconds, however small; those of the first pages are run",
    r"^optimize (.*experiment=|content=)": "likewise; and experiment=swatch writes into configs/",
    r"^evaluate .*outputs=": "likewise; tests/cli/test_evaluate.py does so",
    r"^evaluate .*light,residual": "compares networks of the reader's",
}

#: What makes the others small.
STAND_INS = {
    "train": [each.replace("starry_night.", "") for each in SMALL],
    "optimize": ["size=32", "steps=[1]", "preview_every_n_steps=0", "device=cpu"],
    "evaluate": ["sizes=[32]", "yardstick.size=32", "yardstick.steps=2", "device=cpu"],
    "stylize": [],
}


SMALL_BUT_STEPS = [each for each in SMALL if "max_steps" not in each]


class Block(NamedTuple):
    """A block of code on a page."""

    page: Path
    line: int
    language: str
    text: str


def blocks(*languages: str) -> Iterator[Block]:
    """Yield the blocks of code in some languages, or in any, page by page; an indented one has none."""
    for page in PAGES:
        for token in MarkdownIt().parse(page.read_text()):
            language = (token.info.split() or [""])[0]
            if token.type in ("fence", "code_block") and token.map and (not languages or language in languages):
                yield Block(page, token.map[0] + 1, language, token.content)


def simple_commands(text: str) -> Iterator[list[str]]:
    """Yield the words of each command in a block of shell, those within $(...) as well."""
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.shlex(line, posix=True, punctuation_chars="&|;<>")
        words.whitespace_split = True
        command: list[str] = []
        for word in [*words, ";"]:
            if word in ("&&", "|", ";"):
                if command:
                    yield command
                command = []
            elif inner := re.fullmatch(r"\$\((.*)\)", word):
                yield from simple_commands(inner[1])
            else:
                command.append(word)


def ours(words: list[str]) -> list[str]:
    """Return a command of ours as `fast-style` takes it, such as [stylize, photo.jpg]; nothing: it is another's."""
    words = list(words[: words.index(">")] if ">" in words else words)
    while re.match(r"[A-Z_]+=", words[0]):
        del words[0]
    if words[:2] == ["uv", "run"]:
        del words[:2]
        while words[0].startswith("-"):
            option = words.pop(0)
            if option in ("--extra", "--group"):
                assert words[0] in EXTRAS or option == "--group"
                del words[0]
    script = next((place for place, word in enumerate(words) if word.startswith("scripts/")), None)
    if script is not None:
        assert words[0] in ("python", "torchrun")
        return [SCRIPTS[Path(words[script]).stem], *words[script + 1 :]]
    if words[0] == "fast-style":
        return words[1:]
    assert words[0] in OTHERS, f"{words[0]}: is this run, or why is it not?"
    return []


def commands_of(page: Path) -> list[list[str]]:
    """Return the commands of ours on a page, in order, each once."""
    every = (ours(words) for block in blocks("bash") if block.page == page for words in simple_commands(block.text))
    return [list(words) for words in dict.fromkeys(map(tuple, every)) if words]


def is_run(command: list[str]) -> bool:
    return not any(re.search(pattern, " ".join(command)) for pattern in COMPOSED_ONLY)


def composes(config: str, words: list[str]) -> None:
    """Compose a configuration by a command's words, as the command does; a key that does not exist is an error."""
    register_resolvers()
    with hydra.initialize_config_dir(str(CONFIGS), version_base="1.3"):
        arguments = read_arguments(with_paths(words, config))
        if config in ("train", "optimize"):
            arguments = own_painting(arguments)
        if "-m" in arguments:
            parsed = OverridesParser.create().parse_overrides([word for word in arguments if word != "-m"])
            # Of a sweep the first run.
            arguments = [
                f"{each.get_key_element()}={next(each.sweep_string_iterator())}"
                if each.is_sweep_override()
                else str(each.input_line)
                for each in parsed
            ]
        hydra.compose(config, overrides=arguments)


COMMANDS_SHOWN = sorted({tuple(command) for page in PAGES for command in commands_of(page)})


def test_every_block_is_in_a_language_that_is_looked_at_or_is_nothing_to_type() -> None:
    looked_at = {"bash", "python"}
    shown = {"text", "bibtex", "{eval-rst}", "{toctree}", "{literalinclude}"}
    wrong = [f"{block.page}:{block.line}" for block in blocks() if block.language not in looked_at | shown]
    assert not wrong


def test_the_first_page_is_short_and_has_the_two_commands_that_set_everything_up() -> None:
    readme = (ROOT / "README.md").read_text()
    assert len(readme.split()) <= 1000
    assert (
        """```bash
pip install uv && uv run python scripts/train.py style=starry_night
pip install uv && uv run pytest
```"""
        in readme
    )


def test_commands_of_all_kinds_are_shown() -> None:
    assert {command[0] for command in COMMANDS_SHOWN} >= COMMANDS.keys()


@pytest.mark.parametrize("command", COMMANDS_SHOWN, ids=" ".join)
def test_every_command_is_understood(command: tuple[str, ...]) -> None:
    word, *words = command
    config = COMMANDS[word].config if word != "--help" else ""
    if not config or "--help" in words:
        return
    # What a reader has, and the tests have not; tests/cli/test_plugins.py runs the example package.
    for own, ships in (
        (r"(?<=style=\[)my_painting", "starry_night"),
        ("network=tiny", "network=light"),
        (",saturation", ""),
    ):
        words = [re.sub(own, ships, each) for each in words]
    composes(config, words)


@pytest.mark.parametrize(
    ("config", "setting"),
    [
        (config, setting)
        for page, config in (("training", "train"), ("controls", "stylize"))
        for setting in re.findall(r"^\| `([^`]+=[^`]+)` \|", (GUIDES / f"{page}.md").read_text(), re.MULTILINE)
    ],
)
def test_every_setting_in_a_table_exists(config: str, setting: str) -> None:
    composes(config, [setting] if "{" in setting else setting.split())


@pytest.fixture(scope="module")
def belongings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the readers of the pages have in their folder, tiny."""
    folder = tmp_path_factory.mktemp("belongings")
    for number, name in enumerate(
        ("photo.jpg", "panorama.jpg", "my_painting.jpg", "painting.jpg", "photos/a.png", "photos/b.png", "theirs/a.png")
    ):
        (folder / name).parent.mkdir(exist_ok=True)
        Image.fromarray(picture(number)).save(folder / name)
    shutil.copy(folder / "theirs/a.png", folder / "theirs/b.png")
    for name in ("mask.png", "sky.png", "ground.png"):
        Image.linear_gradient("L").save(folder / name)
    with ZipFile(folder / "photos.zip", "w") as archive:
        for path in sorted((folder / "photos").iterdir()):
            archive.write(path, path.name)
    # Five frames a second: some seconds, and yet few frames.
    write_video(folder / "clip.mp4", [picture(number) for number in range(13)], [5 * number for number in range(13)])
    nets = "from fast_style.networks import LightNet\n\nclass UNet(LightNet):\n    pass\n"
    (folder / "mynets.py").write_text(nets)
    return folder


#: Before the programs of a page: training is small, and modules beside the pictures are found.
PRELUDE = f"""
import sys
import fast_style
sys.path.insert(0, "")
train = fast_style.train
fast_style.train = lambda max_steps, **settings: train(**settings, max_steps=2, overrides={SMALL_BUT_STEPS!r})
"""


def program_of(page: Path) -> str:
    """Return the blocks of Python on a page as one program, on the lines that they have there."""
    lines: list[str] = []
    for block in blocks("python"):
        if block.page == page:
            lines += [""] * (block.line - len(lines)) + block.text.splitlines()
    source = "\n".join(lines)
    return f"{PRELUDE}exec(compile({source!r}, {str(page)!r}, 'exec'))\n" if source else ""


def run_page(page: Path, folder: Path, commands: list[list[str]]) -> list[str]:
    """Run the commands of a page in its order, as one who follows it, then its programs; return what went wrong."""
    wrong = []
    for command in commands:
        word, *words = command
        small = STAND_INS.get(word, []) if "resume=last" not in words else []
        keys = {setting.partition("=")[0] for setting in small}
        words = [re.sub(r"^size=\d+$", "size=48", each) for each in words if each.partition("=")[0] not in keys]
        done = forked.run(folder, word, *words, *small, program=str(ROOT / "fast_style" / "__main__.py"))
        if done.returncode:
            wrong.append(f"{page.name}: {shlex.join(command)}: {done.stderr[-400:]}")
    if program := program_of(page):
        (folder / "program.py").write_text(program)
        done = forked.run(folder, program=str(folder / "program.py"))
        if done.returncode:
            wrong.append(f"{page.name}: {done.stderr[-800:]}")
    return wrong


def test_what_can_be_run_runs(belongings: Path, tmp_path: Path) -> None:
    todo: list[tuple[Path, Path, list[list[str]]]] = []
    before: set[tuple[str, ...]] = set()
    for page in PAGES:
        # What several pages show is run once.
        commands = [each for each in commands_of(page) if is_run(each) and tuple(each) not in before]
        before |= set(map(tuple, commands))
        if commands or program_of(page):
            folder = Path(shutil.copytree(belongings, tmp_path / str(len(todo))))
            todo.append((page, folder, commands))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        wrong = [line for lines in pool.map(run_page, *zip(*todo, strict=True)) for line in lines]
    assert not wrong, "\n".join(wrong)


def test_the_reference_explains_every_setting() -> None:
    page = settings_page()
    for word, command in COMMANDS.items():
        if command.config:
            assert f"\n## {word}\n" in page
            for _, settings in all_settings(command.config):
                for setting in settings:
                    assert f"| `{setting.key}` |" in page, setting.key
                    assert setting.comment, setting.key


def test_every_link_of_what_is_not_on_the_site_leads_somewhere() -> None:
    # Those of the site, Sphinx checks.
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "docs/examples/tiny_style/README.md"):
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            assert target.startswith("https://") or (page.parent / target).exists(), target
