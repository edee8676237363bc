"""A pipeline of stages that run in parallel threads, so that only the slowest limits the speed.

For folders and videos. Cameras use `fast_style.live.chain`: there the newest frame replaces the waiting one, and a
frozen one is stylized again when its look changes, so there is no order to keep.
"""

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeAlias, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Inbox(Generic[T]):
    """The queue between two stages, of at most `room` items; 0: no limit. Iterating waits, and ends after the last."""

    def __init__(self, room: int, senders: int, receivers: int) -> None:
        self._room, self._senders, self._receivers = room, senders, receivers
        self._waiting: deque[T] = deque()
        self._changed = threading.Condition()
        self.waited: dict[int, float] = {}  # seconds spent waiting for items, by thread ID

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        began = time.perf_counter()
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or not self._senders)
            me = threading.get_ident()
            self.waited[me] = self.waited.get(me, 0.0) + time.perf_counter() - began
            if not self._waiting:
                raise StopIteration
            self._changed.notify_all()
            return self._waiting.popleft()

    def ready(self) -> list[T]:
        """Return all waiting items, without waiting for more."""
        with self._changed:
            found = [*self._waiting]
            self._waiting.clear()
            self._changed.notify_all()
        return found

    def put(self, item: T) -> bool:
        """Put an item in once there is room; return False if all receivers have left."""
        with self._changed:
            self._changed.wait_for(lambda: not (self._room and len(self._waiting) >= self._room) or not self._receivers)
            if self._receivers:
                self._waiting.append(item)
                self._changed.notify_all()
            return bool(self._receivers)

    def leave(self, sender: bool) -> None:
        """Sign off a thread, as a sender or as a receiver."""
        with self._changed:
            self._senders -= sender
            self._receivers -= not sender
            self._changed.notify_all()


#: Maps the items that arrive to those that it hands on.
Stage: TypeAlias = Callable[[Inbox[Any]], Iterable[Any]]


class Pipeline(Generic[R]):
    """Stages of work, each with one or several threads; iterates over the results as they arrive.

        pipeline = Pipeline()
        pipeline.stage("read", lambda nothing: map(read, paths))
        pipeline.stage("write", lambda pictures: map(write, pictures))
        for path in pipeline: ...

    A stage ends after the one before it, or by itself; the stages before it then end, too. If a stage raises, its
    earlier items still pass through the later stages, and the iteration raises the error after all results. With one
    thread per stage, the order is kept.

    Args:
        room: maximum number of items waiting between two stages; 0: no limit.
        on_error: called when a stage has failed.

    Attributes:
        stopped: set by `stop`. It ends the first stage; the other stages may check it.
        busy: seconds of work by name of the stage.
    """

    def __init__(self, room: int = 0, on_error: Callable[[], None] = lambda: None) -> None:
        self.stopped = threading.Event()
        self.busy: dict[str, float] = {}
        self._room, self._on_error = room, on_error
        self._stages: list[tuple[str, Stage, int]] = []
        self._results: queue.SimpleQueue[tuple[R] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._left, self._ended = 0, threading.Event()
        self._error: BaseException | None = None

    def stage(self, name: str, work: Stage, workers: int = 1) -> None:
        """Add a stage after the existing ones.

        Args:
            name: name of the stage.
            work: run by each thread: maps the input items to output items. The first stage has no input.
            workers: number of threads.
        """
        self._stages.append((name, work, workers))
        self.busy[name] = 0.0

    def emit(self, result: R) -> None:
        """Output a result at once, bypassing the later stages."""
        self._results.put((result,))

    def stop(self) -> None:
        """Let the first stage end; items in progress are finished."""
        self.stopped.set()

    def start(self) -> None:
        """Start all threads; iterating does so, too."""
        if self._threads:
            return
        counts = [workers for *_, workers in self._stages]
        inboxes = [Inbox[Any](self._room, *each) for each in zip([0, *counts], [*counts, 0], strict=True)]
        self._left = sum(counts)
        for index, (name, work, workers) in enumerate(self._stages):
            output = inboxes[index + 1] if index + 1 < len(self._stages) else None
            arguments = (name, work, inboxes[index], output, index == 0)
            # Daemon threads, so that a second Ctrl-C ends the program at once.
            self._threads += [threading.Thread(target=self._run, args=arguments, daemon=True) for _ in range(workers)]
        for thread in self._threads:
            thread.start()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait up to `seconds` for all threads to end; return whether they have."""
        # Not join(): when interrupted, Python 3.11 marks the thread as ended.
        return self._ended.wait(seconds)

    def raise_error(self) -> None:
        """Raise the first error of any stage, if there is one."""
        if self._error is not None:
            raise self._error

    def __iter__(self) -> "Pipeline[R]":
        return self

    def __next__(self) -> R:
        self.start()
        while True:
            try:
                # With a timeout: not every system interrupts an endless wait.
                result = self._results.get(timeout=0.5)
            except queue.Empty:
                continue
            if result is not None:
                return result[0]
            self._results.put(None)
            self.raise_error()
            raise StopIteration

    def _run(self, name: str, work: Stage, inbox: Inbox[Any], output: Inbox[Any] | None, first: bool) -> None:
        try:
            results: Iterable[Any] = ()
            try:
                results = iter(work(inbox))
                for result in self._timed(name, results, inbox):
                    if output is None:
                        self.emit(result)
                    elif not output.put(result):
                        break
                    if first and self.stopped.is_set():
                        break
            finally:
                if close := getattr(results, "close", None):
                    close()
        except BaseException as error:  # Any: the iteration raises it.
            with self._lock:
                self._error = self._error or error
            self._on_error()
        inbox.leave(sender=False)
        if output is not None:
            output.leave(sender=True)
        with self._lock:
            self._left -= 1
            last = not self._left
        if last:
            self._results.put(None)
            self._ended.set()

    def _timed(self, name: str, results: Iterator[Any], inbox: Inbox[Any]) -> Iterator[Any]:
        """Yield results, and add up their time without the time spent waiting for input."""
        me = threading.get_ident()
        while True:
            began, waited = time.perf_counter(), inbox.waited.get(me, 0.0)
            try:
                result = next(results)
            except StopIteration:
                return
            finally:
                worked = time.perf_counter() - began - (inbox.waited.get(me, 0.0) - waited)
                with self._lock:
                    self.busy[name] += worked
            yield result
