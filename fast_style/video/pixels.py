"""Converts a video's frames to upright RGB pictures and back: colors, size and rotation."""

from typing import Any

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc, Interpolation, VideoReformatter

from fast_style.video.frames import Bytes, Colors

# Accurate scaling: a flat color is kept to within two levels, at the cost of some milliseconds per frame.
_SCALING = (
    Interpolation.BICUBIC | Interpolation.FULL_CHR_H_INT | Interpolation.FULL_CHR_H_INP | Interpolation.ACCURATE_RND
)
#: libswscale's names for the matrices of ITU-T H.273.
_MATRICES = {1: Colorspace.ITU709, 4: Colorspace.FCC, 5: Colorspace.ITU601, 6: Colorspace.ITU601}
_MATRICES |= {7: Colorspace.SMPTE240M, 9: Colorspace.BT2020, 10: Colorspace.BT2020}
# Transfer functions of HDR. At 8 bits, HDR shows banding, so it is mapped to the standard range.
_HDR = (ColorTrc.SMPTE2084, ColorTrc.ARIB_STD_B67)


def _turn_of(frame: VideoFrame) -> tuple[bool, bool, bool]:
    """Whether turning upright swaps rows and columns, then mirrors, then turns upside down."""
    data: Any = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return False, False, False
    # The matrix maps a point (x, y) to (a x + c y, b x + d y).
    a, b, _, c, d = np.frombuffer(data, np.int32)[:5].tolist()
    swapped = abs(b) + abs(c) > abs(a) + abs(d)
    return swapped, (c if swapped else a) < 0, (b if swapped else d) < 0


class Picturer:
    """Converts the frames of a video to pictures, all with the settings of the first frame.

    Args:
        frame: the first frame.
        long_side: of the pictures, in pixels; None: that of the frame.
        opacity: whether to keep the frames' opacity.

    Attributes:
        colors: color tags with which a video of the pictures looks like this one.
        swapped: whether width and height are swapped.
        note: what the conversion loses, in a few words; empty: nothing.
        alpha: whether pictures have an opacity.
    """

    def __init__(self, frame: VideoFrame, long_side: int | None = None, opacity: bool = False) -> None:
        self.alpha = opacity and any(component.is_alpha for component in frame.format.components)
        scale = 1.0 if long_side is None else long_side / max(frame.width, frame.height)
        self._size = max(1, round(frame.width * scale)), max(1, round(frame.height * scale))
        self._frame_size = frame.width, frame.height
        self.swapped, self._mirrored, self._upside_down = _turn_of(frame)
        rgb = frame.format.is_rgb or frame.format.name == "pal8"
        # Players guess a missing matrix from the size.
        guess = 1 if rgb or frame.width >= 1280 or frame.height > 576 else 6
        matrix = frame.colorspace if frame.colorspace in _MATRICES else guess
        self._matrix = _MATRICES[matrix]
        full = rgb or frame.color_range == ColorRange.JPEG or frame.format.name.startswith("yuvj")
        self._range = ColorRange.JPEG if full else ColorRange.MPEG
        self._mapped = frame.color_trc in _HDR or frame.color_primaries == ColorPrimaries.BT2020
        deep = max((component.bits for component in frame.format.components), default=8) > 8
        wide = "a high dynamic range or wide colors: brought to the usual ones"
        self.note = wide if self._mapped else "more than 8 bits of each color: 8 are kept" if deep else ""
        # Shared by all frames: preparing the HDR mapping takes seconds.
        self._reformatter = VideoReformatter()
        plain = rgb or self._mapped or matrix in (9, 10)
        self.colors = Colors() if plain else Colors(matrix, frame.color_primaries, frame.color_trc)

    def fits(self, frame: VideoFrame) -> bool:
        """Return whether a frame has the size of the first; others are resized to it."""
        return (frame.width, frame.height) == self._frame_size

    def __call__(self, frame: VideoFrame) -> Bytes:
        """Return the picture, of shape (height, width, 3), or (height, width, 4) with an opacity."""
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
        pixels = np.asarray(rgb.to_ndarray(), np.uint8)
        pixels = pixels.swapaxes(0, 1) if self.swapped else pixels
        return np.ascontiguousarray(pixels[:: -1 if self._upside_down else 1, :: -1 if self._mirrored else 1])


def to_video(pixels: Bytes, pixel_format: str, colors: Colors, even: bool, alpha: Bytes | None = None) -> VideoFrame:
    """Convert a picture to a frame for an encoder, with YUV in the limited range.

    Args:
        pixels: RGB of shape (height, width, 3).
        pixel_format: FFmpeg's name, such as yuv420p.
        colors: color space of the YUV.
        even: whether to repeat the last row or column where their number is odd.
        alpha: opacity of shape (height, width), for a pixel format that has it; None: opaque.

    Returns:
        The frame in `pixel_format`.
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
