"""Temporal smoothing: stylized frame by frame, strokes flicker even where the video stands still."""

import importlib
import importlib.util
import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fast_style.errors import ConfigError
from fast_style.system.optional_packages import how_to_install
from fast_style.video.frames import Bytes

_log = logging.getLogger(__name__)
_Floats = NDArray[np.float32]

#: Weight of the previous frame at `amount=1`; a weight of 1 would freeze the video.
_MAX_WEIGHT = 0.9
#: Long side of the images for optical flow, in pixels: precise enough for strokes.
_FLOW_SIDE = 640
#: Minimum side for optical flow, in pixels: OpenCV crashes on images less than 32 high.
_MIN_FLOW_SIDE = 64
#: Range of a video's noise, in 8-bit levels, after a Gaussian blur of `_BLUR` pixels.
_NOISE = (1.5, 4.0)
_BLUR = 1.5
#: A difference of this many times the noise counts as change, with weight exp(-1).
_TOLERANCE = 3.0
#: A mean sameness up to this is a scene cut: the matches are by chance.
_CUT = 0.15


def make_smoother(amount: float | None) -> "Smoother | None":
    """Return a smoother, or None for no smoothing.

    Args:
        amount: from 0 to 1; None: 0.5 where OpenCV is installed, otherwise 0 with a log line.
    """
    if amount is None and importlib.util.find_spec("cv2") is None:
        _log.warning("flicker is not smoothed, which needs OpenCV: %s", how_to_install("video"))
        return None
    amount = 0.5 if amount is None else amount
    return Smoother(amount) if amount else None


class Smoother:
    """Blends each stylized frame with the previous result, warped by the motion of the video.

    The motion is the optical flow of the unstylized frames (DIS: Kroeger et al. 2016,
    https://arxiv.org/abs/1603.03590). Where the warped previous frame differs from this one (occlusion, a change of
    light, a cut, wrong flow) its weight falls to 0, so that no ghosts remain.

    Args:
        amount: from 0 (no smoothing) to 1 (the previous result weighs 0.9).

    Raises:
        ConfigError: if the amount is out of range, or opencv-python-headless is not installed.
    """

    def __init__(self, amount: float) -> None:
        if not isinstance(amount, int | float) or not 0 <= amount <= 1:
            raise ConfigError(f"temporal must be from 0 to 1, not {amount!r}")
        if importlib.util.find_spec("cv2") is None:
            raise ConfigError(
                f"temporal needs opencv-python-headless: {how_to_install('video')}; or temporal=0 for none"
            )
        # Imported by name: type annotations differ between versions.
        self._cv: Any = importlib.import_module("cv2")
        self._search = self._cv.DISOpticalFlow_create(self._cv.DISOPTICAL_FLOW_PRESET_FAST)
        self._weight = amount * _MAX_WEIGHT
        self._before: tuple[Bytes, Bytes, _Floats] | None = None

    def __call__(self, frame: Bytes, stylized: Bytes) -> Bytes:
        """Return the smoothed frame, of shape (height, width, 3).

        Args:
            frame: the unstylized frame, of shape (height, width, 3).
            stylized: the stylized frame, of the same shape.
        """
        cv = self._cv
        blurred, gray = cv.GaussianBlur(frame, (0, 0), _BLUR), cv.cvtColor(frame, cv.COLOR_RGB2GRAY)
        result = stylized.astype(np.float32)
        if self._before is not None:
            blurred_before, gray_before, before = self._before
            origins, inside = self._origins(gray, gray_before)
            moved = cv.remap(blurred_before, origins, None, cv.INTER_LINEAR, borderMode=cv.BORDER_REPLICATE)
            same = self._sameness(blurred, moved) * inside
            keep = self._weight * same if same.mean() > _CUT else np.zeros_like(same)
            # Cubic: repeated linear warping would blur.
            warped = cv.remap(before, origins, None, cv.INTER_CUBIC, borderMode=cv.BORDER_REPLICATE)
            result += keep[:, :, None] * (warped - result)
        self._before = blurred, gray, result
        smooth: Bytes = np.rint(result).clip(0, 255).astype(np.uint8)
        return smooth

    def _origins(self, gray: Bytes, before: Bytes) -> tuple[_Floats, NDArray[np.bool_]]:
        """Return the source (x, y) of each pixel in the previous frame, and whether it lies inside the image."""
        cv = self._cv
        height, width = gray.shape
        scale = min(1.0, _FLOW_SIDE / max(width, height))
        small = max(_MIN_FLOW_SIDE, round(width * scale)), max(_MIN_FLOW_SIDE, round(height * scale))
        now, then = (cv.resize(picture, small, interpolation=cv.INTER_AREA) for picture in (gray, before))
        flow = self._search.calc(now, then, None) * np.array([width / small[0], height / small[1]], np.float32)
        origins: _Floats = cv.resize(flow, (width, height), interpolation=cv.INTER_LINEAR)
        origins[:, :, 0] += np.arange(width, dtype=np.float32)
        origins[:, :, 1] += np.arange(height, dtype=np.float32)[:, None]
        x, y = origins[:, :, 0], origins[:, :, 1]
        return origins, (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)

    def _sameness(self, now: Bytes, before: Bytes) -> _Floats:
        """Return how similar two blurred images are at each pixel, from 0 to 1."""
        difference = self._cv.absdiff(now, before).max(axis=2)
        # Most of an image matches the next, so the median difference is noise.
        noise = np.clip(np.median(difference), *_NOISE)
        certainty = np.exp(-((np.arange(256) / (_TOLERANCE * noise)) ** 2)).astype(np.float32)
        # Neighbors of a changed pixel count as changed.
        same = self._cv.erode(certainty[difference], np.ones((3, 3), np.uint8))
        smooth: _Floats = self._cv.GaussianBlur(same, (0, 0), 1.0)
        return smooth
