"""Worker threads that end when their consumer does: `WorkerPool`."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from types import TracebackType

from gmail_client.http.calls import ApiCall, ApiResult
from gmail_client.http.waiting import Stopped

__all__ = ["WorkerPool"]

_JOIN_SECONDS = 2.0
"""Seconds that closing waits for threads with a request in flight. They are daemon threads, so none of them delays the
end of the process."""

Work = Callable[[Sequence[ApiCall], threading.Event], list[ApiResult]]


class WorkerPool:
    """Runs batches of calls in threads, which start as batches are submitted.

    Args:
        workers: The highest number of threads.
        work: Performs a batch of calls; it has to check the event and raise `Stopped` when it is set.
    """

    def __init__(self, workers: int, work: Work) -> None:
        self._max_workers = workers
        self._work = work
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._tasks: SimpleQueue[tuple[int, Sequence[ApiCall]] | None] = SimpleQueue()
        self._results: SimpleQueue[tuple[int, list[ApiResult] | BaseException]] = SimpleQueue()
        self._early: dict[int, list[ApiResult]] = {}
        self._submitted = 0
        self._returned = 0

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for _ in self._threads:
            self._tasks.put(None)
        deadline = time.monotonic() + _JOIN_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    @property
    def pending(self) -> int:
        """Batches that were submitted and whose results were not returned yet."""
        return self._submitted - self._returned

    def submit(self, calls: Sequence[ApiCall]) -> None:
        """Add a batch."""
        self._tasks.put((self._submitted, calls))
        self._submitted += 1
        if len(self._threads) < min(self._max_workers, self._submitted):
            name = f"gmail-{len(self._threads) + 1}"
            thread = threading.Thread(target=self._run, name=name, daemon=True)
            self._threads.append(thread)
            thread.start()

    def next_results(self, *, ordered: bool) -> list[ApiResult]:
        """Wait for the results of one batch: of the first that is done, or of the next in the order of `submit`.

        Raises:
            GmailError: What ended a worker.
        """
        while True:
            if ordered and self._returned in self._early:
                number, results = self._returned, self._early.pop(self._returned)
            else:
                number, outcome = self._results.get()
                if isinstance(outcome, BaseException):
                    raise outcome
                results = outcome
            if not ordered or number == self._returned:
                self._returned += 1
                return results
            self._early[number] = results

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
