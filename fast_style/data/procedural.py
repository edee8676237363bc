"""Pictures with the statistics of photographs, made by program: content to train on with nothing to download.

A picture is a scene of opaque shapes that hide one another ("dead leaves"), whose sizes follow a power
law: that alone gives the sharp edges at every scale, the power spectrum and the heavy-tailed derivatives of
photographs. Shading, texture, structure, defocus and a camera's tone curve are laid on top.

Lee, Mumford & Huang 2001, "Occlusion models for natural images", https://doi.org/10.1023/A:1011109015675.
Baradad, Wulff, Wang, Isola & Torralba 2021, "Learning to see by looking at noise",
https://arxiv.org/abs/2106.05963.
There the shapes are independent of one another. Here they also come as things with details, in swarms, rows
and bundles, in and out of focus: photographs have repetition and smooth shading beside occlusion.

Numbers with no reason beside them were fitted: to the luminance, color, spectrum, derivatives and local contrast
of 200 photographs, and to the mean and variance of VGG19's relu2_1, relu3_1 and relu4_1 on them.
"""

from functools import lru_cache
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import UInt8
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter
from torch import Tensor
from torch.utils.data import Dataset

from fast_style.data.scenes import (
    Doubles,
    Floats,
    Shapes,
    draw_backdrop,
    draw_group,
    draw_palette,
    draw_scene,
    power_law,
)
from fast_style.errors import ConfigError

Indices: TypeAlias = NDArray[np.int32]

CORNERS = 24  # a multiple of 3, 4 and 6, so that triangles, quadrilaterals and hexagons keep their corners
BLOCK = 16384  # samples shaded at a time: their arrays stay in the cache
TILE = 512  # side of a texture in pixels: a power of two, so that wrapping around is a bit mask


class ProceduralPictures(Dataset[UInt8[Tensor, "3 size size"]]):
    """Pictures like photographs, RGB in 0 to 255, each a function of (seed, epoch, index) alone.

    Args:
        size: side of the pictures in pixels.
        length: pictures in an epoch; every epoch has pictures of its own.
        seed: another seed, another world of pictures.

    Raises:
        ConfigError: if the size is below 32, which is too little for a network to look at, or the seed is negative.
    """

    def __init__(self, size: int = 192, length: int = 100_000, seed: int = 0) -> None:
        if size < 32:
            raise ConfigError(f"size must be at least 32 pixels, not {size}")
        if seed < 0:
            raise ConfigError(f"seed must not be negative, not {seed}")
        self.size, self.length, self.seed = size, length, seed

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, key: tuple[int, int]) -> UInt8[Tensor, "3 size size"]:
        """The picture `key`, which is (epoch, index)."""
        rng = np.random.default_rng([self.seed, *key])
        textures = _textures(self.seed)
        palette = draw_palette(rng)
        light = rng.uniform(0, 2 * np.pi)
        out_of_focus = rng.random() < 0.65
        side = (self.size + 1) // 2 if out_of_focus else self.size  # enough for what will be blurred
        far = np.concatenate([draw_backdrop(rng, palette), draw_scene(rng, palette)])
        picture = _paint(rng, np.ones((3, side * side), np.float32), far, light, textures)
        if out_of_focus:
            picture = _blur(picture, rng.uniform(0.005, 0.04) * side, self.size)
            picture = _paint(rng, picture, draw_scene(rng, palette), light, textures)
        return torch.from_numpy(_develop(rng, picture, self.size))


def _outlines(rng: np.random.Generator, shapes: Shapes) -> Doubles:
    """The corners of each shape, (shapes, CORNERS, 2): between a polygon and an ellipse, bent and ragged."""
    around = np.linspace(0, 2 * np.pi, CORNERS, endpoint=False)
    sector = (2 * np.pi / shapes["sides"])[:, None]
    polygon = np.cos(sector / 2) / np.cos(around % sector - sector / 2)
    radius = polygon + shapes["roundness"][:, None] * (1 - polygon)
    bumps = rng.normal(0, 1, (len(shapes), 5, 2)) / np.arange(1, 6)[:, None]  # 1/f, as of coast lines
    waves = around * np.arange(2, 7)[:, None]
    radius *= np.exp(shapes["ragged"][:, None] * (bumps[:, :, 0] @ np.cos(waves) + bumps[:, :, 1] @ np.sin(waves)))
    along, across = radius * np.cos(around), radius * np.sin(around)
    across = across / np.sqrt(shapes["aspect"])[:, None]
    across += shapes["bend"][:, None] * along**2
    along = along * np.sqrt(shapes["aspect"])[:, None]
    cos, sin = np.cos(shapes["angle"])[:, None], np.sin(shapes["angle"])[:, None]
    corners = np.stack([cos * along - sin * across, sin * along + cos * across], -1)
    outlines: Doubles = corners * shapes["radius"][:, None, None] + np.stack([shapes["x"], shapes["y"]], -1)[:, None]
    return outlines


def _visible(outlines: Doubles, size: int) -> Indices:
    """Which shape each pixel shows, 0 for none: each shape hides those before it."""
    labels = Image.new("I", (size, size))
    draw = ImageDraw.Draw(labels)
    for label, corners in enumerate((outlines * size).reshape(len(outlines), -1).tolist(), 1):
        draw.polygon(corners, fill=label)
    return np.asarray(labels)


def _paint(rng: np.random.Generator, behind: Floats, shapes: Shapes, light: float, textures: Floats) -> Floats:
    """Paint shapes over the picture `behind`, (3, pixels): four samples a pixel along edges, one elsewhere."""
    size = round(behind.shape[1] ** 0.5)
    labels = _visible(_outlines(rng, shapes), 2 * size)
    quads = labels.reshape(size, 2, size, 2).transpose(1, 3, 0, 2).reshape(4, -1)
    edges = np.flatnonzero((quads[1:] != quads[0]).any(0))
    label = np.concatenate([quads[0], quads[1:, edges].ravel()])
    pixel = np.concatenate([np.arange(size * size), np.tile(edges, 3)]).astype(np.int32)
    surfaces = _surfaces(rng, shapes, light, size)
    samples = np.empty((3, len(label)), np.float32)
    for start in range(0, len(label), BLOCK):
        block = slice(start, start + BLOCK)
        samples[:, block] = np.where(
            label[block] > 0, _shade(label[block], pixel[block], size, surfaces, textures), behind[:, pixel[block]]
        )
    picture = samples[:, : size * size].copy()
    picture[:, edges] = (picture[:, edges] + samples[:, size * size :].reshape(3, 3, -1).sum(1)) / 4
    return picture


def _surfaces(rng: np.random.Generator, shapes: Shapes, light: float, size: int) -> Floats:
    """What `_shade` needs to know of each shape, a column each; column 0 is for pixels with no shape."""
    cos, sin, aspect = np.cos(shapes["angle"]), np.sin(shapes["angle"]), np.sqrt(shapes["aspect"])
    width, height = shapes["radius"] * aspect * size, shapes["radius"] / aspect * size
    toward_u, toward_v = np.cos(light - shapes["angle"]), np.sin(light - shapes["angle"])
    x, y = shapes["x"] * size, shapes["y"] * size
    rows = [
        *(cos / width, sin / width, -(x * cos + y * sin) / width),
        *(-sin / height, cos / height, (x * sin - y * cos) / height),
        *(shapes["lit"] * toward_u, shapes["lit"] * toward_v, shapes["bulge"]),
        *(shapes["shine"], toward_u / 2, toward_v / 2),
        *(width * shapes["zoom"] * shapes["stretch"], rng.uniform(0, TILE, len(shapes))),
        *(height * shapes["zoom"] / shapes["stretch"], rng.uniform(0, TILE, len(shapes))),
        *(shapes["texture"] * TILE * TILE, shapes["grain"], shapes["grain"] * shapes["tint"], *shapes["color"].T),
    ]
    surfaces = np.zeros((len(rows), len(shapes) + 1), np.float32)
    surfaces[:, 1:] = rows
    return surfaces


def _shade(label: Indices, pixel: Indices, size: int, surfaces: Floats, textures: Floats) -> Floats:
    """The color, (3, samples), of the shape `label` at each `pixel`."""
    row, column = np.divmod(pixel, size)
    x, y = column.astype(np.float32), row.astype(np.float32)
    index, of = label.astype(np.intp), iter(surfaces)

    def per_sample() -> Floats:
        values: Floats = next(of)[index]
        return values

    u = per_sample() * x + per_sample() * y + per_sample()
    v = per_sample() * x + per_sample() * y + per_sample()
    shade = per_sample() * u + per_sample() * v - per_sample() * (u * u + v * v)
    shine, glint_u, glint_v = per_sample(), per_sample(), per_sample()
    shine *= np.maximum(0, 1 - 9 * ((u - glint_u) ** 2 + (v - glint_v) ** 2)) ** 2
    i = (u * per_sample() + per_sample()).astype(np.int32) & TILE - 1
    j = (v * per_sample() + per_sample()).astype(np.int32) & TILE - 1
    texture = per_sample().astype(np.int32)
    shade += per_sample() * textures[texture + i * TILE + j]
    tint = per_sample() * textures[texture + j * TILE + i]
    bright = np.exp(np.clip(shade, -2, 1))
    red, green, blue = per_sample() * bright * (1 + tint), per_sample() * bright, per_sample() * bright * (1 - tint)
    return np.stack([red, green, blue]) + shine


@lru_cache(maxsize=2)
def _textures(seed: int) -> Floats:
    """Surfaces to cut from, one after the other: TEXTURES squares of mean 0 and variance 1 that wrap around."""
    rng = np.random.default_rng(seed)
    vertical, horizontal = np.fft.fftfreq(TILE)[:, None] * TILE, np.fft.rfftfreq(TILE) * TILE  # cycles a tile

    def noise(exponent: float, stretch: float = 1, knee: float = 2) -> Doubles:
        """Noise whose amplitude falls as 1/frequency**exponent above the knee."""
        fall = (np.hypot(vertical * stretch, horizontal / stretch) + knee) ** -exponent
        field = np.fft.irfft2(np.fft.rfft2(rng.normal(size=(TILE, TILE))) * fall)
        return np.asarray(field / field.std())

    def leaves(smallest: float) -> Doubles:
        shapes = draw_group(rng, np.ones((1, 3), np.float32), 5000, unity=0)
        shapes["x"], shapes["y"] = rng.random((2, len(shapes)))
        shapes["radius"] = power_law(rng, len(shapes), smallest, 0.1, 3)
        return rng.normal(size=len(shapes) + 1)[_visible(_outlines(rng, shapes), TILE)]

    tiles = [
        *(noise(0.5), noise(0.9), noise(1.2), noise(1.6)),  # from sand to clouds
        *(noise(1, stretch=3), noise(1.2, stretch=6), noise(4, stretch=3, knee=30)),  # fur, wood, cloth
        *(-np.abs(noise(1.3)), np.tanh(3 * noise(2, knee=30)), np.maximum(0, noise(2, knee=40)) ** 2),  # veins, spots
        *(leaves(0.004), leaves(0.01)),  # gravel, foliage
    ]
    return np.concatenate([((tile - tile.mean()) / tile.std()).ravel() for tile in tiles]).astype(np.float32)


def _blur(picture: Floats, radius: float, size: int) -> Floats:
    """A Gaussian blur, `radius` its standard deviation in pixels; the result is `size` pixels wide and high."""
    side = round(picture.shape[1] ** 0.5)
    pixels = (picture.T.clip(0, 1) * 255).astype(np.uint8).reshape(side, side, 3)
    blurred = Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(radius)).resize((size, size))
    return (np.asarray(blurred).reshape(-1, 3).T / np.float32(255)).astype(np.float32)


def _develop(rng: np.random.Generator, picture: Floats, size: int) -> NDArray[np.uint8]:
    """What a camera does: exposure and contrast as photographers like them, vignette, softness, noise."""
    sample = picture[1, ::7]  # one green pixel in seven: a quick estimate
    black, white = np.quantile(sample, [0.01, 0.99])
    picture = ((picture - np.float32(black)) / np.float32(white - black + 0.05)).clip(0, 1.1)
    mean, contrast = np.clip(rng.normal([0.46, 0.22], [0.14, 0.06]), [0.12, 0.07], [0.88, 0.35]).astype(np.float32)
    picture **= np.log(mean) / np.log(picture[1, ::7].mean().clip(0.15, 0.85))
    sample = picture[1, ::7]
    picture = (picture - sample.mean()) * (contrast / (sample.std() + np.float32(1e-3))).clip(0.6, 1.7) + mean
    axis = np.linspace(-1, 1, size, dtype=np.float32) ** 2
    picture *= 1 - np.float32(max(0, rng.normal(0, 0.1))) * (axis[:, None] + axis).ravel()
    if rng.random() < 0.4:
        picture = _blur(picture, rng.uniform(0.2, 0.8), size)
    picture += np.float32(rng.exponential(0.006)) * rng.standard_normal(size * size, np.float32)
    return (picture.clip(0, 1) * 255 + 0.5).astype(np.uint8).reshape(3, size, size)
