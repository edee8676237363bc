"""How live pictures look, and the networks that make them look so."""

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
from fast_style.video.temporal import Smoother

if TYPE_CHECKING:
    from fast_style.stylizing.stylizer import Stylizer

#: How much a key changes the strength.
_STEP = 0.1
#: How many frames are timed, at least. One or two of them may have to wait for a network to be made ready.
_ENOUGH = 5
#: Of the time there is for a frame: the rest is for the camera and the window.
_SHARE = 0.9
#: In pixels: sizes go by so much, and no lower than the least.
_SIZE_STEP, LEAST = 32, 192


@dataclass(frozen=True)
class Look:
    """What a person changes while the pictures run.

    Attributes:
        style: which one, from 0 on.
        strength: see Controls.
        preserve_color: see Controls.
    """

    style: int = 0
    strength: float = 1.0
    preserve_color: str = "none"

    def after(self, action: Action, styles: int) -> "Look":
        """Return the look after a key, with so many styles to choose from; the same if the key is for something else.

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
    """What makes a picture of a camera's."""

    @property
    def styles(self) -> list[str]:
        """The names of the styles, in the order in which keys go through them."""

    def __call__(self, pixels: Bytes, look: Look) -> Bytes:
        """Return a picture, of shape (height, width, 3), as it is to be seen."""


class LiveStylizer:
    """Networks, whose styles are one list.

    Args:
        stylizers: the networks, by name.
        controls: what no key changes.
        temporal: how much of the flicker to take away, from 0 to 1. See `Smoother`.

    Attributes:
        styles: see Paints; a style that several networks know has the network's name behind it, if that is another.

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
        self._smoother = Smoother(temporal) if temporal else None
        self._before: tuple[Look, tuple[int, ...]] | None = None
        self._painted = 0

    def find(self, style: str | None) -> int:
        """Return which style has a name; nothing: the first.

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
        """See Paints."""
        stylizer, style = self._choices[look.style]
        # Grain that stood still would look like dirt on the glass.
        seed = (self._controls.seed + self._painted) % 2**64 if self._controls.grain else self._controls.seed
        self._painted += 1
        controls = replace(
            self._controls, style=style, strength=look.strength, preserve_color=look.preserve_color, seed=seed
        )
        painted: Bytes = np.asarray(stylizer(Image.fromarray(pixels), controls=controls), np.uint8)
        if self._smoother is None:
            return painted
        if self._before != (look, pixels.shape):
            # What was painted in another look must not shine through.
            self._smoother, self._before = Smoother(self._temporal), (look, pixels.shape)
        return self._smoother(pixels, painted)


def resized(pixels: Bytes, width: int, height: int) -> Bytes:
    """Return a picture, of shape (height, width, 3), at a size."""
    if pixels.shape[:2] == (height, width):
        return pixels
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR))


class AdaptiveSize:
    """Lowers the size of pictures until the network makes as many a second as the camera gives.

    It is never raised: a size that comes and goes is seen.

    Args:
        long_side: of the pictures at first, in pixels.
        rate: pictures a second to be reached; 0: the size stays.

    Attributes:
        long_side: of the pictures from now on.
    """

    def __init__(self, long_side: int, rate: float = 0.0) -> None:
        self.long_side = long_side
        self._rate = rate
        self._seconds: deque[float] = deque(maxlen=_ENOUGH)

    def took(self, seconds: float) -> None:
        """Take note of how long the network took for a picture of `long_side`."""
        self._seconds.append(seconds)
        if not self._rate or len(self._seconds) < _ENOUGH or self.long_side <= LEAST:
            return
        present, wanted = median(self._seconds), _SHARE / self._rate
        if present > 1 / self._rate:
            # The time goes by the number of pixels.
            fitting = self.long_side * (wanted / present) ** 0.5
            self.long_side = max(LEAST, int(fitting) // _SIZE_STEP * _SIZE_STEP)
            self._seconds.clear()

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Return the width and height at which to paint a picture that has these."""
        scale = min(1.0, self.long_side / max(width, height))
        return max(1, round(width * scale)), max(1, round(height * scale))
