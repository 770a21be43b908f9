"""The quota of a Cloud project, shared by all processes of a deployment: `ProjectQuota`.

Each process has a *share* of the units per minute and a *budget* of the units per day. Both are recorded in a small
ledger (`LedgerStore`, which the lake implements). A process claims them for about a minute in advance, so that the
ledger is read and written about once per minute and process. The claim of a killed process expires. Claimed units count
as spent even if they were not used, so the limits are kept if a process crashes.

Calls of first loads and reconciliations come after those of changes: within a process, changes are granted first; among
processes, `quota_shares.divide` gives first loads what changes leave. First loads also stop before the day's units are
used up; changes do not.

A process that spends little never claims: its first units come from a part of the limits that is never claimed.
"""

from __future__ import annotations

import atexit
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from gmail_client.http.clock import SYSTEM_CLOCK, Clock
from gmail_client.quota import RateLimiter, Reservation
from gmail_client.quota_claims import QuotaClaims
from gmail_client.quota_shares import LedgerStore, ProjectLimits

__all__ = ["FREE_UNITS", "ProjectQuota", "release_all"]

FREE_UNITS = 100
"""Units that a process spends without a claim."""


class ProjectQuota:
    """The units of the project, for one process. Thread-safe.

    Until `share` is called, the process can use the whole quota of the project.

    Args:
        per_minute: Units per minute of the project.
        most: Units per minute that this program may use even if Gmail names a higher limit; None for no such bound.
        clock: Measures the time, and waits.
    """

    def __init__(self, per_minute: int, *, most: int | None = None, clock: Clock = SYSTEM_CLOCK) -> None:
        self._most = most
        self._clock = clock
        self._limiter = RateLimiter(per_minute, clock=clock)
        self._limit = per_minute
        self._claims: QuotaClaims | None = None
        self._free = FREE_UNITS
        self._lock = threading.Lock()

    @property
    def limit(self) -> int:
        """Units per minute of the project, as set or learned."""
        return self._limit

    @property
    def burst(self) -> int:
        """Units that may be spent at once; a batch should cost less."""
        return self._limiter.burst

    @property
    def is_shared(self) -> bool:
        """Whether `share` was called."""
        return self._claims is not None

    def share(
        self, store: LedgerStore, limits: ProjectLimits, *, monotonic: Callable[[], float] | None = None
    ) -> None:
        """Share the project with all processes that use the same ledger. A second call has no effect.

        Args:
            store: The ledger.
            limits: Limits of the project.
            monotonic: Seconds that are never set; default: the machine's for the system's clock, else the clock.
        """
        with self._lock:
            if self._claims is None:
                if monotonic is None:
                    monotonic = time.monotonic if self._clock is SYSTEM_CLOCK else self._clock.time
                _release_at_exit(self)
                limits = replace(limits, per_minute=min(limits.per_minute, self._limit))
                self._claims = QuotaClaims(store, limits, self._clock, monotonic)

    def reserve(self, units: int, *, loads: bool = False, stop: threading.Event | None = None) -> Reservation:
        """Wait until `units` may be spent.

        Args:
            units: At least 1.
            loads: The call belongs to a first load or a reconciliation: the others go first.
            stop: Ends the wait when it is set.

        Raises:
            DailyLimitError: The units of the day are spent; with `loads`, the part of them that first loads may use.
            Stopped: `stop` was set.
        """
        claims = self._claims
        if claims is None or self._take_free(units, claims):
            return self._limiter.reserve(units, urgent=not loads, stop=stop)
        return claims.reserve(units, loads=loads, stop=stop)

    def learn(self, limit: int) -> None:
        """Use the limit that Gmail named in a refusal, in units per minute."""
        if limit > 0:
            limit = limit if self._most is None else min(limit, self._most)
            self._limit = limit
            self._limiter.learn(limit)
            if self._claims is not None:
                self._claims.learn(limit)

    def block_until(self, epoch: float) -> None:
        """Grant nothing before `epoch` (seconds)."""
        self._limiter.block_until(epoch)
        if self._claims is not None:
            self._claims.block_until(epoch)

    def release(self) -> None:
        """Return units that were claimed and not spent, at the end of the process. Errors are ignored."""
        if self._claims is not None:
            self._claims.release()

    def _take_free(self, units: int, claims: QuotaClaims) -> bool:
        """Spend units that need no claim; False if a claim exists, or too few of them are left."""
        with self._lock:
            if units > self._free or claims.claimed:
                return False
            self._free -= units
            return True


_shared: weakref.WeakSet[ProjectQuota] = weakref.WeakSet()


def _release_at_exit(quota: ProjectQuota) -> None:
    if not _shared:
        atexit.register(release_all)
    _shared.add(quota)


def release_all() -> None:
    """Return the units that all clients of this process have claimed and not spent. Errors are ignored."""
    for quota in list(_shared):
        with suppress(Exception):  # at the end, errors can't be handled
            quota.release()
