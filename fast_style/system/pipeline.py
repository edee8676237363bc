"""Work in stages that overlap: each in threads of its own, so that the slowest alone sets the pace.

Folders and videos go through it. A camera does not: there the newest picture replaces the one that waits, and a frozen
one is made again whenever its look changes, so that nothing is in order; see `fast_style.live.chain`.
"""

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Inbox(Generic[T]):
    """What a stage is handed by the one before it, one after the other, to any of its threads.

    Iterating waits for the next, and ends when there will be no more.

    Args:
        room: how many may wait; 0: any number.
        senders: how many threads put something in.
        receivers: how many take it out.
    """

    def __init__(self, room: int, senders: int, receivers: int) -> None:
        self._room, self._senders, self._receivers = room, senders, receivers
        self._waiting: deque[T] = deque()
        self._changed = threading.Condition()
        #: By thread, for how many seconds it has waited here for the next.
        self.waited: dict[int, float] = {}

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
        """Return all that wait, without waiting."""
        with self._changed:
            found = [*self._waiting]
            self._waiting.clear()
            self._changed.notify_all()
        return found

    def put(self, item: T) -> bool:
        """Hand something over, once there is room; False: nobody is left to take it."""
        with self._changed:
            self._changed.wait_for(lambda: not (self._room and len(self._waiting) >= self._room) or not self._receivers)
            if self._receivers:
                self._waiting.append(item)
                self._changed.notify_all()
            return bool(self._receivers)

    def leave(self, sender: bool) -> None:
        """Tell that a thread puts nothing in any more, or takes nothing out."""
        with self._changed:
            self._senders -= sender
            self._receivers -= not sender
            self._changed.notify_all()


class Pipeline(Generic[R]):
    """Stages of work, each with one or several threads, and an iterator of what comes out, as soon as it is there.

        pipeline = Pipeline()
        pipeline.stage("read", lambda nothing: map(read, paths))
        pipeline.stage("write", lambda pictures: map(write, pictures))
        for path in pipeline: ...

    A stage ends when the one before it has, or by itself: those before it then end as well. What it raises is raised
    where the results are awaited, behind them; what came out of it before goes through the stages behind it. With one
    thread in each stage, everything stays in its order.

    Args:
        room: how many things may wait between two stages; 0: any number.
        on_error: is called when a stage has failed.

    Attributes:
        stopped: set when nothing new is to be begun. The first stage then ends; the others see for themselves.
        busy: seconds of work by the name of the stage.
    """

    def __init__(self, room: int = 0, on_error: Callable[[], None] = lambda: None) -> None:
        self.stopped = threading.Event()
        self.busy: dict[str, float] = {}
        self._room, self._on_error = room, on_error
        self._stages: list[tuple[str, Callable[[Inbox[Any]], Iterable[Any]], int]] = []
        self._results: queue.SimpleQueue[tuple[R] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._left, self._ended = 0, threading.Event()
        self._error: BaseException | None = None

    def stage(self, name: str, work: Callable[[Inbox[Any]], Iterable[Any]], workers: int = 1) -> None:
        """Add a stage behind those that there are.

        Args:
            name: of the stage.
            work: what each of its threads does: it takes what comes, and yields what goes on. The first gets nothing.
            workers: how many threads.
        """
        self._stages.append((name, work, workers))
        self.busy[name] = 0.0

    def emit(self, result: R) -> None:
        """Let something come out at once, past the stages behind."""
        self._results.put((result,))

    def stop(self) -> None:
        """Begin nothing new."""
        self.stopped.set()

    def start(self) -> None:
        """Begin; iterating does so as well."""
        if self._threads:
            return
        counts = [workers for *_, workers in self._stages]
        inboxes = [Inbox[Any](self._room, *each) for each in zip([0, *counts], [*counts, 0], strict=True)]
        self._left = sum(counts)
        for index, (name, work, workers) in enumerate(self._stages):
            output = inboxes[index + 1] if index + 1 < len(self._stages) else None
            arguments = (name, work, inboxes[index], output, index == 0)
            # Not waited for when the program ends, so that a second Ctrl-C ends it at once.
            self._threads += [threading.Thread(target=self._run, args=arguments, daemon=True) for _ in range(workers)]
        for thread in self._threads:
            thread.start()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until all have ended, or so long, and return whether they have."""
        # Not join(): interrupted, Python 3.11 takes a thread for ended.
        return self._ended.wait(seconds)

    def raise_error(self) -> None:
        """Raise what has gone wrong first, if anything has."""
        if self._error is not None:
            raise self._error

    def __iter__(self) -> "Pipeline[R]":
        return self

    def __next__(self) -> R:
        self.start()
        while True:
            try:
                # Not without an end, which not every system interrupts.
                result = self._results.get(timeout=0.5)
            except queue.Empty:
                continue
            if result is not None:
                return result[0]
            self._results.put(None)
            self.raise_error()
            raise StopIteration

    def _run(
        self,
        name: str,
        work: Callable[[Inbox[Any]], Iterable[Any]],
        inbox: Inbox[Any],
        output: Inbox[Any] | None,
        first: bool,
    ) -> None:
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
        except BaseException as error:  # Any: it belongs to whoever waits for the results.
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
        """Yield results, and count the time that they take without the time in which there was nothing to do."""
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
