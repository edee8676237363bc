"""From a video's frames to upright pictures in RGB, and back: colors, size and direction."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc, Interpolation, VideoReformatter

from fast_style.video.frames import Bytes, Colors

# Careful: a flat color stays what it is to within two levels, at some milliseconds a frame.
_SCALING = (
    Interpolation.BICUBIC | Interpolation.FULL_CHR_H_INT | Interpolation.FULL_CHR_H_INP | Interpolation.ACCURATE_RND
)
#: libswscale's name for each matrix of H.273 that it knows.
_MATRICES = {1: Colorspace.ITU709, 4: Colorspace.FCC, 5: Colorspace.ITU601, 6: Colorspace.ITU601}
_MATRICES |= {7: Colorspace.SMPTE240M, 9: Colorspace.BT2020, 10: Colorspace.BT2020}
# Of high dynamic range, in which a level of 8 bits would be a visible step: written in the usual range.
_HDR = (ColorTrc.SMPTE2084, ColorTrc.ARIB_STD_B67)


@dataclass(frozen=True)
class _Turn:
    """What makes a frame upright: first rows become columns, then it is mirrored."""

    swap: bool = False
    left_right: bool = False
    up_down: bool = False

    @classmethod
    def of(cls, frame: VideoFrame) -> "_Turn":
        data: Any = frame.side_data.get("DISPLAYMATRIX")
        if data is None:
            return cls()
        # A point (x, y) goes to (a x + c y, b x + d y).
        a, b, _, c, d = np.frombuffer(data, np.int32)[:5].tolist()
        swap = abs(b) + abs(c) > abs(a) + abs(d)
        return cls(swap, (c if swap else a) < 0, (b if swap else d) < 0)

    def __call__(self, pixels: Bytes) -> Bytes:
        if self.swap:
            pixels = pixels.transpose(1, 0, 2)
        return np.ascontiguousarray(pixels[:: -1 if self.up_down else 1, :: -1 if self.left_right else 1])


class Picturer:
    """Turns the frames of a video into pictures, all in the way that suits the first.

    Args:
        frame: the first frame.
        long_side: of the pictures, in pixels; None: that of the frame.
        opacity: whether pictures of frames that have an opacity are to have it, too.

    Attributes:
        colors: how to tag a video that is made of the pictures, so that it looks like this one.
        swapped: whether its width was the frames' height.
        note: what a picture cannot show of the frame, in a few words; empty: nothing.
        alpha: whether pictures have an opacity.
    """

    def __init__(self, frame: VideoFrame, long_side: int | None = None, opacity: bool = False) -> None:
        self.alpha = opacity and any(component.is_alpha for component in frame.format.components)
        scale = 1.0 if long_side is None else long_side / max(frame.width, frame.height)
        self._size = max(1, round(frame.width * scale)), max(1, round(frame.height * scale))
        self._frame_size = frame.width, frame.height
        self._turn = _Turn.of(frame)
        self.swapped = self._turn.swap
        rgb = frame.format.is_rgb or frame.format.name == "pal8"
        # What is not said, players guess from the size.
        guess = 1 if rgb or frame.width >= 1280 or frame.height > 576 else 6
        matrix = frame.colorspace if frame.colorspace in _MATRICES else guess
        self._matrix = _MATRICES[matrix]
        full = rgb or frame.color_range == ColorRange.JPEG or frame.format.name.startswith("yuvj")
        self._range = ColorRange.JPEG if full else ColorRange.MPEG
        self._mapped = frame.color_trc in _HDR or frame.color_primaries == ColorPrimaries.BT2020
        deep = max((component.bits for component in frame.format.components), default=8) > 8
        wide = "a high dynamic range or wide colors: brought to the usual ones"
        self.note = wide if self._mapped else "more than 8 bits of each color: 8 are kept" if deep else ""
        # One for all: it takes seconds to prepare the mapping of a high dynamic range.
        self._reformatter = VideoReformatter()
        plain = rgb or self._mapped or matrix in (9, 10)
        self.colors = Colors() if plain else Colors(matrix, frame.color_primaries, frame.color_trc)

    def fits(self, frame: VideoFrame) -> bool:
        """Return whether a frame is of the first one's size: otherwise it is brought to that."""
        return (frame.width, frame.height) == self._frame_size

    def __call__(self, frame: VideoFrame) -> Bytes:
        """Return the picture, of shape (height, width, 3), or 4 with an opacity."""
        rgb = self._reformatter.reformat(
            frame,
            *self._size,
            "rgba" if self.alpha else "rgb24",
            src_colorspace=self._matrix,
            dst_colorspace=Colorspace.ITU709,
            src_color_range=self._range,
            dst_color_range=ColorRange.JPEG,
            dst_color_trc=ColorTrc.BT709 if self._mapped else None,
            dst_color_primaries=ColorPrimaries.BT709 if self._mapped else None,
            interpolation=_SCALING,
        )
        return self._turn(np.asarray(rgb.to_ndarray(), np.uint8))


def to_video(pixels: Bytes, pixel_format: str, colors: Colors, even: bool, alpha: Bytes | None = None) -> VideoFrame:
    """Return a picture as a frame for an encoder, YUV in the limited range.

    Args:
        pixels: RGB of shape (height, width, 3).
        pixel_format: as FFmpeg calls it, such as yuv420p.
        colors: which YUV.
        even: whether to repeat the last row or column where their number is odd.
        alpha: the opacity, of shape (height, width), for a format that has it; None: all is opaque.
    """
    if alpha is not None:
        pixels = np.dstack([pixels, alpha])
    height, width = pixels.shape[:2]
    if even and (height % 2 or width % 2):
        pixels = np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    rgb = VideoFrame.from_ndarray(np.ascontiguousarray(pixels), "rgb24" if alpha is None else "rgba")
    if pixel_format.startswith(("rgb", "bgr", "gbr")):
        return rgb.reformat(format=pixel_format)
    return rgb.reformat(
        format=pixel_format,
        src_colorspace=Colorspace.ITU709,
        dst_colorspace=_MATRICES[colors.matrix],
        src_color_range=ColorRange.JPEG,
        dst_color_range=ColorRange.MPEG,
        interpolation=_SCALING,
    )
