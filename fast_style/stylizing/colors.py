"""Separate processing of luma and color, for NumPy arrays and torch tensors (`fast_style.backends.Array`).

Light is the Rec. 601 luma of sRGB values, in [0, 1]; color is the image minus its light.
"""

from collections.abc import Iterable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

#: A color matrix (batch, 3, 3) for each image, and an offset to add afterwards, (batch, 3).
Transfer: TypeAlias = tuple[NDArray[np.float64], NDArray[np.float64]]

# Minimum standard deviation of colors, one 8-bit level: smaller ones are raised to it.
_MIN_DEVIATION = 1 / 255
# Pixels summed at a time.
_BLOCK = 2**16


def light(images: Any) -> Any:
    """Compute the luma (batch, 1, height, width) of RGB images (batch, 3, height, width) in [0, 1]."""
    return 0.299 * images[:, 0:1] + 0.587 * images[:, 1:2] + 0.114 * images[:, 2:3]


def joined(brightness: Any, color: Any) -> Any:
    """Combine luma, clipped to [0, 1], and color, desaturated as far as needed to stay in [0, 1].

    Args:
        brightness: shape (batch, 1, height, width).
        color: an image minus its luma, shape (batch, 3, height, width).
    """
    brightness = brightness.clip(0, 1)
    red, green, blue = color[:, 0:1], color[:, 1:2], color[:, 2:3]
    # x.clip(y) is an elementwise maximum. The millionth avoids division by 0 for gray.
    room_above = red.clip(green).clip(blue) + 1e-6
    room_below = 1e-6 - red.clip(None, green).clip(None, blue)
    saturation = ((1 - brightness) / room_above).clip(None, brightness / room_below).clip(None, 1)
    return brightness + saturation * color


def blurred(planes: Any, weights: NDArray[np.float64]) -> Any:
    """Filter planes (batch, channels, height, width) with the same kernel in both directions; edges are replicated."""
    reach = len(weights) // 2
    height, width = planes.shape[2:]
    rows = np.arange(-reach, height + reach).clip(0, height - 1)
    columns = np.arange(-reach, width + reach).clip(0, width - 1)
    padded_rows = planes[:, :, rows]
    vertical = sum(weight * padded_rows[:, :, start : start + height] for start, weight in enumerate(weights.tolist()))
    padded_columns = vertical[:, :, :, columns]
    return sum(weight * padded_columns[:, :, :, start : start + width] for start, weight in enumerate(weights.tolist()))


def color_transfer(images: Any, to: Any, where: Any = None) -> Transfer:
    """Find the transfer that gives images the color mean and covariance of target images.

    Gatys, Bethge, Hertzmann & Shechtman 2016, https://arxiv.org/abs/1606.05897, section 5.1; of the two square roots of
    the covariance that they compare, the symmetric one, which they prefer.

    Args:
        images: the images to change, shape (batch, 3, height, width).
        to: the target images, same shape.
        where: weight of each pixel, shape (1, 1, height, width), not all 0; by default all equally.
    """
    return transfer_of_parts([(images, to, where)])


def transfer_of_parts(parts: Iterable[tuple[Any, Any, Any]]) -> Transfer:
    """Find the transfer of `color_transfer` from parts of images, such as strips; each part holds its arguments.

    If all weights are 0, the result is the identity.
    """
    sums: list[Any] = [0.0] * 6
    for images, to, where in parts:
        sums = [total + part for total, part in zip(sums, (*_sums(images, where), *_sums(to, where)), strict=True)]
    if not sums[0]:
        return np.eye(3)[None], np.zeros((1, 3))
    mean, covariance = _moments(*sums[:3])
    target_mean, target_covariance = _moments(*sums[3:])
    matrices = _power(target_covariance, 0.5) @ _power(covariance, -0.5)
    return matrices, target_mean - (matrices @ mean[:, :, None])[:, :, 0]


def recolored(images: Any, matrices: Any, shifts: Any) -> Any:
    """Apply a transfer; values may leave [0, 1]."""
    batch, channels, height, width = images.shape
    changed = matrices @ images.reshape(batch, channels, height * width)
    return changed.reshape(batch, channels, height, width) + shifts[:, :, None, None]


def _sums(images: Any, where: Any) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """Total weight of the pixels, and for each image the sums of its colors and of their products."""
    batch, _, height, width = images.shape
    pixels = height * width
    first, second = np.zeros((batch, 3)), np.zeros((batch, 3, 3))
    # In pieces: float32 sums of millions lose enough digits to change the result by three 8-bit levels.
    for start in range(0, pixels, _BLOCK):
        # Centered at 0.5, so that squares lose little to rounding.
        colors = images.reshape(batch, 3, pixels)[:, :, start : start + _BLOCK] - 0.5
        weighted = colors if where is None else colors * where.reshape(1, 1, pixels)[:, :, start : start + _BLOCK]
        # Lists are the short way from any device.
        first += np.array(weighted.sum(2).tolist())
        second += np.array((weighted @ colors.swapaxes(1, 2)).tolist())
    return pixels if where is None else float(where.sum()), first, second


def _moments(
    count: float, first: NDArray[np.float64], second: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean color (batch, 3) and covariance (batch, 3, 3) from the result of `_sums`."""
    mean = first / count
    return mean + 0.5, second / count - mean[:, :, None] * mean[:, None, :]


def _power(covariance: NDArray[np.float64], exponent: float) -> NDArray[np.float64]:
    values, vectors = np.linalg.eigh(covariance)
    values = values.clip(_MIN_DEVIATION**2) ** exponent
    power: NDArray[np.float64] = (vectors * values[:, None, :]) @ vectors.swapaxes(1, 2)
    return power
