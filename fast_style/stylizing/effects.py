"""Color, sharpening and grain, applied after the network, and blending with the photograph."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fast_style.stylizing.colors import Transfer, blurred, color_transfer, joined, light, recolored
from fast_style.stylizing.controls import Controls

#: Rows above and below that influence a row of the result.
REACH = 3

# Chosen by eye, so that 1 is as strong as anyone will want.
_SHARPEN, _GRAIN = 1.2, 0.1
_GAUSSIAN = np.exp(-0.5 * np.arange(-REACH, REACH + 1) ** 2)
_SOFT = np.array([0.25, 0.5, 0.25])


def apply_effects(
    images: Any,
    stylized: Any,
    cover: Any,
    controls: Controls,
    place: Callable[[NDArray[Any]], Any],
    top: int = 0,
    transfer: Transfer | None = None,
) -> Any:
    """Apply color, sharpening and grain, and blend with the photographs.

    Works on whole images or strips. A strip with REACH more rows on either side, and the `transfer` of the whole image
    if `histogram` is set, gets the same result as in the whole image.

    Args:
        images: the photographs, shape (batch, 3, height, width), RGB in [0, 1].
        stylized: the results of the network, same shape.
        cover: opacity of the result, shape (1, 1, height, width) or (1, 1, 1, 1).
        controls: the settings.
        place: moves NumPy arrays to the device of the images.
        top: number of rows of the image above the strip.
        transfer: result of `color_transfer`; by default it is computed.
    """
    if controls.preserve_color == "histogram":
        where = cover if cover.shape[2:] == images.shape[2:] else None
        matrices, shifts = transfer or color_transfer(stylized, images, where)
        stylized = recolored(stylized, place(matrices), place(shifts))
    if controls.preserve_color != "none" or controls.sharpen or controls.grain:
        brightness = light(stylized)
        colored = images if controls.preserve_color == "luminance" else stylized
        color = colored - light(colored)
        if controls.sharpen:
            edges = brightness - blurred(brightness, _GAUSSIAN / _GAUSSIAN.sum())
            brightness = brightness + _SHARPEN * controls.sharpen * edges
        if controls.grain:
            height, width = images.shape[2:]
            noise = place(grain(controls.seed, top, height, width))
            # Strongest in the midtones: film has no grain in black and white.
            middle = brightness.clip(0, 1)
            brightness = brightness + _GRAIN * controls.grain * 4 * middle * (1 - middle) * noise
        stylized = joined(brightness, color)
    if controls.covers_all:
        return stylized
    return stylized * cover + images * (1 - cover)


def grain(seed: int, top: int, height: int, width: int) -> NDArray[np.float32]:
    """Generate rows of softened noise of standard deviation 1, shape (1, 1, height, width).

    Args:
        seed: seed of the noise.
        top: index of the first row; a row depends only on the seed, its index and the width.
        height: number of rows.
        width: in pixels.
    """
    keys = (np.array([seed, row], np.uint64) for row in range(top, top + height + 2))
    rows = [np.random.Generator(np.random.Philox(key=key)).standard_normal(width + 2, np.float32) for key in keys]
    soft: NDArray[np.float32] = blurred(np.stack(rows)[None, None], _SOFT)[:, :, 1:-1, 1:-1]
    return soft / np.float32((_SOFT**2).sum())
