import ast
import doctest
import importlib
import inspect
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from small_messages import assert_names

import fast_style
from fast_style import errors
from fast_style.cli.overrides import explain

ROOT = Path(__file__).parent.parent
# Training from Python is there where the command has it.
ERRORS = {name for name in fast_style.__all__ if name.endswith("Error")}
PACKAGES = ("batch", "encoders", "losses", "networks", "video", "zoo")


def fresh(program: str) -> Any:
    """Return what a program prints as JSON, in a process that has imported nothing of ours."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=300)
    return json.loads(done.stdout)


def lazy(package: str) -> bool:
    return "lazy_names" in Path(importlib.import_module(package).__file__ or "").read_text()


def imported_for_type_checkers(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            for child in node.body:
                assert isinstance(child, ast.ImportFrom)
                yield from (alias.asname or alias.name for alias in child.names)


def test_the_package_offers_these_names() -> None:
    functions = {"list", "load", "stylize_files", "stylize_video", "train"}
    stylizing = {"Controls", "Style", "Stylizer"}
    networks = {"BalancedNet", "LightNet", "ResidualNet", "TransformNet"}
    losses = {"ContentLoss", "GridLoss", "HatchLoss", "Loss", "PerceptualLoss", "StyleLoss"}
    losses |= {"TemporalLoss", "TotalVariationLoss"}
    raised = {name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, Exception)}
    others = {"Stylization", "VGGEncoder", "__version__"}
    assert set(fast_style.__all__) == functions | stylizing | networks | losses | raised | others


@pytest.mark.parametrize("module", ["fast_style", *(f"fast_style.{name}" for name in PACKAGES)])
def test_every_name_offered_is_found_seen_by_type_checkers_and_documented(module: str) -> None:
    package = importlib.import_module(module)
    assert sorted(package.__all__) == sorted(set(package.__all__))
    assert set(package.__all__) <= set(dir(package))
    for name in package.__all__:
        assert name.isupper() or name == "__version__" or getattr(package, name).__doc__, name
    if lazy(module):
        path = Path(package.__file__ or "")
        assert set(imported_for_type_checkers(path)) == set(package.__all__) - {"__version__"}
    with pytest.raises(AttributeError, match=f"^module '{module}' has no attribute 'nothing'$"):
        package.nothing  # noqa: B018


def test_functions_say_what_they_take_return_and_raise_and_show_it() -> None:
    for name in ("list", "load", "stylize_files", "stylize_video", "train"):
        function = getattr(fast_style, name)
        told = inspect.getdoc(function) or ""
        parameters = inspect.signature(function).parameters
        assert all(f"{parameter}:" in told for parameter in parameters if parameter != "overrides"), name
        assert ("Args:" in told) == bool(parameters), name
        assert "Example:" in told, name


#: Whose example takes minutes; tests/cli/test_train_from_python.py does what it does.
SLOW = {"train"}


@pytest.mark.parametrize("name", sorted(set(fast_style.__all__) - SLOW - {"__version__"} - ERRORS))
def test_every_public_name_has_an_example_that_is_true(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    for photo in ("photo.jpg", "my_garden.jpg", "photos/a.jpg"):
        Image.new("RGB", (64, 48), "teal").save(photo)
    names = {each: getattr(fast_style, each) for each in fast_style.__all__}
    known = {**names, "fast_style": fast_style, "torch": torch, "np": np, "Path": Path, "Image": Image}
    found = doctest.DocTestFinder(recurse=False).find(getattr(fast_style, name), name, globs=known)
    runner = doctest.DocTestRunner()
    assert sum(runner.run(example).attempted for example in found) > 0
    assert runner.failures == 0


@pytest.mark.parametrize("module", ["system.lazy", "zoo.names"])
def test_examples_are_true(module: str) -> None:
    failed, tried = doctest.testmod(importlib.import_module(f"fast_style.{module}"))
    assert tried
    assert not failed


def test_every_error_is_a_fast_style_error_and_stands_in_the_tree() -> None:
    for name, error in vars(errors).items():
        if isinstance(error, type) and error.__module__ == errors.__name__:
            # An interruption is no error, and must not be caught with them.
            assert issubclass(error, fast_style.FastStyleError) != (error is errors.Interrupted)
            assert name in (errors.__doc__ or "")
    assert issubclass(fast_style.ConfigError, ValueError)
    assert issubclass(fast_style.ArrayError, ValueError)


def test_modules_say_what_they_are_for() -> None:
    for path in [*(ROOT / "fast_style").rglob("*.py"), *(ROOT / "scripts").glob("*.py")]:
        assert ast.get_docstring(ast.parse(path.read_text())), path


def test_nothing_prints_but_the_command_line() -> None:
    # A callback that shows progress, and a process that tells its parent what is wrong.
    spared = {"training/callbacks.py", "backends/export.py"}
    for path in (ROOT / "fast_style").rglob("*.py"):
        name = path.relative_to(ROOT / "fast_style").as_posix()
        if name not in spared and not name.startswith(("cli/", "__main__")):
            calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
            assert not any(isinstance(call.func, ast.Name) and call.func.id == "print" for call in calls), name


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "a.zip: exists already; add overwrite=True to replace it",
            "a.zip exists overwrite=true",
        ),
        ("max_steps must be given", "trainer.max_steps given"),
        ("lower lr, or use precision=32-true", "optimizer.lr trainer.precision=32-true"),
        ("network must be of a class that", "network._target_"),
        ("trainer.max_steps must be 1", "trainer.max_steps 1"),
    ],
)
def test_the_command_line_says_in_settings_what_the_library_says_in_parameters(text: str, told: str) -> None:
    assert_names(explain(errors.ConfigError(text), "train"), told)


def test_importing_the_package_costs_nothing() -> None:
    program = """
import json, sys
import fast_style
print(json.dumps([*sys.modules]))
"""
    modules = fresh(program)
    for heavy in ("torch", "numpy", "PIL", "lightning", "hydra", "safetensors"):
        assert heavy not in modules


@pytest.mark.parametrize(("package", "most"), [("networks", 15), ("losses", 22)])
def test_a_room_brings_only_what_it_stands_on(package: str, most: int) -> None:
    modules = fresh(f"import json, sys, fast_style.{package}; print(json.dumps([*sys.modules]))")
    assert len([module for module in modules if module.partition(".")[0] == "fast_style"]) <= most
    assert not {"PIL", "lightning", "hydra"} & set(modules)


def test_importing_any_module_changes_nothing() -> None:
    """What other packages change when they are imported is theirs: they are imported first."""
    program = r"""
import ast, contextlib, importlib, io, json, logging, os, pkgutil, signal, sys, warnings
from pathlib import Path

out, sys.stdout = sys.stdout, io.StringIO()
import PIL.Image
import fast_style

modules = sorted({module.name for module in pkgutil.walk_packages(fast_style.__path__, "fast_style.")})
modules = [module for module in modules if not module.endswith("__main__")]
for path in Path(fast_style.__path__[0]).rglob("*.py"):
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            # For some there is no such machine, and some are no modules.
            if name.partition(".")[0] not in ("fast_style", "__future__", "ray"):
                with contextlib.suppress(Exception):
                    importlib.import_module(name)


def state():
    loggers = {"root": logging.getLogger(), **logging.Logger.manager.loggerDict}
    return {
        "loggers": {
            name: (found.level, found.propagate, found.disabled, len(found.handlers))
            for name, found in loggers.items()
            if isinstance(found, logging.Logger)
        },
        "filters": {str(number): str(found) for number, found in enumerate(warnings.filters)},
        "environment": dict(os.environ),
        "signals": {str(number): str(signal.getsignal(number)) for number in signal.valid_signals()},
        "pillow": {
            name: str(found)
            for place in (PIL.Image.OPEN, PIL.Image.SAVE, PIL.Image.DECODERS, PIL.Image.ENCODERS)
            for name, found in place.items()
        } | {"most pixels": PIL.Image.MAX_IMAGE_PIXELS},
    }


changes = []
for module in modules:
    before = state()
    importlib.import_module(module)
    after = state()
    for kind, values in after.items():
        for name, value in values.items():
            # A logger of one's own, as it comes, is no change.
            usual = (0, True, False, 0) if kind == "loggers" else None
            if before[kind].get(name, usual) != value:
                changes.append([module, kind, name])
print(json.dumps([len(modules), changes]), file=out)
"""
    count, changes = fresh(program)
    assert count > 100
    # The program itself: before torch, so that its threads do not spin.
    assert [change for change in changes if change[1:] != ["environment", "OMP_WAIT_POLICY"]] == []
    assert all(module.startswith("fast_style.cli.") for module, *_ in changes)


def test_importing_the_window_says_nothing() -> None:
    # pygame would.
    assert fresh("import json, fast_style.live.window; print(json.dumps(None))") is None
