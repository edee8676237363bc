"""How messages are built, and what the tests of all others ask of one (small_messages.py)."""

from collections.abc import Callable
from pathlib import Path

import pytest
from small_messages import missing_from

import fast_style
from fast_style.cli.overrides import explain
from fast_style.data.photographs import Photographs
from fast_style.errors import CheckpointError, ConfigError, DataError, FastStyleError, ImageError
from fast_style.images.picture import open_picture
from fast_style.losses import StyleLoss
from fast_style.networks import LightNet


@pytest.mark.parametrize(
    ("mistake", "kind", "line"),
    [
        (lambda: LightNet(styles=1, width=0), ConfigError, "width must be a whole number from 1 to 4096, not 0"),
        (lambda: StyleLoss(weight=-1), ConfigError, "weight must not be negative, not -1"),
        (
            lambda: open_picture(Path("a.png")),
            ImageError,
            "a.png: not a readable picture (No such file or directory); check the path",
        ),
        (
            lambda: Photographs(Path("photos"), 32),
            DataError,
            "photos: there is no such folder or archive; check the path",
        ),
        (
            lambda: fast_style.load("empty.safetensors"),
            CheckpointError,
            "empty.safetensors: the file is empty; copy or train it again",
        ),
    ],
)
def test_a_message_is_one_line_of_the_thing_the_reason_and_the_remedy(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    mistake: Callable[[], object],
    kind: type[FastStyleError],
    line: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty.safetensors").touch()
    with pytest.raises(kind) as caught:
        mistake()
    assert str(caught.value) == line


def test_the_command_line_puts_the_whole_key_first() -> None:
    told = explain(ConfigError("max_steps must be at least 1, not 0; or lower lr"), "train")
    assert told == "trainer.max_steps must be at least 1, not 0; or lower optimizer.lr"


@pytest.mark.parametrize(
    ("words", "missing"),
    [
        ("sizes 65535 0.5 a.jpg not", []),
        ("0.5 sizes must", []),
        ("size", ["size"]),
        ("655 5 0 5.a jpg", ["655", "5", "0", "5.a"]),
        ("[1, 2] {day: 1}", ["{day:", "1}"]),
        ("trainer.max_step max_steps steps", ["trainer.max_step", "steps"]),
    ],
)
def test_a_message_names_what_it_has_as_a_whole_word(words: str, missing: list[str]) -> None:
    assert missing_from("sizes must be above 0.5 and at most 65535, not [1, 2]: /b/a.jpg trainer.max_steps", words) == (
        missing
    )
