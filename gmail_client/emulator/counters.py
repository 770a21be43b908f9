"""Request statistics of the emulator: `RequestCounters` counts calls, units, bytes and errors by method."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from typing import Any

__all__ = ["RequestCounters"]


class RequestCounters:
    """Counters since the start or the last `reset`. Each part of a batch is a call.

    Attributes:
        calls: Calls by method, including refused ones.
        units: Quota units by method; a refused or faulted call costs none.
        mailbox_units: The same by mailbox.
        bytes: Bytes of JSON by method, before compression.
        errors: Responses other than 2xx by method and status.
        http_requests: HTTP requests to the API; a batch is one.
        batches: How many of them were batches.
        peak_concurrency: Maximum number of calls of one user in flight at the same time.
        fetches: How often the content (full or raw) of each message was sent, by mailbox and message id.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        """Set every counter to zero."""
        with self._lock:
            self.calls: Counter[str] = Counter()
            self.units: Counter[str] = Counter()
            self.mailbox_units: Counter[str] = Counter()
            self.bytes: Counter[str] = Counter()
            self.errors: defaultdict[str, Counter[int]] = defaultdict(Counter)
            self.http_requests = 0
            self.batches = 0
            self.peak_concurrency = 0
            self.fetches: defaultdict[str, Counter[str]] = defaultdict(Counter)

    @property
    def total_calls(self) -> int:
        """Calls of all methods."""
        return sum(self.calls.values())

    @property
    def total_units(self) -> int:
        """Units of all methods."""
        return sum(self.units.values())

    @property
    def total_bytes(self) -> int:
        """Bytes of all methods."""
        return sum(self.bytes.values())

    @property
    def fetched_twice(self) -> dict[str, dict[str, int]]:
        """The messages whose content was sent more than once, and how often, by mailbox."""
        with self._lock:
            repeated = {
                address: {message_id: times for message_id, times in counts.items() if times > 1}
                for address, counts in self.fetches.items()
            }
        return {address: counts for address, counts in repeated.items() if counts}

    @property
    def fetched(self) -> int:
        """The number of messages whose content was sent at least once."""
        with self._lock:
            return sum(len(counts) for counts in self.fetches.values())

    def count(self, method: str, status: int, units: int, size: int, address: str = "") -> None:
        """Count one call, of a mailbox if it is known."""
        with self._lock:
            self.calls[method] += 1
            self.units[method] += units
            if address:
                self.mailbox_units[address] += units
            self.bytes[method] += size
            if status >= 300:
                self.errors[method][status] += 1

    def count_request(self, *, batch: bool) -> None:
        """Count one HTTP request to the API."""
        with self._lock:
            self.http_requests += 1
            self.batches += batch

    def count_fetch(self, address: str, message_id: str) -> None:
        """Count one message whose content is sent."""
        with self._lock:
            self.fetches[address][message_id] += 1

    def record_concurrency(self, number: int) -> None:
        """Update the peak."""
        if number > self.peak_concurrency:
            self.peak_concurrency = number

    def as_json(self) -> dict[str, Any]:
        """All counters as a JSON object, with `fetchedTwice` instead of `fetches`."""
        twice = self.fetched_twice
        with self._lock:
            return {
                "calls": dict(self.calls),
                "units": dict(self.units),
                "mailboxUnits": dict(self.mailbox_units),
                "bytes": dict(self.bytes),
                "errors": {
                    method: {str(status): number for status, number in counts.items()}
                    for method, counts in self.errors.items()
                },
                "totalCalls": self.total_calls,
                "totalUnits": self.total_units,
                "totalBytes": self.total_bytes,
                "httpRequests": self.http_requests,
                "batches": self.batches,
                "peakConcurrency": self.peak_concurrency,
                "fetched": sum(len(counts) for counts in self.fetches.values()),
                "fetchedTwice": twice,
            }
