"""Text from outside, such as the names of files, escaped for one line of a message."""


def printable(text: str) -> str:
    r"""Return a text on one line that any terminal and file takes: `\n`, `\x1b`, `\udcff` for what is not printable."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


def reason_of(error: Exception) -> str:
    """Return what an error says, on one line."""
    text = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
    return printable(text)
