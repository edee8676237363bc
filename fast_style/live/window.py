"""The window of a live session: frames, text over them, and keys."""

import contextlib
import os
import sys
from collections.abc import Sequence
from functools import cache

# pygame prints a greeting on import.
with contextlib.redirect_stdout(None):
    import pygame

from fast_style.errors import CameraError
from fast_style.live.keys import KEYS, Action, help_lines
from fast_style.live.status import Status
from fast_style.video.frames import Bytes

_TITLE = "fast_style"
#: Maximum initial size of the window, as a share of the screen and in pixels.
_SHARE, _LARGEST = 0.85, 1280
_WHITE, _RED, _DIM = (255, 255, 255), (230, 40, 40), (0, 0, 0, 150)
#: Text size as a share of the window's height, and the minimum readable size in pixels.
_TEXT, _LEAST_TEXT = 0.042, 15
#: Environment variables that name the screen on Linux.
_SCREENS = ("DISPLAY", "WAYLAND_DISPLAY")
#: Drivers that SDL uses where it finds no screen; accepted only if SDL_VIDEODRIVER is set.
_UNSEEN = ("offscreen", "dummy", "evdev")


class Window:
    """The window of a live session; a `Screen`. Must be used from the main thread only, as systems require.

    Args:
        width: width of the frames in pixels.
        height: height of the frames in pixels.
        mirror: whether to mirror the frames.

    Raises:
        CameraError: if there is no screen.
    """

    def __init__(self, width: int, height: int, mirror: bool = False) -> None:
        require_screen()
        self._mirror = mirror
        pygame.font.init()
        room = [min(_LARGEST, _SHARE * side) for side in pygame.display.get_desktop_sizes()[0]]
        scale = min(room[0] / width, room[1] / height)
        pygame.display.set_caption(_TITLE)
        try:
            size = max(1, round(width * scale)), max(1, round(height * scale))
            self._screen = pygame.display.set_mode(size, pygame.RESIZABLE)
        except pygame.error as error:
            raise _no_screen(str(error)) from None
        self._picture: pygame.Surface | None = None

    def actions(self) -> list[Action]:
        """Return the actions of the keys pressed since the last call; closing the window quits."""
        actions = []
        for event in pygame.event.get():
            if event.type == pygame.QUIT:
                actions.append(Action.QUIT)
            elif event.type == pygame.KEYDOWN and (action := KEYS.get(pygame.key.name(event.key))):
                actions.append(action)
        return actions

    def show(self, pixels: Bytes | None, status: Status) -> None:
        """Show a frame of shape (height, width, 3), or the last one again, scaled to the window."""
        self._screen = pygame.display.get_surface() or self._screen
        if pixels is not None:
            height, width = pixels.shape[:2]
            self._picture = pygame.image.frombuffer(pixels.tobytes(), (width, height), "RGB")
        self._screen.fill((0, 0, 0))
        if self._picture is not None:
            self._screen.blit(*self._fitted(self._picture))
        text = _font(max(_LEAST_TEXT, round(_TEXT * self._screen.get_height())))
        margin = _line(text) // 2
        if lines := status.lines():
            self._write(text, [[line] for line in lines], (margin, margin))
        if clock := status.clock():
            line, wide = _line(text), self._screen.get_width()
            left = wide - text.size(clock)[0] - 2 * line - margin
            self._write(text, [["    ", clock]], (left, margin))
            pygame.draw.circle(self._screen, _RED, (left + line, margin + 3 * line // 4), line // 3)
        if status.help:
            self._write(text, help_lines(), (margin, 5 * _line(text)))
        pygame.display.flip()

    def close(self) -> None:
        """Close the window."""
        _font.cache_clear()
        pygame.font.quit()
        pygame.display.quit()

    def _fitted(self, picture: pygame.Surface) -> tuple[pygame.Surface, tuple[int, int]]:
        """Return a picture scaled to the window, and its position."""
        (width, height), (wide, high) = picture.get_size(), self._screen.get_size()
        scale = min(wide / width, high / height)
        sides = ((round(width * scale), wide), (round(height * scale), high))
        # Fill a gap of one pixel, which rounding leaves as a black line.
        size = tuple(room if room - side <= 1 else max(1, side) for side, room in sides)
        if size != (width, height):
            picture = pygame.transform.smoothscale(picture, size)
        if self._mirror:
            picture = pygame.transform.flip(picture, True, False)
        return picture, ((wide - size[0]) // 2, (high - size[1]) // 2)

    def _write(self, text: pygame.Font, rows: Sequence[Sequence[str]], place: tuple[int, int]) -> None:
        """Draw a table of text on a dark background, readable on any picture."""
        drawn = [[text.render(cell, True, _WHITE) for cell in row] for row in rows]
        widths = [max(cell.get_width() for cell in column) for column in zip(*drawn, strict=True)]
        line, gap = _line(text), _line(text) // 2
        size = sum(widths) + gap * (len(widths) + 1), line * len(rows) + gap
        ground = pygame.Surface(size, pygame.SRCALPHA)
        ground.fill(_DIM)
        for index, row in enumerate(drawn):
            left = gap
            for width, cell in zip(widths, row, strict=True):
                ground.blit(cell, (left, gap // 2 + index * line + (line - cell.get_height()) // 2))
                left += width + gap
        self._screen.blit(ground, place)


def require_screen() -> None:
    """Check that there is a screen for a window.

    Raises:
        CameraError: if there is none.
    """
    wanted = os.environ.get("SDL_VIDEODRIVER")
    # Checked first: SDL would try other ways and print errors.
    if sys.platform.startswith("linux") and not any(map(os.environ.get, ("SDL_VIDEODRIVER", *_SCREENS))):
        raise _no_screen(f"{' and '.join(_SCREENS)} are not set")
    try:
        pygame.display.init()
    except pygame.error as error:
        raise _no_screen(str(error)) from None
    if not wanted and pygame.display.get_driver() in _UNSEEN:
        raise _no_screen("SDL finds none")


def _no_screen(why: str) -> CameraError:
    pygame.display.quit()
    return CameraError(
        f"window: there is no screen for one ({why}); "
        "window=false with record=out.mp4 or virtual_camera=true needs none"
    )


@cache
def _font(size: int) -> pygame.Font:
    return pygame.font.Font(None, size)


def _line(text: pygame.Font) -> int:
    return round(1.25 * text.get_linesize())
