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
import logging
import secrets
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

from gmail_client.errors import DailyLimitError, GmailError
from gmail_client.http.clock import SYSTEM_CLOCK, Clock
from gmail_client.http.waiting import pause
from gmail_client.quota import RateLimiter, Reservation
from gmail_client.quota_shares import (
    LEASE,
    MARGIN,
    SMALLEST_SHARE,
    Claim,
    Demand,
    Ledger,
    LedgerStore,
    ProjectLimits,
    day_of,
    divide,
)

__all__ = ["FREE_UNITS", "ProjectQuota", "release_all"]

RENEWAL = 60.0
"""Seconds after which a share is renewed, so that others get a part of it."""
RENEWAL_OF_SHORT = 15.0
"""Seconds after which a share is renewed if changes have to wait."""
FREE_UNITS = 100
"""Units that a process spends without a claim."""
ALONE = 0.1
"""Share of the limit that a process uses while the ledger can't be read or written."""

_LONG_WAIT = 1.0
"""Seconds: if changes wait longer, the share is too small."""
_LARGEST_GROWTH = 8
"""First loads, and changes that wait, ask for at most so many times their share."""
_LARGEST_BUDGET = 0.01
"""Share of the units per day that a process claims at once."""
_WAIT = 5.0
_RELEASE_WAIT = 1.0
_SLOTS = 96
_CONFLICTS = 20
_LOG = logging.getLogger(__name__)


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
        self._share: _Share | None = None
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
        return self._share is not None

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
            if self._share is None:
                if monotonic is None:
                    monotonic = time.monotonic if self._clock is SYSTEM_CLOCK else self._clock.time
                _release_at_exit(self)
                limits = replace(limits, per_minute=min(limits.per_minute, self._limit))
                self._share = _Share(store, limits, self._clock, monotonic)

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
        share = self._share
        if share is None or self._take_free(units, share):
            return self._limiter.reserve(units, urgent=not loads, stop=stop)
        return share.reserve(units, loads, stop)

    def learn(self, limit: int) -> None:
        """Use the limit that Gmail named in a refusal, in units per minute."""
        if limit > 0:
            limit = limit if self._most is None else min(limit, self._most)
            self._limit = limit
            self._limiter.learn(limit)
            if self._share is not None:
                self._share.learn(limit)

    def block_until(self, epoch: float) -> None:
        """Grant nothing before `epoch` (seconds)."""
        self._limiter.block_until(epoch)
        if self._share is not None:
            self._share.limiter.block_until(epoch)

    def release(self) -> None:
        """Return units that were claimed and not spent, at the end of the process. Errors are ignored."""
        if self._share is not None:
            self._share.release()

    def _take_free(self, units: int, share: _Share) -> bool:
        with self._lock:
            if units > self._free or share.claimed:
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


@dataclass(frozen=True, slots=True)
class _Budget:
    """Claimed units of a day that are not spent yet.

    Attributes:
        units: All of them.
        for_loads: Those that first loads may spend.
        day: The day.
    """

    units: int = 0
    for_loads: int = 0
    day: int = 0

    def left(self, *, loads: bool) -> int:
        return self.for_loads if loads else self.units

    def spend(self, units: int, *, loads: bool) -> _Budget:
        left = self.units - units
        return replace(self, units=left, for_loads=min(self.for_loads - units * loads, left))

    def give_back(self, units: int, *, loads: bool) -> _Budget:
        return replace(self, units=self.units + units, for_loads=self.for_loads + units * loads)


class _Share:
    """The share of this process of the units per minute and its budget of the units per day, renewed when needed."""

    def __init__(
        self, store: LedgerStore, limits: ProjectLimits, clock: Clock, monotonic: Callable[[], float]
    ) -> None:
        self.limiter = RateLimiter(SMALLEST_SHARE, clock=clock)
        self.claimed = False
        self._store = store
        self._limits = limits
        self._clock = clock
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._claim = Claim(secrets.randbits(60) | 1)
        self._budget = _Budget()
        self._used = {False: 0, True: 0}
        """Units since the last renewal: of changes, and of first loads (`loads`)."""
        self._waiting: set[bool] = set()
        """The kinds of calls (`loads`) that wait for a share."""
        self._claimed_at = float("-inf")
        """Monotonic seconds: the wall clock may be set."""
        self._changes_wait = False
        self._retry_at = float("-inf")
        self._warned = False

    def learn(self, limit: int) -> None:
        self._limits = replace(self._limits, per_minute=limit)

    def reserve(self, units: int, loads: bool, stop: threading.Event | None) -> Reservation:
        while True:
            with self._lock:
                wait = self._cover(units, loads)
                if not wait:
                    self._budget = self._budget.spend(units, loads=loads)
                    self._used[loads] += units
            if wait:
                pause(self._clock, wait, stop)
                continue
            held = None
            try:
                held = self.limiter.reserve(units, urgent=not loads, stop=stop)
            finally:
                with self._lock:
                    in_time = held is not None and self._valid()
                    if held is not None and held.waited > _LONG_WAIT and not loads:
                        self._changes_wait = True
                    if not in_time:  # stopped, or the wait was longer than the claim
                        self._budget = self._budget.give_back(units, loads=loads)
                        self._used[loads] -= units
            if in_time:
                return held
            held.keep(0)
            held.settle()

    def release(self) -> None:
        # A thread that waits for the ledger holds the lock. The process must not wait for it at its end.
        if not self._lock.acquire(timeout=_RELEASE_WAIT):
            return
        try:
            if self.claimed:
                self._claim_with_retries(0, False, Demand(0, 0))
                self.claimed = False
                self._claim = Claim(self._claim.owner)
                self._budget = _Budget()
                self._claimed_at = float("-inf")
        finally:
            self._lock.release()

    def _valid(self) -> bool:
        return self._claim.share > 0 and self._age() < LEASE

    def _age(self) -> float:
        return self._monotonic() - self._claimed_at

    def _cover(self, units: int, loads: bool) -> float:
        """Renew until share and budget cover a call; the seconds to wait if that is not possible now, else 0."""
        while not self._covers(units, loads):
            now = self._monotonic()
            if loads in self._waiting and now < self._retry_at:
                return self._retry_at - now
            self._waiting.add(loads)
            if not self._claim_with_retries(units, loads, self._demand()):
                self._retry_at = now + _WAIT
                return _WAIT
        return 0.0

    def _covers(self, units: int, loads: bool) -> bool:
        if loads and not self._claim.loads:  # changes may use a share that was claimed for first loads
            return False
        renewal = RENEWAL_OF_SHORT if self._changes_wait else RENEWAL
        same_day = self._budget.day == day_of(self._clock.time())
        in_time = self._valid() and self._age() < renewal
        return in_time and same_day and self._budget.left(loads=loads) >= units

    def _demand(self) -> Demand:
        return Demand(
            self._demand_of(self._claim.changes, loads=False), self._demand_of(self._claim.loads, loads=True)
        )

    def _demand_of(self, claimed: int, *, loads: bool) -> int | None:
        """Units per minute that one kind of calls could use, from what it used since the last renewal."""
        used, waiting = self._used[loads], loads in self._waiting
        if not self._valid() or not (claimed or used):
            return None if waiting else 0
        per_minute = 60 / max(self._age(), 1.0)
        spent = max(sum(self._used.values()) * per_minute, self.limiter.recent)
        if spent > 0.8 * self._claim.share:  # the share is the limit
            demand = max(int((_LARGEST_GROWTH if loads else 2) * used * per_minute), claimed)
        else:
            demand = max(int(1.25 * used * per_minute), claimed // 2)
        if self._changes_wait and not loads:
            demand = max(demand, min(2 * claimed, _LARGEST_GROWTH * self._claim.share))
        if used or waiting:
            demand = max(demand, SMALLEST_SHARE)
        return min(demand, self._limits.claimable) if demand >= SMALLEST_SHARE else 0

    def _claim_with_retries(self, units: int, loads: bool, demand: Demand) -> bool:
        """Claim a share and a budget; False if other processes have to give up units first."""
        try:
            for _ in range(_CONFLICTS):
                claim, budget, ledger = self._next(self._store.read(), units, loads, demand)
                began = self._monotonic()
                if ledger is not None and not self._store.write(ledger):
                    continue
                self._take(claim, budget, began)
                return claim.share > 0
        except DailyLimitError:
            raise
        except GmailError as error:
            if units:
                self._go_alone(units, error)
            return True
        return False

    def _next(
        self, ledger: Ledger, units: int, loads: bool, demand: Demand
    ) -> tuple[Claim, _Budget, Ledger | None]:
        """The claim, the budget in hand, and the ledger that records both; None if it already does."""
        now = self._clock.time()
        day = ledger.day_at(now)
        spent = ledger.spent_on(day)
        kept = self._budget if self._budget.day == day else _Budget()
        slot, own = self._own_slot(ledger, now)
        if slot is None:
            return Claim(self._claim.owner), kept, None
        others = [claim for number, claim in ledger.claims.items() if number != slot]
        share, asked, changes = divide(self._limits, demand, others, now)
        known = own.is_live(now + LEASE / 2) and own.changes >= changes and own.asked >= asked
        if not share and not own.share and units and known:
            return own, kept, None  # others know that it waits
        budget, spent = self._budget_of(units, loads, share, kept, spent)
        before, before_until = own.before, own.before_until
        recent = self.limiter.recent  # only these units can still be in Gmail's window
        if recent > share:
            before = max(recent, own.before if now < own.before_until else 0)
            before_until = int(now + MARGIN) + 1
        until = int(now + LEASE) if asked else 0
        claim = Claim(self._claim.owner, share, asked, until, before, before_until, changes)
        return claim, budget, Ledger({**ledger.claims, slot: claim}, day, spent)

    def _own_slot(self, ledger: Ledger, now: float) -> tuple[int | None, Claim]:
        owner = self._claim.owner
        for slot, claim in ledger.claims.items():
            if claim.owner == owner:
                return slot, claim
        for slot in range(_SLOTS):
            known = ledger.claims.get(slot)
            if known is None or not (known.counted(now) or known.is_live(now)):
                return slot, Claim(owner)
        return None, Claim(owner)

    def _budget_of(
        self, units: int, loads: bool, share: int, kept: _Budget, spent: int
    ) -> tuple[_Budget, int]:
        """The budget in hand and the units claimed on the day, both after the claim."""
        if not share:
            # Give back what was not spent; on another day it was claimed from that day's units.
            return (kept, spent) if units else (_Budget(), spent - min(kept.units, spent))
        wanted = min(share, max(2 * sum(self._used.values()), share // 6))
        if self._limits.per_day is not None:  # units in hand are missing to others near the end of the day
            wanted = min(wanted, int(self._limits.per_day * _LARGEST_BUDGET))
        left = kept.left(loads=loads)
        more = max(max(units, wanted) - left, 0)
        below_line = more
        limit = self._limits.day_limit(loads=loads)
        line = self._limits.day_limit(loads=True)
        if limit is not None and line is not None:
            more = min(more, max(limit - spent, 0))
            below_line = min(more, max(line - spent, 0))
            if left + more < units:
                raise _daily_limit(spent, self._limits, loads=loads)
        return _Budget(kept.units + more, kept.for_loads + below_line), spent + more

    def _take(self, claim: Claim, budget: _Budget, began: float) -> None:
        self._claim = claim
        self._budget = replace(budget, day=day_of(self._clock.time()))
        if claim.share:
            self.claimed = True
            self._start_use(claim, began)
        if self._warned:
            self._warned = False
            _LOG.warning("The ledger of the project's quota can be used again.")

    def _go_alone(self, units: int, error: GmailError) -> None:
        """Use a small fixed part of the limit, until the ledger can be read again."""
        if not self._warned:
            self._warned = True
            _LOG.warning(
                "The quota that this project's processes share is unknown (%s); this one uses %d %% of it.",
                error.what,
                ALONE * 100,
            )
        share = max(SMALLEST_SHARE, int(self._limits.per_minute * ALONE))
        budget = max(units, share)
        self._budget = _Budget(budget, budget, day_of(self._clock.time()))
        self._start_use(Claim(self._claim.owner, share, share, changes=share // 2), self._monotonic())

    def _start_use(self, claim: Claim, began: float) -> None:
        self._claim = claim
        self._claimed_at = began
        self._changes_wait = False
        self._used = {False: 0, True: 0}
        self._waiting.clear()
        if claim.share != self.limiter.limit:
            self.limiter.learn(claim.share)


def _daily_limit(spent: int, limits: ProjectLimits, *, loads: bool) -> DailyLimitError:
    if loads:
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
