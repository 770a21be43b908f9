"""The units of a day: first loads stop before they are used up, and what was not spent is returned."""

from __future__ import annotations

import threading

import pytest
from support.quota_processes import MINUTE, NOON, Process, World

from gmail_client.errors import DailyLimitError
from gmail_client.http.waiting import Stopped
from gmail_client.project_quota import FREE_UNITS
from gmail_client.quota_budget import Budget
from gmail_client.quota_shares import ProjectLimits


def test_what_was_not_spent_is_given_back() -> None:
    world = World()
    process = Process(world)
    for _ in range(10):
        process.spend(100)
    process.quota.release()
    assert world.ledger.spent == 1_000 - FREE_UNITS


def test_what_a_stopped_call_did_not_spend_is_given_back() -> None:
    world = World()
    process = Process(world)
    process.spend(2 * FREE_UNITS)
    process.quota.block_until(process.time() + 10)
    stop = threading.Event()
    stop.set()
    with pytest.raises(Stopped):
        process.quota.reserve(300, stop=stop)
    process.quota.release()
    assert world.ledger.spent == 2 * FREE_UNITS


def test_units_that_changes_claim_beyond_the_line_are_not_for_first_loads() -> None:
    limits = ProjectLimits(MINUTE, 100_000)
    line = limits.day_limit(loads=True) or 0
    budget, spent = Budget().claim(limits, line - 100, 500, 1_000, loads=False)
    assert (budget.left(loads=False), budget.left(loads=True), spent) == (1_000, 100, line + 900)
    with pytest.raises(DailyLimitError, match="First loads stop at 90%"):
        budget.claim(limits, spent, 101, 101, loads=True)


@pytest.mark.parametrize(("loads", "share"), [(True, 0.9), (False, 1.0)])
def test_first_loads_stop_at_a_line_that_changes_pass(loads: bool, share: float) -> None:
    world = World()
    process = Process(world, limits=ProjectLimits(MINUTE, 100_000))
    with pytest.raises(DailyLimitError) as error:  # noqa: PT012
        while True:
            process.spend(500, loads=loads)
    assert error.value.fix
    spent = sum(units for _, units in world.spent)
    assert 0.95 * share * 100_000 <= spent <= share * 100_000
    if loads:  # what is left is for changes, also of other processes
        process.spend(500)
        Process(world, limits=process.limits).spend(500)
    world.now = NOON + 86_400
    process.spend(500, loads=loads)


def test_units_in_hand_do_not_stop_first_loads_early() -> None:
    world = World()
    changes, loads = (Process(world, limits=ProjectLimits(MINUTE, 10_000)) for _ in range(2))
    changes.spend(200)
    with pytest.raises(DailyLimitError):  # noqa: PT012
        while True:
            loads.spend(20, loads=True)
    assert sum(units for _, units in world.spent) >= 0.9 * 10_000 * 0.97
