"""What tests ask of a message: what it names, not how it is worded.

So a message can be reworded without mending every test that leads to it. How a message is built has a test of its own
(test_messages.py).
"""

import re
from collections.abc import Iterable
from typing import Any, Generic, TypeVar

import pytest

Error = TypeVar("Error", bound=BaseException)


def missing_from(message: object, words: str) -> list[str]:
    """Return which of the words a message lacks: keys, values, files, and what tells it from others of its kind.

    Only a whole word is found: neither `size` in `sizes`, nor 8 in 18, 1.8 or 8,000.
    """
    return [word for word in words.split() if not re.search(_whole(word), str(message))]


def _whole(word: str) -> str:
    before = r"(?<!\w)" if re.match(r"\w", word) else ""
    after = r"(?!\w)" if re.search(r"\w$", word) else ""
    if word[0].isdigit():
        before += r"(?<!\d[.,])"
    if word[-1].isdigit():
        after += r"(?![.,]\d)"
    return before + re.escape(word) + after


def assert_names(message: object, words: str) -> None:
    """Assert that a message is one line that has all of the words, in any order."""
    line = str(message).removesuffix("\n")
    assert line
    assert "\n" not in line
    missing = missing_from(line, words)
    assert not missing, f"{line!r} does not name {missing}"


def assert_says(output: str | Iterable[str], words: str) -> None:
    """Assert that one of several lines has all of the words."""
    lines = output.splitlines() if isinstance(output, str) else [*output]
    assert any(not missing_from(line, words) for line in lines), f"no line of {lines} names {words}"


def assert_each(messages: Iterable[object], *words: str) -> None:
    """Assert that there are as many messages as words are given, and that each has its own, in this order."""
    found = [*messages]
    assert len(found) == len(words), found
    for message, wanted in zip(found, words, strict=True):
        assert_names(message, wanted)


def raises(kind: type[Error] | tuple[type[Error], ...], words: str) -> "_Raises[Error]":
    """Expect an error of a kind whose message is one line that has all of the words."""
    return _Raises(kind, words)


class _Raises(Generic[Error]):
    """No generator, whose frame the error would hold, and with it what the failed call held, such as a lock."""

    def __init__(self, kind: type[Error] | tuple[type[Error], ...], words: str) -> None:
        self._raises, self._words = pytest.raises(kind), words

    def __enter__(self) -> pytest.ExceptionInfo[Error]:
        return self._raises.__enter__()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> bool:
        caught = self._raises.__exit__(kind, error, trace)
        if caught:
            assert_names(error, self._words)
        return caught
