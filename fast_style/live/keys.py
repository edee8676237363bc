"""Keys of a live session and their actions."""

from enum import Enum


class Action(Enum):
    """The action of a key, with its description for the help."""

    NEXT = "next style"
    PREVIOUS = "previous style"
    STRONGER = "stronger"
    WEAKER = "weaker"
    COLOR = "colors: the style's, or the camera's by histogram or luminance"
    FREEZE = "freeze; style, strength and colors still act"
    RECORD = "record, and stop recording"
    SNAPSHOT = "save this picture as PNG"
    INFO = "show or hide the figures"
    HELP = "show or hide this help"
    QUIT = "quit"


#: Actions by SDL's names of keys.
KEYS = {
    "n": Action.NEXT,
    "right": Action.NEXT,
    "p": Action.PREVIOUS,
    "left": Action.PREVIOUS,
    "up": Action.STRONGER,
    "down": Action.WEAKER,
    "c": Action.COLOR,
    "space": Action.FREEZE,
    "r": Action.RECORD,
    "s": Action.SNAPSHOT,
    "i": Action.INFO,
    "h": Action.HELP,
    "q": Action.QUIT,
    "escape": Action.QUIT,
}


def help_lines() -> list[tuple[str, str]]:
    """Return the keys and the description of each action."""
    return [(", ".join(key for key, does in KEYS.items() if does is action), action.value) for action in Action]
