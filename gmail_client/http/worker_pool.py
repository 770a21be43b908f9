"""A few worker threads that end when their consumer does: `Crew`."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from types import TracebackType

from gmail_client.http.calls import Answer, Call
from gmail_client.http.waiting import Stopped

__all__ = ["Crew"]

_LEAVE = 2.0
"""Seconds that closing waits for threads that are in the middle of a request. They are daemons: none holds up
the end of the process."""

Work = Callable[[Sequence[Call], threading.Event], list[Answer]]


class Crew:
    """Runs batches of calls in threads, started as work comes in.

    Args:
        workers: Threads at most.
        work: Answers a batch of calls; it has to look at the event and raise `Stopped` when it is set.
    """

    def __init__(self, workers: int, work: Work) -> None:
        self._most = workers
        self._work = work
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._tasks: SimpleQueue[tuple[int, Sequence[Call]] | None] = SimpleQueue()
        self._results: SimpleQueue[tuple[int, list[Answer] | BaseException]] = SimpleQueue()
        self._early: dict[int, list[Answer]] = {}
        self._given = 0
        self._taken = 0

    def __enter__(self) -> Crew:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for _ in self._threads:
            self._tasks.put(None)
        deadline = time.monotonic() + _LEAVE
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    @property
    def pending(self) -> int:
        """Batches that were put and not yet taken."""
        return self._given - self._taken

    def put(self, calls: Sequence[Call]) -> None:
        """Hand in a batch."""
        self._tasks.put((self._given, calls))
        self._given += 1
        if len(self._threads) < min(self._most, self._given):
            name = f"gmail-{len(self._threads) + 1}"
            thread = threading.Thread(target=self._run, name=name, daemon=True)
            self._threads.append(thread)
            thread.start()

    def take(self, *, ordered: bool) -> list[Answer]:
        """Wait for a batch: the next to be done, or the next in the order of `put`.

        Raises:
            GmailError: What ended a worker.
        """
        while True:
            if ordered and self._taken in self._early:
                number, result = self._taken, self._early.pop(self._taken)
            else:
                number, outcome = self._results.get()
                if isinstance(outcome, BaseException):
                    raise outcome
                result = outcome
            if not ordered or number == self._taken:
                self._taken += 1
                return result
            self._early[number] = result

    def _run(self) -> None:
        while (task := self._tasks.get()) is not None:
            number, calls = task
            try:
                if self._stop.is_set():
                    return
                self._results.put((number, self._work(calls, self._stop)))
            except Stopped:
                return
            except BaseException as error:
                self._results.put((number, error))
