"""Light and color of pictures, apart: arrays of NumPy and tensors of torch alike, as `fast_style.backends.Array`.

Light is Rec. 601's luma of sRGB as it is stored, in [0, 1]; color is what is left of a picture without its light.
"""

from collections.abc import Iterable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

#: A matrix (batch, 3, 3) for the colors of each picture, and what to add to them then, (batch, 3).
Transfer: TypeAlias = tuple[NDArray[np.float64], NDArray[np.float64]]

# Colors that vary less than this, a level of 256, are taken to vary as much.
_LEAST_DEVIATION = 1 / 255
# The pixels that are summed at a time.
_PIECE = 2**16


def light(images: Any) -> Any:
    """Return the light of pictures (batch, 3, height, width) of RGB in [0, 1], as (batch, 1, height, width)."""
    return 0.299 * images[:, 0:1] + 0.587 * images[:, 1:2] + 0.114 * images[:, 2:3]


def joined(brightness: Any, color: Any) -> Any:
    """Return pictures of this light, cut to [0, 1], and this color, made as pale as it must be to stay in [0, 1].

    Args:
        brightness: of shape (batch, 1, height, width).
        color: a picture less its light, of shape (batch, 3, height, width).
    """
    brightness = brightness.clip(0, 1)
    red, green, blue = color[:, 0:1], color[:, 1:2], color[:, 2:3]
    # The first bound of clip is the lower one. A millionth, because gray has no color to divide by.
    above = red.clip(green).clip(blue) + 1e-6
    below = 1e-6 - red.clip(None, green).clip(None, blue)
    kept = ((1 - brightness) / above).clip(None, brightness / below).clip(None, 1)
    return brightness + kept * color


def blurred(planes: Any, weights: NDArray[np.float64]) -> Any:
    """Return planes (batch, channels, height, width), averaged with these weights along both sides; edges go on."""
    reach = len(weights) // 2
    height, width = planes.shape[2:]
    rows = np.arange(-reach, height + reach).clip(0, height - 1)
    columns = np.arange(-reach, width + reach).clip(0, width - 1)
    tall = planes[:, :, rows]
    flat = sum(weight * tall[:, :, start : start + height] for start, weight in enumerate(weights.tolist()))
    wide = flat[:, :, :, columns]
    return sum(weight * wide[:, :, :, start : start + width] for start, weight in enumerate(weights.tolist()))


def color_transfer(images: Any, to: Any, where: Any = None) -> Transfer:
    """Find what gives the colors of pictures the mean and covariance that the colors of others have.

    Gatys, Bethge, Hertzmann & Shechtman 2016, https://arxiv.org/abs/1606.05897, section 5.1: of the two square roots of
    a covariance that they try, the symmetric one, which they find the better.

    Args:
        images: the pictures to change, of shape (batch, 3, height, width).
        to: those whose colors are wanted, of the same shape.
        where: how much each pixel counts, of shape (1, 1, height, width), not all 0; nothing: all alike.
    """
    return transfer_of_parts([(images, to, where)])


def transfer_of_parts(parts: Iterable[tuple[Any, Any, Any]]) -> Transfer:
    """Find what `color_transfer` finds of whole pictures, given its arguments for each of their parts, such as strips.

    Where no pixel counts, nothing is changed.
    """
    sums: list[Any] = [0.0] * 6
    for images, to, where in parts:
        sums = [total + part for total, part in zip(sums, (*_sums(images, where), *_sums(to, where)), strict=True)]
    if not sums[0]:
        return np.eye(3)[None], np.zeros((1, 3))
    mean, covariance = _moments(*sums[:3])
    wanted, target = _moments(*sums[3:])
    matrices = _power(target, 0.5) @ _power(covariance, -0.5)
    return matrices, wanted - (matrices @ mean[:, :, None])[:, :, 0]


def recolored(images: Any, matrices: Any, shifts: Any) -> Any:
    """Return pictures whose colors a transfer has changed; some may lie outside of [0, 1]."""
    batch, channels, height, width = images.shape
    changed = matrices @ images.reshape(batch, channels, height * width)
    return changed.reshape(batch, channels, height, width) + shifts[:, :, None, None]


def _sums(images: Any, where: Any) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """Return how many pixels count, and of each picture the sums of their colors and of the products of these."""
    batch, _, height, width = images.shape
    pixels = height * width
    first, second = np.zeros((batch, 3)), np.zeros((batch, 3, 3))
    # In pieces: what float32 loses in sums of millions can be three levels of 256 of what comes of them.
    for start in range(0, pixels, _PIECE):
        # Around the middle, so that squares lose nothing to rounding.
        colors = images.reshape(batch, 3, pixels)[:, :, start : start + _PIECE] - 0.5
        weighted = colors if where is None else colors * where.reshape(1, 1, pixels)[:, :, start : start + _PIECE]
        # By way of lists, the short way from any device.
        first += np.array(weighted.sum(2).tolist())
        second += np.array((weighted @ colors.swapaxes(1, 2)).tolist())
    return pixels if where is None else float(where.sum()), first, second


def _moments(
    count: float, first: NDArray[np.float64], second: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean color (batch, 3) and the covariance (batch, 3, 3) of each picture, from what `_sums` gives."""
    mean = first / count
    return mean + 0.5, second / count - mean[:, :, None] * mean[:, None, :]


def _power(covariance: NDArray[np.float64], exponent: float) -> NDArray[np.float64]:
    values, vectors = np.linalg.eigh(covariance)
    values = values.clip(_LEAST_DEVIATION**2) ** exponent
    power: NDArray[np.float64] = (vectors * values[:, None, :]) @ vectors.swapaxes(1, 2)
    return power
