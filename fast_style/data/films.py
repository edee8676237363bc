"""Procedural films with exact optical flow: groups of shapes that move on their own before a camera that moves.

They measure how still a network's strokes hold without any error of estimated flow. The shapes are those of
`procedural`; each group, and the camera, moves by a similarity that is uniform in time.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from numpy.typing import NDArray
from torch import Tensor

from fast_style.data.procedural import (
    Indices,
    Shapes,
    develop,
    draw_backdrop,
    draw_palette,
    draw_scene,
    expose,
    make_textures,
    paint,
)
from fast_style.errors import ConfigError
from fast_style.losses.motion import carry
from fast_style.types import Images

Similarities: TypeAlias = NDArray[np.complex128]

#: Largest speed of the camera and of a group, as a fraction of the side per frame.
CAMERA_SPEED = 0.01
GROUP_SPEED = 0.015
#: Standard deviations of turning, in radians per frame, and of growing, as a fraction per frame.
TURN, GROWTH = 0.004, 0.002
#: Fraction of the groups that move on their own.
MOVING = 0.5


@dataclass(frozen=True, eq=False)
class ProceduralFilm:
    """Frames, and for any two of them where each pixel was.

    Attributes:
        frames: the frames, uint8 RGB, of shape (frames, 3, size, size).
        topmost: the shape at each pixel, from 1 on; -1 where several share a pixel.
        motion: similarity z -> motion[0] z + motion[1] of each frame and shape, from a shape's place in the scene to
            its place in the frame; places are x + iy in pixels, and the first pixel's center is 0.
    """

    frames: UInt8[Tensor, "frames 3 size size"]
    topmost: Indices
    motion: Similarities

    def origins(self, frame: int, before: int) -> tuple[Float[Tensor, "size size 2"], Bool[Tensor, "size size"]]:
        """Return where each pixel of a frame was in another, and whether it can be seen there.

        Args:
            frame: the frame whose pixels are asked for.
            before: the frame in which they are looked up.

        Returns:
            Places in the coordinates of `grid_sample`, and whether the place is inside the picture and shows the same
            shape.
        """
        size = self.topmost.shape[-1]
        shape = self.topmost[frame].reshape(-1)
        rows, columns = np.divmod(np.arange(size * size), size)
        (turn, shift), (turn_before, shift_before) = self.motion[frame], self.motion[before]
        index = np.maximum(shape, 1) - 1
        places = turn_before[index] * (columns + 1j * rows - shift[index]) / turn[index] + shift_before[index]
        # Rounded, so that a pixel that stands still is looked up in one pixel, not in its neighbors as well.
        x, y = places.real.round(6), places.imag.round(6)
        visible = (shape > 0) & (x >= 0) & (x <= size - 1) & (y >= 0) & (y <= size - 1)
        # All four pixels that a linear interpolation reads.
        for column in (np.floor(x), np.ceil(x)):
            for row in (np.floor(y), np.ceil(y)):
                nearest = (row.clip(0, size - 1) * size + column.clip(0, size - 1)).astype(np.intp)
                visible &= self.topmost[before].reshape(-1)[nearest] == shape
        origins = (np.stack([x, y], -1).reshape(size, size, 2) + 0.5) * 2 / size - 1
        return torch.from_numpy(origins.astype(np.float32)), torch.from_numpy(visible.reshape(size, size))

    def stillness(self, outputs: Float[Tensor, "frames 3 size size"], apart: int = 1) -> float:
        """Return how well stylized frames move along with the film: PSNR in dB; higher is stiller.

        Each is compared with an earlier one, carried along by the exact flow, where both show the same.

        Args:
            outputs: the stylized frames, in [0, 1].
            apart: distance in frames between the two: 1 shows flicker, 10 shows strokes that drift.
        """
        squared, count = 0.0, 0
        for before in range(len(outputs) - apart):
            origins, visible = self.origins(before + apart, before)
            difference = carry(outputs[before, None].cpu(), origins[None])[0] - outputs[before + apart].float().cpu()
            squared += float(difference[:, visible].square().sum())
            count += 3 * int(visible.sum())
        return 10 * math.log10(count / max(squared, 1e-12))


def make_film(
    seed: int = 0, frames: int = 12, size: int = 192, *, camera_moves: bool = True, noise: float = 0.004
) -> ProceduralFilm:
    """Make a film of moving shapes.

    Args:
        seed: random seed, 0 or more.
        frames: number of frames.
        size: height and width in pixels.
        camera_moves: whether the camera pans, turns and zooms; without, the backdrop and some groups stand still.
        noise: standard deviation of the camera's noise, which differs between frames, relative to a pixel's range.

    Raises:
        ConfigError: if the size is below 32 pixels, or there are fewer than two frames.

    Example:
        >>> film = make_film(seed=1, frames=3, size=64)
        >>> origins, visible = film.origins(2, before=0)
        >>> origins.shape, film.frames.shape
        (torch.Size([64, 64, 2]), torch.Size([3, 3, 64, 64]))
    """
    if size < 32:
        raise ConfigError(f"size must be at least 32 pixels, not {size}")
    if frames < 2:
        raise ConfigError(f"frames must be at least 2, not {frames}")
    rng = np.random.default_rng(seed)
    palette, light = draw_palette(rng), rng.uniform(0, 2 * np.pi)
    far, near = draw_scene(rng, palette), draw_scene(rng, palette)
    near["group"] += far["group"].max()
    scene = np.concatenate([draw_backdrop(rng, palette), far, near])
    times = np.arange(frames) - (frames - 1) / 2
    still = np.ones(frames, complex), np.zeros(frames, complex)
    camera = _movement(rng, 0.5 + 0.5j, CAMERA_SPEED, times) if camera_moves else still
    motions = [camera]
    for group in range(1, scene["group"].max() + 1):
        members = scene[scene["group"] == group]
        center = complex(members["x"].mean(), members["y"].mean()) if len(members) else 0.5 + 0.5j
        turn, shift = _movement(rng, center, GROUP_SPEED, times) if rng.random() < MOVING else still
        motions.append((camera[0] * turn, camera[0] * shift + camera[1]))
    # (frames, 2, shapes), in sides of the picture
    motion = np.array(motions).transpose(2, 1, 0)[:, :, scene["group"]]
    camera_seed, scene_seed = rng.integers(2**32, size=2)
    textures, blank = make_textures(0), np.ones((3, (2 * size) ** 2), np.float32)
    pictures, labels = [], []
    for number, (turn, shift) in enumerate(motion):
        # The same random numbers in each frame: outlines, textures and exposure are drawn with them. At twice the
        # resolution, or fine textures would glitter when they move.
        painted = paint(np.random.default_rng(scene_seed), blank, _moved(scene, turn, shift), light, textures)
        picture, topmost = (_quads(each, size) for each in painted)
        picture = picture.mean(axis=-1).reshape(3, -1)
        topmost = np.where((topmost == topmost[..., :1]).all(-1), topmost[..., 0], -1)
        picture = develop(np.random.default_rng(camera_seed), picture, size)
        pictures.append(torch.from_numpy(expose(np.random.default_rng([camera_seed, number]), picture, size, noise)))
        labels.append(topmost)
    # From sides of the picture to pixels: the mean of four samples at 0 and 0.5 of a pixel stands at 0.25.
    motion[:, 1] = size * motion[:, 1] - 0.25 * (1 + 1j)
    return ProceduralFilm(torch.stack(pictures), np.stack(labels), motion)


def measure_stillness(stylize: Callable[[Images], Images]) -> dict[str, float]:
    """Measure how still the strokes of a network hold on four films, in dB.

    Args:
        stylize: returns images stylized, in [0, 1].

    Returns:
        The mean stillness (see `ProceduralFilm.stillness`) with a camera that stands still and with one that moves,
        between consecutive frames and over ten frames, and of consecutive frames of all films as `stillness`.

    Example:
        >>> {name: round(value) for name, value in measure_stillness(lambda images: images).items()}
        {'still_camera': 40, 'moving_camera': 39, 'still_camera_10': 38, 'moving_camera_10': 31, 'stillness': 40}
    """
    found: dict[str, float] = {}
    outputs = {film: stylize(film.frames / 255) for films in _shown().values() for film in films}
    for apart, suffix in ((1, ""), (10, "_10")):
        for camera, films in _shown().items():
            values = [film.stillness(outputs[film], apart) for film in films]
            found[f"{camera}{suffix}"] = sum(values) / len(values)
    return {**found, "stillness": (found["still_camera"] + found["moving_camera"]) / 2}


@lru_cache(maxsize=1)
def short_film() -> ProceduralFilm:
    """Return a film that is quick to stylize, for measurements during a training."""
    return make_film(9, frames=6, size=128)


@lru_cache(maxsize=1)
def _shown() -> dict[str, tuple[ProceduralFilm, ...]]:
    """Return the films of `measure_stillness`: seeds whose scenes show objects, textures and plain areas."""
    still, moving = (
        tuple(make_film(seed, 11, 192, camera_moves=camera_moves) for seed in seeds)
        for seeds, camera_moves in (((2, 5), False), ((9, 11), True))
    )
    return {"still_camera": still, "moving_camera": moving}


def _movement(rng: np.random.Generator, center: complex, speed: float, times: NDArray[Any]) -> tuple[Any, Any]:
    """Draw a uniform movement around a center: factors and shifts of z -> factor z + shift at each time."""
    factor = np.exp((rng.normal(0, GROWTH) + 1j * rng.normal(0, TURN)) * times)
    velocity = speed * np.sqrt(rng.random()) * np.exp(2j * np.pi * rng.random())
    return factor, center - factor * center + velocity * times


def _quads(pixels: NDArray[Any], size: int) -> NDArray[Any]:
    """Gather 2x2 pixels of square pictures, (..., pixels), to (..., size, size, 4)."""
    quads = pixels.reshape(*pixels.shape[:-1], size, 2, size, 2).swapaxes(-3, -2)
    return quads.reshape(*pixels.shape[:-1], size, size, 4)


def _moved(shapes: Shapes, factor: Similarities, shift: Similarities) -> Shapes:
    """Apply a similarity to each shape, in sides of the picture."""
    moved = shapes.copy()
    places = factor * (shapes["x"] + 1j * shapes["y"]) + shift
    moved["x"], moved["y"] = places.real, places.imag
    moved["radius"] *= np.abs(factor)
    moved["zoom"] /= np.abs(factor)  # textures are laid out in pixels
    moved["angle"] += np.angle(factor)
    return moved
