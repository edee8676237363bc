"""The text of --help: settings with defaults, explained by the comments in configs/*.yaml."""

import re
import shutil
import textwrap
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from fast_style.cli import Command, adapt_commands, program

# From its own module: importing Hydra takes a third of a second.
from fast_style.cli.configs import CONFIGS


class Setting(NamedTuple):
    """One setting of a configuration file."""

    key: str  # such as `style.starry_night.size`
    default: str  # as typed; empty: derived from other settings, or a node with settings of its own
    comment: str  # beside it
    title: str  # the comment above it, shared by the settings that follow


class Group(NamedTuple):
    """A folder of configs/, from which one file or several are chosen."""

    name: str
    chosen: tuple[str, ...]  # the default files
    several: bool  # whether several may be chosen
    comment: str  # in the list of defaults
    script: str  # call of the command, as in the headers of experiments

    @property
    def choices(self) -> list[str]:
        """The files to choose from."""
        files = sorted((CONFIGS / self.name).glob("*.yaml"))
        # The header of an experiment names its commands.
        return [file.stem for file in files if self.name != "experiment" or self.script in file.read_text("utf-8")]


@cache
def settings_of(file: Path, prefix: str = "") -> tuple[Setting, ...]:
    """Return the settings of a file in configs/, in order."""
    text = file.read_text(encoding="utf-8")
    root = yaml.compose(text, Loader=yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader)
    return tuple(_settings(root, text.splitlines(), prefix)) if isinstance(root, yaml.MappingNode) else ()


def _settings(node: yaml.MappingNode, lines: list[str], prefix: str, title: str = "") -> Iterator[Setting]:
    for key, value in node.value:
        top = key.start_mark.column == 0
        title = (_title(lines, key.start_mark.line) if top else "") or title
        if key.value.startswith("_") or (not prefix and key.value in ("defaults", "hydra")):
            continue
        name = f"{prefix}{key.value}"
        block = isinstance(value, yaml.CollectionNode) and not value.flow_style
        comment = _comment(lines, key.end_mark if block else value.end_mark, key.start_mark.column)
        if isinstance(value, yaml.MappingNode) and block:
            if comment:
                yield Setting(name, "", comment, title)
            yield from _settings(value, lines, f"{name}.", title)
        else:
            yield Setting(name, _typed(value), comment, title)


def _comment(lines: list[str], end: Any, column: int) -> str:
    """Return the comment beside a value, with its continuation on deeper-indented lines."""
    found = re.match(r":?\s*#\s*(.*)", lines[end.line][end.column :])
    parts = [found[1]] if found else []
    for line in lines[end.line + 1 :] if found else ():
        more = re.match(r"(\s+)#\s*(.*)", line)
        if not more or len(more[1]) <= column:
            break
        parts.append(more[2])
    return " ".join(parts)


def _title(lines: list[str], line: int) -> str:
    parts: list[str] = []
    while line > 0 and (found := re.match(r"#\s*(.*)", lines[line - 1])):
        parts.insert(0, found[1])
        line -= 1
    return " ".join(parts) if line else ""  # a file's first comment is its description


def _typed(value: yaml.Node) -> str:
    if isinstance(value, yaml.ScalarNode):
        text = str(value.value)
        return "" if "${" in text else "..." if text == "???" else text or '""'
    plain = yaml.safe_load(yaml.serialize(value))
    if "${" in str(plain):
        return ""
    if isinstance(plain, dict):
        return "{" + ", ".join(f"{key}: {item}" for key, item in plain.items()) + "}"
    return "[" + ",".join(map(str, plain)) + "]"


@cache
def groups_of(config: str) -> tuple[Group, ...]:
    """Return the config groups of a configuration, in the order of its defaults list."""
    text = (CONFIGS / f"{config}.yaml").read_text(encoding="utf-8")
    lines, found = text.splitlines(), []
    for key, node in yaml.compose(text, Loader=yaml.SafeLoader).value:
        for item in node.value if key.value == "defaults" else ():
            if isinstance(item, yaml.MappingNode) and " " not in item.value[0][0].value:
                name, value = item.value[0]
                several = isinstance(value, yaml.SequenceNode)
                chosen = [each.value for each in value.value] if several else [value.value]
                chosen = [] if chosen == ["null"] else chosen
                comment = _comment(lines, value.end_mark, name.start_mark.column)
                found.append(Group(name.value, tuple(chosen), several, comment, f"{config}.py experiment="))
    return tuple(found)


def is_part(group: Group) -> bool:
    """Return whether a group is a part shared by configurations, with nothing to choose."""
    files = [CONFIGS / group.name / f"{name}.yaml" for name in group.chosen]
    return bool(files) and all(file.read_text("utf-8").startswith("# @package _global_") for file in files)


def all_settings(config: str, chosen: dict[str, list[str]] | None = None) -> list[tuple[Group | None, list[Setting]]]:
    """Return a configuration's own settings, then those of each group's files: `chosen`, by default its own choice."""
    own = list(settings_of(CONFIGS / f"{config}.yaml"))
    found: list[tuple[Group | None, list[Setting]]] = [(None, own)]
    for group in groups_of(config):
        if is_part(group):
            # After the first section, which is about files.
            place = next(index for index, setting in enumerate(own) if setting.title != own[0].title)
            own[place:place] = [setting for name in group.chosen for setting in _shared(group.name, name)]
            continue
        names = (chosen or {}).get(group.name, list(group.chosen))
        files = [CONFIGS / group.name / f"{name}.yaml" for name in names if group.name != "experiment"]
        settings = [setting for file in files if file.is_file() for setting in settings_of(file, f"{group.name}.")]
        comments = _comments(group.name)
        settings = [each._replace(comment=each.comment or comments.get(_last(each.key), "")) for each in settings]
        found.append((group, settings))
    return found


@cache
def _comments(group: str) -> dict[str, str]:
    """Return a group's comments by the last part of the key: a setting is explained in one of its files only."""
    files = sorted((CONFIGS / group).glob("*.yaml"))
    return {_last(each.key): each.comment for file in files for each in settings_of(file) if each.comment}


def _last(key: str) -> str:
    return key.rpartition(".")[2]


def _shared(group: str, name: str) -> Iterator[Setting]:
    file = CONFIGS / group / f"{name}.yaml"
    for item in (yaml.safe_load(file.read_text()) or {}).get("defaults", ()):
        if item != "_self_":
            yield from _shared(group, item)
    yield from settings_of(file)


def help_text(wanted: Command, arguments: list[str]) -> str:
    """Return the help of a command, with the settings of the groups that its other arguments choose."""
    file = yaml.safe_load((CONFIGS / f"{wanted.config}.yaml").read_text())["hydra"]["help"]
    lines = [f"{program()}: {file['header']}", ""]
    for line in str(file["footer"]).splitlines():
        if line.strip() == "KEYS":
            from fast_style.live.keys import help_lines

            lines += [f"  {keys:<12}{does}" for keys, does in help_lines()]
        else:
            lines.append(adapt_commands(line))
    given = (argument.partition("=") for argument in arguments)
    chosen = {key: re.findall(r"\w+", value) for key, _, value in given}
    lines += ["", "Settings, written key=value:"]
    for group, settings in all_settings(wanted.config, chosen):
        if group is not None:
            some = ",".join(chosen.get(group.name, list(group.chosen)))
            choice = f"[{some}]" if group.several else some or "null"
            several = "several of" if group.several else "one of"
            lines += ["", *_entry(f"{group.name}={choice}", f"{group.comment}; {several} {', '.join(group.choices)}")]
        title = ""
        for setting in settings:
            if group is None and setting.title != title:
                title = setting.title
                lines += ["", f" {title}:"]
            default = f"={textwrap.shorten(setting.default, 72, placeholder=' ...')}" if setting.default else ""
            lines += _entry(f"{setting.key}{default}", setting.comment, 2 if group is None else 4)
    return "\n".join(lines)


_COLUMN = 28


def _entry(left: str, right: str, indent: int = 2) -> list[str]:
    width = max(60, min(120, shutil.get_terminal_size().columns))
    wrapped = textwrap.wrap(right, width - _COLUMN, break_on_hyphens=False, break_long_words=False)
    first = f"{' ' * indent}{left}"
    # Too long for its column: the explanation starts on the next line.
    if wrapped and len(first) + 2 <= _COLUMN:
        first = f"{first:<{_COLUMN}}{wrapped.pop(0)}"
    return [first, *(f"{'':{_COLUMN}}{line}" for line in wrapped)]
