"""The worker pool: order, errors, stopping, and results in flight."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import pytest

from gmail_client.errors import DailyLimitError
from gmail_client.http import worker_pool
from gmail_client.http.calls import ApiCall, ApiResult
from gmail_client.http.waiting import Stopped
from gmail_client.http.worker_pool import WorkerPool


def batch(*names: str) -> list[ApiCall]:
    return [ApiCall("messages.get", f"/{name}", key=name) for name in names]


def keys(results: list[ApiResult]) -> list[str]:
    return [result.call.key for result in results]


def fill(calls: Sequence[ApiCall], results: dict[int, ApiResult]) -> None:
    """Results in reverse order, as batches can return them."""
    for place in reversed(range(len(calls))):
        results[place] = ApiResult(calls[place], {}, None, 0)


class BlockedWork:
    """Work that waits until the test opens it, and signals when it has started."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.open = threading.Event()

    def __call__(
        self, calls: Sequence[ApiCall], stop: threading.Event, results: dict[int, ApiResult]
    ) -> None:
        self.begun.release()
        self.open.wait(60)
        fill(calls, results)


def test_results_of_a_batch_are_in_the_order_of_its_calls() -> None:
    with WorkerPool(2, lambda calls, stop, results: fill(calls, results)) as pool:
        assert pool.pending == 0
        pool.submit(batch("a", "b", "c"))
        assert pool.pending == 1
        assert keys(pool.next_results(ordered=False)) == ["a", "b", "c"]
        assert pool.pending == 0
        pool.raise_error()


def test_ordered_results_wait_for_the_batches_before_them() -> None:
    first = threading.Event()

    def work(calls: Sequence[ApiCall], stop: threading.Event, results: dict[int, ApiResult]) -> None:
        if calls[0].key == "a":
            first.wait(60)
        fill(calls, results)
        if calls[0].key == "b":
            first.set()

    with WorkerPool(2, work) as pool:
        pool.submit(batch("a"))
        pool.submit(batch("b"))
        assert keys(pool.next_results(ordered=True)) == ["a"]
        assert keys(pool.next_results(ordered=True)) == ["b"]
    first.clear()
    with WorkerPool(2, work) as pool:
        pool.submit(batch("a"))
        pool.submit(batch("b"))
        assert keys(pool.next_results(ordered=False)) == ["b"]
        assert keys(pool.next_results(ordered=False)) == ["a"]


@pytest.mark.parametrize(("workers", "submitted", "expected"), [(3, 2, 2), (3, 3, 3), (3, 5, 3), (1, 4, 1)])
def test_there_are_as_many_threads_as_batches_and_no_more_than_workers(
    workers: int, submitted: int, expected: int
) -> None:
    blocked = BlockedWork()
    before = threading.active_count()
    with WorkerPool(workers, blocked) as pool:
        for number in range(submitted):
            pool.submit(batch(str(number)))
        for _ in range(expected):
            assert blocked.begun.acquire(timeout=60)
        assert threading.active_count() == before + expected
        blocked.open.set()
    assert threading.active_count() == before


def test_an_error_comes_after_the_results_before_it_and_ends_the_other_threads_work() -> None:
    performed = []

    def work(calls: Sequence[ApiCall], stop: threading.Event, results: dict[int, ApiResult]) -> None:
        performed.append(calls[0].key)
        fill(calls[:1], results)
        raise DailyLimitError("used up")

    with WorkerPool(1, work) as pool:
        for name in ("a", "b", "c"):
            pool.submit(batch(name, name.upper()))
        found = []
        while pool.pending:
            found += keys(pool.next_results(ordered=False))
        assert pool.stopping
        with pytest.raises(DailyLimitError, match="used up"):
            pool.raise_error()
    assert found == ["a"]
    assert performed == ["a"]


def test_results_in_flight_at_a_stop_are_returned() -> None:
    blocked, stop = BlockedWork(), threading.Event()
    with WorkerPool(1, blocked, stop) as pool:
        pool.submit(batch("in flight"))
        pool.submit(batch("not sent"))
        assert not pool.stopping
        assert blocked.begun.acquire(timeout=60)
        stop.set()
        assert pool.stopping
        blocked.open.set()
        assert keys(pool.next_results(ordered=True)) == ["in flight"]
        assert keys(pool.next_results(ordered=True)) == []
        assert pool.pending == 0
        pool.raise_error()
    assert not blocked.begun.acquire(blocking=False)


def test_a_stop_while_the_consumer_waits_is_noticed() -> None:
    stop = threading.Event()

    def work(calls: Sequence[ApiCall], ending: threading.Event, results: dict[int, ApiResult]) -> None:
        fill(calls[:1], results)
        stop.set()
        assert ending.wait(60)
        raise Stopped

    with WorkerPool(1, work, stop) as pool:
        pool.submit(batch("a", "b"))
        assert keys(pool.next_results(ordered=False)) == ["a"]
        pool.raise_error()


def test_a_hanging_request_does_not_delay_a_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_pool, "_DRAIN_SECONDS", 0.0)
    monkeypatch.setattr(worker_pool, "_JOIN_SECONDS", 0.0)
    blocked, stop = BlockedWork(), threading.Event()
    with WorkerPool(1, blocked, stop) as pool:
        pool.submit(batch("a"))
        assert blocked.begun.acquire(timeout=60)
        stop.set()
        assert pool.next_results(ordered=False) == []
        assert pool.pending == 0
    blocked.open.set()


def test_leaving_the_block_stops_the_work() -> None:
    seen: list[Any] = []
    begun = threading.Event()

    def work(calls: Sequence[ApiCall], stop: threading.Event, results: dict[int, ApiResult]) -> None:
        begun.set()
        seen.append(stop.wait(60))

    with WorkerPool(1, work) as pool:
        pool.submit(batch("a"))
        assert begun.wait(60)
    assert seen == [True]
