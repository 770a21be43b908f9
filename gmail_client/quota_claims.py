"""`QuotaClaims`: what a process claims in the ledger, a share of the units per minute and a budget of units per day.

Claims are made when a call needs them, for about a minute in advance. The demand for the next claim follows from what
was spent since the last one. While the ledger can't be used, a process spends a small fixed part of the limit.
"""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Callable
from dataclasses import replace

from gmail_client.errors import DailyLimitError, GmailError
from gmail_client.http.clock import Clock
from gmail_client.http.waiting import pause
from gmail_client.quota import RateLimiter, Reservation
from gmail_client.quota_budget import Budget
from gmail_client.quota_shares import (
    LEASE,
    MARGIN,
    SLOTS,
    SMALLEST_SHARE,
    Claim,
    Demand,
    Ledger,
    LedgerStore,
    ProjectLimits,
    day_of,
    divide,
)

__all__ = ["QuotaClaims"]

_RENEWAL = 60.0
"""Seconds after which a share is renewed, so that others get a part of it."""
_RENEWAL_OF_SHORT = 15.0
"""Seconds after which a share is renewed if changes have to wait."""
_ALONE = 0.1
"""Share of the limit that a process uses while the ledger can't be read or written."""
_LONG_WAIT = 1.0
"""Seconds: if changes wait longer, the share is too small."""
_LARGEST_GROWTH = 8
"""First loads, and changes that wait, ask for at most so many times their share."""
_RETRY_WAIT = 5.0
"""Seconds until a process that got no share tries again."""
_RELEASE_WAIT = 1.0
"""Seconds that the end of the process waits for a claim in progress."""
_CONFLICTS = 20
"""Times that a claim is tried again, after other processes wrote the ledger."""
_LOG = logging.getLogger(__name__)


class QuotaClaims:
    """The share of this process of the units per minute and its budget of the units per day, renewed when needed."""

    def __init__(
        self, store: LedgerStore, limits: ProjectLimits, clock: Clock, monotonic: Callable[[], float]
    ) -> None:
        self.claimed = False
        """Whether the process ever got a share, and has not returned it."""
        self._limiter = RateLimiter(SMALLEST_SHARE, clock=clock)
        self._store = store
        self._limits = limits
        self._clock = clock
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._claim = Claim(secrets.randbits(60) | 1)
        self._budget = Budget()
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
        """Use another limit of the project, in units per minute, from the next claim on."""
        self._limits = replace(self._limits, per_minute=limit)

    def block_until(self, epoch: float) -> None:
        """Grant nothing before `epoch` (seconds)."""
        self._limiter.block_until(epoch)

    def reserve(self, units: int, *, loads: bool, stop: threading.Event | None) -> Reservation:
        """Wait until `units` are claimed and may be spent; see `ProjectQuota.reserve`."""
        while True:
            with self._lock:
                wait = self._renew_until_covered(units, loads)
                if not wait:
                    self._budget = self._budget.spend(units, loads=loads)
                    self._used[loads] += units
            if wait:
                pause(self._clock, wait, stop)
                continue
            reservation = None
            try:
                reservation = self._limiter.reserve(units, urgent=not loads, stop=stop)
            finally:
                with self._lock:
                    in_time = reservation is not None and self._valid()
                    if reservation is not None and reservation.waited > _LONG_WAIT and not loads:
                        self._changes_wait = True
                    if not in_time:  # stopped, or the wait was longer than the claim
                        self._budget = self._budget.give_back(units, loads=loads)
                        self._used[loads] -= units
            if in_time:
                return reservation
            reservation.keep(0)
            reservation.settle()

    def release(self) -> None:
        """Return what was claimed and not spent; nothing happens while another thread waits for the ledger."""
        # A thread that waits for the ledger holds the lock. The process must not wait for it at its end.
        if not self._lock.acquire(timeout=_RELEASE_WAIT):
            return
        try:
            if self.claimed:
                self._claim_with_retries(0, False, Demand(0, 0))
                self.claimed = False
                self._claim = Claim(self._claim.owner)
                self._budget = Budget()
                self._claimed_at = float("-inf")
        finally:
            self._lock.release()

    def _valid(self) -> bool:
        return self._claim.share > 0 and self._age() < LEASE

    def _age(self) -> float:
        return self._monotonic() - self._claimed_at

    def _renew_until_covered(self, units: int, loads: bool) -> float:
        """Renew until share and budget cover a call; the seconds to wait if that is not possible now, else 0."""
        while not self._covers(units, loads):
            now = self._monotonic()
            if loads in self._waiting and now < self._retry_at:
                return self._retry_at - now
            self._waiting.add(loads)
            if not self._claim_with_retries(units, loads, self._demand()):
                self._retry_at = now + _RETRY_WAIT
                return _RETRY_WAIT
        return 0.0

    def _covers(self, units: int, loads: bool) -> bool:
        if loads and not self._claim.loads:  # changes may use a share that was claimed for first loads
            return False
        renewal = _RENEWAL_OF_SHORT if self._changes_wait else _RENEWAL
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
        spent = max(sum(self._used.values()) * per_minute, self._limiter.recent)
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
                claim, budget, ledger = self._next_claim(self._store.read(), units, loads, demand)
                began = self._monotonic()
                if ledger is not None and not self._store.write(ledger):
                    continue
                self._adopt(claim, budget, began)
                return claim.share > 0
        except DailyLimitError:
            raise
        except GmailError as error:
            if units:
                self._go_alone(units, error)
            return True
        return False

    def _next_claim(
        self, ledger: Ledger, units: int, loads: bool, demand: Demand
    ) -> tuple[Claim, Budget, Ledger | None]:
        """The claim, the budget in hand, and the ledger that records both; None if it already does."""
        now = self._clock.time()
        day = ledger.day_at(now)
        spent = ledger.spent_on(day)
        kept = self._budget if self._budget.day == day else Budget()
        slot, own = self._own_slot(ledger, now)
        if slot is None:
            return Claim(self._claim.owner), kept, None
        others = [claim for number, claim in ledger.claims.items() if number != slot]
        share, asked, changes = divide(self._limits, demand, others, now)
        known = own.is_live(now + LEASE / 2) and own.changes >= changes and own.asked >= asked
        if not share and not own.share and units and known:
            return own, kept, None  # others know that it waits
        if share:
            # Twice what was used since the last renewal, or ten seconds of the share; at most a minute of it.
            wanted = min(share, max(2 * sum(self._used.values()), share // 6))
            budget, spent = kept.claim(self._limits, spent, units, wanted, loads=loads)
        elif units:
            budget = kept
        else:  # give back what was not spent; on another day it was claimed from that day's units
            budget, spent = Budget(), spent - min(kept.units, spent)
        before, before_until = own.before, own.before_until
        recent = self._limiter.recent  # only these units can still be in Gmail's window
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
        for slot in range(SLOTS):
            known = ledger.claims.get(slot)
            if known is None or not (known.counted(now) or known.is_live(now)):
                return slot, Claim(owner)
        return None, Claim(owner)

    def _adopt(self, claim: Claim, budget: Budget, began: float) -> None:
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
                _ALONE * 100,
            )
        share = max(SMALLEST_SHARE, int(self._limits.per_minute * _ALONE))
        budget = max(units, share)
        self._budget = Budget(budget, budget, day_of(self._clock.time()))
        self._start_use(Claim(self._claim.owner, share, share, changes=share // 2), self._monotonic())

    def _start_use(self, claim: Claim, began: float) -> None:
        self._claim = claim
        self._claimed_at = began
        self._changes_wait = False
        self._used = {False: 0, True: 0}
        self._waiting.clear()
        if claim.share != self._limiter.limit:
            self._limiter.learn(claim.share)
