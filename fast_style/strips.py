"""Large pictures, of which only parts become numbers at a time."""

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image

from fast_style.backends.backend import Array, Backend
from fast_style.colours import Transfer, colour_transfer
from fast_style.controls import Controls
from fast_style.finish import REACH, finished

#: Of each pixel of a picture as numbers: in float32, and as bytes.
BYTES_OF_NUMBERS = 15
# The pixels of a strip.
_STRIP = 2**20


def to_numbers(rgb: Image.Image, backend: Backend) -> Array:
    """Return a picture of mode RGB as the backend has it, (1, 3, height, width)."""
    images = backend.place(np.array(rgb).transpose(2, 0, 1)[None])
    images /= 255
    return images


def to_picture(images: Array, backend: Backend) -> Image.Image:
    """Return an array of one picture, (1, 3, height, width) in [0, 1], in mode RGB."""
    (levels,) = backend.fetch((images * 255).round())
    return Image.fromarray(np.ascontiguousarray(levels.transpose(1, 2, 0)))


def resized_part(rgb: Image.Image, size: tuple[int, int], box: tuple[int, int, int, int], backend: Backend) -> Array:
    """Return a part of what a picture is when resized, as `Backend.resize` does, and without having it whole.

    Args:
        rgb: the picture.
        size: the width and the height to bring it to, in pixels.
        box: the part of that, as Pillow has it.
        backend: whose array it is to be.
    """
    if size == rgb.size:
        return to_numbers(rgb.crop(box), backend)
    scales = [length / other for length, other in zip(rgb.size, size, strict=True)] * 2
    exact = [place * scale for place, scale in zip(box, scales, strict=True)]
    # As far as the filter reaches, and a pixel more.
    reach = math.ceil(2 * max(1, *scales)) + 1
    left, top = (max(0, math.floor(place) - reach) for place in exact[:2])
    right, bottom = (min(end, math.ceil(place) + reach) for end, place in zip(rgb.size, exact[2:], strict=True))
    inner = (exact[0] - left, exact[1] - top, exact[2] - left, exact[3] - top)
    planes = [
        # Not in whole levels: the network would amplify what is lost.
        np.asarray(plane.convert("F").resize((box[2] - box[0], box[3] - box[1]), Image.Resampling.BICUBIC, inner))
        for plane in rgb.crop((left, top, right, bottom)).split()
    ]
    return backend.place(np.stack(planes)[None]) / 255


def finished_in_strips(
    rgb: Image.Image, made: Sequence[Image.Image], controls: Controls, backend: Backend
) -> Image.Image:
    """Return what `finished` makes of a picture and of what the network has made of it.

    Args:
        rgb: the photograph.
        made: the picture in each of the styles that are asked for, of any size.
        controls: what is asked for.
        backend: what computes.
    """
    done = Image.new("RGB", rgb.size)
    transfer = _transfer(rgb, made, controls, backend) if controls.preserve_color == "histogram" else None
    for top in range(0, rgb.height, step := max(1, _STRIP // rgb.width)):
        above, end = max(0, top - REACH), min(top + step, rgb.height)
        below = min(end + REACH, rgb.height)
        box = (0, above, rgb.width, below)
        images, *styles = (resized_part(each, rgb.size, box, backend).clip(0, 1) for each in (rgb, *made))
        shares = controls.shares(rgb.height, rgb.width, above, below) if controls.masks else None
        stylized = mixed(images, styles, shares, backend)
        cover = backend.place(controls.cover(rgb.height, rgb.width, above, below))
        strip = finished(images, stylized, cover, controls, backend.place, above, transfer)
        done.paste(to_picture(strip[:, :, top - above : end - above].clip(0, 1), backend), (0, top))
    return done


def _transfer(rgb: Image.Image, made: Sequence[Image.Image], controls: Controls, backend: Backend) -> Transfer:
    # Mean and covariance of a million of the pixels are those of all.
    width, height = (min(side, 1000) for side in rgb.size)
    few = (each.resize((width, height), Image.Resampling.NEAREST) for each in (rgb, *made))
    images, *styles = (to_numbers(each, backend) for each in few)
    shares = controls.shares(height, width) if controls.masks else None
    cover = backend.place(controls.cover(height, width))
    where = cover if cover.shape[2:] == images.shape[2:] else None
    return colour_transfer(mixed(images, styles, shares, backend), images, where)


def mixed(images: Array, styles: Sequence[Array], shares: Array | None, backend: Backend) -> Array:
    """Return pictures in several styles as one, by the share of each at each pixel; nothing: the first.

    Args:
        images: the photographs, of shape (batch, 3, height, width), which show where no style has a share.
        styles: the same in each style.
        shares: as `Controls.shares` gives them.
        backend: whose arrays they are, but for `shares`.
    """
    if shares is None:
        return styles[0]
    made = images * backend.place(1 - shares.sum(0))
    for style, share in zip(styles, shares, strict=True):
        made += style * backend.place(share)
    return made
