"""The quota of a Cloud project, shared by all processes of a deployment: `ProjectQuota`.

Each process has a *share* of the units per minute and a *budget* of the units per day. Both are recorded in a small
ledger (`LedgerStore`, which the lake implements). A process claims them for about a minute in advance, so that the
ledger is read and written about once per minute and process. The claim of a killed process expires. Claimed units count
as spent even if they were not used, so the limits are kept if a process crashes.

There are two lanes. Calls of first loads and reconciliations are in the slow lane: together they leave a part of the
units per minute to changes, and they stop before the day's units are used up; changes do not.

A process that spends little never claims: its first units come from a reserve that claims leave free.
"""

from __future__ import annotations

import atexit
import logging
import secrets
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Protocol

from gmail_client.errors import DailyLimitError, GmailError
from gmail_client.http.clock import SYSTEM_CLOCK, Clock
from gmail_client.http.waiting import pause
from gmail_client.quota import RateLimiter, Reservation

__all__ = ["FREE_UNITS", "Claim", "Ledger", "LedgerStore", "ProjectLimits", "ProjectQuota", "day_of"]

LEASE = 120.0
"""Seconds for which a claim is valid without renewal."""
MARGIN = 120.0
"""Seconds after its end during which a claim still counts for others: one minute of Gmail's window for units that were
spent at the end, and one minute by which the clocks of two machines may differ."""
RENEWAL = 60.0
"""Seconds after which a share is renewed, so that others get a part of it."""
HEADROOM = 0.05
"""Share of the limits that claims leave free, for processes that spend little and never claim."""
FREE_UNITS = 100
"""Units that a process spends without a claim."""
CHANGES_SHARE = 0.15
"""Share of the units per minute that first loads leave to changes."""
SMALLEST_SHARE = 600
"""Units per minute: with less, a process waits for others."""
ALONE = 0.1
"""Share of the limit that a process uses while the ledger can't be read or written."""

_FIRST_SHARE = 0.02
_LARGEST_BUDGET = 0.01
"""Share of the units per day that a process claims at once."""
_WAIT = 5.0
_RELEASE_WAIT = 1.0
_SLOTS = 96
_DAY = 86_400
_PACIFIC = 8 * 3600
_CONFLICTS = 20
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ProjectLimits:
    """Limits of the project.

    Attributes:
        per_minute: Units per minute.
        per_day: Units per day; None for no limit.
        loads_until: Share of the units per day at which first loads and reconciliations stop.
    """

    per_minute: int = 1_200_000
    per_day: int | None = 80_000_000
    loads_until: float = 0.9


@dataclass(frozen=True, slots=True)
class Claim:
    """The share of one process and lane.

    Attributes:
        owner: Random number of the process and lane.
        share: Units per minute.
        asked: Units per minute that it could use.
        until: Epoch second at which it expires.
        before: Units that it spent in the minute before its share became smaller.
        before_until: Epoch second until which `before` counts.
        slow: It belongs to first loads.
    """

    owner: int
    share: int = 0
    asked: int = 0
    until: int = 0
    before: int = 0
    before_until: int = 0
    slow: bool = False

    def counted(self, now: float) -> int:
        """Units per minute that others have to leave to it."""
        share = self.share if now < self.until + MARGIN else 0
        return max(share, self.before if now < self.before_until else 0)

    def is_live(self, now: float) -> bool:
        """Whether a process uses it, or waits for a share."""
        return self.asked > 0 and now < self.until


@dataclass(frozen=True, slots=True)
class Ledger:
    """The state that all processes share.

    Attributes:
        claims: Claims by slot, a small number.
        day: The day (`day_of`) that `spent` belongs to.
        spent: Units claimed on that day.
    """

    claims: dict[int, Claim] = field(default_factory=dict)
    day: int = 0
    spent: int = 0

    def spent_on(self, day: int) -> int:
        """Units claimed on a day; those of an earlier day don't count."""
        return self.spent if self.day >= day else 0


class LedgerStore(Protocol):
    """Stores the ledger. Every method may raise a `GmailError`."""

    def read(self) -> Ledger:
        """The current ledger."""

    def write(self, ledger: Ledger) -> bool:
        """Replace the ledger that was read last; False if another process replaced it since then."""


def day_of(epoch: float) -> int:
    """Number of the day in which Gmail counts units: it starts at midnight Pacific standard time."""
    return int((epoch - _PACIFIC) // _DAY)


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
        self._lanes: tuple[_Lane, _Lane] | None = None
        self._free = FREE_UNITS
        self._lock = threading.Lock()
        self._blocked_until = 0.0

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
        return self._lanes is not None

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
            if self._lanes is None:
                if monotonic is None:
                    monotonic = time.monotonic if self._clock is SYSTEM_CLOCK else self._clock.time
                _release_at_exit(self)
                limits = replace(limits, per_minute=min(limits.per_minute, self._limit))
                account = _Account(store, limits, self._clock, monotonic)
                self._lanes = _Lane(account, slow=False), _Lane(account, slow=True)

    def reserve(self, units: int, *, slow: bool = False, stop: threading.Event | None = None) -> Reservation:
        """Wait until `units` may be spent.

        Args:
            units: At least 1.
            slow: The call belongs to a first load or a reconciliation.
            stop: Ends the wait when it is set.

        Raises:
            DailyLimitError: The units of the day are spent; with `slow`, the part of them that first loads may use.
            Stopped: `stop` was set.
        """
        lanes = self._lanes
        if lanes is None:
            return self._limiter.reserve(units, stop=stop)
        if self._take_free(units, lanes):
            return self._limiter.reserve(units, stop=stop)
        return lanes[slow].reserve(units, stop)

    def learn(self, limit: int) -> None:
        """Use the limit that Gmail named in a refusal, in units per minute."""
        if limit > 0:
            limit = limit if self._most is None else min(limit, self._most)
            self._limit = limit
            self._limiter.learn(limit)
            for lane in self._lanes or ():
                lane.account.learn(limit)

    def block_until(self, epoch: float) -> None:
        """Grant nothing before `epoch` (seconds)."""
        self._limiter.block_until(epoch)
        for lane in self._lanes or ():
            lane.limiter.block_until(epoch)

    def release(self) -> None:
        """Return units that were claimed and not spent, at the end of the process. Errors are ignored."""
        for lane in self._lanes or ():
            lane.release()

    def _take_free(self, units: int, lanes: tuple[_Lane, _Lane]) -> bool:
        with self._lock:
            if units > self._free or any(lane.claimed for lane in lanes):
                return False
            self._free -= units
            return True


_shared: weakref.WeakSet[ProjectQuota] = weakref.WeakSet()


def _release_at_exit(quota: ProjectQuota) -> None:
    if not _shared:
        atexit.register(_release_all)
    _shared.add(quota)


def _release_all() -> None:
    for quota in list(_shared):
        with suppress(Exception):  # at the end of the process, errors can't be handled
            quota.release()


class _Account:
    """The ledger, for the lanes of one process."""

    def __init__(
        self, store: LedgerStore, limits: ProjectLimits, clock: Clock, monotonic: Callable[[], float]
    ) -> None:
        self.store = store
        self.limits = limits
        self.clock = clock
        self.monotonic = monotonic
        self.lock = threading.Lock()
        self.warned = False

    def learn(self, limit: int) -> None:
        self.limits = replace(self.limits, per_minute=limit)

    def day_limit(self, *, slow: bool) -> int | None:
        if self.limits.per_day is None:
            return None
        return int(self.limits.per_day * (self.limits.loads_until if slow else 1.0) * (1 - HEADROOM / 5))

    def minute_limit(self, *, slow: bool) -> int:
        return int(self.limits.per_minute * (1 - HEADROOM - (CHANGES_SHARE if slow else 0.0)))


class _Lane:
    """A share of the units per minute and a budget of the units per day, renewed when needed."""

    def __init__(self, account: _Account, *, slow: bool) -> None:
        self.account = account
        self.limiter = RateLimiter(SMALLEST_SHARE, clock=account.clock)
        self.claimed = False
        self._slow = slow
        self._owner = secrets.randbits(60) | 1
        self._lock = threading.Lock()
        self._share = 0
        self._budget = 0
        self._budget_day = 0
        self._used = 0
        """Units since the last renewal."""
        self._claimed_at = float("-inf")
        """Monotonic seconds: the wall clock may be set."""

    def reserve(self, units: int, stop: threading.Event | None) -> Reservation:
        while True:
            with self._lock:
                self._cover(units, stop)
                self._budget -= units
                self._used += units
            held = None
            try:
                held = self.limiter.reserve(units, stop=stop)
            finally:
                with self._lock:
                    in_time = held is not None and self._valid()
                    if not in_time:  # stopped, or the wait was longer than the claim
                        self._budget += units
                        self._used -= units
            if in_time:
                return held
            held.keep(0)
            held.settle()

    def release(self) -> None:
        # A thread that waits for a share or for the ledger holds the lock. The process must not wait for it at its end.
        if not self._lock.acquire(timeout=_RELEASE_WAIT):
            return
        try:
            if self.claimed:
                self._claim_with_retries(0, asked=0)
                self.claimed = False
                self._share = self._budget = 0
                self._claimed_at = float("-inf")
        finally:
            self._lock.release()

    def _valid(self) -> bool:
        return self._share > 0 and self._age() < LEASE

    def _age(self) -> float:
        return self.account.monotonic() - self._claimed_at

    def _cover(self, units: int, stop: threading.Event | None) -> None:
        """Renew until share and budget cover `units`."""
        while not self._covers(units):
            if not self._renew(units):
                pause(self.account.clock, _WAIT, stop)

    def _covers(self, units: int) -> bool:
        same_day = self._budget_day == day_of(self.account.clock.time())
        return self._valid() and self._age() < RENEWAL and self._budget >= units and same_day

    def _renew(self, units: int) -> bool:
        """Claim a share and a budget; False if other processes have to release units first."""
        asked = None
        if self._valid():
            rate = self._used * 60 / max(self._age(), 1.0)
            limit = self.account.minute_limit(slow=self._slow)
            asked = int(min(max(2 * rate, SMALLEST_SHARE, self._share / 2), limit))
        return self._claim_with_retries(units, asked=asked)

    def _claim_with_retries(self, units: int, *, asked: int | None) -> bool:
        account = self.account
        try:
            for _ in range(_CONFLICTS):
                with account.lock:
                    claim, budget, ledger = self._next(account.store.read(), units, asked)
                    began = account.monotonic()
                    if ledger is not None and not account.store.write(ledger):
                        continue
                self._take(claim, budget, began)
                return claim.share > 0
        except DailyLimitError:
            raise
        except GmailError as error:
            if asked != 0:
                self._go_alone(units, error)
            return True
        return False

    def _next(self, ledger: Ledger, units: int, asked: int | None) -> tuple[Claim, int, Ledger | None]:
        """The claim, the budget in hand, and the ledger that records both; None if it already does."""
        now = self.account.clock.time()
        day = max(day_of(now), ledger.day)
        spent = ledger.spent_on(day)
        kept = self._budget if self._budget_day == day else 0
        slot, own = self._own_slot(ledger, now)
        if slot is None:
            return Claim(self._owner), kept, None
        asked, share = self._share_of(ledger, slot, asked, now)
        if not share and not own.share and units and own.is_live(now + LEASE / 2):
            return own, kept, None  # it is known to wait
        budget, spent = self._budget_of(units, share, kept, spent, day)
        before, before_until = own.before, own.before_until
        if own.share > share:
            # Only units that were spent recently can still be in Gmail's window.
            kept_before = own.before if now < own.before_until else 0
            before = max(self.limiter.recent if own.owner == self._owner else own.share, kept_before)
            before_until = int(now + MARGIN) + 1
        until = int(now + LEASE) if asked else 0
        claim = Claim(self._owner, share, asked, until, before, before_until, self._slow)
        return claim, budget, Ledger({**ledger.claims, slot: claim}, day, spent)

    def _own_slot(self, ledger: Ledger, now: float) -> tuple[int | None, Claim]:
        for slot, claim in ledger.claims.items():
            if claim.owner == self._owner:
                return slot, claim
        for slot in range(_SLOTS):
            known = ledger.claims.get(slot)
            if known is None or not (known.counted(now) or known.is_live(now)):
                return slot, Claim(self._owner)
        return None, Claim(self._owner)

    def _share_of(self, ledger: Ledger, slot: int, asked: int | None, now: float) -> tuple[int, int]:
        """Units per minute that it could use, and those that it gets."""
        if asked == 0:
            return 0, 0
        others = [claim for number, claim in ledger.claims.items() if number != slot]
        free = self.account.minute_limit(slow=False) - sum(claim.counted(now) for claim in others)
        rivals = [claim for claim in others if claim.is_live(now)]
        if self._slow:
            rivals = [claim for claim in rivals if claim.slow]
            limit = self.account.minute_limit(slow=True)
            free = min(free, limit - sum(claim.counted(now) for claim in others if claim.slow))
        else:
            limit = self.account.minute_limit(slow=False)
        if asked is None:  # a part of what is free, so that others that start now get one too
            asked = max(SMALLEST_SHARE, int(limit * _FIRST_SHARE), free // (2 if self._slow else 8))
        if any(claim.share < min(claim.asked, limit // (len(rivals) + 1)) for claim in rivals):
            # Another process has less than an equal part: give up the units above an equal part.
            asked = min(asked, limit // (len(rivals) + 1))
        share = min(asked, free)
        return asked, share if share >= min(SMALLEST_SHARE, asked) else 0

    def _budget_of(self, units: int, share: int, kept: int, spent: int, day: int) -> tuple[int, int]:
        """The budget in hand and the units claimed on the day, both after the claim."""
        if not share:
            # Give back what was not spent; on another day it was claimed from that day's units.
            return (0, spent - min(kept, spent)) if not units else (kept, spent)
        wanted = min(share, max(2 * self._used, share // 4))
        per_day = self.account.limits.per_day
        if per_day is not None:  # units in hand are missing to others near the end of the day
            wanted = min(wanted, int(per_day * _LARGEST_BUDGET))
        more = max(max(units, wanted) - kept, 0)
        limit = self.account.day_limit(slow=self._slow)
        if limit is not None:
            more = min(more, max(limit - spent, 0))
            if kept + more < units:
                raise _daily_limit(spent, self.account.limits, slow=self._slow)
        return kept + more, spent + more

    def _take(self, claim: Claim, budget: int, began: float) -> None:
        self._budget, self._budget_day = budget, day_of(self.account.clock.time())
        self._share = claim.share
        if claim.share:
            self.claimed = True
            self._claimed_at = began
            self._used = 0
            if claim.share != self.limiter.limit:
                self.limiter.learn(claim.share)
        if self.account.warned:
            self.account.warned = False
            _LOG.warning("The ledger of the project's quota can be used again.")

    def _go_alone(self, units: int, error: GmailError) -> None:
        """Use a small fixed part of the limit, until the ledger can be read again."""
        if not self.account.warned:
            self.account.warned = True
            _LOG.warning(
                "The quota that this project's processes share is unknown (%s); this one uses %d %% of it.",
                error.what,
                ALONE * 100,
            )
        self._share = max(SMALLEST_SHARE, int(self.account.limits.per_minute * ALONE / 2))
        self._budget, self._budget_day = max(units, self._share), day_of(self.account.clock.time())
        self._claimed_at = self.account.monotonic()
        self._used = 0
        self.limiter.learn(self._share)


def _daily_limit(spent: int, limits: ProjectLimits, *, slow: bool) -> DailyLimitError:
    if slow:
        return DailyLimitError(
            f"First loads stop at {limits.loads_until:.0%} of the project's {limits.per_day:,} units per day, "
            f"and {spent:,} are spent.",
            fix="Run it again after midnight in California: it continues where it stopped. Changes are still synced. "
            "GMAIL_UNITS_PER_DAY and GMAIL_LOADS_SHARE set the limits.",
        )
    return DailyLimitError(
        f"The project's {limits.per_day:,} units per day are spent.",
        fix="Wait until midnight in California, or raise GMAIL_UNITS_PER_DAY.",
    )
