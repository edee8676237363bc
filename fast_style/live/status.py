"""Frame rates and delay of a live session, and the text that shows them over the image."""

import threading
from collections import Counter, deque
from dataclasses import dataclass
from statistics import median

#: The time over which figures are averaged, in seconds.
_WINDOW = 1.0
_COLORS = {"none": "", "luminance": "colors kept by luminance", "histogram": "colors kept by histogram"}


@dataclass(frozen=True)
class Figures:
    """What a meter has measured over the last second.

    Attributes:
        camera: frames that came from the camera.
        network: frames that the network made.
        seconds: what the network took for a frame, the median; None: it has made none.
        delay: seconds from the camera's frame to the stylized one on the screen, the median; None: none was shown.
        dropped: frames that arrived while the network was busy and were replaced by newer ones, since the start.
    """

    camera: int
    network: int
    seconds: float | None
    delay: float | None
    dropped: int


class Meter:
    """Counts and times frames. Thread-safe; all times are passed in, in seconds."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._captured, self._painted, self._delays = _Recent(), _Recent(), _Recent()
        self._dropped = self._shown = 0
        #: Since the start, in milliseconds, counted: an hour takes no more memory than a minute.
        self._all_delays: Counter[int] = Counter()

    def captured(self, now: float) -> None:
        """Count a frame of the camera."""
        with self._lock:
            self._captured.add(now, 0.0)

    def painted(self, now: float, seconds: float, dropped: int) -> None:
        """Count a frame of the network, its seconds, and how many of the camera's were dropped before it."""
        with self._lock:
            self._painted.add(now, seconds)
            self._dropped += dropped

    def shown(self, now: float, taken: float | None) -> None:
        """Count a frame that is shown now, and when the camera took it; None: the picture is frozen."""
        with self._lock:
            self._shown += 1
            if taken is not None:
                self._delays.add(now, now - taken)
                self._all_delays[round(1000 * (now - taken))] += 1

    def figures(self, now: float) -> Figures:
        """Return the figures of the last second."""
        with self._lock:
            return Figures(
                len(self._captured.since(now - _WINDOW)),
                len(self._painted.since(now - _WINDOW)),
                self._painted.median(now - _WINDOW),
                self._delays.median(now - _WINDOW),
                self._dropped,
            )

    def summary(self, seconds: float) -> str:
        """Return a line about the whole session, of so many seconds."""
        with self._lock:
            pace = f"{self._shown} frames in {seconds:.1f} s, {self._shown / max(seconds, 1e-9):.1f}/s"
            delay = f", delay {median(self._all_delays.elements()):.0f} ms" if self._all_delays else ""
            return f"{pace}{delay}, {self._dropped} of the camera's dropped"


class _Recent:
    """Values of the last second, and at least the last one."""

    def __init__(self) -> None:
        self._kept: deque[tuple[float, float]] = deque()

    def add(self, now: float, value: float) -> None:
        self._kept.append((now, value))
        while len(self._kept) > 1 and self._kept[0][0] <= now - _WINDOW:
            self._kept.popleft()

    def since(self, begin: float) -> list[float]:
        return [value for time, value in self._kept if time > begin]

    def median(self, begin: float) -> float | None:
        # A frame may take longer than the window: then the last one.
        values = self.since(begin) or [value for _, value in self._kept][-1:]
        return median(values) if values else None


@dataclass(frozen=True)
class Status:
    """What is shown over the image.

    Attributes:
        style: its name.
        place: its position among the styles, from 1 on.
        styles: how many there are.
        strength: see Controls.
        preserve_color: see Controls.
        figures: what was measured.
        frozen: whether the image stands still.
        recording: seconds recorded so far; None: nothing is recorded.
        message: what has just happened; None: nothing.
        info: whether to show the figures.
        help: whether to show what keys do.
    """

    style: str
    place: int
    styles: int
    strength: float
    preserve_color: str
    figures: Figures
    frozen: bool = False
    recording: float | None = None
    message: str | None = None
    info: bool = True
    help: bool = False

    def lines(self) -> list[str]:
        """Return the lines of text, without the help."""
        lines = []
        if self.info:
            place = f"  {self.place}/{self.styles}" if self.styles > 1 else ""
            look = [f"{self.style}{place}", f"strength {self.strength:.0%}", _COLORS[self.preserve_color]]
            figures = self.figures
            network = f"network {figures.network} fps"
            if figures.seconds is not None:
                network += f" ({1000 * figures.seconds:.0f} ms)"
            delay = "frozen" if self.frozen else f"delay {_thousandths(figures.delay)}"
            measured = [f"camera {figures.camera} fps", network, delay, f"dropped {figures.dropped}"]
            lines = ["   ".join(filter(None, look)), "   ".join(measured)]
        elif self.frozen:
            lines = ["frozen"]
        return [*lines, self.message] if self.message else lines

    def clock(self) -> str | None:
        """Return the time of the recording as text; None: nothing is recorded."""
        if self.recording is None:
            return None
        minutes, seconds = divmod(int(self.recording), 60)
        return f"REC {minutes}:{seconds:02d}"


def _thousandths(seconds: float | None) -> str:
    return "-" if seconds is None else f"{1000 * seconds:.0f} ms"
