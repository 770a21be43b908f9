"""When mailboxes are looked at: soon after a change, rarely when quiet, later and later after failures."""

from __future__ import annotations

import itertools

from hypothesis import example, given, settings
from hypothesis import strategies as st

from gmail_assets.look_schedule import LookSchedule

ADA, BEN = "ada@gmail.test", "ben@gmail.test"


def looks_in(schedule: LookSchedule, begin: float, seconds: float, head: int = 1) -> list[float]:
    """The times of the looks at Ada's mailbox, with a tick every 30 seconds."""
    times, now = [], begin
    while now < begin + seconds:
        if schedule.due([ADA], now):
            schedule.record(ADA, head, now)
            times.append(now)
        now += 30
    return times


def test_a_mailbox_that_was_never_looked_at_comes_first():
    schedule = LookSchedule()
    schedule.record(ADA, 1, 1000.0)
    assert schedule.due([ADA, BEN], 5000.0) == [BEN, ADA]


@settings(max_examples=30)
@example(quiet=4.0, hours=12)
@given(quiet=st.floats(1, 60), hours=st.integers(1, 24))
def test_no_gap_is_longer_than_the_limit_and_a_tick(quiet: float, hours: int):
    times = looks_in(LookSchedule(quiet), 0.0, hours * 3600)
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert max(gaps) <= quiet * 60 + 30
    assert sorted(gaps) == gaps, "a quiet mailbox is never asked more often again"


def test_a_change_makes_looks_frequent_again():
    schedule = LookSchedule(4)
    looks_in(schedule, 0.0, 7200)
    assert len(looks_in(schedule, 7200.0, 600)) <= 4
    schedule.record(ADA, 2, 7800.0)
    assert len(looks_in(schedule, 7830.0, 120, head=2)) >= 3


def test_failures_are_asked_again_later_and_later():
    schedule = LookSchedule(4)
    due = []
    now = 0.0
    while now < 7200:
        if schedule.due([ADA], now):
            schedule.record_failure(ADA, now)
            due.append(now)
        now += 30
    gaps = [later - earlier for earlier, later in itertools.pairwise(due)]
    assert gaps[:3] == [60, 120, 240]
    assert schedule.failing(ADA)
    schedule.record(ADA, 1, now)
    assert not schedule.failing(ADA)


def test_a_clock_that_was_set_back_does_not_stop_the_looks():
    schedule = LookSchedule()
    schedule.record(ADA, 1, 1_000_000.0)
    assert schedule.due([ADA], 1000.0) == [ADA]
