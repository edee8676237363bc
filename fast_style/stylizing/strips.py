"""Large pictures, of which only parts become numbers at a time."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fast_style.backends.backend import Array, Backend
from fast_style.images.rasters import Box, Raster
from fast_style.stylizing.colors import Transfer, transfer_of_parts
from fast_style.stylizing.controls import Controls
from fast_style.stylizing.finish import REACH, finished

#: Of each pixel of a picture as numbers: in float32, and as bytes.
BYTES_OF_NUMBERS = 15
# Of each pixel of a picture that is finished whole, with all controls.
_BYTES_OF_FINISHING = 130
# The pixels of a strip.
_STRIP = 2**20


def bytes_beside(controls: Controls, per_pixel: float) -> float:
    """Return how many bytes each pixel of a picture takes that is made whole, beside `per_pixel` for the network."""
    # Two styles at a time, and of each mask a float as it is and one as its share.
    masks = 12 + 8 * len(controls.masks) if controls.masks else 0
    seen = (per_pixel + BYTES_OF_NUMBERS + masks) / min(1, controls.brush) ** 2
    return max(seen, 0 if is_plain(controls) else _BYTES_OF_FINISHING) - per_pixel


def is_plain(controls: Controls) -> bool:
    """Return whether nothing is done to what the network has made, but to bring it to its size."""
    return controls.covers_all and controls.preserve_color == "none" and not controls.sharpen and not controls.grain


def to_numbers(rgbs: Sequence[Image.Image], backend: Backend) -> Array:
    """Return pictures of mode RGB and of one size as the backend has them, (batch, 3, height, width)."""
    images = backend.place(np.stack([np.asarray(rgb) for rgb in rgbs]).transpose(0, 3, 1, 2))
    images /= 255
    return images


def to_pictures(images: Array, backend: Backend) -> list[Image.Image]:
    """Return an array of pictures, (batch, 3, height, width) in [0, 1], each in mode RGB."""
    levels = backend.fetch((images * 255).round()).transpose(0, 2, 3, 1)
    return [Image.fromarray(np.ascontiguousarray(picture)) for picture in levels]


def to_levels(images: Array, raster: Raster, backend: Backend) -> NDArray[Any]:
    """Return an array of one picture, (1, 3, height, width) in [0, 1], as what a raster holds: (height, width, 3)."""
    (levels,) = backend.fetch((images * raster.white).round(), raster.dtype.type)
    return np.ascontiguousarray(levels.transpose(1, 2, 0))


def resized_part(raster: Raster, size: tuple[int, int], box: Box, backend: Backend) -> Array:
    """Return a part of what a picture is when resized, as `Backend.resize` does, and without having it whole.

    Args:
        raster: the picture.
        size: the width and the height to bring it to, in pixels.
        box: the part of that, as Pillow has it.
        backend: whose array it is to be, (1, 3, height, width) in [0, 1], but for what the filter overshoots.
    """
    if size == raster.size:
        return backend.place(raster.read(box).transpose(2, 0, 1)[None]) / raster.white
    scales = [length / other for length, other in zip(raster.size, size, strict=True)] * 2
    exact = [place * scale for place, scale in zip(box, scales, strict=True)]
    # As far as the filter reaches, and a pixel more.
    reach = math.ceil(2 * max(1, *scales)) + 1
    left, top = (max(0, math.floor(place) - reach) for place in exact[:2])
    right, bottom = (min(end, math.ceil(place) + reach) for end, place in zip(raster.size, exact[2:], strict=True))
    inner = (exact[0] - left, exact[1] - top, exact[2] - left, exact[3] - top)
    planes = [
        # Not in whole levels: the network would amplify what is lost.
        np.asarray(Image.fromarray(plane).resize((box[2] - box[0], box[3] - box[1]), Image.Resampling.BICUBIC, inner))
        for plane in raster.read((left, top, right, bottom)).transpose(2, 0, 1).astype(np.float32)
    ]
    return backend.place(np.stack(planes)[None]) / raster.white


def finished_in_strips(photograph: Raster, made: Sequence[Raster], controls: Controls, backend: Backend) -> Raster:
    """Return what `finished` makes of a picture and of what the network has made of it.

    Args:
        photograph: the picture.
        made: the picture in each of the styles that are asked for, of any size.
        controls: what is asked for.
        backend: what computes.
    """
    done = Raster(photograph.size, dtype=photograph.dtype)
    transfer = _transfer(photograph, made, controls, backend) if controls.preserve_color == "histogram" else None
    for top, end, above, images, stylized, cover in _strips(photograph, made, controls, backend, REACH):
        strip = finished(images, stylized, cover, controls, backend.place, above, transfer)
        done.write(0, top, to_levels(strip[:, :, top - above : end - above].clip(0, 1), done, backend))
    return done


def _strips(
    photograph: Raster, made: Sequence[Raster], controls: Controls, backend: Backend, reach: int
) -> Iterator[tuple[int, int, int, Array, Array, Array]]:
    """Yield where strips begin and end, and with so many rows more on either side where that begins, and what is there.

    That is the photograph, the styles mixed, and how much of the outcome shows.
    """
    width, height = photograph.size
    for top, end in photograph.strips(_STRIP):
        above, below = max(0, top - reach), min(end + reach, height)
        box = (0, above, width, below)
        images, *styles = (resized_part(each, photograph.size, box, backend).clip(0, 1) for each in (photograph, *made))
        shares = controls.shares(height, width, above, below) if controls.masks else None
        cover = backend.place(controls.cover(height, width, above, below))
        yield top, end, above, images, mixed(images, styles, shares, backend), cover


def _transfer(photograph: Raster, made: Sequence[Raster], controls: Controls, backend: Backend) -> Transfer:
    return transfer_of_parts(
        (stylized, images, cover if cover.shape[2:] == images.shape[2:] else None)
        for _, _, _, images, stylized, cover in _strips(photograph, made, controls, backend, 0)
    )


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
