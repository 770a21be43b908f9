"""How many requests of one user may be in flight at once.

Gmail refuses above some number that it does not name (batches of 10 to 25 passed, 40 and 100 were refused;
single gets passed 48 at once). `Gate` starts below it, halves at a refusal and grows back one by one.
"""

from __future__ import annotations

import threading

from gmail_client.http.waiting import Stopped

__all__ = ["Gate"]

WIDEST = 40
"""Requests in flight, batch parts counted one by one."""

BATCH = 20
"""Parts in a batch while the gate is wide open: two batches fill it."""


class Gate:
    """Admits a bounded number of requests at a time; thread-safe.

    Args:
        widest: Requests that may be in flight while Gmail does not object.
    """

    def __init__(self, widest: int = WIDEST) -> None:
        self._widest = widest
        self._width = widest
        self._inside = 0
        self._refusals = 0
        self._passed = 0
        self._changed = threading.Condition()

    @property
    def width(self) -> int:
        """Requests that may be in flight now."""
        return self._width

    @property
    def batch_size(self) -> int:
        """Parts that a batch should have now: half the width, so that two can be on their way."""
        return max(1, min(BATCH, self._width // 2))

    def enter(self, parts: int, stop: threading.Event | None = None) -> int:
        """Wait until `parts` requests may go out; more than the width go out alone.

        Returns:
            A mark of this moment for `narrow`.

        Raises:
            Stopped: `stop` was set.
        """
        with self._changed:
            while self._inside and self._inside + parts > self._width:
                self._changed.wait(None if stop is None else 0.1)
                if stop is not None and stop.is_set():
                    raise Stopped
            self._inside += parts
            return self._refusals

    def leave(self, parts: int) -> None:
        """`parts` requests have been answered, or never will be."""
        with self._changed:
            self._inside -= parts
            self._changed.notify_all()

    def narrow(self, mark: int) -> None:
        """Halve the width, once for all requests that were in flight together.

        Args:
            mark: What `enter` returned for the refused request.
        """
        with self._changed:
            if mark == self._refusals:
                self._refusals += 1
                self._passed = 0
                self._width = max(1, self._width // 2)

    def widen(self, parts: int) -> None:
        """`parts` requests passed: one more may follow when half the width has passed."""
        with self._changed:
            self._passed += parts
            if self._width < self._widest and self._passed * 2 >= self._width:
                self._passed = 0
                self._width += 1
                self._changed.notify_all()
