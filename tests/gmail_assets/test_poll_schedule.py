"""When mailboxes are polled: soon after a change, rarely when quiet, at growing intervals after failures."""

from __future__ import annotations

import itertools

from hypothesis import example, given, settings
from hypothesis import strategies as st

from gmail_assets.poll_schedule import PollSchedule

ADA, BEN = "ada@gmail.test", "ben@gmail.test"


def poll_times(schedule: PollSchedule, begin: float, seconds: float, head: int = 1) -> list[float]:
    """The times at which Ada's mailbox is polled, with a tick every 30 seconds."""
    times, now = [], begin
    while now < begin + seconds:
        if schedule.due([ADA], now):
            schedule.record(ADA, head, now)
            times.append(now)
        now += 30
    return times


def test_a_mailbox_that_was_never_polled_comes_first():
    schedule = PollSchedule()
    schedule.record(ADA, 1, 1000.0)
    assert schedule.due([ADA, BEN], 5000.0) == [BEN, ADA]


@settings(max_examples=30)
@example(quiet=4.0, hours=12)
@given(quiet=st.floats(1, 60), hours=st.integers(1, 24))
def test_no_gap_is_longer_than_the_limit_and_a_tick(quiet: float, hours: int):
    times = poll_times(PollSchedule(quiet), 0.0, hours * 3600)
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert max(gaps) <= quiet * 60 + 30
    assert sorted(gaps) == gaps, "a quiet mailbox is never asked more often again"


def test_a_change_makes_polls_frequent_again():
    schedule = PollSchedule(4)
    poll_times(schedule, 0.0, 7200)
    assert len(poll_times(schedule, 7200.0, 600)) <= 4
    schedule.record(ADA, 2, 7800.0)
    assert len(poll_times(schedule, 7830.0, 120, head=2)) >= 3


def test_failures_are_asked_again_later_and_later():
    schedule = PollSchedule(4)
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


def test_a_clock_that_was_set_back_does_not_stop_the_polls():
    schedule = PollSchedule()
    schedule.record(ADA, 1, 1_000_000.0)
    assert schedule.due([ADA], 1000.0) == [ADA]
