"""Levels of 16 bits, of which 65535 is white, from those of fewer and to them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def stretched(levels: NDArray[Any], white: int) -> NDArray[np.uint16]:
    """Return levels, of which `white` is the highest, with 65535 as white."""
    return levels.astype(np.uint16, copy=False) if white == 65535 else _scaled(levels, white, 65535)


def shrunk(levels: NDArray[np.uint16], white: int) -> NDArray[np.uint16]:
    """Return levels of 16 bits with a lower white, rounded."""
    return _scaled(levels, 65535, white)


def on_white(pixels: NDArray[np.uint16], opacity: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Return colors of 16 bits as they look on white.

    Args:
        pixels: of shape (height, width, 3).
        opacity: of shape (height, width, 1), of 16 bits, too.
    """
    dark = (65535 - pixels.astype(np.uint32)) * opacity
    return (65535 - (dark + 32767) // 65535).astype(np.uint16)


def plain_opacity(pixels: NDArray[np.uint16], opacity: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Return colors of 16 bits, as if opaque, that are less by as much as they are clear (premultiplied).

    Args:
        pixels: of shape (..., channels).
        opacity: of shape (..., 1).
    """
    least = np.maximum(opacity, 1).astype(np.uint32)
    # At most 65535 * 65535 + 32767, which is below 2**32.
    made: NDArray[np.uint16] = np.minimum((pixels.astype(np.uint32) * 65535 + least // 2) // least, 65535)
    return made.astype(np.uint16)


def _scaled(levels: NDArray[Any], white: int, new: int) -> NDArray[np.uint16]:
    made = np.empty(levels.shape, np.uint16)
    # Row by row, because what comes between takes four times the memory.
    for row, found in zip(levels, made, strict=True):
        # 65535 * 65535 + 32767 is below 2**32.
        found[...] = (np.minimum(row, white).astype(np.uint32) * np.uint32(new) + white // 2) // white
    return made
