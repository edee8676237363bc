"""Frame rates and delay of a live session, and the text that shows them over the image."""

import threading
from collections import Counter, deque
from dataclasses import dataclass
from statistics import median

#: Window of the figures, in seconds.
_WINDOW = 1.0
_COLORS = {"none": "", "luminance": "colors kept by luminance", "histogram": "colors kept by histogram"}


@dataclass(frozen=True)
class Figures:
    """The figures of a meter over the last second."""

    camera: int  # frames from the camera
    network: int  # frames from the network
    seconds: float | None  # median time of the network for a frame; None: there was no frame
    delay: float | None  # median seconds from the camera to the screen; None: none was shown
    dropped: int  # frames dropped since the start because the network was busy


class Meter:
    """Counts and times frames. Thread-safe; all times are passed in, in seconds."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._captured, self._painted, self._delays = _Recent(), _Recent(), _Recent()
        self._dropped = self._shown = 0
        #: Histogram of all delays in milliseconds: its memory does not grow with time.
        self._all_delays: Counter[int] = Counter()

    def captured(self, now: float) -> None:
        """Count a frame of the camera."""
        with self._lock:
            self._captured.add(now, 0.0)

    def painted(self, now: float, seconds: float, dropped: int) -> None:
        """Count a frame of the network, which took `seconds`, and the camera frames dropped before it."""
        with self._lock:
            self._painted.add(now, seconds)
            self._dropped += dropped

    def shown(self, now: float, taken: float | None) -> None:
        """Count a frame shown at `now` that the camera took at `taken`; None: the picture is frozen."""
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
        """Return a summary of the whole session, which lasted `seconds`, in one line."""
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
        # The last value, if a frame took longer than the window.
        values = self.since(begin) or [value for _, value in self._kept][-1:]
        return median(values) if values else None


@dataclass(frozen=True)
class Status:
    """The information shown over the image; `strength` and `preserve_color` as in Controls."""

    style: str
    place: int  # position of the style, from 1 on
    styles: int  # number of styles
    strength: float
    preserve_color: str
    figures: Figures
    frozen: bool = False
    recording: float | None = None  # seconds recorded so far; None: no recording
    message: str | None = None
    info: bool = True  # whether to show the figures
    help: bool = False  # whether to show the keys

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
            delay = "delay -" if figures.delay is None else f"delay {1000 * figures.delay:.0f} ms"
            delay = "frozen" if self.frozen else delay
            measured = [f"camera {figures.camera} fps", network, delay, f"dropped {figures.dropped}"]
            lines = ["   ".join(filter(None, look)), "   ".join(measured)]
        elif self.frozen:
            lines = ["frozen"]
        return [*lines, self.message] if self.message else lines

    def clock(self) -> str | None:
        """Return the recording time as text; None: no recording."""
        if self.recording is None:
            return None
        minutes, seconds = divmod(int(self.recording), 60)
        return f"REC {minutes}:{seconds:02d}"
