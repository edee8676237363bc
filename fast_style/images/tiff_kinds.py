"""What the numbers in a TIFF are, by its tags: their depth, sign and meaning."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import TiffImagePlugin

from fast_style.images import lab

_BITS, COMPRESSION, _PHOTOMETRIC, _FILL_ORDER, _ORIENTATION, _SAMPLES, PLANES = 258, 259, 262, 266, 274, 277, 284
_WHITE, _COLOR_MAP, _INK_SET, _EXTRA, _FORMAT, PROFILE = 318, 320, 332, 338, 339, 34675
WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, CMYK, YCBCR, CIELAB, ICCLAB, ITULAB = 0, 1, 2, 3, 5, 6, 8, 9, 10
# How many channels each has before the extra ones.
COLORS: Mapping[int, int] = {0: 1, 1: 1, 2: 3, 3: 1, 5: 4, 6: 3, 8: 3, 9: 3, 10: 3}
_MEANINGS = {4: "a transparency mask", 10: "ITU L*a*b*", 32803: "the mosaic of a camera's sensor"}
_MEANINGS |= {34892: "the light that a camera's sensor saw", 32844: "LogL", 32845: "LogLuv", 51177: "a depth map"}
UNSIGNED, SIGNED, FLOAT = 1, 2, 3
FORMATS: Mapping[int, str] = {UNSIGNED: "unsigned", SIGNED: "signed", FLOAT: "floating point", 5: "complex"}
_UNSPECIFIED, _PREMULTIPLIED, _OPACITY = 0, 1, 2
# What libtiff undoes, as Pillow brings it.
_OF_LIBTIFF = (1, 2, 3, 4, 5, 6, 7, 8, 32773, 32946, 34925, 50000)
# Larger pictures of so many channels are measurements.
_MOST_EXTRA = 4


@dataclass(frozen=True)
class Kind:
    """What the numbers in a TIFF are.

    Attributes:
        size: width and height as they are stored.
        photometric: what they mean, as the tag numbers it.
        bits: of each.
        format: 1, 2 or 3: unsigned, signed or floating point.
        opacity: which channel is the opacity, if one is.
        premultiplied: whether colors are less by as much as they are clear.
        left_out: how many channels have no known meaning.
        orientation: how the picture is stored.
        palette: red, green and blue of each index, 16 bits each, or None.
        white: of L*a*b*, by x and y.
    """

    size: tuple[int, int]
    photometric: int
    bits: int
    format: int
    opacity: int | None
    premultiplied: bool
    left_out: int
    orientation: int
    palette: NDArray[np.uint16] | None
    white: tuple[float, float] = lab.D50

    @classmethod
    def of(cls, tags: Any) -> "Kind":
        """Take it from the tags of a page.

        Raises:
            ValueError: if no picture can be made of such numbers; the message says which they are.
        """
        samples = int(tags.get(_SAMPLES, 1))
        photometric = int(tags.get(_PHOTOMETRIC, _RGB if samples > 2 else WHITE_IS_ZERO))
        colors = COLORS.get(photometric)
        if colors is None:
            raise ValueError(f"TIFF of {_MEANINGS.get(photometric, f'the unknown photometric {photometric}')}")
        if photometric == CMYK and tags.get(_INK_SET, 1) != 1:
            raise ValueError("TIFF of inks other than CMYK")
        bits, formats = (set(np.atleast_1d(tags.get(tag, 1)).tolist()) for tag in (_BITS, _FORMAT))
        # What is undefined is mostly unsigned.
        formats = {UNSIGNED if each == 4 else each for each in formats}
        if len(bits) > 1 or len(formats) > 1 or not formats <= {UNSIGNED, SIGNED, FLOAT}:
            named = " and ".join(FORMATS.get(each, f"unknown {each}") for each in sorted(formats))
            depths = ", ".join(map(str, np.atleast_1d(tags.get(_BITS, 1)).tolist()))
            raise ValueError(f"TIFF of {named} numbers of {depths} bits")
        if samples < colors and not (photometric in (YCBCR, CIELAB) and samples == 1):
            raise ValueError(f"TIFF of {samples} channels where there must be {colors}")
        colors = min(colors, samples)
        given = tuple(np.atleast_1d(tags.get(_EXTRA, ())).tolist())
        # With one channel more and not a word on it, that is how old programs write the opacity.
        extra = given or ((_OPACITY,) if samples == colors + 1 and photometric in (_BLACK_IS_ZERO, _RGB) else ())
        extra = (extra + (_UNSPECIFIED,) * (samples - colors))[: samples - colors]
        if len(extra) > _MOST_EXTRA or (colors == 1 and extra.count(_UNSPECIFIED) > 1):
            raise ValueError(f"TIFF of {samples} channels, of which {len(extra)} have no known meaning")
        # 999 is how Corel Draw 10 says it.
        clear = [index for index, kind in enumerate(extra) if kind in (_PREMULTIPLIED, _OPACITY, 999)]
        palette = None
        if photometric == _PALETTE:
            found = np.array(tags[_COLOR_MAP], np.uint16).reshape(3, -1).T
            # As old programs write it, which counted colors from 0 to 255.
            palette = np.ascontiguousarray(found if found.max(initial=0) > 255 else found * np.uint16(257))
        size = int(tags[TiffImagePlugin.IMAGEWIDTH]), int(tags[TiffImagePlugin.IMAGELENGTH])
        return cls(
            size,
            photometric,
            bits.pop(),
            formats.pop(),
            colors + clear[0] if clear else None,
            bool(clear) and extra[clear[0]] == _PREMULTIPLIED,
            len(extra) - bool(clear),
            int(tags.get(_ORIENTATION, 1)),
            palette,
            _white(tags.get(_WHITE)),
        )

    @property
    def is_deep(self) -> bool:
        """Whether there are more than 8 bits of each color, and they are read with 16."""
        return self.bits > 8 and self.photometric in (0, 1, 2, 8, 9)

    @property
    def mode(self) -> str:
        """What Pillow is to call the picture."""
        mode = {CMYK: "CMYK", WHITE_IS_ZERO: "L", _BLACK_IS_ZERO: "L"}.get(self.photometric, "RGB")
        return mode if self.opacity is None or mode == "CMYK" else {"L": "LA", "RGB": "RGBA"}[mode]

    def __str__(self) -> str:
        return f"{FORMATS[self.format]} numbers of {self.bits} bits"

    def ends(self, lowest: float, highest: float, notes: list[str]) -> tuple[float, float]:
        """Return which numbers are black and white, where the type does not say it.

        Args:
            lowest: of those that there are.
            highest: likewise; below `lowest`: there are none.
            notes: where to say what is taken.

        Raises:
            ValueError: if they are none of a picture.
        """
        if lowest > highest:
            return 0.0, 1.0
        if self.format == FLOAT:
            # The filters that pictures are resized with overshoot.
            most = next((most for most in (1, 255, 65535) if highest <= 2 * most), None)
            # Filters that sharpen leave some below black; measurements have as many.
            if most is None or lowest < (-2 if most == 1 else -highest / 4):
                raise ValueError(
                    f"TIFF of floating point numbers from {lowest:.6g} to {highest:.6g}; 0 to 1 are expected"
                )
            if lowest < 0:
                notes.append("floating point levels below 0 taken as black")
            if highest > 1:
                notes.append(f"floating point levels above 1: taken as 0 to {most}")
            return 0.0, float(most)
        full = 2.0 ** (self.bits - (self.format == SIGNED)) - 1
        if lowest < -full / 64:
            # All of them, as ImageMagick has it, too.
            notes.append(f"signed levels of {self.bits} bits: {-full - 1:.0f} taken as black and {full:.0f} as white")
            return -full - 1, full
        white = next((white for white in (255, 65535) if highest <= white < full), full)
        if white != full or self.format == SIGNED:
            notes.append(f"{FORMATS[self.format]} levels of {self.bits} bits: 0 to {white:.0f} taken as black to white")
        return 0.0, float(white)

    def pillow_is_right(self, tags: Any) -> bool:
        """Return whether Pillow reads it as it is, though perhaps with 8 bits of 16."""
        if tags.get(COMPRESSION, 1) not in _OF_LIBTIFF:
            return False
        if (
            self.format != UNSIGNED
            or (self.premultiplied and self.bits != 8)
            or self.photometric in (CIELAB, ICCLAB, ITULAB)
        ):
            return False
        if tags.get(PLANES, 1) == 2 and (self.bits == 16 or self.left_out or self.premultiplied):
            return False
        if tags.get(_FILL_ORDER, 1) == 2 and self.bits == 8 and self.photometric == WHITE_IS_ZERO:
            return False
        if self.palette is not None:
            return self.bits <= 8 and max(tags[_COLOR_MAP]) > 255
        if self.bits == 16:
            # Gray with opacity it refuses.
            return self.photometric in (_RGB, CMYK) or (self.photometric == _BLACK_IS_ZERO and self.opacity is None)
        return self.bits <= 8


def _white(found: Any) -> tuple[float, float]:
    x, y = (float(each) for each in found) if found and len(found) == 2 else lab.D50
    return (x, y) if 0 < x < 1 and 0 < y < 1 else lab.D50
