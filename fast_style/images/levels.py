"""Conversions between 16-bit levels, white being 65535, and other levels; opacity."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def stretched(levels: NDArray[Any], white: int) -> NDArray[np.uint16]:
    """Scale levels with a highest value of `white` to 16 bits."""
    return levels.astype(np.uint16, copy=False) if white == 65535 else _scaled(levels, white, 65535, np.uint16)


def shrunk(levels: NDArray[np.uint16], white: int) -> NDArray[np.uint16]:
    """Scale 16-bit levels to a lower white, rounded."""
    return _scaled(levels, 65535, white, np.uint16)


def to_8_bits(levels: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """Round 16 bits to 8."""
    return _scaled(levels, 65535, 255, np.uint8)


def _scaled(levels: NDArray[Any], white: int, new: int, dtype: Any) -> NDArray[Any]:
    result = np.empty(levels.shape, dtype)
    # Row by row: intermediate values take four times the memory.
    for row, target in zip(levels, result, strict=True):
        # 65535 * 65535 + 32767 is below 2**32.
        target[...] = (np.minimum(row, white).astype(np.uint32) * np.uint32(new) + white // 2) // white
    return result


def with_opacity(pixels: NDArray[Any], alpha: Any, keep: bool) -> NDArray[Any]:
    """Add an opacity as the fourth channel, or else composite on white.

    Args:
        pixels: RGB of 8 or 16 bits, of shape (height, width, 3).
        alpha: 8 bits per pixel, as an image or an array.
        keep: whether to add it.
    """
    white = int(np.iinfo(pixels.dtype).max)
    opacity = np.asarray(alpha, pixels.dtype).reshape(*pixels.shape[:2], 1) * pixels.dtype.type(white // 255)
    if keep:
        return np.concatenate([pixels, opacity], axis=2)
    dark = (white - pixels.astype(np.uint32)) * opacity
    mixed: NDArray[Any] = white - (dark + white // 2) // white
    return mixed.astype(pixels.dtype)


def plain_opacity(pixels: NDArray[np.uint16], opacity: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Undo premultiplication: 16-bit colors as if opaque.

    Args:
        pixels: shape (..., channels).
        opacity: shape (..., 1).
    """
    divisor = np.maximum(opacity, 1).astype(np.uint32)
    # At most 65535 * 65535 + 32767, below 2**32.
    colors: NDArray[np.uint16] = np.minimum((pixels.astype(np.uint32) * 65535 + divisor // 2) // divisor, 65535)
    return colors.astype(np.uint16)
