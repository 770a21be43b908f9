from __future__ import annotations

import threading

import pytest

from gmail_client.http.concurrency import Gate
from gmail_client.http.waiting import Stopped


def test_it_starts_with_two_batches_of_twenty() -> None:
    gate = Gate()
    assert (gate.width, gate.batch_size) == (40, 20)


def test_refusals_of_one_moment_halve_it_once() -> None:
    gate = Gate()
    marks = [gate.enter(10), gate.enter(10)]
    for mark in marks:
        gate.narrow(mark)
    assert (gate.width, gate.batch_size) == (20, 10)
    gate.leave(20)
    gate.narrow(gate.enter(1))
    assert gate.width == 10


def test_it_never_closes() -> None:
    gate = Gate()
    for _ in range(20):
        gate.narrow(gate.enter(1))
        gate.leave(1)
    assert (gate.width, gate.batch_size) == (1, 1)


def test_it_grows_back_but_no_wider_than_it_was() -> None:
    gate = Gate()
    gate.narrow(gate.enter(1))
    assert gate.width == 20
    for _ in range(1_000):
        gate.widen(1)
    assert gate.width == 40


def test_growing_back_takes_longer_than_narrowing() -> None:
    gate = Gate()
    gate.narrow(gate.enter(1))
    gate.widen(20)
    assert gate.width == 21


def test_more_than_the_width_goes_alone() -> None:
    gate = Gate(4)
    gate.enter(10)
    stop = threading.Event()
    stop.set()
    with pytest.raises(Stopped):
        gate.enter(1, stop)
    gate.leave(10)
    gate.enter(1, stop)


def test_never_more_inside_than_the_width() -> None:
    gate = Gate(6)
    inside, most = 0, 0
    lock = threading.Lock()

    def work() -> None:
        nonlocal inside, most
        for _ in range(50):
            gate.enter(2)
            with lock:
                inside += 2
                most = max(most, inside)
            with lock:
                inside -= 2
            gate.leave(2)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert 2 <= most <= 6
