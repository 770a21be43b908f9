"""How a run stops early, by the time budget, Ctrl-C, SIGTERM or an error: `RunStop`, `RunGroup`, `UntilError`.

An aborted fetch would lose the messages that have arrived and are not written yet, up to a chunk, and their units. So
while a run fetches, an event announces its end: no further call is sent, the fetched messages are written, and then the
run ends.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Generic, TypeVar
from weakref import WeakSet

__all__ = ["RunGroup", "RunStop", "TimeUpError", "UntilError", "deferred_signals"]

from gmail_assets.syncing.memory import BYTES_IN_FLIGHT, ByteBudget

T = TypeVar("T")

_LEAST_SECONDS = 60.0
"""Seconds that a fetch may take although the time budget is spent, so that each run makes progress even if the listing
takes the whole budget."""


class TimeUpError(Exception):
    """The run has to end; committed data is kept."""


class UntilError(Generic[T]):
    """Items up to an error that ends them: the consumer writes the items, then raises the error.

    Attributes:
        error: The error that ended the items; None if there was none.
    """

    def __init__(self, items: Iterable[T]) -> None:
        self._items = items
        self.error: Exception | None = None

    def __iter__(self) -> Iterator[T]:
        try:
            yield from self._items
        except Exception as error:
            self.error = error

    def raise_error(self) -> None:
        """Raise the error that ended the items, if any."""
        if self.error is not None:
            raise self.error


class RunGroup:
    """The runs of many mailboxes: they stop together, and share their memory. Thread-safe.

    Args:
        bytes_in_flight: Bytes of JSON that they hold together before they write.

    Attributes:
        memory: The bytes that they hold.
    """

    def __init__(self, bytes_in_flight: int = BYTES_IN_FLIGHT) -> None:
        self.memory = ByteBudget(bytes_in_flight)
        self._lock = threading.RLock()  # a signal can arrive while it is held
        self._set = threading.Event()
        self._members: WeakSet[threading.Event] = WeakSet()

    def add(self, event: threading.Event) -> None:
        """Set `event` when the group stops; immediately if it has already stopped."""
        with self._lock:
            self._members.add(event)
            if self._set.is_set():
                event.set()

    def set(self) -> None:
        """Stop all runs of the group."""
        with self._lock:
            self._set.set()
            for event in self._members:
                event.set()

    def is_set(self) -> bool:
        """Whether the group was stopped."""
        return self._set.is_set()


class RunStop:
    """Decides when a run has to stop.

    Args:
        deadline: `time.monotonic()` at which the time budget is spent; None for no limit.
        on_signal: Called when a signal announces the end, in a separate thread, because the interrupted code may hold
            locks of the terminal or of a log.
        group: Stops the run together with others.

    Attributes:
        event: Set while a fetch has to end early.
    """

    def __init__(
        self,
        deadline: float | None,
        on_signal: Callable[[], None] = lambda: None,
        group: RunGroup | None = None,
    ) -> None:
        self._deadline = deadline
        self._on_signal = on_signal
        self.event = threading.Event()
        if group is not None:
            group.add(self.event)

    def check(self) -> None:
        """End the run if it has to stop.

        Raises:
            TimeUpError: It has to.
        """
        self.check_event()
        if self._deadline is not None and time.monotonic() >= self._deadline:
            raise TimeUpError

    def check_event(self) -> None:
        """End the run if `event` is set.

        Raises:
            TimeUpError: It is.
        """
        if self.event.is_set():
            raise TimeUpError

    @contextmanager
    def announced(self) -> Iterator[None]:
        """Within the block, SIGINT, SIGTERM and the deadline set `event` instead of ending the block.

        The first signal takes effect at the end of the block. A second one takes effect immediately. Outside the main
        thread, where Python delivers no signals, only the deadline counts.
        """
        timer: threading.Timer | None = None
        if self._deadline is not None:
            timer = threading.Timer(max(self._deadline - time.monotonic(), _LEAST_SECONDS), self.event.set)
            timer.daemon = True
            timer.start()
        try:
            with deferred_signals(self.event.set, self.event.is_set, self._on_signal):
                yield
        finally:
            if timer is not None:
                timer.cancel()


@contextmanager
def deferred_signals(
    stop: Callable[[], None], stopped: Callable[[], bool], on_signal: Callable[[], None] = lambda: None
) -> Iterator[None]:
    """Within the block, the first SIGINT or SIGTERM calls `stop`, and takes effect at the end of the block.

    A second one takes effect immediately. Outside the main thread, where Python delivers no signals, nothing changes.

    Args:
        stop: Announces the end.
        stopped: Whether it is announced.
        on_signal: Called after the first signal, in a separate thread.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    replaced = {
        number: handler for number, handler in handlers.items() if handler not in (None, signal.SIG_IGN)
    }
    received: list[int] = []

    def restore() -> None:
        for number, handler in replaced.items():
            signal.signal(number, handler)

    def defer(number: int, frame: FrameType | None) -> None:
        if stopped() and received:
            restore()
            received.clear()
            signal.raise_signal(number)
        else:
            received.append(number)
            stop()
            threading.Thread(target=on_signal, daemon=True).start()

    for number in replaced:
        signal.signal(number, defer)
    try:
        yield
    finally:
        restore()
        if received:
            signal.raise_signal(received[0])
