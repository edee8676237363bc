"""Procedural pictures with the statistics of photographs: training content without a download.

A picture is a scene of opaque, overlapping shapes ("dead leaves") whose sizes follow a power law. That alone gives the
sharp edges at every scale, the power spectrum and the heavy-tailed derivatives of photographs. Shading, texture,
structure, defocus and a camera's tone curve are added.

Lee, Mumford & Huang 2001, "Occlusion models for natural images", https://doi.org/10.1023/A:1011109015675.
Baradad, Wulff, Wang, Isola & Torralba 2021, "Learning to see by looking at noise",
https://arxiv.org/abs/2106.05963.
Departure: their shapes are independent. Ours also form objects with details, swarms, rows and bundles, in and out of
focus, since photographs have repetition and smooth shading besides occlusion.

Constants without a stated reason were fitted to the luminance, color, spectrum, derivatives and local contrast of 200
photographs, and to the mean and variance of VGG19's relu2_1, relu3_1 and relu4_1 on them.
"""

from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
import torch
from jaxtyping import UInt8
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter
from torch import Tensor
from torch.utils.data import Dataset

from fast_style.errors import ConfigError

Floats: TypeAlias = NDArray[np.float32]
Doubles: TypeAlias = NDArray[np.float64]
Shapes: TypeAlias = NDArray[np.void]

#: A shape, in units of the picture's side: position and outline, then appearance.
SHAPE = np.dtype(
    [(name, np.float32) for name in ("x", "y", "radius", "aspect", "angle", "sides", "roundness", "bend", "ragged")]
    + [(name, np.float32) for name in ("lit", "bulge", "shine", "grain", "tint", "zoom", "stretch", "texture")]
    + [("color", np.float32, 3), ("group", np.int32)]  # what moves together in a film; 0: the backdrop
)
TEXTURES = 12  # number of surface textures
CORNERS = 24  # a multiple of 3, 4 and 6, so that triangles, quadrilaterals and hexagons keep their corners
BLOCK = 16384  # samples shaded at a time: their arrays stay in the cache
TILE = 512  # side of a texture in pixels: a power of two, so that wrapping around is a bit mask


def draw_palette(rng: np.random.Generator) -> Floats:
    """Draw 3 to 7 related colors that vary most in brightness, then from blue to yellow, then from red to green.

    These are the principal components of photographs' logarithmic colors (Ruderman, Cronin & Chiao 1998,
    https://doi.org/10.1364/JOSAA.15.002036), with long tails. Departure: the axes are turned slightly toward earth,
    foliage and sky.

    Returns:
        Linear RGB, of shape (colors, 3).
    """
    count = rng.integers(3, 8)
    brightness = rng.beta(0.8, 0.9, count) + 0.03
    saturation = np.exp(rng.normal(-1.2, 0.45)) * (rng.random() > 0.06)  # 6% are monochrome
    yellow, red = saturation * (rng.normal([[0.5], [0.1]], [[0.8], [0.5]]) + rng.laplace(0, 0.7, (2, count)))
    red *= np.where(yellow > 0, 1, 0.3)  # violet is rare
    ratios = np.stack([0.55 * yellow + 0.7 * red, -0.3 * red, -0.75 * yellow - 0.2 * red], 1)
    colors: Floats = (brightness[:, None] * np.exp(np.clip(ratios, -2, 0.9))).astype(np.float32)
    return colors


def power_law(rng: np.random.Generator, count: int, low: float, high: float, exponent: float) -> Doubles:
    """Draw sizes with density size**-exponent between low and high; exponent 3 gives scale-invariant pictures."""
    power = 1 - exponent
    sizes: Doubles = (low**power + rng.random(count) * (high**power - low**power)) ** (1 / power)
    return sizes


def draw_group(rng: np.random.Generator, palette: Floats, count: int | np.integer[Any], unity: float) -> Shapes:
    """Draw similar shapes: with `unity` 1 they share outline, direction and surface, with 0 they are independent."""
    normal, uniform = rng.normal(size=(10, count)), rng.random((6, count))
    normal = np.where(rng.random(normal.shape) < unity, normal[:, :1], normal)
    uniform = np.where(rng.random(uniform.shape) < unity, uniform[:, :1], uniform)

    def choice(row: int, *options: float) -> Any:
        return np.array(options)[(uniform[row] * len(options)).astype(int)]

    shapes = np.zeros(count, SHAPE)
    shapes["aspect"] = np.exp(0.6 * np.abs(normal[0]) + rng.normal(0, 0.15, count))
    shapes["angle"] = choice(0, 0, np.pi / 2, *rng.uniform(0, np.pi, 2)) + rng.normal(0, 0.1, count)
    shapes["sides"] = choice(1, 3, 4, 4, 4, 6)
    shapes["roundness"] = choice(2, 0, 0.2, 1, 1, 1)
    shapes["bend"] = 0.25 * normal[1]
    shapes["ragged"] = choice(3, 0, 0.05, 0.15, 0.3)
    shapes["lit"] = 0.35 * np.abs(normal[2])
    shapes["bulge"] = 0.2 * np.abs(normal[3])
    shapes["shine"] = np.maximum(0, np.abs(normal[4]) - 1.5)
    shapes["grain"] = np.exp(-1.9 + normal[5])
    shapes["tint"] = 0.2 * np.abs(normal[6])
    shapes["zoom"] = np.exp(0.4 * normal[7])
    shapes["stretch"] = np.exp(0.4 * normal[8])
    shapes["texture"] = choice(4, *range(TEXTURES))
    chosen = palette[(uniform[5] * len(palette)).astype(int)]
    spread = np.abs(rng.normal(0, 0.35))
    shapes["color"] = chosen * np.exp(rng.normal(0, spread, (count, 1)) + rng.normal(0, 0.04, (count, 3)))
    return shapes


def draw_scene(rng: np.random.Generator, palette: Floats) -> Shapes:
    """Draw 2 to 5 groups of shapes, the nearest last, numbered in `group` from 1 on."""
    kinds = (_leaves, _objects, _swarm, _rows, _strands)
    chosen = rng.choice(len(kinds), rng.integers(2, 6), p=[0.18, 0.42, 0.07, 0.1, 0.23])
    groups = [kinds[kind](rng, palette) for kind in chosen]
    for number, shapes in enumerate(groups, 1):
        shapes["group"] = number
    return np.concatenate(groups)


def draw_backdrop(rng: np.random.Generator, palette: Floats) -> Shapes:
    """Draw a wall or a sky that fills the picture, and sometimes a floor or a treeline below it."""
    shapes = draw_group(rng, palette, 1 + (rng.random() < 0.5), unity=0)
    shapes["x"], shapes["angle"], shapes["aspect"] = 0.5, rng.normal(0, 0.05), 1
    shapes["y"], shapes["radius"] = 0.5, 2
    shapes["y"][1:] = 0.5 + rng.uniform(1.2, 1.8)  # half a side is 2 / sqrt(2): its top is in the picture
    shapes["sides"], shapes["roundness"], shapes["bend"] = 4, 0, 0
    shapes["ragged"] *= 0.1
    shapes["lit"] *= 3  # the backdrop exceeds the picture, which shows a part of its gradient
    shapes["angle"] += np.pi / 4
    return shapes


def _leaves(rng: np.random.Generator, palette: Floats) -> Shapes:
    """Dead leaves: shapes of every size, everywhere, independent of one another."""
    shapes = draw_group(rng, palette, rng.integers(10, 120), unity=rng.random())
    shapes["x"], shapes["y"] = rng.uniform(-0.1, 1.1, (2, len(shapes)))
    shapes["radius"] = power_law(rng, len(shapes), rng.uniform(0.01, 0.06), 0.5, rng.uniform(2, 3.2))
    return shapes


def _objects(rng: np.random.Generator, palette: Floats) -> Shapes:
    """A few large objects, each with details."""
    parts = [draw_group(rng, palette, rng.integers(6, 30), unity=0.6) for _ in range(rng.integers(1, 4))]
    for shapes in parts:
        x, y, radius = rng.uniform(0, 1), rng.uniform(0.1, 1), power_law(rng, 1, 0.1, 0.6, 1.5)[0]
        shapes["x"], shapes["y"] = np.array([[x], [y]]) + rng.normal(0, 0.4 * radius, (2, len(shapes)))
        shapes["radius"] = radius * power_law(rng, len(shapes), 0.02, 0.5, 2)
        shapes["x"][0], shapes["y"][0], shapes["radius"][0] = x, y, radius
    return np.concatenate(parts)


def _swarm(rng: np.random.Generator, palette: Floats) -> Shapes:
    """Many similar small shapes: foliage, grass, gravel, a crowd."""
    shapes = draw_group(rng, palette, rng.integers(40, 250), unity=0.9)
    center, spread = rng.uniform(0, 1, (2, 1)), rng.uniform(0.05, 0.4, (2, 1))
    shapes["x"], shapes["y"] = center + spread * rng.normal(0, 1, (2, len(shapes)))
    shapes["radius"] = rng.uniform(0.008, 0.04) * np.exp(rng.normal(0, 0.4, len(shapes)))
    return shapes


def _rows(rng: np.random.Generator, palette: Floats) -> Shapes:
    """A regular pattern, upright or slanting: windows, bricks, bars, lines of writing."""
    columns, rows = rng.integers(2, 14, 2)
    shapes = draw_group(rng, palette, columns * rows, unity=0.97)
    step = rng.uniform(0.03, 0.14, (2, 1))
    grid = step * (np.indices((columns, rows)).reshape(2, -1) - [[columns / 2], [rows / 2]])
    grid += rng.choice([0, 0.25]) * step * rng.uniform(-1, 1, grid.shape)
    slant = np.eye(2) + rng.normal(0, 0.15, (2, 2)) * (rng.random() < 0.7)
    shapes["x"], shapes["y"] = slant @ grid + rng.uniform(0.1, 0.9, (2, 1))
    shapes["angle"] = np.arctan2(slant[1, 0], slant[0, 0])
    shapes["aspect"] = np.clip(step[0] / step[1], 0.3, 3) * np.exp(rng.normal(0, 0.4))
    shapes["radius"] = np.sqrt(step.prod()) * rng.uniform(0.25, 0.7)
    shapes["ragged"] *= 0.3
    kept = rng.random(len(shapes)) < rng.choice([1, 0.7])
    return np.asarray(shapes[kept])


def _strands(rng: np.random.Generator, palette: Floats) -> Shapes:
    """Long thin shapes: wires, branches, stalks, seams."""
    shapes = draw_group(rng, palette, rng.integers(1, 25), unity=0.9)
    shapes["x"], shapes["y"] = rng.uniform(0, 1, (2, len(shapes)))
    shapes["radius"] = rng.uniform(0.01, 0.06) * np.exp(rng.normal(0, 0.3, len(shapes)))
    shapes["aspect"] = rng.uniform(8, 60)
    shapes["angle"] += rng.normal(0, rng.choice([0.02, 0.3, 1]), len(shapes))
    shapes["bend"] *= 4
    return shapes


Indices: TypeAlias = NDArray[np.int32]


class ProceduralPictures(Dataset[UInt8[Tensor, "3 size size"]]):
    """Photograph-like pictures, uint8 RGB, each determined by (seed, epoch, index).

    Args:
        size: side of the pictures in pixels.
        length: pictures in an epoch; each epoch has different pictures.
        seed: random seed, 0 or more.

    Raises:
        ConfigError: if the size is below 32 (too small for a network) or the seed is negative.
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
        """Return the picture of the key (epoch, index), of shape (3, size, size)."""
        rng = np.random.default_rng([self.seed, *key])
        textures = make_textures(self.seed)
        palette = draw_palette(rng)
        light = rng.uniform(0, 2 * np.pi)
        out_of_focus = rng.random() < 0.65
        side = (self.size + 1) // 2 if out_of_focus else self.size  # blur hides the lower resolution
        far = np.concatenate([draw_backdrop(rng, palette), draw_scene(rng, palette)])
        picture, _ = paint(rng, np.ones((3, side * side), np.float32), far, light, textures)
        if out_of_focus:
            picture = _blur(picture, rng.uniform(0.005, 0.04) * side, self.size)
            picture, _ = paint(rng, picture, draw_scene(rng, palette), light, textures)
        picture = develop(rng, picture, self.size)
        return torch.from_numpy(expose(rng, picture, self.size, rng.exponential(0.006)))


def _outlines(rng: np.random.Generator, shapes: Shapes) -> Doubles:
    """Corners of each shape, (shapes, CORNERS, 2): between a polygon and an ellipse, bent and ragged."""
    around = np.linspace(0, 2 * np.pi, CORNERS, endpoint=False)
    sector = (2 * np.pi / shapes["sides"])[:, None]
    polygon = np.cos(sector / 2) / np.cos(around % sector - sector / 2)
    radius = polygon + shapes["roundness"][:, None] * (1 - polygon)
    bumps = rng.normal(0, 1, (len(shapes), 5, 2)) / np.arange(1, 6)[:, None]  # 1/f, like coastlines
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
    """Number of the topmost shape at each pixel, from 1 on; 0: none. Later shapes hide earlier ones."""
    labels = Image.new("I", (size, size))
    draw = ImageDraw.Draw(labels)
    for label, corners in enumerate((outlines * size).reshape(len(outlines), -1).tolist(), 1):
        draw.polygon(corners, fill=label)
    return np.asarray(labels)


def paint(
    rng: np.random.Generator, behind: Floats, shapes: Shapes, light: float, textures: Floats
) -> tuple[Floats, Indices]:
    """Paint shapes over the picture `behind`, with four samples per pixel at edges and one elsewhere.

    Returns:
        The picture, (3, pixels), and the topmost shape in each pixel, numbered from 1 on; 0: none, -1: several.
    """
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
    topmost = quads[0].copy()
    topmost[edges] = -1
    return picture, topmost


def _surfaces(rng: np.random.Generator, shapes: Shapes, light: float, size: int) -> Floats:
    """Parameters of each shape for `_shade`, one column per shape; column 0 is for pixels without a shape."""
    cos, sin, aspect = np.cos(shapes["angle"]), np.sin(shapes["angle"]), np.sqrt(shapes["aspect"])
    width, height = shapes["radius"] * aspect * size, shapes["radius"] / aspect * size
    toward_u, toward_v = np.cos(light - shapes["angle"]), np.sin(light - shapes["angle"])
    x, y = shapes["x"] * size, shapes["y"] * size
    parameters = [
        *(cos / width, sin / width, -(x * cos + y * sin) / width),
        *(-sin / height, cos / height, (x * sin - y * cos) / height),
        *(shapes["lit"] * toward_u, shapes["lit"] * toward_v, shapes["bulge"]),
        *(shapes["shine"], toward_u / 2, toward_v / 2),
        *(width * shapes["zoom"] * shapes["stretch"], rng.uniform(0, TILE, len(shapes))),
        *(height * shapes["zoom"] / shapes["stretch"], rng.uniform(0, TILE, len(shapes))),
        *(shapes["texture"] * TILE * TILE, shapes["grain"], shapes["grain"] * shapes["tint"], *shapes["color"].T),
    ]
    surfaces = np.zeros((len(parameters), len(shapes) + 1), np.float32)
    surfaces[:, 1:] = parameters
    return surfaces


def _shade(label: Indices, pixel: Indices, size: int, surfaces: Floats, textures: Floats) -> Floats:
    """Color, (3, samples), of the shape `label` at each `pixel`."""
    row, column = np.divmod(pixel, size)
    x, y = column.astype(np.float32), row.astype(np.float32)
    index, parameters = label.astype(np.intp), iter(surfaces)

    def per_sample() -> Floats:
        values: Floats = next(parameters)[index]
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
def make_textures(seed: int) -> Floats:
    """Concatenated flat textures: TEXTURES periodic tiles of TILE x TILE pixels, with mean 0 and variance 1."""
    rng = np.random.default_rng(seed)
    vertical, horizontal = np.fft.fftfreq(TILE)[:, None] * TILE, np.fft.rfftfreq(TILE) * TILE  # cycles per tile

    def noise(exponent: float, stretch: float = 1, knee: float = 2) -> Doubles:
        """Noise with amplitude 1/frequency**exponent above the knee."""
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
    """Gaussian blur with standard deviation `radius` in pixels, then resizing to `size` x `size` pixels."""
    side = round(picture.shape[1] ** 0.5)
    pixels = (picture.T.clip(0, 1) * 255).astype(np.uint8).reshape(side, side, 3)
    blurred = Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(radius)).resize((size, size))
    return (np.asarray(blurred).reshape(-1, 3).T / np.float32(255)).astype(np.float32)


def develop(rng: np.random.Generator, picture: Floats, size: int) -> Floats:
    """Apply a camera's exposure, contrast, vignette and softness."""
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
    return picture


def expose(rng: np.random.Generator, picture: Floats, size: int, noise: float) -> NDArray[np.uint8]:
    """Add noise of this standard deviation, and round to 8 bits."""
    picture = picture + np.float32(noise) * rng.standard_normal(size * size, np.float32)
    return (picture.clip(0, 1) * 255 + 0.5).astype(np.uint8).reshape(3, size, size)
