"""How the project's units per minute are divided: never more than there are, changes first, loads in equal parts."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gmail_client.quota_shares import SMALLEST_SHARE, Claim, Demand, Ledger, ProjectLimits, day_of, divide

NOW = 1_800_000_000.0
LIMITS = ProjectLimits(60_000, None, changes_reserve=0.03)
FREE_FOR_LOADS = LIMITS.claimable - LIMITS.reserve


def claim(share: int, *, changes: int = 0, loads: int = 0) -> Claim:
    return Claim(1, share, changes + loads, int(NOW) + 60, changes=changes)


Units = st.integers(0, 80_000)
Claims = st.lists(
    st.builds(
        Claim,
        owner=st.just(1),
        share=Units,
        asked=Units,
        until=st.sampled_from([int(NOW) - 200, int(NOW) - 1, int(NOW) + 100]),
        before=Units,
        before_until=st.sampled_from([0, int(NOW) + 50]),
        changes=Units,
    ),
    max_size=5,
)
Demands = st.builds(Demand, st.none() | Units, st.none() | Units)


@settings(max_examples=200)
@example(Demand(None, None), [])
@example(Demand(0, 60_000), [claim(1_000, changes=20_000)])
@given(Demands, Claims)
def test_all_shares_together_are_never_more_than_can_be_claimed(demand: Demand, others: list[Claim]) -> None:
    share, asked, changes = divide(LIMITS, demand, others, NOW)
    counted = sum(other.counted(NOW) for other in others)
    assert 0 <= share <= max(LIMITS.claimable - counted, 0)
    assert 0 <= changes <= asked
    assert share <= asked
    if share > changes:  # first loads leave the reserve, and what changes wait for
        missing = sum(max(one.changes - one.counted(NOW), 0) for one in others if one.is_live(NOW))
        assert counted + share <= LIMITS.claimable - max(LIMITS.reserve, missing)


def test_a_first_load_alone_gets_all_but_the_reserve() -> None:
    assert divide(LIMITS, Demand(0, 60_000), [], NOW)[0] == FREE_FOR_LOADS


def test_changes_alone_get_all() -> None:
    assert divide(LIMITS, Demand(59_400, 0), [], NOW)[0] == LIMITS.claimable


def test_the_first_changes_of_a_process_get_half_of_the_reserve() -> None:
    share, asked, changes = divide(LIMITS, Demand(None, 0), [claim(FREE_FOR_LOADS, loads=60_000)], NOW)
    assert share == asked == changes == LIMITS.reserve // 2


@pytest.mark.parametrize("needed", [5_000, 30_000, 59_400])
def test_first_loads_give_up_what_changes_of_another_process_wait_for(needed: int) -> None:
    waiting = claim(1_800, changes=needed)
    share, asked, _ = divide(LIMITS, Demand(0, 60_000), [waiting], NOW)
    left = LIMITS.claimable - needed
    assert share == (left if left >= SMALLEST_SHARE else 0)
    assert asked == 60_000


def test_first_loads_share_in_equal_parts_what_changes_leave() -> None:
    others = [claim(0, loads=60_000), claim(6_000, changes=6_000)]
    share, asked, _ = divide(LIMITS, Demand(0, 60_000), others, NOW)
    assert share == asked == (FREE_FOR_LOADS - 6_000) // 2


def test_a_process_with_few_loads_does_not_limit_the_others() -> None:
    modest = claim(2_000, loads=2_000)
    assert divide(LIMITS, Demand(0, 60_000), [modest], NOW)[0] == FREE_FOR_LOADS - 2_000


def test_changes_of_several_processes_share_in_equal_parts() -> None:
    share, _, changes = divide(LIMITS, Demand(59_400, 0), [claim(1_000, changes=59_400)], NOW)
    assert share == changes == LIMITS.claimable // 2


def test_an_expired_claim_counts_for_two_minutes_but_asks_for_nothing() -> None:
    expired = Claim(1, 20_000, 59_400, int(NOW) - 100, changes=59_400)
    assert divide(LIMITS, Demand(0, 60_000), [expired], NOW)[0] == FREE_FOR_LOADS - 20_000
    assert divide(LIMITS, Demand(0, 60_000), [expired], NOW + 30)[0] == FREE_FOR_LOADS


def test_a_process_whose_clock_is_a_year_ahead_does_not_take_the_quota_of_the_others() -> None:
    now, ahead = 1_800_000_000.0, 1_800_000_000 + 365 * 86_400
    claim = Claim(1, 50_000, 50_000, ahead, 50_000, ahead, 50_000)
    assert (claim.counted(now), claim.is_live(now)) == (0, False)
    assert (claim.counted(ahead - 1), claim.is_live(ahead - 1)) == (50_000, True)
    ledger = Ledger({}, day_of(ahead), 1_000_000)
    assert ledger.day_at(now) == day_of(now)
    assert ledger.spent_on(ledger.day_at(now)) == 0


def test_a_clock_that_is_a_minute_late_counts_units_on_the_day_of_the_ledger() -> None:
    midnight = day_of(1_800_000_000.0) * 86_400 + 8 * 3600.0
    ledger = Ledger({}, day_of(midnight), 700)
    assert ledger.day_at(midnight - 60) == ledger.day_at(midnight) == ledger.day
    assert ledger.spent_on(ledger.day_at(midnight - 60)) == 700
    assert ledger.spent_on(ledger.day_at(midnight + 86_400)) == 0


def test_a_day_begins_at_midnight_in_california() -> None:
    midnight = 20_000 * 86_400 + 8 * 3600
    assert day_of(midnight) == day_of(midnight + 86_399) == day_of(midnight - 1) + 1
