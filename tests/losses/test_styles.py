"""Styles, and a person's choice among them."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from small_messages import raises

from fast_style.errors import ConfigError, ImageError
from fast_style.images.tensors import read_image
from fast_style.losses.styles import Style
from fast_style.stylizing.blends import style_weights

NAMES = ["waves", "stars", "cafe"]


@pytest.mark.parametrize("size", [16, 48, 100])
def test_the_picture_is_seen_with_its_short_side_at_the_size(style: Style, size: int) -> None:
    picture = replace(style, size=size).read()  # from 64 by 48 pixels
    assert picture.shape == (1, 3, size, round(size * 64 / 48))
    assert 0 <= picture.min() < picture.max() <= 1


def test_at_its_own_size_the_picture_is_as_in_the_file(style: Style) -> None:
    assert torch.equal(replace(style, size=48).read(), read_image(style.image))


def test_the_credit_says_whose_work_it_is(style: Style) -> None:
    assert style.credit == {"artist": "nobody", "work": "waves", "year": 2024, "note": ""}


def test_the_picture_may_be_given_as_text() -> None:
    assert Style("waves", "waves.png").image == Path("waves.png")  # type: ignore[arg-type]  # as a config gives it


def test_two_styles_do_not_share_their_layers() -> None:
    first, second = Style("a", Path("a.png")), Style("b", Path("b.png"))
    assert first.layers == second.layers
    assert first.layers is not second.layers


def test_the_default_layers_are_one_of_each_scale_and_the_deepest_counts_least() -> None:
    layers = Style("a", Path("a.png")).layers
    assert list(layers) == [f"relu{block}_1" for block in range(1, 6)]
    assert min(layers, key=lambda layer: layers[layer]) == "relu5_1"


@pytest.mark.parametrize("size", [0, 15, 4097, -1])
def test_a_size_out_of_range_is_refused(style: Style, size: int) -> None:
    with raises(ConfigError, f"size 16 4096 {size}"):
        replace(style, size=size)


def test_a_name_that_looks_like_a_number_is_text(style: Style) -> None:
    assert replace(style, name=1889).name == "1889"  # type: ignore[arg-type]  # as YAML gives it


def test_a_negative_layer_is_named(style: Style) -> None:
    with raises(ConfigError, "layers.relu2_1 negative -1.0"):
        replace(style, layers={"relu1_1": 1.0, "relu2_1": -1.0})


@pytest.mark.parametrize("layers", [{}, {"relu1_1": 0.0}])
def test_a_style_without_layers_is_refused(style: Style, layers: dict[str, float]) -> None:
    with raises(ConfigError, "one layer"):
        replace(style, layers=layers)


def test_a_missing_picture_is_named_when_it_is_read(tmp_path: Path) -> None:
    missing = Style("waves", tmp_path / "waves.png")
    with raises(ImageError, "waves.png readable"):
        missing.read()


def test_a_tiny_picture_is_enlarged(tmp_path: Path) -> None:
    Image.new("RGB", (1, 1), "red").save(tmp_path / "dot.png")
    picture = Style("dot", tmp_path / "dot.png", size=16).read()
    assert torch.equal(picture, torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1).expand(1, 3, 16, 16))


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("stars", [0.0, 1.0, 0.0]),
        ({"cafe": 2.0}, [0.0, 0.0, 1.0]),
        ({"cafe": 3, "waves": 1}, [0.25, 0.0, 0.75]),
        ({"waves": 0.5, "stars": 0.0, "cafe": 0.5}, [0.5, 0.0, 0.5]),
        (None, [1 / 3, 1 / 3, 1 / 3]),
    ],
)
def test_a_choice_becomes_weights_that_sum_to_1(
    choice: str | Mapping[str, float] | None, expected: list[float]
) -> None:
    assert style_weights(NAMES, choice).tolist() == pytest.approx(expected)


@pytest.mark.parametrize("choice", ["moon", {"waves": 1.0, "moon": 1.0}])
def test_an_unknown_style_lists_those_there_are(choice: str | Mapping[str, float]) -> None:
    with raises(ConfigError, "style moon waves stars cafe"):
        style_weights(NAMES, choice)


@pytest.mark.parametrize("choice", [["waves"], 3, {"waves": "much"}, {"waves": None}])
def test_what_is_neither_a_name_nor_weights_is_refused(choice: Any) -> None:
    with raises(ConfigError, "styles {waves: 1}"):
        style_weights(NAMES, choice)


@pytest.mark.parametrize(
    "choice", [{}, {"waves": 0.0}, {"waves": 1.0, "stars": -0.5}, {"waves": float("nan")}, {"waves": float("inf")}]
)
def test_weights_without_a_meaning_are_refused(choice: Mapping[str, float]) -> None:
    with raises(ConfigError, "negative sum 0"):
        style_weights(NAMES, choice)
