"""Temporal smoothing: stylized frame by frame, strokes flicker even where the video stands still."""

import functools
import importlib
import importlib.util
import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fast_style.errors import ConfigError
from fast_style.system.optional_packages import how_to_install
from fast_style.video.frames import Bytes

_log = logging.getLogger(__name__)
_Floats = NDArray[np.float32]

#: Weight of the previous result at `amount=1`; a weight of 1 would freeze the video.
_MAX_WEIGHT = 0.9
#: Long side of the images for motion and change, in pixels: precise enough for strokes.
_SIDE = 640
#: Minimum side for optical flow, in pixels: OpenCV crashes on images less than 32 high.
_MIN_SIDE = 64
#: Range of a video's noise, in 8-bit levels, after a Gaussian blur of `_BLUR` pixels.
_NOISE = (1.5, 4.0)
_BLUR = 1.5
#: A difference of this many times the noise counts as change, with weight exp(-1).
_TOLERANCE = 5.0
#: Flow that does not lead back to within this share of its length, and this many pixels, is an occlusion or wrong.
_ASTRAY = (0.2, 1.5)
#: Transition between regions, in pixels of the small images: wider than a stroke, or strokes would be cut.
_SEAM = 4.0
#: A mean sameness up to this is a scene cut: the matches are by chance.
_CUT = 0.15
#: Scale of the detail that a blend loses, and of the regions in which it is restored, in pixels.
_DETAIL, _REGION = 1.0, 8
#: Restored detail as a share of the frame's own: above 1, since coarser detail is lost as well.
_RESTORED = 1.12
_MAX_GAIN = 2.0


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


@dataclass
class _Before:
    """What is carried from frame to frame.

    Attributes:
        gray: the previous frame, small, for optical flow.
        seen: the mixture of small frames from which `result` was painted.
        result: the previous result.
    """

    gray: Bytes
    seen: _Floats
    result: Bytes


class Smoother:
    """Blends each stylized frame with the previous result, warped by the motion of the video.

    The motion is the optical flow of the unstylized frames (DIS: Kroeger et al. 2016,
    https://arxiv.org/abs/1603.03590). The weight of the previous result falls to 0 where the flow does not lead back
    (occlusion), and where the frame differs from those that the result was painted from (a cut, a dissolve, a fade,
    wrong flow): no ghosts remain. A blend of two strokes is softer than both: its detail is amplified, region by
    region, to that of the stylized frame.

    Args:
        amount: from 0 (no smoothing) to 1 (the previous result weighs 0.9; at 0.5, 0.79).

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
        self._weight = _MAX_WEIGHT * (1 - (1 - amount) ** 3)
        self._before: _Before | None = None

    def __call__(self, frame: Bytes, stylized: Bytes) -> Bytes:
        """Return the smoothed frame, of shape (height, width, 3).

        Args:
            frame: the unstylized frame, of shape (height, width, 3).
            stylized: the stylized frame, of the same shape.
        """
        cv = self._cv
        height, width = frame.shape[:2]
        scale = min(1.0, _SIDE / max(width, height))
        small = max(_MIN_SIDE, round(width * scale)), max(_MIN_SIDE, round(height * scale))
        picture = cv.resize(frame, small, interpolation=cv.INTER_AREA)
        gray, seen = cv.cvtColor(picture, cv.COLOR_RGB2GRAY), cv.GaussianBlur(picture, (0, 0), _BLUR).astype(np.float32)
        result = stylized
        if self._before is not None:
            flow = self._search.calc(gray, self._before.gray, None)
            origins = self._origins(flow, flow)
            seen_before = cv.remap(self._before.seen, origins, None, cv.INTER_LINEAR, borderMode=cv.BORDER_REPLICATE)
            same = self._sameness(seen, seen_before) * self._certainty(flow, origins, gray, self._before.gray)
            # Wide transitions, but none into what has changed: it would leave a trail.
            keep = self._weight * np.minimum(same, cv.GaussianBlur(same, (0, 0), _SEAM))
            if keep.mean() > _CUT * self._weight:
                # Linear: repeated cubic warping makes wrinkles, and lost detail is restored below.
                large = self._origins(flow, stylized)
                before = cv.remap(self._before.result, large, None, cv.INTER_LINEAR, borderMode=cv.BORDER_REPLICATE)
                result = self._blended(stylized, before, keep)
                seen += keep[:, :, None] * (seen_before - seen)
        self._before = _Before(gray, seen, result)
        return result

    def _origins(self, flow: _Floats, image: NDArray[Any]) -> _Floats:
        """Return the source (x, y) of each pixel of an image of any size, given the flow of the small images."""
        height, width = image.shape[:2]
        scale = np.array([width / flow.shape[1], height / flow.shape[0]], np.float32)
        origins: _Floats = self._cv.resize(flow * scale, (width, height), interpolation=self._cv.INTER_LINEAR)
        origins += _grid(height, width)
        return origins

    def _certainty(self, flow: _Floats, origins: _Floats, gray: Bytes, before: Bytes) -> _Floats:
        """Return 1 where the flow stays within the image and the opposite flow leads back, otherwise 0."""
        cv = self._cv
        # From outside the image, nothing leads back.
        outside: dict[str, Any] = {"borderMode": cv.BORDER_CONSTANT, "borderValue": (1e6, 1e6)}
        back = cv.remap(self._search.calc(before, gray, None), origins, None, cv.INTER_LINEAR, **outside)
        share, pixels = _ASTRAY
        near = cv.magnitude(*cv.split(flow + back)) <= share * cv.magnitude(*cv.split(flow)) + pixels
        certain: _Floats = near.astype(np.float32)
        return certain

    def _sameness(self, seen: _Floats, before: _Floats) -> _Floats:
        """Return how similar two blurred images are at each pixel, from 0 to 1."""
        cv = self._cv
        red, green, blue = cv.split(cv.absdiff(seen, before))
        largest = cv.max(cv.max(red, green), blue)
        # Most of an image matches the next, so the median difference is noise, or flicker of exposure.
        noise = np.clip(np.median(largest[::4, ::4]), *_NOISE)
        same = np.exp(-((largest / np.float32(_TOLERANCE * noise)) ** 2))
        # Neighbors of a changed pixel count as changed.
        eroded: _Floats = cv.erode(same, np.ones((3, 3), np.uint8))
        return eroded

    def _blended(self, stylized: Bytes, before: Bytes, keep: _Floats) -> Bytes:
        """Return a blend with the sharpness of `stylized`; `keep` is the weight of `before`, small."""
        cv = self._cv
        size = stylized.shape[1::-1]
        weight, rest = (cv.resize(share, size, interpolation=cv.INTER_LINEAR) for share in (keep, 1 - keep))
        blend = cv.blendLinear(before, stylized, weight, rest)
        # One level closer: rounded, a blend would stop some levels short, and black would stay gray.
        blend = cv.max(cv.min(stylized, cv.add(blend, (1, 1, 1, 0))), cv.subtract(blend, (1, 1, 1, 0)))
        lost = self._detail(stylized) / self._detail(blend)
        gain = np.where(lost > 1, (lost * _RESTORED).clip(1, _MAX_GAIN), 1).astype(np.float32)
        gain, rest = (cv.resize(share, size, interpolation=cv.INTER_LINEAR) for share in (gain, 1 - gain))
        sharp: Bytes = cv.blendLinear(blend, cv.GaussianBlur(blend, (0, 0), _DETAIL), gain, rest)
        return sharp

    def _detail(self, image: Bytes) -> _Floats:
        """Return the mean difference between an image and its blurred version, one value a region."""
        cv = self._cv
        gray = cv.cvtColor(image, cv.COLOR_RGB2GRAY)
        difference = cv.absdiff(gray, cv.GaussianBlur(gray, (0, 0), _DETAIL)).astype(np.float32)
        regions = -(-image.shape[1] // _REGION), -(-image.shape[0] // _REGION)
        detail = cv.resize(difference, regions, interpolation=cv.INTER_AREA)
        # Half a level, to divide by: less than that is invisible.
        smooth: _Floats = cv.GaussianBlur(detail, (0, 0), 1.0) + 0.5
        return smooth


@functools.lru_cache(maxsize=2)
def _grid(height: int, width: int) -> _Floats:
    return np.dstack(np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)))
