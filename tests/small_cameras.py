"""A camera, a clock and a network that do what a test says, when it says so."""

import contextlib
import itertools
import queue
import threading
import time
from collections.abc import Callable, Generator

import numpy as np
from small_videos import Pixels

from fast_style.live.camera import CameraFrame
from fast_style.live.chain import Chain, Painted
from fast_style.live.status import Meter
from fast_style.live.stylizer import AdaptiveSize, Look

WIDTH, HEIGHT = 64, 48


class Clock:
    """Time that passes when a test says so, or somebody sleeps."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Injected:
    """A camera whose pictures come when a test gives them. All that is in one is its number."""

    width, height, rate = WIDTH, HEIGHT, 25.0

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._given: queue.Queue[int | Exception | None] = queue.Queue()
        self._received = threading.Semaphore(0)

    def give(self, number: int) -> None:
        """Return when the picture has been handed over."""
        self._given.put(number)
        assert self._received.acquire(timeout=20)

    def end(self, error: Exception | None = None) -> None:
        self._given.put(error)

    def frames(self) -> Generator[CameraFrame, None, None]:
        while (given := self._given.get()) is not None:
            if isinstance(given, Exception):
                raise given
            yield CameraFrame(flat(given), self._clock())
            # Whoever asks for the next has put this one where the network takes it from.
            self._received.release()


class Tint:
    """A network of three styles that adds to a number: 0, 100 or 200."""

    @property
    def styles(self) -> list[str]:
        return ["none", "hundred", "two hundred"]

    def __call__(self, pixels: Pixels, look: Look) -> Pixels:
        return pixels + np.uint8(100 * look.style)


class Lockstep(Tint):
    """One that paints each picture only when a test allows it, while something happens."""

    def __init__(self, meanwhile: Callable[[], None] = lambda: None) -> None:
        self.allowed = threading.Semaphore(0)
        self.taken: list[int] = []
        self.meanwhile = meanwhile

    def __call__(self, pixels: Pixels, look: Look) -> Pixels:
        self.taken.append(number_in(pixels))
        assert self.allowed.acquire(timeout=20)
        self.meanwhile()
        return super().__call__(pixels, look)


def flat(number: int) -> Pixels:
    return np.full((HEIGHT, WIDTH, 3), number, np.uint8)


def number_in(pixels: Pixels) -> int:
    return int(pixels[HEIGHT // 2, WIDTH // 2, 0])


def endless(camera: Injected) -> None:
    """Give pictures for as long as anybody takes them."""

    def work() -> None:
        with contextlib.suppress(AssertionError):
            for number in itertools.count():
                camera.give(number % 50)
                time.sleep(0.002)  # the machine is for others, too

    threading.Thread(target=work, daemon=True).start()


def ticking(step: float = 0.01) -> Callable[[], float]:
    """A clock that goes on by some seconds at each look."""
    looks = itertools.count()
    return lambda: step * next(looks)


def next_of(chain: Chain) -> Painted:
    while (painted := chain.take()) is None:
        assert not chain.ended
    return painted


def make_chain(camera: Injected, painter: Tint, clock: Callable[[], float], meter: Meter | None = None) -> Chain:
    return Chain(camera, painter, Look(), AdaptiveSize(WIDTH), meter or Meter(), clock)
