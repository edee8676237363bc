"""CIE L*a*b* (ISO 11664-4), as print and scanners have it, and sRGB."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fast_style.images.spaces import curved, xyz_to_linear_srgb

#: The white of print, by x and y.
D50 = (0.3457, 0.3585)


def encoded(found: NDArray[Any], channel: int, bits: int, icc: bool) -> NDArray[np.uint16]:
    """Return one channel of L*a*b* in 16 bits: 65535 is 100, and 32768 is the gray of a* and b*, of which 256 is 1.

    Args:
        found: as a TIFF has it; floating point numbers as they are.
        channel: 0, 1 or 2; the next one is an opacity.
        bits: 8 or 16.
        icc: whether as ICC has it, with an offset; otherwise a* and b* have a sign.
    """
    color = channel in (1, 2)
    levels: NDArray[Any]
    if found.dtype.kind == "f":
        levels = np.rint(np.nan_to_num(found.astype(np.float64) * (256 if color else 655.35) + 32768 * color))
    else:
        levels = found.astype(np.int64) & (2**bits - 1)
        if color and not icc:
            levels = (levels + 2 ** (bits - 1)) % 2**bits
        if bits == 8:
            levels = levels << 8 if color else levels * 257
        elif icc and channel == 0:
            # 65280 is 100.
            levels = np.rint(levels * (65535 / 65280))
    return levels.clip(0, 65535).astype(np.uint16)


def to_srgb(levels: NDArray[np.uint16], white: tuple[float, float] = D50) -> NDArray[np.uint16]:
    """Return colors of `encoded`, (height, width, channels), in sRGB; a fourth channel stays as it is.

    Args:
        levels: the colors; of one channel, it is the lightness.
        white: what L*a*b* is relative to, by x and y.
    """
    made = np.empty((*levels.shape[:2], max(3, levels.shape[2])), np.uint16)
    x, y = white
    to_linear = (xyz_to_linear_srgb(white) * np.array([x / y, 1.0, (1 - x - y) / y])).T
    for row, new in zip(levels, made, strict=True):
        middle = (row[:, 0] / 655.35 + 16) / 116
        ab = (row[:, 1:3].astype(np.float64) - 32768) / 256 if row.shape[1] > 2 else np.zeros((len(row), 2))
        each = np.stack([middle + ab[:, 0] / 500, middle, middle - ab[:, 1] / 200], axis=1)
        # Relative to the white.
        xyz = np.where(each > 6 / 29, each**3, 3 * (6 / 29) ** 2 * (each - 4 / 29))
        new[:, :3] = np.rint(curved((xyz @ to_linear).clip(0, 1)) * 65535)
        new[:, 3:] = row[:, 3:]
    return made
