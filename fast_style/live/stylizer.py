"""Live frames through the networks: the look that keys change, and the size at which a network keeps up."""

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

#: How much a key changes the strength.
_STEP = 0.1
#: How many frames are timed before the size changes. The first one or two may wait for a network to be compiled.
_ENOUGH = 5
#: The share of the time of a frame that the network may take; the rest is for the camera and the window.
_SHARE = 0.9
#: Sizes are multiples of this, and at least LEAST, in pixels.
_SIZE_STEP, LEAST = 32, 192


@dataclass(frozen=True)
class Look:
    """What keys change: style, strength and colors.

    Attributes:
        style: its index, from 0 on.
        strength: see Controls.
        preserve_color: see Controls.
    """

    style: int = 0
    strength: float = 1.0
    preserve_color: str = "none"

    def after(self, action: Action, styles: int) -> "Look":
        """Return the look after a key; the same one if the key is for something else.

        Args:
            action: what the key does.
            styles: how many there are.
        """
        if action in (Action.NEXT, Action.PREVIOUS):
            return replace(self, style=(self.style + (1 if action is Action.NEXT else -1)) % styles)
        if action in (Action.STRONGER, Action.WEAKER):
            # In whole steps, so that they end at 0 and 1.
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
        """The names of the styles, in the order in which keys go through them."""

    def __call__(self, pixels: Bytes, look: Look) -> Bytes:
        """Return the stylized frame, of shape (height, width, 3)."""


class LiveStylizer:
    """Stylizes frames by any of several networks, whose styles form one list.

    Args:
        stylizers: the networks, by name.
        controls: settings that no key changes.
        temporal: how much of the flicker to take away, from 0 to 1. See `Smoother`.

    Attributes:
        styles: their names; of a style that several networks have, the network's name follows in parentheses.

    Raises:
        ConfigError: if `temporal` is out of range, or what it needs is not installed.
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
            ConfigError: if none has.
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
        # New grain for each frame: grain that stands still looks like dirt on the lens.
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

    The size never rises again: changes back and forth would be seen.

    Args:
        long_side: of the first frames, in pixels.
        rate: the frame rate to be reached; 0: the size stays.

    Attributes:
        long_side: of the frames from now on, in pixels.
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
            # The time is proportional to the number of pixels.
            fitting = self.long_side * (wanted / present) ** 0.5
            self.long_side = max(LEAST, int(fitting) // _SIZE_STEP * _SIZE_STEP)
            self._seconds.clear()

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Return the width and height at which to stylize a frame."""
        scale = min(1.0, self.long_side / max(width, height))
        return max(1, round(width * scale)), max(1, round(height * scale))
