"""The memory that a picture takes, and the picture that a memory takes."""

import pytest

from fast_style.errors import ConfigError
from fast_style.system.memory import MemoryModel


def test_a_line_is_found_again() -> None:
    pixels = [256**2, 512**2, 1024**2]
    model = MemoryModel.fit(pixels, [600e6 + 376 * each for each in pixels])
    assert model.fixed == pytest.approx(600e6)
    assert model.per_pixel == pytest.approx(376)
    assert model.predict(3000 * 2000) == pytest.approx(600e6 + 376 * 6_000_000)


def test_the_largest_is_the_last_that_fits() -> None:
    model = MemoryModel(fixed=600e6, per_pixel=376)
    largest = model.largest(2e9)
    assert model.predict(largest) <= 2e9 < model.predict(largest + 1)
    # 600 MB of two gigabytes are taken.
    assert largest == 1_400_000_000 // 376
    assert model.largest(600e6) == model.largest(1e6) == 0


def test_what_covers_lies_on_or_above_every_measurement_and_grows_as_before() -> None:
    pixels, memory = [100, 200, 400], [1000.0 + 30, 1000 + 80, 1000 + 90]
    model = MemoryModel(fixed=500, per_pixel=0.2).covering(pixels, memory)
    assert model == MemoryModel(fixed=1040, per_pixel=0.2)
    assert [model.predict(p) >= m for p, m in zip(pixels, memory, strict=True)] == [True] * 3


@pytest.mark.parametrize("pixels", [[], [64], [64, 64]])
def test_one_size_tells_nothing_of_growth(pixels: list[int]) -> None:
    with pytest.raises(ConfigError, match="pixels must be of at least two sizes, not"):
        MemoryModel.fit(pixels, [1e6] * len(pixels))


def test_memory_that_does_not_grow_is_no_model() -> None:
    with pytest.raises(ConfigError, match=r"per_pixel must be above 0 bytes, not -1\.0"):
        MemoryModel.fit([100, 200], [1100, 1000])
