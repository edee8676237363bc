"""Raw camera files."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fast_style.images.formats import HAS_RAW
from fast_style.system.input_limits import MAX_PIXELS
from fast_style.system.optional_packages import how_to_install


def raw_size(file: Any) -> tuple[int, int]:
    """Return width and height of a raw camera file.

    Raises:
        Exception: any, if the reader is not installed or the file is damaged.
    """
    import rawpy

    with rawpy.imread(file) as raw:
        return raw.sizes.width, raw.sizes.height


def develop(file: Any) -> NDArray[np.uint16]:
    """Decode a raw camera file to 16-bit sRGB, upright, with the white balance of the camera.

    Raises:
        Exception: any, if the file is damaged; a ValueError if the reader is missing, or there are too many pixels.
    """
    if not HAS_RAW:
        raise ValueError(f"a camera's raw file, which needs the package rawpy; {how_to_install('formats')}")
    import rawpy

    with rawpy.imread(file) as raw:
        if raw.sizes.raw_width * raw.sizes.raw_height > MAX_PIXELS:
            raise ValueError(f"over {MAX_PIXELS:,} pixels")
        # sRGB's gamma; rawpy defaults to that of BT.709.
        return np.asarray(raw.postprocess(output_bps=16, use_camera_wb=True, gamma=(2.4, 12.92)), np.uint16)
