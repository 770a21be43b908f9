"""The rule that divides a project's units per minute among processes: `divide`, over the claims of a `Ledger`.

Changes come first. First loads and reconciliations take all that changes leave, in equal parts, except a small reserve:
it serves the changes of a process that has no share yet, until first loads have given up what it needs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

__all__ = [
    "SLOTS",
    "SMALLEST_SHARE",
    "Claim",
    "Demand",
    "Ledger",
    "LedgerStore",
    "ProjectLimits",
    "day_of",
    "divide",
]

LEASE = 120.0
"""Seconds for which a claim is valid without renewal."""
MARGIN = 120.0
"""Seconds after its end during which a claim still counts for others: one minute of Gmail's window for units that were
spent at the end, and one minute by which the clocks of two machines may differ."""
UNCLAIMED = 0.01
"""Share of the limits that is never claimed, for processes that spend little and never claim."""
SMALLEST_SHARE = 600
"""Units per minute: with less, a process waits for others."""

SLOTS = 96
"""Claims that a ledger has at most. A process without a slot waits until a claim expires."""

_LONGEST = 3600.0
"""Seconds: a claim that ends later than that was made with a wrong clock, and would count for years."""

_FIRST_LOADS = 0.02
_DAY = 86_400
_PACIFIC = 8 * 3600


@dataclass(frozen=True, slots=True)
class ProjectLimits:
    """Limits of the project.

    Attributes:
        per_minute: Units per minute.
        per_day: Units per day; None for no limit.
        loads_until: Share of the units per day at which first loads and reconciliations stop.
        changes_reserve: Share of the units per minute that first loads leave free for changes to begin with.
    """

    per_minute: int = 1_200_000
    per_day: int | None = 80_000_000
    loads_until: float = 0.9
    changes_reserve: float = 0.03

    @property
    def claimable(self) -> int:
        """Units per minute of all claims together."""
        return int(self.per_minute * (1 - UNCLAIMED))

    @property
    def reserve(self) -> int:
        """Units per minute that first loads leave free."""
        return int(self.per_minute * self.changes_reserve)

    def day_limit(self, *, loads: bool) -> int | None:
        """Units per day that may be claimed for first loads, or for changes; None for no limit."""
        if self.per_day is None:
            return None
        return int(self.per_day * (self.loads_until if loads else 1.0) * (1 - UNCLAIMED))


@dataclass(frozen=True, slots=True)
class Claim:
    """The claim of one process.

    Attributes:
        owner: Random number of the process.
        share: Units per minute that it may spend.
        asked: Units per minute that it could use.
        until: Epoch second at which it expires.
        before: Units that it spent in the minute before its share became smaller.
        before_until: Epoch second until which `before` counts.
        changes: The part of `asked` for changes; the rest is for first loads.
    """

    owner: int
    share: int = 0
    asked: int = 0
    until: int = 0
    before: int = 0
    before_until: int = 0
    changes: int = 0

    @property
    def loads(self) -> int:
        """The part of `asked` for first loads."""
        return max(self.asked - self.changes, 0)

    def counted(self, now: float) -> int:
        """Units per minute that others have to leave to it."""
        share = self.share if now < self.until + MARGIN <= now + _LONGEST else 0
        return max(share, self.before if now < self.before_until <= now + _LONGEST else 0)

    def is_live(self, now: float) -> bool:
        """Whether a process uses it, or waits for a share."""
        return self.asked > 0 and now < self.until <= now + _LONGEST


@dataclass(frozen=True, slots=True)
class Ledger:
    """The state that all processes share.

    Attributes:
        claims: Claims by slot: 0 to `SLOTS` - 1.
        day: The day (`day_of`) that `spent` belongs to.
        spent: Units claimed on that day.
    """

    claims: dict[int, Claim] = field(default_factory=dict)
    day: int = 0
    spent: int = 0

    def day_at(self, epoch: float) -> int:
        """The day of a claim: that of the ledger, if the clock of another process is already in it."""
        today = day_of(epoch)
        return self.day if self.day == today + 1 else today

    def spent_on(self, day: int) -> int:
        """Units claimed on a day; those of an earlier day, or of one that a wrong clock named, don't count."""
        return self.spent if self.day in (day, day + 1) else 0


class LedgerStore(Protocol):
    """Stores the ledger. Every method may raise a `GmailError`."""

    def read(self) -> Ledger:
        """The current ledger."""

    def write(self, ledger: Ledger) -> bool:
        """Replace the ledger that was read last; False if another process replaced it since then."""


@dataclass(frozen=True, slots=True)
class Demand:
    """Units per minute that a process could use for changes and for first loads; None: it does not know yet."""

    changes: int | None = 0
    loads: int | None = 0


def day_of(epoch: float) -> int:
    """Number of the day in which Gmail counts units: it starts at midnight Pacific standard time."""
    return int((epoch - _PACIFIC) // _DAY)


def divide(
    limits: ProjectLimits, demand: Demand, others: Collection[Claim], now: float
) -> tuple[int, int, int]:
    """The share of a process, beside the claims of all others.

    Args:
        limits: Limits of the project.
        demand: What it could use.
        others: The other claims.
        now: Epoch seconds.

    Returns:
        `share`, `asked` and `changes` of its claim. The share is 0 if others have to give up units first.
    """
    live = [claim for claim in others if claim.is_live(now)]
    free = max(limits.claimable - sum(claim.counted(now) for claim in others), 0)

    changes = max(SMALLEST_SHARE, free // 2) if demand.changes is None else demand.changes
    rivals = [(claim.changes, min(claim.share, claim.changes)) for claim in live]
    changes = _equal_part(changes, rivals, limits.claimable)
    for_changes = min(changes, free)

    missing = sum(max(claim.changes - claim.counted(now), 0) for claim in live)
    free_for_loads = max(free - for_changes - max(limits.reserve, missing), 0)
    loads = demand.loads
    if loads is None:  # a part of what is free, so that others that start now get one too
        loads = max(SMALLEST_SHARE, int(limits.claimable * _FIRST_LOADS), free_for_loads // 2)
    rivals = [(claim.loads, max(claim.share - claim.changes, 0)) for claim in live]
    left_by_changes = limits.claimable - limits.reserve - changes - sum(claim.changes for claim in live)
    loads = _equal_part(loads, rivals, left_by_changes)

    asked = changes + loads
    share = for_changes + min(loads, free_for_loads)
    smallest = min(SMALLEST_SHARE, asked, limits.claimable - limits.reserve)
    return (share if share >= smallest else 0), asked, changes


def _equal_part(asked: int, rivals: Iterable[tuple[int, int]], limit: int) -> int:
    """What one of several may ask: if another one has less than an equal part, only an equal part.

    Args:
        asked: Units per minute that it could use.
        rivals: What each other one asked, and what it has.
        limit: Units per minute of all together.
    """
    asking: Sequence[tuple[int, int]] = [rival for rival in rivals if rival[0]]
    part = max(limit // (len(asking) + 1), SMALLEST_SHARE)
    needy = any(has < min(wants, part) for wants, has in asking)
    return min(asked, part) if needy else asked
