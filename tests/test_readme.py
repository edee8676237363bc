"""What the README says to type is understood, and what it points to is there."""

import re
import shlex
from pathlib import Path

import hydra
import pytest

from fast_style.cli.data import with_command
from fast_style.cli.hydra_app import register_resolvers
from fast_style.cli.overrides import CONFIGS, own_painting, read_arguments

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
COMMANDS = re.findall(r"python (scripts/\w+\.py) ?([^`\n]*)", README)


def test_the_first_two_commands_are_those_that_set_everything_up() -> None:
    first, second = re.findall(r"^    (pip .*)$", README, re.MULTILINE)
    assert first == "pip install uv && uv run python scripts/train.py style=starry_night"
    assert second == "pip install uv && uv run pytest"


@pytest.mark.parametrize(("script", "arguments"), [pair for pair in COMMANDS if "--help" not in pair[1]])
def test_every_command_composes(script: str, arguments: str) -> None:
    register_resolvers()
    assert (ROOT / script).exists()
    # A painting of the reader's own has no configuration here.
    arguments = arguments.replace("style=my_painting", "style=starry_night")
    with hydra.initialize_config_dir(str(CONFIGS), version_base="1.3"):
        overrides = read_arguments(with_command(shlex.split(arguments)))
        if Path(script).stem in ("train", "optimize"):
            overrides = own_painting(overrides)
        hydra.compose(Path(script).stem, overrides=overrides)


@pytest.mark.parametrize("setting", re.findall(r"^\| `([^`]+)` \|", README, re.MULTILINE))
def test_every_setting_in_the_table_exists(setting: str) -> None:
    register_resolvers()
    with hydra.initialize_config_dir(str(CONFIGS), version_base="1.3"):
        hydra.compose("train", overrides=read_arguments(setting.split()))


def test_every_link_leads_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("https://") or (ROOT / target).exists(), target
