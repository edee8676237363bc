"""How much of the network a picture without contrast gets: a blank page, a black frame, the ends of a fade.

Instance normalization takes contrast away, so that a network makes as much of one percent of light, or of mere noise,
as of a photograph. Pictures of hardly any contrast therefore show through what the network makes of them.
"""

import math
from typing import TYPE_CHECKING

import numpy as np

from fast_style.backends.backend import Array

if TYPE_CHECKING:
    from fast_style.backends.tiles import Read, Write
    from fast_style.images.disk_image import Box

#: The standard deviation, in [0, 1], from which on a picture is all the network's. That of 1,003 photographs is 0.07
#: and more, of Kodak's twelve at a quarter of their contrast 0.025 and more.
CONTENT = 0.025

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
    if min(_moments(images[:, :, ::step, ::step])[2]) >= 2 * CONTENT:
        return stylized
    for index, deviation in enumerate(_moments(images)[2]):
        if (share := _share(deviation)) < 1:
            stylized[index] = images[index] + share * (stylized[index] - images[index])
    return stylized


def blend_parts_by_contrast(read: "Read", write: "Write", size: tuple[int, int]) -> "Write":
    """Return what takes the parts of one picture that the network has made, as `blend_by_contrast` does the whole.

    Args:
        read: gives a part of the photograph.
        write: takes a part of the result.
        size: width and height in pixels.
    """
    counts, means, variances = [], [], []
    for top in range(0, size[1], _PART):
        for left in range(0, size[0], _PART):
            box = (left, top, min(left + _PART, size[0]), min(top + _PART, size[1]))
            mean, variance, _ = _moments(read(box))
            counts.append((box[2] - left) * (box[3] - top))
            means.append(mean[0])
            variances.append(variance[0])
    # The variance of all is the mean of those of the parts and the variance of their means.
    apart = np.square(np.subtract(means, np.average(means, 0, counts)))
    share = _share(math.sqrt(np.average(variances + apart, 0, counts).max()))

    def write_blended(box: "Box", tile: Array) -> None:
        photograph = read(box)
        write(box, photograph + share * (tile - photograph))

    return write_blended if share < 1 else write


def _share(deviation: float) -> float:
    """Return how much of a picture is the network's: it begins and ends without a jump."""
    part = min(1.0, deviation / CONTENT)
    return part * part * (3 - 2 * part)


def _moments(images: Array) -> tuple[list[list[float]], list[list[float]], list[float]]:
    """Return of each picture the means and the variances of its channels, and the largest standard deviation."""
    mean = images.mean(axis=(2, 3), keepdims=True)
    apart = images - mean
    variances = (apart * apart).mean(axis=(2, 3)).tolist()
    return mean[:, :, 0, 0].tolist(), variances, [math.sqrt(max(each)) for each in variances]
