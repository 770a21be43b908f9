"""Bounds the memory of runs over many mailboxes: `ByteBudget`, `ByteShare`.

Each run collects a chunk of messages before it writes them. All runs together may hold a limited number of bytes: when
the limit is exceeded, each of them writes its messages, in smaller chunks. No run waits for another, so none can block.
"""

from __future__ import annotations

import threading

__all__ = ["BYTES_IN_FLIGHT", "ByteBudget", "ByteShare"]

BYTES_IN_FLIGHT = 64 * 2**20
"""Bytes of JSON that all runs of a process hold together. Parsed, they take about five times as much memory."""

_LEAST_BYTES = 256 * 2**10
"""Bytes that a run may always collect: committing less would cost more than it saves."""


class ByteBudget:
    """The bytes that runs hold together. Thread-safe.

    Args:
        limit: Bytes above which the runs write their messages.
    """

    def __init__(self, limit: int = BYTES_IN_FLIGHT) -> None:
        self.limit = limit
        self._held = 0
        self._lock = threading.Lock()

    @property
    def is_exceeded(self) -> bool:
        """Whether the runs hold more than the limit."""
        return self._held > self.limit

    def add(self, size: int) -> None:
        """Count bytes that a run holds; a negative size is released."""
        with self._lock:
            self._held += size


class ByteShare:
    """The bytes that one run holds.

    Args:
        budget: The bytes that all runs may hold together.
        least: Bytes that this run may always collect.
    """

    def __init__(self, budget: ByteBudget | None = None, least: int = _LEAST_BYTES) -> None:
        self._budget = budget or ByteBudget()
        self._least = least
        self.held = 0

    def take(self, size: int) -> None:
        """Count bytes that arrived."""
        self.held += size
        self._budget.add(size)

    def must_write(self) -> bool:
        """Whether this run has to write its messages."""
        return self.held >= self._least and self._budget.is_exceeded

    def release(self) -> None:
        """Release all bytes after they are written."""
        self._budget.add(-self.held)
        self.held = 0
