"""Threads that hand work on to each other, several at each stage, in the order in which it is finished."""

import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

R = TypeVar("R")


class Crew(Generic[R]):
    """The threads of all stages, and an iterator of what the last of them give out, which begins with what is there.

    Args:
        given: where the last stage puts what it gives out.
        stop: is called when a thread has failed; what is raised there is raised again where it is waited for.
    """

    def __init__(self, given: "queue.SimpleQueue[R | None]", stop: Callable[[], None]) -> None:
        self._given, self._stop = given, stop
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._error: BaseException | None = None

    def add(self, work: Callable[[], None], workers: int, output: "queue.SimpleQueue[Any]", readers: int) -> None:
        """Let threads begin a stage.

        Args:
            work: what each of them does, until there is no more to do.
            workers: how many they are.
            output: gets a None for each reader when the last of them has ended.
            readers: how many threads wait for it.
        """
        left = [workers]

        def run() -> None:
            try:
                work()
            except BaseException as error:  # Any: it belongs to whoever waits for the results.
                self._error = self._error or error
                self._stop()
            with self._lock:
                left[0] -= 1
                last = not left[0]
            for _ in range(readers if last else 0):
                output.put(None)

        for _ in range(workers):
            # Not waited for when the program ends, so that a second Ctrl-C ends it at once.
            self._threads.append(threading.Thread(target=run, daemon=True))
            self._threads[-1].start()

    def __iter__(self) -> Iterator[R]:
        return self

    def __next__(self) -> R:
        while True:
            try:
                # Not without an end, which not every system interrupts.
                given = self._given.get(timeout=0.5)
            except queue.Empty:
                continue
            if given is not None:
                return given
            self._given.put(None)
            if self._error is not None:
                raise self._error
            raise StopIteration

    def join(self) -> None:
        """Wait until all have ended."""
        for thread in self._threads:
            thread.join()
