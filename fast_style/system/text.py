"""Escaping of untrusted text, such as file names, for messages of one line."""


def printable(text: str) -> str:
    r"""Return a text with unprintable characters escaped, such as `\n`, `\x1b` and `\udcff`."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


def reason_of(error: object) -> str:
    """Return an error's message on one line: of an OSError, the system's words; text is returned as it is."""
    text = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
    return printable(" ".join(text.split()))
