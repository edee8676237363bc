"""Conversions between 16-bit levels, white being 65535, and other levels."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def stretched(levels: NDArray[Any], white: int) -> NDArray[np.uint16]:
    """Scale levels with a highest value of `white` to 16 bits."""
    return levels.astype(np.uint16, copy=False) if white == 65535 else _scaled(levels, white, 65535)


def shrunk(levels: NDArray[np.uint16], white: int) -> NDArray[np.uint16]:
    """Scale 16-bit levels to a lower white, rounded."""
    return _scaled(levels, 65535, white)


def on_white(pixels: NDArray[np.uint16], opacity: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Composite 16-bit colors on white.

    Args:
        pixels: shape (height, width, 3).
        opacity: shape (height, width, 1), 16 bits.
    """
    dark = (65535 - pixels.astype(np.uint32)) * opacity
    return (65535 - (dark + 32767) // 65535).astype(np.uint16)


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


def _scaled(levels: NDArray[Any], white: int, new: int) -> NDArray[np.uint16]:
    result = np.empty(levels.shape, np.uint16)
    # Row by row: intermediate values take four times the memory.
    for row, target in zip(levels, result, strict=True):
        # 65535 * 65535 + 32767 is below 2**32.
        target[...] = (np.minimum(row, white).astype(np.uint32) * np.uint32(new) + white // 2) // white
    return result
