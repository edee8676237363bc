"""The size at which a network keeps up with a camera."""

from collections import deque
from statistics import median

#: How many frames are timed, at least. One or two of them may have to wait for a network to be made ready.
_ENOUGH = 5
#: Of the time there is for a frame: the rest is for the camera and the window.
_SHARE = 0.9
#: In pixels: sizes go by so much, and no lower than the least.
_STEP, LEAST = 32, 192


class Pace:
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
            self.long_side = max(LEAST, int(fitting) // _STEP * _STEP)
            self._seconds.clear()

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Return the width and height at which to paint a picture that has these."""
        scale = min(1.0, self.long_side / max(width, height))
        return max(1, round(width * scale)), max(1, round(height * scale))
