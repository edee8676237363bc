"""What stands on the screen beside the picture."""

from dataclasses import dataclass

from fast_style.live.meter import Figures

_COLORS = {"none": "", "luminance": "colors kept by luminance", "histogram": "colors kept by histogram"}


@dataclass(frozen=True)
class Status:
    """What there is to know while the pictures run.

    Attributes:
        style: its name.
        place: the how many-th of the styles it is, from 1 on.
        styles: how many there are.
        strength: see Controls.
        preserve_color: see Controls.
        figures: what was measured.
        frozen: whether the picture stands still.
        recording: for how many seconds it has been recorded; None: it is not.
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
        """Return what is to be read, but for the help."""
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
        """Return how long it has been recorded, as it is to be read; None: it is not."""
        if self.recording is None:
            return None
        minutes, seconds = divmod(int(self.recording), 60)
        return f"REC {minutes}:{seconds:02d}"


def _thousandths(seconds: float | None) -> str:
    return "-" if seconds is None else f"{1000 * seconds:.0f} ms"
