"""Work in stages that overlap."""

import threading
from collections.abc import Iterator

import pytest

from fast_style.system.pipeline import Inbox, Pipeline


def test_stages_work_at_the_same_time_and_in_order() -> None:
    second_read = threading.Event()

    def read(nothing: Inbox[int]) -> Iterator[int]:
        yield 0
        second_read.set()
        yield from range(1, 100)

    def paint(numbers: Inbox[int]) -> Iterator[int]:
        for number in numbers:
            # With one thread for both this would wait for ever.
            assert second_read.wait(timeout=60)
            yield 10 * number

    pipeline: Pipeline[int] = Pipeline(room=2)
    pipeline.stage("read", read)
    pipeline.stage("paint", paint)
    assert list(pipeline) == list(range(0, 1000, 10))
    assert list(pipeline.busy) == ["read", "paint"]
    assert pipeline.wait(0)


def test_an_error_comes_out_behind_what_came_before_it() -> None:
    failed = threading.Event()

    def read(nothing: Inbox[int]) -> Iterator[int]:
        yield 1
        raise ValueError("broken")

    pipeline: Pipeline[int] = Pipeline(on_error=failed.set)
    pipeline.stage("read", read)
    pipeline.stage("double", lambda numbers: (2 * number for number in numbers))
    assert next(pipeline) == 2
    for _ in range(2):
        with pytest.raises(ValueError, match="broken"):
            next(pipeline)
    assert failed.is_set()


def test_a_stage_that_ends_or_fails_ends_those_before_it() -> None:
    closed = threading.Event()

    def read(nothing: Inbox[int]) -> Iterator[int]:
        try:
            yield from range(10**9)
        finally:
            closed.set()

    def first_five(numbers: Inbox[int]) -> Iterator[int]:
        for number in numbers:
            if number == 5:
                return
            yield number

    def fail_at_five(numbers: Inbox[int]) -> Iterator[int]:
        yield from first_five(numbers)
        raise ValueError("five")

    for last, fails in ((first_five, False), (fail_at_five, True)):
        closed.clear()
        pipeline: Pipeline[int] = Pipeline(room=2)
        pipeline.stage("read", read)
        pipeline.stage("pass on", lambda numbers: numbers)
        pipeline.stage("last", last)
        assert [next(pipeline) for _ in range(5)] == [0, 1, 2, 3, 4]
        assert pipeline.wait(60)
        assert closed.is_set()
        with pytest.raises(ValueError if fails else StopIteration):
            next(pipeline)


def test_several_threads_share_a_stage_and_no_more_waits_than_there_is_room_for() -> None:
    both, read = threading.Barrier(2, timeout=60), list[int]()

    def source(nothing: Inbox[int]) -> Iterator[int]:
        for number in range(20):
            read.append(number)
            yield number

    def work(numbers: Inbox[int]) -> Iterator[int]:
        for number in numbers:
            # Two of them must come here at the same time.
            both.wait()
            # What two have in hand, what waits for them, and what the first stage cannot hand over.
            assert len(read) <= number + 1 + 2 + 3 + 1
            yield number

    pipeline: Pipeline[int] = Pipeline(room=3)
    pipeline.stage("source", source)
    pipeline.stage("work", work, workers=2)
    assert sorted(pipeline) == list(range(20))


def test_who_stops_it_gets_what_was_begun() -> None:
    begun, go_on = threading.Event(), threading.Event()

    def read(nothing: Inbox[int]) -> Iterator[int]:
        for number in range(10**9):
            if number == 3:
                begun.set()
                assert go_on.wait(60)
            yield number

    pipeline: Pipeline[int] = Pipeline()
    pipeline.stage("read", read)
    pipeline.stage("pass on", lambda numbers: numbers)
    pipeline.start()
    assert begun.wait(60)
    pipeline.stop()
    go_on.set()
    assert list(pipeline) == [0, 1, 2, 3]


def test_results_may_go_past_the_stages_behind_and_all_that_waits_be_taken_at_once() -> None:
    full = threading.Event()

    def read(nothing: Inbox[int]) -> Iterator[int]:
        yield from range(3)
        pipeline.emit(100)
        full.set()

    def gather(numbers: Inbox[int]) -> Iterator[int]:
        assert full.wait(60)
        yield sum(numbers.ready())
        yield from numbers

    pipeline: Pipeline[int] = Pipeline()
    pipeline.stage("read", read)
    pipeline.stage("gather", gather)
    assert list(pipeline) == [100, 3]


def test_waiting_does_not_count_as_work() -> None:
    def read(nothing: Inbox[int]) -> Iterator[int]:
        threading.Event().wait(0.3)
        yield 1

    pipeline: Pipeline[int] = Pipeline()
    pipeline.stage("read", read)
    pipeline.stage("pass on", lambda numbers: numbers)
    assert list(pipeline) == [1]
    assert pipeline.busy["read"] >= 0.3
    assert pipeline.busy["pass on"] < 0.2
