"""The project's quota among several processes: never above the limits, few writes, any state of the ledger."""

from __future__ import annotations

import logging
import threading
from contextlib import suppress

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.quota_processes import LIMITS, MINUTE, Job, Process, Store, World, run_together

from gmail_client.http.waiting import Stopped
from gmail_client.project_quota import FREE_UNITS, ProjectQuota
from gmail_client.quota_shares import Ledger, ProjectLimits

Jobs = st.lists(
    st.builds(
        Job,
        start=st.floats(0, 600),
        calls=st.integers(1, 200),
        units=st.sampled_from([1, 40, 400, 2_000]),
        loads=st.booleans(),
        end=st.sampled_from(["release", "kill", "idle"]),
        skew=st.floats(-30, 30),  # two clocks differ by a minute at most
    ),
    min_size=1,
    max_size=6,
)

BUSY = [Job(60.0 * number, 400, 1_000, number % 2 == 0, "kill", 30.0 - 15 * number) for number in range(5)]

KILLED = [Job(0.0, 300, 1_000, False, "kill", -30.0)]

SHRUNK = [  # shares become smaller, and what was spent before still counts
    Job(0.0, 30, 400, True, "kill"),
    Job(100.0, 30, 400, True, "kill", every=5.0),
    Job(60.0, 400, 2_000, False, "kill"),
    Job(0.0, 100, 400, False, "release", every=5.0),
]
RIVALS = [Job(200.0 + 10 * number, 500, 1_000, False, "kill", 30.0) for number in range(5)]


@settings(max_examples=6, deadline=None)
@example(BUSY, 0.0)
@example(BUSY, 0.4)
@example(KILLED + RIVALS, 0.0)
@example(SHRUNK, 0.0)
@given(Jobs, st.floats(0, 0.5))
def test_several_processes_never_spend_more_than_the_limits(jobs: list[Job], conflicts: float) -> None:
    world = World()
    spent = run_together(world, jobs, LIMITS, until=1_500, conflicts=conflicts)
    assert world.most_in_a_minute() <= MINUTE
    assert sum(spent) == sum(units for _, units in world.spent) <= (LIMITS.per_day or 0)
    assert world.ledger.spent + len(jobs) * FREE_UNITS >= sum(spent)


def test_a_process_that_spends_little_writes_nothing() -> None:
    world = World()
    process = Process(world)
    for _ in range(FREE_UNITS):
        process.spend(1)
    assert world.writes == 0
    process.spend(1)
    assert world.writes == 1


def test_a_busy_process_writes_about_once_a_minute() -> None:
    world = World()
    process = Process(world, limits=ProjectLimits(MINUTE, None))
    began = world.now
    while world.now < began + 3600:
        process.spend(500)
    assert world.writes <= 1.2 * 60
    assert world.used(began + 600, began + 3600) > 0.94


def test_without_a_ledger_a_process_uses_a_small_part_and_says_so_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World(broken=True)
    process = Process(world)
    with caplog.at_level(logging.WARNING):
        for _ in range(40):
            process.spend(500)
    assert world.most_in_a_minute() <= 0.1 * MINUTE
    (record,) = caplog.records
    assert "no lake" in record.getMessage()
    world.broken = False
    while not world.writes:
        process.spend(500)
    assert "can be used again" in caplog.records[-1].getMessage()


def test_a_learned_limit_holds_for_new_claims() -> None:
    world = World()
    process = Process(world)
    process.spend(5_000)
    process.quota.learn(6_000)
    world.now += 300
    world.spent.clear()
    for _ in range(100):
        process.spend(100)
    assert world.most_in_a_minute() <= 6_000
    assert process.quota.limit == 6_000


def test_a_learned_limit_never_exceeds_the_configured_one() -> None:
    clock = Process(World())
    quota = ProjectQuota(6_000, most=6_000, clock=clock)
    quota.learn(1_200_000)
    assert quota.limit == 6_000
    quota.learn(3_000)
    assert quota.limit == 3_000
    unbounded = ProjectQuota(6_000, clock=clock)
    unbounded.learn(1_200_000)
    assert unbounded.limit == 1_200_000


def test_the_end_of_a_process_does_not_wait_for_a_thread_that_waits_for_the_ledger(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Slow(Store):
        def write(self, ledger: Ledger) -> bool:
            tried.set()
            assert ended.wait(20)
            return False

    monkeypatch.setattr("gmail_client.quota_claims._RELEASE_WAIT", 0.05)
    tried, ended, stop = threading.Event(), threading.Event(), threading.Event()
    quota = ProjectQuota(MINUTE)
    quota.share(Slow(World()), LIMITS)

    def reserve() -> None:
        with suppress(Stopped):
            quota.reserve(2 * FREE_UNITS, stop=stop)

    waiting = threading.Thread(target=reserve, daemon=True)
    waiting.start()
    assert tried.wait(10)
    ending = threading.Thread(target=quota.release, daemon=True)
    ending.start()
    ending.join(5)
    held_up = ending.is_alive()
    stop.set()
    ended.set()
    waiting.join(10)
    assert not held_up
