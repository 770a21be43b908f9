"""When each mailbox is polled for its history id: often while it changes, less often the longer it is quiet."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from gmail_assets.sensor_cursor import backoff_seconds

__all__ = ["QUIET_MINUTES", "PollSchedule"]

QUIET_MINUTES = 5.0
"""Maximum minutes between two polls of a mailbox: `benchmarks.freshness` shows what follows for new messages."""
_TICK_SECONDS = 30.0
"""Shorter intervals mean: at every tick."""
_REPORTED_FAILURES = 2
"""Polls in a row that have to fail before the mailbox is reported: a single one may be an outage of seconds."""
_SPREAD = 0.2
"""Share of an interval by which mailboxes differ: those that were polled together don't stay together."""


@dataclass(slots=True)
class _Poll:
    at: float
    head: int | None
    changed_at: float
    failures: int = 0


class PollSchedule:
    """The polls of one process: after a restart, every mailbox is polled. Times are epoch seconds.

    Args:
        quiet_minutes: Maximum minutes between two polls of a mailbox.
    """

    def __init__(self, quiet_minutes: float = QUIET_MINUTES) -> None:
        self._longest = quiet_minutes * 60
        self._polls: dict[str, _Poll] = {}

    def record(self, mailbox: str, head: int, now: float) -> None:
        """A mailbox answered."""
        last = self._polls.get(mailbox)
        same = last is not None and last.head == head
        self._polls[mailbox] = _Poll(now, head, last.changed_at if last is not None and same else now)

    def record_failure(self, mailbox: str, now: float) -> None:
        """A mailbox could not be read: it is polled again after a minute, then at growing intervals."""
        last = self._polls.get(mailbox) or _Poll(now, None, now)
        self._polls[mailbox] = _Poll(now, last.head, last.changed_at, last.failures + 1)

    def failing(self, mailbox: str) -> bool:
        """Whether the last poll failed."""
        return mailbox in self._polls and self._polls[mailbox].failures > 0

    def is_reported(self, mailbox: str) -> bool:
        """Whether so many polls in a row failed that the mailbox is reported as failing."""
        return mailbox in self._polls and self._polls[mailbox].failures >= _REPORTED_FAILURES

    def due(self, mailboxes: Iterable[str], now: float) -> list[str]:
        """The mailboxes to poll, the most overdue first; those that were never polled come before all others."""
        overdue = [(now - self._due_at(mailbox, now), mailbox) for mailbox in mailboxes]
        return [mailbox for late, mailbox in sorted(overdue, reverse=True) if late >= 0]

    def _due_at(self, mailbox: str, now: float) -> float:
        poll = self._polls.get(mailbox)
        if poll is None or poll.at > now:  # the clock was set back
            return 0.0
        if poll.failures:
            return poll.at + backoff_seconds(poll.failures)
        # A mailbox that was quiet for two minutes is polled again after two minutes.
        interval = min(poll.at - poll.changed_at, self._longest)
        return (
            poll.at + interval * (1 - _SPREAD * _fraction(mailbox)) if interval >= _TICK_SECONDS else poll.at
        )


@lru_cache(maxsize=20_000)
def _fraction(mailbox: str) -> float:
    return hashlib.sha256(mailbox.encode()).digest()[0] / 256
