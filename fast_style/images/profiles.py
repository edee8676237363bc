"""From the colors of any profile to sRGB."""

import functools
import io
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from fast_style.images.spaces import Space


@functools.lru_cache(maxsize=64)  # Most pictures of a collection share one of a few profiles.
def transform_to_srgb(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Return None without a usable profile for this mode, and for sRGB itself under one of its many names."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if source.profile.xcolor_space.strip() != {"L": "GRAY"}.get(mode, mode):
            return None
        transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
    except (ImageCms.PyCMSError, OSError):
        return None
    if mode == "RGB":
        chart = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
        if np.abs(np.asarray(transform.apply(Image.fromarray(chart))).astype(int) - chart).max() <= 1:
            return None
    return transform


def deep_to_srgb(pixels: NDArray[np.uint16], profile: bytes, space: Space | None = None) -> NDArray[np.uint16] | None:
    """Return colors of 16 bits, gray or RGB, as RGB; None if no converter of so many bits is installed.

    Args:
        pixels: of shape (height, width) or (height, width, 3).
        profile: theirs; empty: they are in sRGB.
        space: what they are instead, if numbers say it.
    """
    if space is not None:
        return space.to_srgb(pixels)
    if not profile:
        return np.stack([pixels] * 3, 2) if pixels.ndim == 2 else pixels
    if find_spec("imagecodecs") is None:
        return None
    import imagecodecs

    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    kind = "gray" if pixels.ndim == 2 else "rgb"
    found: NDArray[np.uint16] = imagecodecs.cms_transform(
        np.ascontiguousarray(pixels), profile, srgb, colorspace=kind, outcolorspace="rgb"
    )
    return found
