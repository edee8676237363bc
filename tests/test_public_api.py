import ast
import importlib
from pathlib import Path

import pytest

import fast_style

ROOT = Path(__file__).parent.parent


def test_the_package_offers_these_names() -> None:
    assert sorted(fast_style.__all__) == ["FastStyleError", "Stylizer", "load"]


@pytest.mark.parametrize("module", ["fast_style", "fast_style.losses", "fast_style.networks"])
def test_every_name_offered_exists_and_is_documented(module: str) -> None:
    package = importlib.import_module(module)
    for name in package.__all__:
        assert getattr(package, name).__doc__


def test_every_error_is_a_fast_style_error_and_stands_in_the_tree() -> None:
    errors = importlib.import_module("fast_style.errors")
    for name, error in vars(errors).items():
        if isinstance(error, type) and error.__module__ == errors.__name__:
            # An interruption is no error, and must not be caught with them.
            assert issubclass(error, fast_style.FastStyleError) != (error is errors.Interrupted)
            assert name in (errors.__doc__ or "")


def test_modules_say_what_they_are_for() -> None:
    for path in [*(ROOT / "fast_style").rglob("*.py"), *(ROOT / "scripts").glob("*.py")]:
        assert ast.get_docstring(ast.parse(path.read_text())), path
