"""Pictures that are worked on beside no other: too large for that, or several in one file."""

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from fast_style.batch.intake import Opened
from fast_style.images.copies import Original
from fast_style.images.pages import is_paged
from fast_style.stylizing.controls import Controls
from fast_style.stylizing.pages import stylize_pages
from fast_style.stylizing.stylizer import Stylizer
from fast_style.video.frames import ANIMATIONS
from fast_style.video.moving import StoppedError, stylize_animation

__all__ = ["Alone", "StoppedError", "holds_all", "left_out"]


@dataclass(frozen=True)
class Alone:
    """Makes the copy of one such picture.

    Args:
        stylizer: what stylizes.
        controls: how.
        size: long side of the copies, if it is set.
        temporal: of animations, how much of the flicker to take away.
        stopped: when it is set, what has several pictures ends, and nothing of it is there.
    """

    stylizer: Stylizer
    controls: Controls
    size: int | None
    temporal: float
    stopped: threading.Event

    def __call__(self, opened: Opened) -> list[str]:
        """Make it, and return what it does not hold, each in a few words.

        Raises:
            ImageError: if it cannot be read or written.
            VideoError: likewise, of an animation.
            StoppedError: if it was.
        """
        source, target, name = opened.file, opened.job.target, str(opened.job.source)
        match holds_all(opened):
            case "frames":
                film = stylize_animation(
                    self.stylizer,
                    source,
                    target,
                    self.controls,
                    size=self.size,
                    temporal=self.temporal,
                    stopped=self.stopped,
                    name=name,
                )
                return [*film.notes, *([film.warning.removeprefix(f"{name}: ")] if film.warning else [])]
            case "pages":
                lost = stylize_pages(self._page, source, target, opened.several, self.size, name)
                return [*lost, *left_out(opened)]
        assert isinstance(source, Path)
        self.stylizer.stylize_file(source, target, size=self.size, controls=self.controls)
        return left_out(opened)

    def _page(self, original: Original) -> Any:
        if self.stopped.is_set():
            raise StoppedError
        return self.stylizer.stylize_originals([original], self.controls)[0]


def holds_all(opened: Opened) -> Literal["frames", "pages"] | None:
    """Return as what the copy holds all of several pictures; None: it holds one, or there is no more."""
    source, target = Path(str(opened.job.source)), opened.job.target
    if opened.several.kind == "frame" and target.suffix.lower() in ANIMATIONS:
        return "frames"
    return "pages" if is_paged(source, target, opened.several) else None


def left_out(opened: Opened) -> list[str]:
    """Return what a copy does not hold of several pictures in one file, each in a few words."""
    several = opened.several
    remedy = "a .gif, .webp, .png or .avif holds all" if several.kind == "frame" else "a .tif holds all"
    if several.kind == "view":
        remedy = "split the file for the others"
    return several.left_out(several.count if holds_all(opened) else 1, opened.job.target, remedy)
