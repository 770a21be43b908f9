"""Signals are noticed even if the exception of their handler is lost."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from gmail_assets.operations.interrupts import watching_for_interrupts


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_with_a_silent_handler_is_noticed(number: signal.Signals) -> None:
    with watching_for_interrupts() as interrupted:
        assert not interrupted()
        signal.signal(number, lambda number, frame: None)
        os.kill(os.getpid(), number)
        assert interrupted()
        assert interrupted()


def test_other_signals_do_not_ask_to_stop() -> None:
    signal.signal(signal.SIGUSR1, lambda number, frame: None)
    with watching_for_interrupts() as interrupted:
        os.kill(os.getpid(), signal.SIGUSR1)
        assert not interrupted()


def test_the_handler_is_called_and_the_descriptor_is_restored() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with watching_for_interrupts() as outer:
        with pytest.raises(KeyboardInterrupt), watching_for_interrupts():
            signal.raise_signal(signal.SIGINT)
        assert not outer()
        signal.signal(signal.SIGTERM, lambda number, frame: None)
        signal.raise_signal(signal.SIGTERM)
        assert outer()
    assert signal.set_wakeup_fd(-1) == -1


def test_outside_the_main_thread_no_signal_is_seen() -> None:
    results = []

    def watch() -> None:
        with watching_for_interrupts() as interrupted:
            results.append(interrupted())

    thread = threading.Thread(target=watch)
    thread.start()
    thread.join()
    assert results == [False]
