"""The plan of the package: what each room offers to the others, and what is its own. Floors: pyproject.toml."""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "fast_style"

#: The modules of each room that other rooms may import; an empty name is the room itself. A room that is one file
#: offers all of it, and nothing imports from `cli`.
OFFERED: dict[str, set[str]] = {
    "backends": {"", "automatic", "backend", "export", "onnx_cache", "pytorch"},
    "batch": {"folder_work", "job_queue", "jobs", "names", "ray", "ray_cluster"},
    "cli": {""},
    "data": {
        "batches",
        "datamodule",
        "films",
        "photographs",
        "pixel_archive",
        "prepare.check",
        "prepare.download",
        "prepare.pack",
        "procedural",
    },
    "encoders": {"encoder", "vgg"},
    "evaluation": {"visible_faults", "yardstick"},
    "images": {
        "arrays",
        "boxes",
        "deep",
        "disk_image",
        "formats",
        "notes",
        "opening",
        "pages",
        "photographs",
        "picture",
        "tensors",
        "upright",
    },
    "live": {"camera", "keys", "recorder", "session", "stylizer", "virtual_camera", "window"},
    "losses": {"", "motion", "styles", "temporal"},
    "networks": {"", "registry"},
    "stylizing": {"blends", "controls", "jobs", "memory_budget", "stylizer"},
    "system": {
        "cache",
        "devices",
        "file_locks",
        "files",
        "input_limits",
        "lazy",
        "memory",
        "optional_packages",
        "pipeline",
        "plugins",
        "processes",
        "text",
    },
    "training": {"callbacks", "checkpoints", "loggers", "run", "task"},
    "video": {
        "",
        "animations",
        "container_info",
        "file_kinds",
        "frames",
        "opening",
        "pixels",
        "reader",
        "stylize",
        "temporal",
        "work",
        "writer",
    },
    "zoo": {"", "network_file", "saving"},
}


def room_and_module(name: str) -> tuple[str, str]:
    """Split `fast_style.data.prepare.check` into `data` and `prepare.check`."""
    _, _, inside = name.partition(".")
    room, _, module = inside.partition(".")
    return room, module


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("fast_style", exclude_type_checking_imports=True)


def test_a_room_imports_from_another_only_what_that_offers(graph: grimp.ImportGraph) -> None:
    wrong = []
    for importer in graph.modules:
        for imported in graph.find_modules_directly_imported_by(importer):
            room, module = room_and_module(imported)
            inside = room_and_module(importer)[0] == room
            if room in OFFERED and not inside and module not in OFFERED[room]:
                wrong.append(f"{importer} imports {imported}, which {room}/ keeps to itself")
    assert not wrong, "\n".join(sorted(wrong))


def test_what_a_room_offers_is_used_by_another(graph: grimp.ImportGraph) -> None:
    used = {
        imported
        for importer in graph.modules
        for imported in graph.find_modules_directly_imported_by(importer)
        if room_and_module(imported)[0] != room_and_module(importer)[0]
    }
    offered = {f"fast_style.{room}.{module}" for room, modules in OFFERED.items() for module in modules if module}
    assert offered <= used


def private_imports(path: Path) -> Iterator[str]:
    """Yield each name with a leading underscore that a file imports from this package."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("fast_style"):
            yield from (alias.name for alias in node.names if alias.name.startswith("_") and alias.name[:2] != "__")


def test_no_module_imports_a_private_name_of_another() -> None:
    found = {str(path.relative_to(ROOT)): [*private_imports(path)] for path in sorted(PACKAGE.rglob("*.py"))}
    assert {path: names for path, names in found.items() if names} == {}


def test_every_room_is_declared_and_the_root_stays_small() -> None:
    entries = [path for path in PACKAGE.iterdir() if path.name != "__pycache__"]
    assert {path.name for path in entries if path.is_dir()} == set(OFFERED)
    assert len(entries) <= 22


def test_the_guide_for_contributors_has_the_floors_of_the_contract() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    floors = [re.split(r" [|:] ", layer) for layer in reversed(contracts[0]["layers"])]
    guide, told = (ROOT / "CONTRIBUTING.md").read_text(), dict[str, int]()
    floor = 0
    for number, names in re.findall(r"^  \| (\d*) ?\| (`.+?`) \|", guide, re.MULTILINE):
        floor = int(number or floor)
        told |= dict.fromkeys(re.findall(r"`(\w+)/?`", names), floor)
    assert told == {room: floor for floor, rooms in enumerate(floors, 1) for room in rooms}
    assert len(floors) <= 8


def test_tests_stand_in_folders_with_the_names_of_the_rooms() -> None:
    folders = {path.parent.name for path in (ROOT / "tests").glob("*/test_*.py")}
    assert folders <= set(OFFERED)
