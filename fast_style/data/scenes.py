"""Scenes of opaque shapes, as the procedural pictures show them: what there is, where, and of what surface.

A scene is a list of shapes, the farthest first. Lengths are in units of the picture's side.
"""

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float32]
Doubles: TypeAlias = NDArray[np.float64]
Shapes: TypeAlias = NDArray[np.void]

#: One shape, in units of the picture's side. Where it is and its outline, then what it looks like.
SHAPE = np.dtype(
    [(name, np.float32) for name in ("x", "y", "radius", "aspect", "angle", "sides", "roundness", "bend", "ragged")]
    + [(name, np.float32) for name in ("lit", "bulge", "shine", "grain", "tint", "zoom", "stretch", "texture")]
    + [("color", np.float32, 3)]
)
TEXTURES = 12  # how many kinds of surface there are


def draw_palette(rng: np.random.Generator) -> Floats:
    """A few colors that belong together: they differ most in brightness, then from blue to yellow, then in hue.

    Such are the principal components of photographs' logarithmic colors (Ruderman, Cronin & Chiao 1998,
    https://doi.org/10.1364/JOSAA.15.002036), with long tails. We turn the axes a little, toward earth, foliage and sky.
    """
    count = rng.integers(3, 8)
    brightness = rng.beta(0.8, 0.9, count) + 0.03
    saturation = np.exp(rng.normal(-1.2, 0.45)) * (rng.random() > 0.06)  # six in a hundred are monochrome
    yellow, red = saturation * (rng.normal([[0.5], [0.1]], [[0.8], [0.5]]) + rng.laplace(0, 0.7, (2, count)))
    red *= np.where(yellow > 0, 1, 0.3)  # violet is rare
    ratios = np.stack([0.55 * yellow + 0.7 * red, -0.3 * red, -0.75 * yellow - 0.2 * red], 1)
    colors: Floats = (brightness[:, None] * np.exp(np.clip(ratios, -2, 0.9))).astype(np.float32)
    return colors


def power_law(rng: np.random.Generator, count: int, low: float, high: float, exponent: float) -> Doubles:
    """Sizes with density size**-exponent between low and high. With exponent 3 a picture looks alike at every scale."""
    power = 1 - exponent
    sizes: Doubles = (low**power + rng.random(count) * (high**power - low**power)) ** (1 / power)
    return sizes


def draw_group(rng: np.random.Generator, palette: Floats, count: int | np.integer[Any], unity: float) -> Shapes:
    """Shapes that are alike: `unity` 1 gives them one outline, direction and surface, 0 leaves each to itself."""
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
    """A few groups of shapes, the nearest last."""
    kinds = (_leaves, _objects, _swarm, _rows, _strands)
    chosen = rng.choice(len(kinds), rng.integers(2, 6), p=[0.18, 0.42, 0.07, 0.1, 0.23])
    return np.concatenate([kinds[kind](rng, palette) for kind in chosen])


def draw_backdrop(rng: np.random.Generator, palette: Floats) -> Shapes:
    """A wall or a sky that fills the picture, and sometimes a floor or a treeline below it."""
    shapes = draw_group(rng, palette, 1 + (rng.random() < 0.5), unity=0)
    shapes["x"], shapes["angle"], shapes["aspect"] = 0.5, rng.normal(0, 0.05), 1
    shapes["y"], shapes["radius"] = 0.5, 2
    shapes["y"][1:] = 0.5 + rng.uniform(1.2, 1.8)  # half a side is 2 / sqrt(2): its top is in the picture
    shapes["sides"], shapes["roundness"], shapes["bend"] = 4, 0, 0
    shapes["ragged"] *= 0.1
    shapes["lit"] *= 3  # it is larger than the picture, which shows a part of its gradient
    shapes["angle"] += np.pi / 4
    return shapes


def _leaves(rng: np.random.Generator, palette: Floats) -> Shapes:
    """Dead leaves: shapes of every size, everywhere, independent of one another."""
    shapes = draw_group(rng, palette, rng.integers(10, 120), unity=rng.random())
    shapes["x"], shapes["y"] = rng.uniform(-0.1, 1.1, (2, len(shapes)))
    shapes["radius"] = power_law(rng, len(shapes), rng.uniform(0.01, 0.06), 0.5, rng.uniform(2, 3.2))
    return shapes


def _objects(rng: np.random.Generator, palette: Floats) -> Shapes:
    """A few large things, each with details on it."""
    parts = [draw_group(rng, palette, rng.integers(6, 30), unity=0.6) for _ in range(rng.integers(1, 4))]
    for shapes in parts:
        x, y, radius = rng.uniform(0, 1), rng.uniform(0.1, 1), power_law(rng, 1, 0.1, 0.6, 1.5)[0]
        shapes["x"], shapes["y"] = np.array([[x], [y]]) + rng.normal(0, 0.4 * radius, (2, len(shapes)))
        shapes["radius"] = radius * power_law(rng, len(shapes), 0.02, 0.5, 2)
        shapes["x"][0], shapes["y"][0], shapes["radius"][0] = x, y, radius
    return np.concatenate(parts)


def _swarm(rng: np.random.Generator, palette: Floats) -> Shapes:
    """Many small shapes alike: foliage, grass, gravel, a crowd."""
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
    some_missing = rng.random(len(shapes)) < rng.choice([1, 0.7])
    return np.asarray(shapes[some_missing])


def _strands(rng: np.random.Generator, palette: Floats) -> Shapes:
    """Long thin things: wires, branches, stalks, seams."""
    shapes = draw_group(rng, palette, rng.integers(1, 25), unity=0.9)
    shapes["x"], shapes["y"] = rng.uniform(0, 1, (2, len(shapes)))
    shapes["radius"] = rng.uniform(0.01, 0.06) * np.exp(rng.normal(0, 0.3, len(shapes)))
    shapes["aspect"] = rng.uniform(8, 60)
    shapes["angle"] += rng.normal(0, rng.choice([0.02, 0.3, 1]), len(shapes))
    shapes["bend"] *= 4
    return shapes
