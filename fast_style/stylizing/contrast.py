"""Blends the result with the photograph where that has hardly any contrast: a blank page, a black frame, a fade.

Instance normalization removes contrast, so a network paints one percent of light, or mere noise, as strongly as a
photograph. Images of hardly any contrast therefore show through the result.
"""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fast_style.backends.backend import Array

if TYPE_CHECKING:
    from fast_style.backends.tiles import Read, Write
    from fast_style.images.disk_image import Box

#: Contrast from which on the result is used alone. Contrast is the fourth root of the mean fourth power of the distance
#: from the mean, in [0, 1]; unlike the standard deviation it responds to a few bright lights at night. Of 1,003
#: photographs the minimum is 0.128 and the median 0.31; the median one reaches CONTENT at 38 % of its brightness.
CONTENT = 0.12

# Samples along each side of a first estimate, which nearly always suffices.
_SAMPLES = 64
# Side in pixels of the parts that are read at a time.
_PART = 1024


def blend_by_contrast(images: Array, stylized: Array) -> Array:
    """Blend each stylized image with its photograph, by the contrast of the photograph.

    Args:
        images: the photographs, shape (batch, 3, height, width).
        stylized: the results of the network, same shape; changed in place.
    """
    step = max(1, min(images.shape[2:]) // _SAMPLES)
    if _moments(images[:, :, ::step, ::step])[3].max(1).min() >= (1.5 * CONTENT) ** 4:
        return stylized
    for index, fourth in enumerate(_moments(images)[3]):
        if (share := _network_share(fourth)) < 1:
            stylized[index] = images[index] + share * (stylized[index] - images[index])
    return stylized


def blend_parts_by_contrast(read: "Read", write: "Write", size: tuple[int, int]) -> "Write":
    """Wrap `write` so that parts of one image are blended as `blend_by_contrast` blends a whole.

    Args:
        read: returns a part of the photograph.
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
    # Moments of the whole about its mean, from those of each part about its own mean (binomial theorem).
    offset = mean - np.average(mean, 0, counts)
    fourth = fourth + 4 * offset * third + 6 * offset**2 * second + offset**4
    share = _network_share(np.average(fourth, 0, counts))

    def write_blended(box: "Box", tile: Array) -> None:
        photograph = read(box)
        write(box, photograph + share * (tile - photograph))

    return write_blended if share < 1 else write


def _network_share(fourth: NDArray[np.float64]) -> float:
    """Weight of the network's result for an image with these fourth moments; a smoothstep."""
    part: float = min(1.0, fourth.max() ** 0.25 / CONTENT)
    return part**2 * (3 - 2 * part)


def _moments(images: Array) -> NDArray[np.float64]:
    """Mean and second to fourth central moments of each channel, of shape (4, batch, channels)."""
    mean = images.mean(axis=(2, 3), keepdims=True)
    deviation = images - mean
    square = deviation * deviation
    central = [power.mean(axis=(2, 3)).tolist() for power in (square, square * deviation, square * square)]
    return np.array([mean[:, :, 0, 0].tolist(), *central])
