"""The project's quota among several processes: never above the limits, and fair, whatever happens to them."""

from __future__ import annotations

import logging
import random
import threading
from contextlib import suppress
from dataclasses import dataclass, field

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gmail_client.errors import ConfigurationError, DailyLimitError
from gmail_client.http.waiting import Stopped
from gmail_client.project_quota import (
    CHANGES_SHARE,
    FREE_UNITS,
    Ledger,
    ProjectLimits,
    ProjectQuota,
    day_of,
)

NOON = 20_000 * 86_400 + 20 * 3600.0
MINUTE = 60_000
LIMITS = ProjectLimits(MINUTE, 1_000_000)


@dataclass
class World:
    """One time for all processes, what they spent, and the ledger that they share."""

    now: float = NOON
    spent: list[tuple[float, int]] = field(default_factory=list)
    ledger: Ledger = field(default_factory=Ledger)
    version: int = 0
    writes: int = 0
    broken: bool = False
    rng: random.Random = field(default_factory=lambda: random.Random(1))

    def most_in_a_minute(self) -> int:
        most, window, first = 0, 0, 0
        for at, units in self.spent:
            window += units
            while self.spent[first][0] <= at - 60:
                window -= self.spent[first][1]
                first += 1
            most = max(most, window)
        return most


@dataclass
class Store:
    """The ledger as one process reaches it."""

    world: World
    conflicts: float = 0.0
    read_version: int = -1

    def read(self) -> Ledger:
        if self.world.broken:
            raise ConfigurationError("no lake", fix="mend it")
        self.read_version = self.world.version
        return self.world.ledger

    def write(self, ledger: Ledger) -> bool:
        if self.world.broken:
            raise ConfigurationError("no lake", fix="mend it")
        if self.world.rng.random() < self.conflicts:
            self.world.version += 1
        if self.read_version != self.world.version:
            return False
        self.world.writes += 1
        self.world.version += 1
        self.world.ledger = ledger
        return True


class WaitsError(Exception):
    """A process has to wait for these seconds before it tries again."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds


@dataclass
class Process:
    """A process with its own clock. Instead of a wait, `together` lets other processes continue."""

    world: World
    skew: float = 0.0
    limits: ProjectLimits = LIMITS
    conflicts: float = 0.0
    together: bool = False

    def __post_init__(self) -> None:
        self.quota = ProjectQuota(self.limits.per_minute, clock=self)
        store = Store(self.world, self.conflicts)
        self.quota.share(store, self.limits, monotonic=lambda: self.world.now)

    def time(self) -> float:
        return self.world.now + self.skew

    def sleep(self, seconds: float) -> None:
        if self.together and seconds > 0:
            raise WaitsError(seconds)
        self.world.now += max(seconds, 0.0)

    def spend(self, units: int, *, slow: bool = False) -> float:
        """Spend units; returns the seconds that it waited."""
        began = self.world.now
        with self.quota.reserve(units, slow=slow):
            self.world.spent.append((self.world.now, units))
        return self.world.now - began


@dataclass
class Job:
    """Work of one process: so many calls of so many units, from a time on; then it ends, in one of three ways.

    Attributes:
        start: Seconds after the beginning.
        calls: Number of calls.
        units: Units of each.
        slow: It is a first load.
        end: `release` (an orderly end), `kill`, or `idle` (it lives on and spends nothing).
        skew: How wrong its clock is.
    """

    start: float
    calls: int
    units: int
    slow: bool
    end: str = "release"
    skew: float = 0.0


def run_together(
    world: World, jobs: list[Job], limits: ProjectLimits, *, until: float, conflicts: float = 0.0
) -> list[int]:
    """Run jobs at the same time, each as fast as it may; returns the units that each spent."""
    began = world.now
    processes = [Process(world, job.skew, limits, conflicts, together=True) for job in jobs]
    next_at = [began + job.start for job in jobs]
    left = [job.calls for job in jobs]
    spent = [0] * len(jobs)
    while min(next_at) < began + until:
        index = next_at.index(min(next_at))
        job, world.now = jobs[index], next_at[index]
        try:
            processes[index].spend(job.units, slow=job.slow)
            left[index] -= 1
            spent[index] += job.units
            next_at[index] += 1e-3
        except WaitsError as wait:
            next_at[index] += max(wait.seconds, 1e-3)
        except DailyLimitError:
            left[index] = 0
        if left[index] <= 0:
            next_at[index] = float("inf")
            if job.end == "release":
                processes[index].quota.release()
    return spent


Jobs = st.lists(
    st.builds(
        Job,
        start=st.floats(0, 600),
        calls=st.integers(1, 200),
        units=st.sampled_from([1, 40, 400, 2_000]),
        slow=st.booleans(),
        end=st.sampled_from(["release", "kill", "idle"]),
        skew=st.floats(-30, 30),  # two clocks differ by a minute at most
    ),
    min_size=1,
    max_size=6,
)
BUSY = [Job(60.0 * number, 400, 1_000, number % 2 == 0, "kill", 30.0 - 15 * number) for number in range(5)]
KILLED = [Job(0.0, 300, 1_000, False, "kill", -30.0)]
RIVALS = [Job(200.0 + 10 * number, 500, 1_000, False, "kill", 30.0) for number in range(5)]


@settings(max_examples=6, deadline=None)
@example(BUSY, 0.0)
@example(BUSY, 0.4)
@example(KILLED + RIVALS, 0.0)
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
    assert sum(units for at, units in world.spent if at > began + 600) > 0.85 * MINUTE * 50


def test_what_was_not_spent_is_given_back() -> None:
    world = World()
    process = Process(world)
    for _ in range(10):
        process.spend(100)
    process.quota.release()
    assert world.ledger.spent == 1_000 - FREE_UNITS


NO_DAY = ProjectLimits(MINUTE, None)


def test_changes_pass_while_first_loads_use_all_that_is_theirs() -> None:
    world = World()
    loads = [Job(0, 10_000, 1_000, slow=True) for _ in range(3)]
    changes = [Job(600 + 30 * number, 2, 200, slow=False) for number in range(10)]
    spent = run_together(world, [*loads, *changes], NO_DAY, until=1_000)
    assert spent[3:] == [400] * 10
    assert sum(spent[:3]) > 0.7 * (1 - CHANGES_SHARE) * MINUTE * 1_000 / 60
    assert world.most_in_a_minute() <= MINUTE


def test_first_loads_share_what_is_left_in_equal_parts() -> None:
    world = World()
    first = Job(0, 10_000, 1_000, slow=True)
    later = [Job(600, 10_000, 1_000, slow=True) for _ in range(2)]
    spent = run_together(world, [first, *later], NO_DAY, until=600)
    alone = spent[0]
    assert alone > 0.6 * (1 - CHANGES_SHARE) * MINUTE * 10
    world = World()
    spent = run_together(world, [first, *later], NO_DAY, until=2_400)
    assert min(spent[1:]) > 0.75 * max(spent[1:])
    assert spent[0] - alone < 1.6 * max(spent[1:])


@pytest.mark.parametrize(("slow", "share"), [(True, 0.9), (False, 1.0)])
def test_first_loads_stop_at_a_line_that_changes_pass(slow: bool, share: float) -> None:
    world = World()
    process = Process(world, limits=ProjectLimits(MINUTE, 100_000))
    with pytest.raises(DailyLimitError) as error:  # noqa: PT012
        while True:
            process.spend(500, slow=slow)
    assert error.value.fix
    spent = sum(units for _, units in world.spent)
    assert 0.95 * share * 100_000 <= spent <= share * 100_000
    if slow:
        process.spend(500)
    world.now = NOON + 86_400
    process.spend(500, slow=slow)


def test_a_day_begins_at_midnight_in_california() -> None:
    midnight = 20_000 * 86_400 + 8 * 3600
    assert day_of(midnight) == day_of(midnight + 86_399) == day_of(midnight - 1) + 1


def test_a_killed_process_holds_its_share_for_minutes_only() -> None:
    world = World()
    greedy = Process(world, limits=ProjectLimits(MINUTE, None))
    for _ in range(300):
        greedy.spend(1_000, slow=True)
    other = Process(world, limits=ProjectLimits(MINUTE, None))
    assert other.spend(2_000, slow=True) < 300


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


def test_the_end_of_a_process_does_not_wait_for_a_thread_that_waits_for_a_share() -> None:
    class AlwaysTaken(Store):
        def write(self, ledger: Ledger) -> bool:
            tried.set()
            return False

    tried, stop = threading.Event(), threading.Event()
    quota = ProjectQuota(MINUTE)
    quota.share(AlwaysTaken(World()), LIMITS)

    def reserve() -> None:
        with suppress(Stopped):
            quota.reserve(2 * FREE_UNITS, stop=stop)

    waiting = threading.Thread(target=reserve, daemon=True)
    waiting.start()
    assert tried.wait(10)
    ending = threading.Thread(target=quota.release, daemon=True)
    ending.start()
    ending.join(10)
    held_up = ending.is_alive()
    stop.set()
    waiting.join(10)
    assert not held_up


def test_units_in_hand_do_not_stop_first_loads_early() -> None:
    world = World()
    changes, loads = (Process(world, limits=ProjectLimits(MINUTE, 10_000)) for _ in range(2))
    changes.spend(200)
    with pytest.raises(DailyLimitError):  # noqa: PT012
        while True:
            loads.spend(20, slow=True)
    assert sum(units for _, units in world.spent) >= 0.9 * 10_000 * 0.97
