"""Conversion of images of any mode, orientation and color profile to upright sRGB with separate opacity."""

import numpy as np
from PIL import ExifTags, Image

from fast_style.images.disk_image import Box
from fast_style.images.levels import to_8_bits
from fast_style.images.spaces import declared, lab_levels, lab_to_srgb, transform_to_srgb
from fast_style.system.input_limits import pillow_limits

_T = Image.Transpose  # Turns an image upright, by EXIF orientation:
_TURNS = {2: _T.FLIP_LEFT_RIGHT, 3: _T.ROTATE_180, 4: _T.FLIP_TOP_BOTTOM, 5: _T.TRANSPOSE}
_TURNS |= {6: _T.ROTATE_270, 7: _T.TRANSVERSE, 8: _T.ROTATE_90}


def orientation_of(image: Image.Image) -> int:
    """Read the EXIF orientation; 1 means upright."""
    try:
        with pillow_limits():
            return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # Any: damaged metadata does not make an image unreadable.
        return 1


def turn_of(orientation: int) -> tuple[bool, bool, bool]:
    """Whether turning upright swaps rows and columns, then mirrors, then turns upside down."""
    return 5 <= orientation <= 8, orientation in (2, 3, 6, 7), orientation in (3, 4, 7, 8)


def upright_size(image: Image.Image, orientation: int) -> tuple[int, int]:
    """Width and height after turning an image upright."""
    return (image.height, image.width) if turn_of(orientation)[0] else image.size


def upright_part(image: Image.Image, orientation: int, box: Box) -> Image.Image:
    """Crop a stored image to a box in upright coordinates, and turn the part upright."""
    left, top, right, bottom = box
    width, height = upright_size(image, orientation)
    swapped, mirrored, upside_down = turn_of(orientation)
    if mirrored:
        left, right = width - right, width - left
    if upside_down:
        top, bottom = height - bottom, height - top
    stored = (top, left, bottom, right) if swapped else (left, top, right, bottom)
    return upright(image.crop(stored), orientation)


def upright(image: Image.Image, orientation: int) -> Image.Image:
    """Turn an image upright."""
    turn = _TURNS.get(orientation)
    # ImageOps.exif_transpose rewrites the metadata, and fails on damaged ones.
    return image if turn is None else image.transpose(turn)


def resized_to(size: tuple[int, int], long_side: int) -> tuple[int, int]:
    """Width and height after resizing to a long side in pixels."""
    scale = long_side / max(size)
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def to_srgb(image: Image.Image) -> tuple[Image.Image, Image.Image | None, bool]:
    """Convert the colors of an image to sRGB.

    Returns:
        Colors in mode RGB, as if opaque; opacity in mode L, or None; whether the colors were converted.
    """
    colors, alpha = _split_alpha(image)
    space = declared(image)
    if space is not None and colors.mode in ("L", "RGB"):
        return Image.fromarray(space.to_srgb(np.asarray(colors))), alpha, True
    transform = transform_to_srgb(image.info.get("icc_profile", b""), colors.mode)
    rgb = transform.apply(colors) if transform else colors.convert("RGB")
    rgb.info.clear()  # Profile, orientation and transparency no longer apply, but would be written to a PNG.
    return rgb, alpha, transform is not None


def _split_alpha(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """Return the colors in mode L, RGB or CMYK, and the opacity or None."""
    if image.mode == "LAB":
        levels = np.asarray(image)
        encoded = np.stack([lab_levels(levels[:, :, channel], channel, 8, icc=False) for channel in range(3)], axis=2)
        return Image.fromarray(to_8_bits(lab_to_srgb(encoded))), None
    if image.mode == "F" or image.mode.startswith("I"):
        # Pillow would clip to 255. Floats are in [0, 1], integers have 16 bits: 65535 / 257 = 255.
        values, transparent = np.asarray(image), image.info.get("transparency")
        levels = np.nan_to_num(values) * (255.0 if image.mode == "F" else 1 / 257)
        opacity = np.where(values == transparent, np.uint8(0), np.uint8(255)) if isinstance(transparent, int) else None
        alpha = None if opacity is None else Image.fromarray(opacity)
        return Image.fromarray(np.rint(levels).clip(0, 255).astype(np.uint8)), alpha
    transparent = image.info.get("transparency")
    if image.mode == "RGB" and isinstance(transparent, tuple) and max(transparent) > 255:
        # A PNG of 16 bits, of which Pillow keeps the upper 8: near colors that differ below become transparent as well.
        image = image.copy()
        image.info["transparency"] = tuple(level >> 8 for level in transparent)
    if image.has_transparency_data:
        image = image.convert("LA" if image.mode in ("1", "L", "LA", "La") else "RGBA")
        return image.convert(image.mode[:-1]), image.getchannel("A")
    return (image if image.mode in ("L", "RGB", "CMYK") else image.convert("RGB")), None
