"""Writes the reference of settings from the comments in configs/*.yaml, which `--help` shows as well."""

import re
from collections.abc import Iterable, Iterator

from fast_style.cli import COMMANDS
from fast_style.cli.help import Group, Setting, all_settings


def settings_page() -> str:
    """Return a section for each command that has settings, in Markdown."""
    commands = [(word, command) for word, command in COMMANDS.items() if command.config]
    return "".join(
        f"\n## {word}\n\n{command.does[:1].upper()}{command.does[1:]}.\n\n{''.join(_parts(command.config))}"
        for word, command in commands
    )


def _parts(config: str) -> Iterator[str]:
    for group, settings in all_settings(config):
        if group is not None:
            yield f"**`{group.name}=`** {_written(_choice(group))}\n\n"
            yield _table(settings)
            continue
        # In the order of their first settings: those that share a title may stand apart.
        for title in dict.fromkeys(setting.title for setting in settings):
            yield f"**{_written(title)}**\n\n" if title else ""
            yield _table(setting for setting in settings if setting.title == title)


def _choice(group: Group) -> str:
    several = "one or several of" if group.several else "one of"
    text = f"{group.comment}; {several} {', '.join(group.choices)}"
    return f"{text}; by default {', '.join(group.chosen)}." if group.chosen else f"{text}; by default none."


def _table(settings: Iterable[Setting]) -> str:
    rows = [f"| `{setting.key}` | {_code(setting.default)} | {_written(setting.comment)} |\n" for setting in settings]
    return f"| setting | default | what it does |\n| --- | --- | --- |\n{''.join(rows)}\n" if rows else ""


def _code(default: str) -> str:
    if default == "...":
        return "must be given"
    return "`{}`".format(default.replace("|", "\\|")) if default else ""


def _written(text: str) -> str:
    """Return a comment so that Markdown shows it as it is."""
    return re.sub(r"([\\`*_{}\[\]<>|$])", r"\\\1", text)
