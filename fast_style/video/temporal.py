"""Steady videos: a network draws every frame anew, and its strokes flicker where the video itself stands still."""

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

#: The share of the frame before that `amount=1` keeps: all of it would be a still.
_MOST = 0.9
#: In pixels: motion is searched in pictures of this long side, which is precise enough to carry strokes along.
_FLOW_SIDE = 640
#: In pixels: OpenCV's search ends the program on strips that are less than 32 high.
_SEARCHABLE = 64
#: In levels, of pictures blurred by `_BLUR` pixels: no video has less noise, and none has more.
_NOISE = (1.5, 4.0)
_BLUR = 1.5
#: Differences of so many times the noise are change: little is kept of what was there.
_TOLERANCE = 3.0
#: Where no more of a frame is found in the one before, a new scene begins; what seems the same is so by chance.
_CUT = 0.15


def make_smoother(amount: float | None) -> "Smoother | None":
    """Return a smoother; None as the amount: of 0.5 where OpenCV is installed, otherwise none, which is logged."""
    if amount is None and importlib.util.find_spec("cv2") is None:
        _log.warning("flicker is not smoothed, which needs OpenCV: %s", how_to_install("video"))
        return None
    amount = 0.5 if amount is None else amount
    return Smoother(amount) if amount else None


class Smoother:
    """Blends into each stylized frame the one before it, moved along with the video; not where the video has changed.

    The motion is that of the unstylized frames (DIS optical flow: Kroeger et al. 2016,
    https://arxiv.org/abs/1603.03590). Where the frame before, moved, does not look like this one, something came into
    view, the light changed, the scene was cut or the motion was not found: there nothing of it is kept, so that nothing
    remains of what has gone.

    Args:
        amount: from 0, nothing is kept, to 1, nine tenths are.

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
        # By name: what annotations there are differ from version to version.
        self._cv: Any = importlib.import_module("cv2")
        self._search = self._cv.DISOpticalFlow_create(self._cv.DISOPTICAL_FLOW_PRESET_FAST)
        self._share = amount * _MOST
        self._before: tuple[Bytes, Bytes, _Floats] | None = None

    def __call__(self, frame: Bytes, stylized: Bytes) -> Bytes:
        """Return a frame without flicker.

        Args:
            frame: as it was filmed, of shape (height, width, 3).
            stylized: what the network made of it, of the same shape.
        """
        cv = self._cv
        blurred, gray = cv.GaussianBlur(frame, (0, 0), _BLUR), cv.cvtColor(frame, cv.COLOR_RGB2GRAY)
        result = stylized.astype(np.float32)
        if self._before is not None:
            blurred_before, gray_before, before = self._before
            origins, inside = self._origins(gray, gray_before)
            moved = cv.remap(blurred_before, origins, None, cv.INTER_LINEAR, borderMode=cv.BORDER_REPLICATE)
            same = self._sameness(blurred, moved) * inside
            keep = self._share * same if same.mean() > _CUT else np.zeros_like(same)
            # Cubic: a picture that is moved on frame by frame would otherwise blur.
            carried = cv.remap(before, origins, None, cv.INTER_CUBIC, borderMode=cv.BORDER_REPLICATE)
            result += keep[:, :, None] * (carried - result)
        self._before = blurred, gray, result
        smooth: Bytes = np.rint(result).clip(0, 255).astype(np.uint8)
        return smooth

    def _origins(self, gray: Bytes, before: Bytes) -> tuple[_Floats, NDArray[np.bool_]]:
        """Return where (x, y) in the frame before each pixel comes from, and whether that lies in the picture."""
        cv = self._cv
        height, width = gray.shape
        scale = min(1.0, _FLOW_SIDE / max(width, height))
        small = max(_SEARCHABLE, round(width * scale)), max(_SEARCHABLE, round(height * scale))
        now, then = (cv.resize(picture, small, interpolation=cv.INTER_AREA) for picture in (gray, before))
        flow = self._search.calc(now, then, None) * np.array([width / small[0], height / small[1]], np.float32)
        origins: _Floats = cv.resize(flow, (width, height), interpolation=cv.INTER_LINEAR)
        origins[:, :, 0] += np.arange(width, dtype=np.float32)
        origins[:, :, 1] += np.arange(height, dtype=np.float32)[:, None]
        x, y = origins[:, :, 0], origins[:, :, 1]
        return origins, (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)

    def _sameness(self, now: Bytes, before: Bytes) -> _Floats:
        """Return for each pixel how surely two blurred pictures show the same, from 0 to 1."""
        difference = self._cv.absdiff(now, before).max(axis=2)
        # Most of a picture is found again in the next: what it differs by there is noise.
        noise = np.clip(np.median(difference), *_NOISE)
        certainty = np.exp(-((np.arange(256) / (_TOLERANCE * noise)) ** 2)).astype(np.float32)
        # What is next to a change belongs to it.
        same = self._cv.erode(certainty[difference], np.ones((3, 3), np.uint8))
        smooth: _Floats = self._cv.GaussianBlur(same, (0, 0), 1.0)
        return smooth
