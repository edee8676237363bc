"""Conversion between images and tensors."""

import math
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from fast_style.errors import ImageError
from fast_style.images.arrays import InMemory
from fast_style.images.picture import flatten, open_picture, resize_short_side
from fast_style.types import Images

#: Aspect ratio from which a large image counts as a strip; maximum pixels of a strip after resizing.
_STRIP_RATIO, _STRIP_PIXELS = 16, 2**22
# Minimum size in pixels of a style and of an optimized image.
_MIN_SIZE = 16


def read_image(path: str | Path, size: int | None = None) -> Images:
    """Read an image, upright, in sRGB and on white, as a batch of one.

    Args:
        path: the file.
        size: short side in pixels; by default the image keeps its size.

    Returns:
        Shape (1, 3, height, width), values in [0, 1].

    Raises:
        ImageError: if the file is missing, no image or cut short, or a strip that is too long at this size.
    """
    image = flatten(open_picture(path))
    if size is None:
        return to_tensor(image)
    short, long = sorted(image.size)
    if long > _STRIP_RATIO * short and size * size * long / short > _STRIP_PIXELS:
        largest = math.isqrt(_STRIP_PIXELS * short // long)
        remedy = f"crop it, or give a size of {largest} or less" if largest >= _MIN_SIZE else "crop it"
        raise ImageError(
            f"{path}: {image.width:,}x{image.height:,} pixels are a strip, whose long side would have "
            f"{round(size * long / short):,} at a short side of {size}; {remedy}"
        )
    return to_tensor(resize_short_side(image, size))


def to_tensor(image: Image.Image) -> Images:
    """Convert a PIL image of any mode to a batch of one in [0, 1]."""
    pixels = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1).unsqueeze(0)
    return pixels.to(torch.float32, memory_format=torch.contiguous_format).div_(255)


def to_pil(images: Tensor) -> list[Image.Image]:
    """Convert a batch or a single image to PIL images: clamped to [0, 1], rounded to 256 levels.

    Raises:
        ImageError: if `InMemory` does not accept its shape or type.
    """
    source = InMemory(images)
    # In float32: bfloat16 cannot represent all 256 levels.
    numbers = torch.as_tensor(source.batch).detach().to(torch.float32) / source.white
    levels = numbers.clamp(0, 1).mul_(255).round_().to(torch.uint8)
    return [Image.fromarray(pixels) for pixels in levels.permute(0, 2, 3, 1).contiguous().cpu().numpy()]
