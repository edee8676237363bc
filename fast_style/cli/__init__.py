"""The command line: `fast-style COMMAND setting=value ...`, one file a command. Hydra lives here only."""

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
from pathlib import Path
from typing import NamedTuple


class Command(NamedTuple):
    """A word after `fast-style`.

    Attributes:
        module: the file of this package whose `entry_point` runs it.
        does: what it does, in a line.
        config: its file in configs/, without the suffix; nothing: it takes no settings of Hydra's.
        script: the same command in scripts/, without the suffix.
    """

    module: str
    does: str
    config: str = ""
    script: str = ""


COMMANDS = {
    "train": Command("train", "learn one painting or several, and save a network", "train", "train"),
    "stylize": Command("stylize", "stylize pictures and videos with a network", "stylize", "stylize"),
    "list": Command("list", "show the networks that there are"),
    "webcam": Command("webcam", "stylize what a camera sees, as it sees it", "webcam", "webcam"),
    "optimize": Command("optimize", "slow style transfer and texture synthesis", "optimize", "optimize"),
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

#: The word after `fast-style` by which this process was started; nothing: it was one of scripts/.
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
    if command.config in ("optimize", "evaluate"):
        # These import PyTorch, which takes seconds: not before their settings are checked.
        from fast_style.cli.hydra_app import run
        from fast_style.cli.overrides import own_painting

        rewrite = own_painting if command.config == "optimize" else list[str]
        run(lambda config: importlib.import_module(name).main(config), command.config, rewrite)
    else:
        importlib.import_module(name).entry_point()


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
    """Return how this program is called in messages, such as `fast-style train` or `train.py`."""
    return f"fast-style {_word}" if _word else Path(sys.argv[0]).name


def called(script: str) -> str:
    """Return how messages call another command, such as `fast-style data` or `prepare_data.py`."""
    return f"fast-style {_word_of(script)}" if _word else script


def _word_of(script: str) -> str:
    return next(name for name, command in COMMANDS.items() if f"{command.script}.py" == script)


def as_called(text: str) -> str:
    """Return a text in which commands are written `fast-style WORD`, with them in the way this program was called."""

    def spelled(found: re.Match[str]) -> str:
        called = COMMANDS.get(found[1])
        if called and _word and Path(sys.argv[0]).name != "__main__.py":
            return " ".join([*_uv(), found[0]])
        return command(f"{called.script}.py") if called and called.script else found[0]

    return re.sub(r"\bfast-style ([a-z-]+)", spelled, text)


def words() -> list[str]:
    """Return what stands between the program and its settings on the command line, for processes that start it anew."""
    return [_word] if _word else []


def command(script: str, *settings: str) -> str:
    """Return the command line that runs another command in the way this one was run.

    Args:
        script: its name in scripts/, such as train.py.
        settings: what follows it.
    """
    uv, here = _uv(), Path(sys.argv[0])
    # What was named for this run by a setting, the next one needs as well.
    settings += tuple(argument for argument in sys.argv[1:] if argument.partition("=")[0] == "plugins")
    python = [*uv, "python"] if uv else [_python()]
    if not _word:
        return shlex.join([*python, str(here.with_name(script)), *settings])
    word = _word_of(script)
    if here.name == "__main__.py":
        return shlex.join([*python, "-m", "fast_style", word, *settings])
    found = shutil.which(here.name)
    ours = here.name if uv or (found and os.path.samefile(found, here)) else os.path.relpath(here)
    return shlex.join([*uv, ours, word, *settings])


def _uv() -> list[str]:
    return ["uv", "run"] if "UV_RUN_RECURSION_DEPTH" in os.environ else []


def _python() -> str:
    found = shutil.which("python")
    return "python" if found and os.path.samefile(found, sys.executable) else os.path.relpath(sys.executable)


@contextmanager
def errors_in_one_line(
    explain: Callable[[Exception], str] = str, others: tuple[type[Exception], ...] = (), full: bool = False
) -> Iterator[None]:
    """End the process with one line on standard error for what the user can mend.

    Args:
        explain: makes the line of an error.
        others: errors that are told so beside ours and the system's.
        full: whether they go on with their traceback instead.
    """
    from fast_style.errors import FastStyleError, Interrupted

    mended: tuple[type[Exception], ...] = (FastStyleError, OSError, *others)
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError as error:
        if not _reader_is_gone():
            sys.exit(f"{program()}: {explain(error)}")
        # Such as head, which has seen enough: as other programs do, without a word.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + signal.SIGPIPE)
    except mended as error:
        if full:
            raise
        sys.exit(f"{program()}: {explain(error)}")
    except (KeyboardInterrupt, Interrupted) as error:
        print(f"{program()}: {str(error) or 'interrupted'}", file=sys.stderr)
        sys.exit(error.status if isinstance(error, Interrupted) else 130)


def _reader_is_gone() -> bool:
    """Return whether standard output is a pipe that nobody reads any more. A process of ours may be gone as well."""
    # Not by another attempt to write: what a pipe has refused, Python has thrown away.
    pipe = select.poll()
    pipe.register(sys.stdout, select.POLLOUT)
    return any(event & select.POLLERR for _, event in pipe.poll(0))
