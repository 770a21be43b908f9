"""How many requests of one user may be in flight at the same time: `ConcurrencyLimiter`.

Gmail does not name its limit (batches of 10 to 25 passed, 40 and 100 were refused; 48 concurrent single gets passed).
The limiter starts below it, halves its limit at a refusal, and raises it by one as requests succeed.
"""

from __future__ import annotations

import threading

from gmail_client.http.waiting import Stopped

__all__ = ["ConcurrencyLimiter"]

MAX_IN_FLIGHT = 40
"""Requests in flight; each part of a batch counts as one."""

MAX_BATCH_PARTS = 20
"""Parts of a batch at the highest limit, so that two batches can be in flight."""


class ConcurrencyLimiter:
    """Bounds the number of requests in flight; thread-safe.

    Args:
        max_limit: The limit to start with, and the highest.
    """

    def __init__(self, max_limit: int = MAX_IN_FLIGHT) -> None:
        self._max_limit = max_limit
        self._limit = max_limit
        self._in_flight = 0
        self._generation = 0
        self._succeeded = 0
        self._changed = threading.Condition()

    @property
    def limit(self) -> int:
        """Requests that may be in flight now."""
        return self._limit

    @property
    def batch_size(self) -> int:
        """Parts that a batch should have now: half the limit, so that two can be in flight."""
        return max(1, min(MAX_BATCH_PARTS, self._limit // 2))

    def acquire(self, parts: int, stop: threading.Event | None = None) -> int:
        """Wait until `parts` requests may be sent; more than the limit are sent once nothing else is in flight.

        Returns:
            The generation of these requests, for `decrease`.

        Raises:
            Stopped: `stop` was set.
        """
        with self._changed:
            while self._in_flight and self._in_flight + parts > self._limit:
                self._changed.wait(None if stop is None else 0.1)
                if stop is not None and stop.is_set():
                    raise Stopped
            self._in_flight += parts
            return self._generation

    def release(self, parts: int) -> None:
        """`parts` requests are no longer in flight."""
        with self._changed:
            self._in_flight -= parts
            self._changed.notify_all()

    def decrease(self, generation: int) -> None:
        """Halve the limit, once for all requests of one generation.

        Args:
            generation: What `acquire` returned for the refused request.
        """
        with self._changed:
            if generation == self._generation:
                self._generation += 1
                self._succeeded = 0
                self._limit = max(1, self._limit // 2)

    def increase(self, parts: int) -> None:
        """Count `parts` successful requests; half a limit of them raises the limit by one."""
        with self._changed:
            self._succeeded += parts
            if self._limit < self._max_limit and self._succeeded * 2 >= self._limit:
                self._succeeded = 0
                self._limit += 1
                self._changed.notify_all()
