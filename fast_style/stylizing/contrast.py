"""How much of the network a picture without contrast gets: a blank page, a black frame, the ends of a fade.

Instance normalization takes contrast away, so that a network makes as much of one percent of light, or of mere noise,
as of a photograph. Pictures of hardly any contrast therefore show through what the network makes of them.
"""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fast_style.backends.backend import Array

if TYPE_CHECKING:
    from fast_style.backends.tiles import Read, Write
    from fast_style.images.disk_image import Box

#: The contrast from which on a picture is all the network's: the fourth root of the mean fourth power of the distance
#: from the mean, in [0, 1]. Unlike the standard deviation it sees few bright lights in a night. Of 1,003 photographs
#: the lowest has 0.128, the middle one 0.31: that one is the network's alone from 38 % of its light on.
CONTENT = 0.12

# Samples along each side: whether a picture has content, these nearly always tell.
_SAMPLES = 64
# The side of the parts of a picture that is seen in parts, in pixels.
_PART = 1024


def blend_by_contrast(images: Array, stylized: Array) -> Array:
    """Return what the network has made of pictures, each laid over its photograph as far as that has content.

    Args:
        images: the photographs, of shape (batch, 3, height, width).
        stylized: what the network has made of them, of the same shape; it is changed.
    """
    step = max(1, min(images.shape[2:]) // _SAMPLES)
    if _moments(images[:, :, ::step, ::step])[3].max(1).min() >= (1.5 * CONTENT) ** 4:
        return stylized
    for index, fourth in enumerate(_moments(images)[3]):
        if (share := _share(fourth)) < 1:
            stylized[index] = images[index] + share * (stylized[index] - images[index])
    return stylized


def blend_parts_by_contrast(read: "Read", write: "Write", size: tuple[int, int]) -> "Write":
    """Return what takes the parts of one picture that the network has made, as `blend_by_contrast` does the whole.

    Args:
        read: gives a part of the photograph.
        write: takes a part of the result.
        size: width and height in pixels.
    """
    counts, parts = [], []
    for top in range(0, size[1], _PART):
        for left in range(0, size[0], _PART):
            box = (left, top, min(left + _PART, size[0]), min(top + _PART, size[1]))
            counts.append((box[2] - left) * (box[3] - top))
            parts.append(_moments(read(box))[:, 0])
    mean, second, third, fourth = np.moveaxis(np.array(parts), 1, 0)
    # The moments of all about the mean of all, from those of each part about its own mean (binomial theorem).
    apart = mean - np.average(mean, 0, counts)
    fourth = fourth + 4 * apart * third + 6 * apart**2 * second + apart**4
    share = _share(np.average(fourth, 0, counts))

    def write_blended(box: "Box", tile: Array) -> None:
        photograph = read(box)
        write(box, photograph + share * (tile - photograph))

    return write_blended if share < 1 else write


def _share(fourth: NDArray[np.float64]) -> float:
    """Return how much of a picture with these fourth moments is the network's: it begins and ends without a jump."""
    part: float = min(1.0, fourth.max() ** 0.25 / CONTENT)
    return part**2 * (3 - 2 * part)


def _moments(images: Array) -> NDArray[np.float64]:
    """Return the mean and the second to fourth central moment of each channel, of shape (4, batch, channels)."""
    mean = images.mean(axis=(2, 3), keepdims=True)
    apart = images - mean
    square = apart * apart
    central = [power.mean(axis=(2, 3)).tolist() for power in (square, square * apart, square * square)]
    return np.array([mean[:, :, 0, 0].tolist(), *central])
