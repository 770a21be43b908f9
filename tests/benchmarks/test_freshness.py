"""The sensor's scheduler on a model of many mailboxes: how fresh the tables are, and for how many units."""

from __future__ import annotations

import pytest

from benchmarks.freshness import simulate

PER_DAY = 80_000_000


def test_the_tables_of_a_few_mailboxes_are_fresh_for_few_units() -> None:
    found = simulate(40, 6)
    assert found.arrivals > 10
    assert found.within_5_minutes >= 0.95
    assert found.finding <= 40 * 6 / 24 * 0.02 * PER_DAY / 3_000


@pytest.mark.slow
def test_95_percent_of_the_mail_of_3000_mailboxes_is_in_the_tables_within_5_minutes_for_2_percent_of_the_units() -> (
    None
):
    found = simulate(3_000, 24)
    assert found.arrivals > 25_000
    assert found.within_5_minutes >= 0.95
    assert found.finding <= 0.02 * PER_DAY
    assert found.runs <= 2 * 2_880
