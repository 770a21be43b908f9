"""The budget of a process: units of the day that it claimed in the ledger and has not spent yet."""

from __future__ import annotations

from dataclasses import dataclass, replace

from gmail_client.errors import DailyLimitError
from gmail_client.quota_shares import ProjectLimits

__all__ = ["Budget"]

_LARGEST_CLAIM = 0.01
"""Share of the units per day that a process claims at once."""


@dataclass(frozen=True, slots=True)
class Budget:
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
        """Units that first loads may spend, or that changes may spend."""
        return self.for_loads if loads else self.units

    def spend(self, units: int, *, loads: bool) -> Budget:
        """The budget after a call."""
        left = self.units - units
        return replace(self, units=left, for_loads=min(self.for_loads - units * loads, left))

    def give_back(self, units: int, *, loads: bool) -> Budget:
        """The budget after a call that was not sent."""
        return replace(self, units=self.units + units, for_loads=self.for_loads + units * loads)

    def claim(
        self, limits: ProjectLimits, spent: int, units: int, wanted: int, *, loads: bool
    ) -> tuple[Budget, int]:
        """Claim more units, if this budget does not cover a call.

        Args:
            limits: Limits of the project.
            spent: Units that all processes claimed on this day.
            units: Units of the call.
            wanted: Units that the budget should cover, so that it lasts for a while.
            loads: The call belongs to a first load or a reconciliation.

        Returns:
            The budget and the units that all processes claimed on this day, both after the claim.

        Raises:
            DailyLimitError: The day's units don't suffice for the call.
        """
        if limits.per_day is not None:  # units in hand are missing to others near the end of the day
            wanted = min(wanted, int(limits.per_day * _LARGEST_CLAIM))
        left = self.left(loads=loads)
        more = max(max(units, wanted) - left, 0)
        more_for_loads = more
        limit = limits.day_limit(loads=loads)
        loads_limit = limits.day_limit(loads=True)
        if limit is not None and loads_limit is not None:
            more = min(more, max(limit - spent, 0))
            more_for_loads = min(more, max(loads_limit - spent, 0))
            if left + more < units:
                raise _daily_limit(spent, limits, loads=loads)
        return replace(self, units=self.units + more, for_loads=self.for_loads + more_for_loads), spent + more


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
