"""Pictures as tensors, and back."""

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

#: From how many times as long as wide on a picture is a strip, and how many pixels one may have at the size asked for.
_STRIP, _STRIP_PIXELS = 16, 2**22
# The least size of a style and of what is optimized.
_LEAST = 16


def read_image(path: str | Path, size: int | None = None) -> Images:
    """Read a picture as a batch of one in [0, 1]: upright, in sRGB, on white, the short side `size` pixels if given.

    Raises:
        ImageError: if the file is missing, is not a picture or is cut short, or is so long a strip that its long side
            would have no end.
    """
    image = flatten(open_picture(path))
    if size is None:
        return to_tensor(image)
    short, long = sorted(image.size)
    if long > _STRIP * short and size * size * long / short > _STRIP_PIXELS:
        most = math.isqrt(_STRIP_PIXELS * short // long)
        remedy = f"crop it, or give a size of {most} or less" if most >= _LEAST else "crop it"
        raise ImageError(
            f"{path}: {image.width:,}x{image.height:,} pixels are a strip, whose long side would have "
            f"{round(size * long / short):,} at a short side of {size}; {remedy}"
        )
    return to_tensor(resize_short_side(image, size))


def to_tensor(image: Image.Image) -> Images:
    """A picture as a batch of one in [0, 1]; of another mode than RGB, as Pillow converts it to that."""
    pixels = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1).unsqueeze(0)
    return pixels.to(torch.float32, memory_format=torch.contiguous_format).div_(255)


def to_pil(images: Tensor) -> list[Image.Image]:
    """A batch, or one picture, as pictures of mode RGB: clamped to [0, 1], rounded to the nearest of 256 levels.

    Raises:
        ImageError: if it has another shape or type than `InMemory` takes.
    """
    given = InMemory(images)
    # In float32, because bfloat16 cannot tell neighboring levels apart.
    numbers = torch.as_tensor(given.batch).detach().to(torch.float32) / given.white
    levels = numbers.clamp(0, 1).mul_(255).round_().to(torch.uint8)
    return [Image.fromarray(pixels) for pixels in levels.permute(0, 2, 3, 1).contiguous().cpu().numpy()]
