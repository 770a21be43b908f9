"""The units of a day: first loads stop before they are used up, and what was not spent is returned."""

from __future__ import annotations

import pytest
from support.quota_processes import MINUTE, NOON, Process, World

from gmail_client.errors import DailyLimitError
from gmail_client.project_quota import FREE_UNITS
from gmail_client.quota_shares import ProjectLimits


def test_what_was_not_spent_is_given_back() -> None:
    world = World()
    process = Process(world)
    for _ in range(10):
        process.spend(100)
    process.quota.release()
    assert world.ledger.spent == 1_000 - FREE_UNITS


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
    if loads:
        process.spend(500)
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
