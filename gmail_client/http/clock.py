"""Time as an argument: the system's clock, and one that runs faster.

Everything that waits (rate limiter, retries) or records a time takes a `Clock`, so that tests don't wait and a
benchmark can run a minute of Gmail's quota in a second.
"""

from __future__ import annotations

import time
from typing import Protocol

__all__ = ["SYSTEM_CLOCK", "Clock", "ScaledClock", "SystemClock"]


class Clock(Protocol):
    """Seconds since the epoch, and a way to wait."""

    def time(self) -> float:
        """Seconds since the Unix epoch."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait for `seconds` of this clock's time; returns immediately for zero or less."""
        ...


class SystemClock:
    """The machine's own clock."""

    def time(self) -> float:
        """Seconds since the Unix epoch."""
        return time.time()

    def sleep(self, seconds: float) -> None:
        """Wait in real time."""
        if seconds > 0:
            time.sleep(seconds)


class ScaledClock:
    """A clock that starts at the present and runs `factor` times as fast as the machine's.

    Client and emulator need the same clock, or the same factor, so that their quota windows agree.
    """

    def __init__(self, factor: float, *, start: float | None = None) -> None:
        if factor <= 0:
            raise ValueError(f"factor must be above 0, not {factor}")
        self.factor = factor
        self._real_start = time.time()
        self._start = self._real_start if start is None else start

    def time(self) -> float:
        """Scaled seconds since the Unix epoch."""
        return self._start + (time.time() - self._real_start) * self.factor

    def sleep(self, seconds: float) -> None:
        """Wait for `seconds` of scaled time."""
        if seconds > 0:
            time.sleep(seconds / self.factor)


SYSTEM_CLOCK: Clock = SystemClock()
