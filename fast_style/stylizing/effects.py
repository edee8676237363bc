"""Color, sharpening and grain, applied after the network, and the photograph that shows through."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fast_style.stylizing.colors import Transfer, blurred, color_transfer, joined, light, recolored
from fast_style.stylizing.controls import Controls

#: How many rows above and below have a part in what becomes of one.
REACH = 3

# Chosen by looking, so that 1 is the most that one will want.
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
    """Return stylized pictures with colors, edges and grain as asked for, laid over the photographs.

    Whole pictures or strips of them: with REACH rows more on either side and the `transfer` of the whole picture,
    which `histogram` needs, a strip becomes what it is in the whole.

    Args:
        images: the photographs, of shape (batch, 3, height, width), RGB in [0, 1].
        stylized: likewise.
        cover: how much of the outcome shows, of shape (1, 1, height, width) or (1, 1, 1, 1).
        controls: what is asked for.
        place: brings arrays of NumPy to where the pictures are.
        top: how many rows of the picture lie above these.
        transfer: what `color_transfer` gives; nothing: it is asked.
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
            # As on video, whose blacks and whites have none.
            middle = brightness.clip(0, 1)
            brightness = brightness + _GRAIN * controls.grain * 4 * middle * (1 - middle) * noise
        stylized = joined(brightness, color)
    if controls.covers_all:
        return stylized
    return stylized * cover + images * (1 - cover)


def grain(seed: int, top: int, height: int, width: int) -> NDArray[np.float32]:
    """Return rows of noise, soft as of film, of standard deviation 1 and shape (1, 1, height, width).

    Args:
        seed: which noise.
        top: how many rows lie above: each is a function of the seed, its number and the width alone.
        height: how many rows.
        width: in pixels.
    """
    keys = (np.array([seed, row], np.uint64) for row in range(top, top + height + 2))
    rows = [np.random.Generator(np.random.Philox(key=key)).standard_normal(width + 2, np.float32) for key in keys]
    soft: NDArray[np.float32] = blurred(np.stack(rows)[None, None], _SOFT)[:, :, 1:-1, 1:-1]
    return soft / np.float32((_SOFT**2).sum())
