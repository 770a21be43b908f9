"""Detect Ctrl-C and SIGTERM even where Dagster or a library swallows the exception."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["watching_for_interrupts"]

_STOP_SIGNALS = frozenset({signal.SIGINT, signal.SIGTERM})


@contextmanager
def watching_for_interrupts() -> Iterator[Callable[[], bool]]:
    """Yield a function that returns whether SIGINT or SIGTERM arrived since the block was entered.

    Installed signal handlers keep working. An exception that a handler raises can get lost: in a destructor, in a
    callback, or in Dagster between the last step and the end of a run. Python also writes the number of each signal
    to the wakeup file descriptor, which this function reads. Outside the main thread no signal is detected.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    reader, writer = socket.socketpair()
    seen = False

    def interrupted() -> bool:
        nonlocal seen
        with contextlib.suppress(BlockingIOError):
            seen = seen or any(number in _STOP_SIGNALS for number in reader.recv(4096))
        return seen

    with reader, writer:
        reader.setblocking(False)
        writer.setblocking(False)
        before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        try:
            yield interrupted
        finally:
            signal.set_wakeup_fd(before)
