"""What this package uses of other libraries that they do not promise: each with the public way that was tried."""

import ast
import re
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from pkgutil import resolve_name

import pytest

PACKAGE = Path(__file__).parent.parent / "fast_style"

#: By name: where it is used, and why not something public.
PRIVATE = {
    "hydra._internal.utils.get_args_parser": (
        "cli/overrides.py",
        "hydra.main parses sys.argv itself, and offers no parser that a program can ask what is an override.",
    ),
    "PIL._imaging": (
        "system/input_limits.py",
        "libtiff's messages: PIL.features tells its version, and nothing public sets its error handler.",
    ),
    "PIL.ImageFile._Tile": (
        "images/tiff.py",
        "what ImageFile.tile holds; a plain tuple has no _replace, and Pillow is to drop those.",
    ),
    "PIL.TiffImagePlugin._accept": (
        "images/tiff.py",
        "Image.OPEN holds it as well, but only once Pillow has loaded its plugins, which takes longer.",
    ),
    "torch._foreach_norm": (
        "training/task.py",
        "torch.nn.utils.get_total_norm joins the norms of all weights, and which one is bad would not be known.",
    ),
    "torch._inductor.cpp_builder.get_cpp_compiler": (
        "backends/pytorch.py",
        "torch.compile raises only at the first picture, from within, with pages of text.",
    ),
    "torch.utils._pytree.tree_leaves": (
        "backends/",
        "torch.utils has no public walk through nested outputs; torch.fx's wants a graph.",
    ),
    "torch.utils._triton.has_triton": (
        "backends/pytorch.py",
        "importing triton tells that it is installed, not whether it knows this GPU.",
    ),
}

#: What objects have: no search of ours finds these, whose names say nothing of whose they are.
METHODS = {
    "omegaconf:DictConfig._get_node": "cli/overrides.py: a value as it is written; to_container gives all or none.",
    "omegaconf:DictConfig._get_full_key": "cli/overrides.py: where a part stands; only errors tell it publicly.",
    "omegaconf:AnyNode._value": "cli/overrides.py: of such a node, what is written.",
    "hydra.core.override_parser.types:Override._value": "cli/overrides.py: value() makes lists plain, without quotes.",
    "torch:UntypedStorage._cdata": "backends/: data_ptr is 0 for the storage of meta tensors.",
}


@pytest.mark.parametrize("name", PRIVATE)
def test_what_others_do_not_promise_is_there(name: str) -> None:
    module, _, attribute = name.rpartition(".")
    assert hasattr(import_module(module), attribute) or find_spec(name), name


@pytest.mark.parametrize("name", METHODS)
def test_what_objects_of_others_do_not_promise_is_there(name: str) -> None:
    owner, _, attribute = name.rpartition(".")
    owner_class = resolve_name(owner)
    assert hasattr(owner_class, attribute) or attribute in getattr(owner_class, "__dataclass_fields__", {})


def private_names(path: Path) -> set[str]:
    """Return what a module imports, or takes as an attribute of an imported module, of others' private names."""
    tree, found = ast.parse(path.read_text()), set()
    modules: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules |= {
                (each.asname or each.name).partition(".")[0]: each.name.partition(".")[0] for each in node.names
            }
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            modules |= {each.asname or each.name: f"{node.module}.{each.name}" for each in node.names}
    found |= {name for name in modules.values() if re.search(r"(^|\.)_[a-z]", name, re.IGNORECASE)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and re.match(r"_[^_]", node.attr):
            owner = ast.unparse(node.value)
            first, _, rest = owner.partition(".")
            # Of modules, and of classes that are imported; what an object holds has no place to be listed.
            if first in modules and (not rest or rest.replace(".", "").islower()):
                found.add(".".join(filter(None, (modules[first], rest, node.attr))))
    # Python documents the few of its own.
    return {name for name in found if name.partition(".")[0] not in ("fast_style", *sys.stdlib_module_names)}


def test_no_private_name_is_used_that_is_not_listed() -> None:
    used = {name: path for path in PACKAGE.rglob("*.py") for name in private_names(path)}
    assert used.keys() == PRIVATE.keys()
    for path in PACKAGE.rglob("*.py"):
        for name in private_names(path):
            assert path.relative_to(PACKAGE).as_posix().startswith(PRIVATE[name][0]), (name, path)
