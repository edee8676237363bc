"""The command line, `fast-style COMMAND setting=value ...`: one module per command. Only this package uses Hydra."""

import importlib
import os
import re
import select
import shlex
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from pkgutil import resolve_name
from typing import NamedTuple


class Command(NamedTuple):
    """One command of `fast-style`."""

    module: str  # of this package: its `main` runs the command with a configuration, its `entry_point` without
    does: str  # one-line description
    config: str = ""  # its file in configs/, without suffix; empty: no Hydra settings
    script: str = ""  # the same command in scripts/, without suffix; empty: none
    rewrites: tuple[str, ...] = ()  # functions of this package that expand the arguments before Hydra reads them


COMMANDS = {
    "train": Command(
        *("train", "learn one painting or several, and save a network", "train", "train"),
        rewrites=("overrides:own_painting", "resume:resume_arguments"),
    ),
    "stylize": Command(
        *("stylize", "stylize pictures and videos with a network", "stylize", "stylize"),
        rewrites=("stylize:without_input",),
    ),
    "list": Command("list", "show the networks that there are"),
    "webcam": Command("webcam", "stylize what a camera sees, as it sees it", "webcam", "webcam"),
    "optimize": Command(
        *("optimize", "slow style transfer and texture synthesis", "optimize", "optimize"),
        rewrites=("overrides:own_painting",),
    ),
    "evaluate": Command("evaluate", "measure how good networks are, as a page", "evaluate", "evaluate"),
    "data": Command("data", "fetch, check and pack photographs to train on", "prepare_data", "prepare_data"),
    "export": Command("export", "write a network for other programs", "export"),
    "stylize-distributed": Command(
        "stylize_distributed", "stylize many pictures on many machines", "stylize_distributed", "stylize_distributed"
    ),
    "benchmark": Command("benchmark.command", "measure time and memory", "benchmark", "benchmark"),
    "checks": Command("checks", "show versions, devices, formats, folders and extras"),
    "completion": Command("completion", "print what completes commands and settings in bash, zsh or fish"),
}

#: The command given to `fast-style`; empty when a file of scripts/ was started instead.
_word = ""


def main() -> None:
    """Run `fast-style`, or `python -m fast_style`."""
    global _word
    if sys.argv[1:2] == ["help"] and sys.argv[2:3]:  # fast-style help train
        sys.argv[1:] = [sys.argv[2], "--help"]
    word = next(iter(sys.argv[1:]), "--help")
    if word in ("-h", "--help", "help"):
        print(_usage())
    elif word == "--version":
        from fast_style import __version__

        print(f"fast-style {__version__}")
    elif word in COMMANDS:
        _word = word
        del sys.argv[1]
        _run(COMMANDS[word])
    else:
        close = get_close_matches(word, COMMANDS, n=1)
        meant = f"did you mean {close[0]}? C" if close else "c"
        sys.exit(f"fast-style: there is no command {word!r}; {meant}hoose from {', '.join(COMMANDS)}")


def script(name: str) -> None:
    """Run the command of a file in scripts/, such as `train`."""
    _run(next(command for command in COMMANDS.values() if command.script == name))


def _run(command: Command) -> None:
    if command.config and {"-h", "--help"} & set(sys.argv[1:]):
        from fast_style.cli.help import help_text

        with errors_in_one_line():
            print(help_text(command, sys.argv[1:]))
        return
    name = f"fast_style.cli.{command.module}"
    if not command.config:
        importlib.import_module(name).entry_point()
        return
    from fast_style.cli.hydra_app import run

    # Some modules import PyTorch, which takes seconds: import them only after the settings are checked.
    run(lambda config: importlib.import_module(name).main(config), command.config, partial(_rewritten, command))


# Not inside _run: once the module of the command `list` is imported, this package's `list` is that module.
def _rewritten(command: Command, arguments: list[str]) -> list[str]:
    for function in command.rewrites:
        arguments = resolve_name(f"fast_style.cli.{function}")(arguments)
    return arguments


def _usage() -> str:
    width = max(map(len, COMMANDS)) + 2
    commands = "\n".join(f"  {name:<{width}}{command.does}" for name, command in COMMANDS.items())
    return f"""\
fast-style: turn one painting into a real-time filter.

  fast-style stylize photo.jpg ckpt=starry_night
  fast-style train my_painting.jpg

Commands:
{commands}

fast-style COMMAND --help explains every setting; fast-style --version tells the version."""


def program() -> str:
    """Return this program's name for messages, such as `fast-style train` or `train.py`."""
    return f"fast-style {_word}" if _word else Path(sys.argv[0]).name


def command_name(script: str) -> str:
    """Return how messages name the command of a script, such as `fast-style data` for `prepare_data.py`."""
    return f"fast-style {_command_of(script)}" if _word else script


def _command_of(script: str) -> str:
    return next(name for name, command in COMMANDS.items() if f"{command.script}.py" == script)


def adapt_commands(text: str) -> str:
    """Rewrite each `fast-style COMMAND` in a text to the way this program was started (uv, python -m, a script)."""

    def adapt(found: re.Match[str]) -> str:
        known = COMMANDS.get(found[1])
        if known and _word and Path(sys.argv[0]).name != "__main__.py":
            return " ".join([*_uv(), found[0]])
        return command(f"{known.script}.py") if known and known.script else found[0]

    return re.sub(r"\bfast-style ([a-z-]+)", adapt, text)


def command_words() -> list[str]:
    """Return the arguments between the program and its settings, for child processes that start it again."""
    return [_word] if _word else []


def command(script: str, *settings: str) -> str:
    """Return the command line that runs another command, such as train.py, in the way this one was started."""
    uv, here = _uv(), Path(sys.argv[0])

    def shortest(name: str, path: str | Path) -> str:
        on_path = shutil.which(name)
        return name if uv or (on_path and os.path.samefile(on_path, path)) else os.path.relpath(path)

    if not _word:
        words = [shortest("python", sys.executable), str(here.with_name(script))]
    elif here.name == "__main__.py":
        words = [shortest("python", sys.executable), "-m", "fast_style", _command_of(script)]
    else:
        words = [shortest(here.name, here), _command_of(script)]
    # The next command needs the same plugins.
    plugins = [argument for argument in sys.argv[1:] if argument.partition("=")[0] == "plugins"]
    return shlex.join([*uv, *words, *settings, *plugins])


def _uv() -> list[str]:
    return ["uv", "run"] if "UV_RUN_RECURSION_DEPTH" in os.environ else []


@contextmanager
def errors_in_one_line(
    explain: Callable[[Exception], str] = str, others: tuple[type[Exception], ...] = (), full: bool = False
) -> Iterator[None]:
    """Exit with the line that `explain` returns for errors that the user can fix, also of types `others`.

    `full` raises them with their traceback instead.
    """
    from fast_style.errors import FastStyleError, Interrupted

    reported: tuple[type[Exception], ...] = (FastStyleError, OSError, *others)
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError as error:
        # Polled, not written to: Python discards the data that a pipe has refused. The error may also come from a child
        # process. Windows has no poll, nor this error for standard output.
        pipe = select.poll() if hasattr(select, "poll") else None
        if pipe is not None:
            pipe.register(sys.stdout, select.POLLOUT)
        if pipe is None or not any(event & select.POLLERR for _, event in pipe.poll(0)):
            sys.exit(f"{program()}: {explain(error)}")
        # The reader has closed the pipe, as `head` does: exit without a message, as other programs do.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + signal.SIGPIPE)
    except reported as error:
        if full:
            raise
        sys.exit(f"{program()}: {explain(error)}")
    except (KeyboardInterrupt, Interrupted) as error:
        print(f"{program()}: {str(error) or 'interrupted'}", file=sys.stderr)
        sys.exit(error.status if isinstance(error, Interrupted) else 130)
