"""Stylizes live frames: the look that keys change, and the size at which the network keeps up."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from statistics import median
from typing import TYPE_CHECKING, Protocol

import numpy as np
from PIL import Image

from fast_style.errors import ConfigError
from fast_style.live.keys import Action
from fast_style.stylizing.controls import PRESERVE_COLOR, Controls
from fast_style.video.frames import Bytes
from fast_style.video.temporal import make_smoother

if TYPE_CHECKING:
    from fast_style.stylizing.stylizer import Stylizer

#: Change of the strength per key press.
_STEP = 0.1
#: Frames timed before the size changes; the median ignores one or two that wait for compilation.
_ENOUGH = 5
#: Share of a frame's time for the network; the rest is for the camera and the window.
_SHARE = 0.9
#: Sizes are multiples of this, and at least LEAST, in pixels.
_SIZE_STEP, LEAST = 32, 192


@dataclass(frozen=True)
class Look:
    """The settings that keys change: index of the style, and strength and colors as in Controls."""

    style: int = 0
    strength: float = 1.0
    preserve_color: str = "none"

    def after(self, action: Action, styles: int) -> "Look":
        """Return the look after a key press; unchanged for keys without effect on it.

        Args:
            action: the key's action.
            styles: number of styles.
        """
        if action in (Action.NEXT, Action.PREVIOUS):
            return replace(self, style=(self.style + (1 if action is Action.NEXT else -1)) % styles)
        if action in (Action.STRONGER, Action.WEAKER):
            # Counted in whole steps, to reach 0 and 1 exactly.
            steps = round(self.strength / _STEP) + (1 if action is Action.STRONGER else -1)
            return replace(self, strength=min(1.0, max(0.0, round(steps * _STEP, 2))))
        if action is Action.COLOR:
            place = PRESERVE_COLOR.index(self.preserve_color) + 1
            return replace(self, preserve_color=PRESERVE_COLOR[place % len(PRESERVE_COLOR)])
        return self


class StylizesFrames(Protocol):
    """A callable that stylizes frames."""

    @property
    def styles(self) -> list[str]:
        """Names of the styles, in the order of the keys."""

    def __call__(self, pixels: Bytes, look: Look) -> Bytes:
        """Return the stylized frame, of shape (height, width, 3)."""


class LiveStylizer:
    """Stylizes frames with one of several networks, given by name, whose styles form one list.

    Of `styles`, one that several networks have is followed by the network's name in parentheses. No key changes the
    `controls`. ConfigError if `temporal` (see `Smoother`) is out of range, or OpenCV is not installed.
    """

    def __init__(
        self, stylizers: "Mapping[str, Stylizer]", controls: Controls | None = None, temporal: float = 0.0
    ) -> None:
        self._choices = [(stylizer, style) for stylizer in stylizers.values() for style in stylizer.styles]
        names = [(style, name) for name, stylizer in stylizers.items() for style in stylizer.styles]
        styles = [style for style, _ in names]
        self.styles = [
            f"{style} ({name})" if styles.count(style) > 1 and style != name else style for style, name in names
        ]
        self._controls, self._temporal = controls or Controls(), temporal
        self._smoother = make_smoother(temporal)
        self._before: tuple[Look, tuple[int, ...]] | None = None
        self._count = 0

    def find(self, style: str | None) -> int:
        """Return the index of a style by its name; None: the first.

        Raises:
            ConfigError: if no network has the style.
        """
        if style is None:
            return 0
        plain = [name for _, name in self._choices]
        for names in (self.styles, plain):
            if style in names:
                return names.index(style)
        raise ConfigError(f"first: no network here knows {style!r}; choose from {', '.join(self.styles)}")

    def __call__(self, pixels: Bytes, look: Look) -> Bytes:
        """See StylizesFrames."""
        stylizer, style = self._choices[look.style]
        # New grain for each frame: static grain looks like dirt on the lens.
        seed = (self._controls.seed + self._count) % 2**64 if self._controls.grain else self._controls.seed
        self._count += 1
        controls = replace(
            self._controls, style=style, strength=look.strength, preserve_color=look.preserve_color, seed=seed
        )
        stylized: Bytes = np.asarray(stylizer(Image.fromarray(pixels), controls=controls), np.uint8)
        if self._before != (look, pixels.shape):
            # Smoothing over time must not mix two looks.
            self._smoother, self._before = make_smoother(self._temporal), (look, pixels.shape)
        return stylized if self._smoother is None else self._smoother(pixels, stylized)


def resized(pixels: Bytes, width: int, height: int) -> Bytes:
    """Resize a frame of shape (height, width, 3)."""
    if pixels.shape[:2] == (height, width):
        return pixels
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR))


class AdaptiveSize:
    """Lowers the size of the frames until the network is as fast as the camera.

    The size never increases again: oscillation would be visible. `long_side` is the current one, in pixels; `rate` is
    the frame rate to reach; 0: the size is fixed.
    """

    def __init__(self, long_side: int, rate: float = 0.0) -> None:
        self.long_side = long_side
        self._rate = rate
        self._seconds: deque[float] = deque(maxlen=_ENOUGH)

    def took(self, seconds: float) -> None:
        """Record how long the network took for a frame of `long_side`."""
        self._seconds.append(seconds)
        if not self._rate or len(self._seconds) < _ENOUGH or self.long_side <= LEAST:
            return
        present, wanted = median(self._seconds), _SHARE / self._rate
        if present > 1 / self._rate:
            # Time is proportional to the number of pixels.
            fitting = self.long_side * (wanted / present) ** 0.5
            self.long_side = max(LEAST, int(fitting) // _SIZE_STEP * _SIZE_STEP)
            self._seconds.clear()

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Return the width and height at which to stylize a frame."""
        scale = min(1.0, self.long_side / max(width, height))
        return max(1, round(width * scale)), max(1, round(height * scale))
