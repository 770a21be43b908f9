"""Ctrl-C and SIGTERM, noticed also where Dagster or a library swallows what they raise."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["watching_for_interrupts"]

_ASKS_TO_STOP = frozenset({signal.SIGINT, signal.SIGTERM})


@contextmanager
def watching_for_interrupts() -> Iterator[Callable[[], bool]]:
    """Within the block, whether a signal asked this process to stop since it was entered.

    Whatever handler is in place goes on as ever. One that raises can be lost: in a destructor or a callback, and in
    Dagster between the last step of a run and its end. Python writes each signal's number to the wakeup descriptor
    besides, which nothing swallows. Outside of the main thread no signal is seen.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    reader, writer = socket.socketpair()
    seen = False

    def interrupted() -> bool:
        nonlocal seen
        with contextlib.suppress(BlockingIOError):
            seen = seen or any(number in _ASKS_TO_STOP for number in reader.recv(4096))
        return seen

    with reader, writer:
        reader.setblocking(False)
        writer.setblocking(False)
        before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        try:
            yield interrupted
        finally:
            signal.set_wakeup_fd(before)
