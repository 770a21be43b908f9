"""When each mailbox is asked for its history id: often while it changes, less often the longer it is quiet."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from gmail_assets.sensor_cursor import backoff_seconds

__all__ = ["QUIET_MINUTES", "LookSchedule"]

QUIET_MINUTES = 5.0
"""Maximum minutes between two looks at a mailbox: `benchmarks.freshness` shows what follows for new messages."""
_TICK_SECONDS = 30.0
"""Shorter intervals mean: at every tick."""
_SPREAD = 0.2
"""Share of an interval by which mailboxes differ: those that were asked together don't stay together."""


@dataclass(slots=True)
class _Look:
    at: float
    head: int | None
    changed_at: float
    failures: int = 0


class LookSchedule:
    """The looks of one process: a restart begins with a look at every mailbox. Times are epoch seconds.

    Args:
        quiet_minutes: Maximum minutes between two looks at a mailbox.
    """

    def __init__(self, quiet_minutes: float = QUIET_MINUTES) -> None:
        self._longest = quiet_minutes * 60
        self._looks: dict[str, _Look] = {}

    def record(self, mailbox: str, head: int, now: float) -> None:
        """A mailbox answered."""
        last = self._looks.get(mailbox)
        same = last is not None and last.head == head
        self._looks[mailbox] = _Look(now, head, last.changed_at if last is not None and same else now)

    def record_failure(self, mailbox: str, now: float) -> None:
        """A mailbox could not be read: it is asked again after a minute, then after longer and longer waits."""
        last = self._looks.get(mailbox) or _Look(now, None, now)
        self._looks[mailbox] = _Look(now, last.head, last.changed_at, last.failures + 1)

    def failing(self, mailbox: str) -> bool:
        """Whether the last look failed."""
        return mailbox in self._looks and self._looks[mailbox].failures > 0

    def due(self, mailboxes: Iterable[str], now: float) -> list[str]:
        """The mailboxes to look at, the most overdue first; those that were never looked at lead."""
        overdue = [(now - self._due_at(mailbox, now), mailbox) for mailbox in mailboxes]
        return [mailbox for late, mailbox in sorted(overdue, reverse=True) if late >= 0]

    def _due_at(self, mailbox: str, now: float) -> float:
        look = self._looks.get(mailbox)
        if look is None or look.at > now:  # the clock was set back
            return 0.0
        if look.failures:
            return look.at + backoff_seconds(look.failures)
        # A mailbox that was quiet for two minutes is asked again after two minutes.
        interval = min(look.at - look.changed_at, self._longest)
        return (
            look.at + interval * (1 - _SPREAD * _fraction(mailbox)) if interval >= _TICK_SECONDS else look.at
        )


@lru_cache(maxsize=20_000)
def _fraction(mailbox: str) -> float:
    return hashlib.sha256(mailbox.encode()).digest()[0] / 256
