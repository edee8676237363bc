"""Classes that have moved: a configuration with an old path is told the new one."""

import pkgutil

import pytest
from omegaconf import OmegaConf
from small_messages import raises

from fast_style.cli.hydra_app import build
from fast_style.cli.moved_names import MOVED
from fast_style.errors import ConfigError


@pytest.mark.parametrize("path", MOVED.values())
def test_the_new_path_of_a_class_that_has_moved_leads_to_a_class(path: str) -> None:
    assert isinstance(pkgutil.resolve_name(path), type)


@pytest.mark.parametrize("path", MOVED)
def test_the_old_path_of_a_class_leads_nowhere(path: str) -> None:
    with pytest.raises((ImportError, AttributeError)):
        pkgutil.resolve_name(path)


def test_a_configuration_that_names_an_old_path_is_told_the_new_one() -> None:
    config = OmegaConf.create({"style": {"mine": {"_target_": "fast_style.styles.Style", "name": "mine"}}})
    with raises(ConfigError, "style.mine._target_ fast_style.losses.styles.Style"):
        build(config.style)
