from __future__ import annotations

import threading

import pytest

from gmail_client.http.concurrency import ConcurrencyLimiter
from gmail_client.http.waiting import Stopped


def test_the_limit_starts_at_two_batches_of_twenty() -> None:
    limiter = ConcurrencyLimiter()
    assert (limiter.limit, limiter.batch_size) == (40, 20)


def test_simultaneous_refusals_halve_the_limit_once() -> None:
    limiter = ConcurrencyLimiter()
    marks = [limiter.acquire(10), limiter.acquire(10)]
    for mark in marks:
        limiter.decrease(mark)
    assert (limiter.limit, limiter.batch_size) == (20, 10)
    limiter.release(20)
    limiter.decrease(limiter.acquire(1))
    assert limiter.limit == 10


def test_the_limit_is_at_least_one() -> None:
    limiter = ConcurrencyLimiter()
    for _ in range(20):
        limiter.decrease(limiter.acquire(1))
        limiter.release(1)
    assert (limiter.limit, limiter.batch_size) == (1, 1)


def test_the_limit_grows_back_to_its_start() -> None:
    limiter = ConcurrencyLimiter()
    limiter.decrease(limiter.acquire(1))
    assert limiter.limit == 20
    for _ in range(1_000):
        limiter.increase(1)
    assert limiter.limit == 40


def test_growing_is_slower_than_shrinking() -> None:
    limiter = ConcurrencyLimiter()
    limiter.decrease(limiter.acquire(1))
    limiter.increase(20)
    assert limiter.limit == 21


def test_a_batch_above_the_limit_runs_alone() -> None:
    limiter = ConcurrencyLimiter(4)
    limiter.acquire(10)
    stop = threading.Event()
    stop.set()
    with pytest.raises(Stopped):
        limiter.acquire(1, stop)
    limiter.release(10)
    limiter.acquire(1, stop)


def test_calls_in_flight_stay_within_the_limit() -> None:
    limiter = ConcurrencyLimiter(6)
    inside, most = 0, 0
    lock = threading.Lock()

    def work() -> None:
        nonlocal inside, most
        for _ in range(50):
            limiter.acquire(2)
            with lock:
                inside += 2
                most = max(most, inside)
            with lock:
                inside -= 2
            limiter.release(2)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert 2 <= most <= 6
