"""Worker threads that end when their consumer does: `WorkerPool`."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from types import TracebackType

from gmail_client.http.calls import ApiCall, ApiResult
from gmail_client.http.waiting import Stopped

__all__ = ["WorkerPool"]

_JOIN_SECONDS = 2.0
"""Seconds that closing waits for threads with a request in flight. They are daemon threads, so none of them delays the
end of the process."""

_DRAIN_SECONDS = 10.0
"""Seconds that a stopped read waits for the responses to requests in flight: their units are spent already."""

_POLL_SECONDS = 0.25
"""Seconds between two checks of the consumer's stop event."""

Work = Callable[[Sequence[ApiCall], threading.Event, dict[int, ApiResult]], None]


class WorkerPool:
    """Runs batches of calls in threads, which start as batches are submitted.

    Once it stops, because a batch failed or `stop` was set, no further call is sent. Results of calls that are done or
    in flight are still returned.

    Args:
        workers: The highest number of threads.
        work: Performs a batch of calls and puts each result into the dictionary by its position, so that an error
            does not lose the results before it. It has to check the event and raise `Stopped` when it is set.
        stop: Stops the pool when it is set.
    """

    def __init__(self, workers: int, work: Work, stop: threading.Event | None = None) -> None:
        self._max_workers = workers
        self._work = work
        self._requested_stop = stop
        self._stop = threading.Event()
        self._drain_until = 0.0
        self._error: BaseException | None = None
        self._threads: list[threading.Thread] = []
        self._tasks: SimpleQueue[tuple[int, Sequence[ApiCall]] | None] = SimpleQueue()
        self._done: SimpleQueue[tuple[int, list[ApiResult], BaseException | None]] = SimpleQueue()
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

    @property
    def stopping(self) -> bool:
        """Whether no more batches are to be submitted."""
        if self._requested_stop is not None and self._requested_stop.is_set():
            self._begin_to_stop()
        return self._stop.is_set()

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

        Fewer results than calls when the pool is stopping. None at all, and nothing pending afterwards, when the
        requests in flight take too long then.
        """
        while True:
            if ordered and self._returned in self._early:
                number, results = self._returned, self._early.pop(self._returned)
            else:
                try:
                    number, results, error = self._done.get(timeout=_POLL_SECONDS)
                except Empty:
                    if self.stopping and time.monotonic() >= self._drain_until:
                        self._returned = self._submitted
                        return []
                    continue
                self._error = self._error or error
            if not ordered or number == self._returned:
                self._returned += 1
                return results
            self._early[number] = results

    def raise_error(self) -> None:
        """Raise what ended a worker, if anything did.

        Raises:
            GmailError: The error.
        """
        if self._error is not None:
            raise self._error

    def _begin_to_stop(self) -> None:
        if not self._stop.is_set():
            self._drain_until = time.monotonic() + _DRAIN_SECONDS
            self._stop.set()

    def _run(self) -> None:
        while (task := self._tasks.get()) is not None:
            number, calls = task
            results: dict[int, ApiResult] = {}
            error: BaseException | None = None
            try:
                if not self._stop.is_set():
                    self._work(calls, self._stop, results)
            except Stopped:
                pass
            except BaseException as raised:
                error = raised
                self._begin_to_stop()  # immediately, before this or another thread takes the next batch
            self._done.put((number, [results[place] for place in sorted(results)], error))
