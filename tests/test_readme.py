"""What the README says to type is understood, and what it points to is there."""

import re
import shlex
from pathlib import Path

import hydra
import pytest

from fast_style.cli import COMMANDS
from fast_style.cli.data import with_command
from fast_style.cli.hydra_app import register_resolvers
from fast_style.cli.overrides import CONFIGS, own_painting, read_arguments, with_paths

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
SCRIPTS = {command.script: word for word, command in COMMANDS.items() if command.script}
CALLS = [
    *((SCRIPTS[script], rest) for script, rest in re.findall(r"python scripts/(\w+)\.py ?([^`\n]*)", README)),
    *re.findall(r"(?:^    (?:\S.* )?|[`(])fast-style ([a-z-]+) ?([^`\n)]*)", README, re.MULTILINE),
]


def test_the_first_two_commands_are_those_that_set_everything_up() -> None:
    first, second, *_ = re.findall(r"^    (pip .*)$", README, re.MULTILINE)
    assert first == "pip install uv && uv run python scripts/train.py style=starry_night"
    assert second == "pip install uv && uv run pytest"


def test_commands_of_all_kinds_are_shown() -> None:
    assert {word for word, _ in CALLS} >= COMMANDS.keys() - {"benchmark"}


@pytest.mark.parametrize(("word", "arguments"), [call for call in CALLS if "--help" not in call[1]])
def test_every_command_composes(word: str, arguments: str) -> None:
    register_resolvers()
    config = COMMANDS[word].config
    if not config:
        return
    # A painting of the reader's own has no configuration here.
    arguments = arguments.replace("style=my_painting", "style=starry_night")
    with hydra.initialize_config_dir(str(CONFIGS), version_base="1.3"):
        words = shlex.split(arguments)
        overrides = read_arguments(with_paths(with_command(words) if word == "data" else words, config))
        if word in ("train", "optimize"):
            overrides = own_painting(overrides)
        hydra.compose(config, overrides=overrides)


@pytest.mark.parametrize("setting", re.findall(r"^\| `([^`]+)` \|", README, re.MULTILINE))
def test_every_setting_in_the_table_exists(setting: str) -> None:
    register_resolvers()
    with hydra.initialize_config_dir(str(CONFIGS), version_base="1.3"):
        hydra.compose("train", overrides=read_arguments(setting.split()))


def test_every_link_leads_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("https://") or (ROOT / target).exists(), target
