"""The project's quota among several processes: never above the limits, and fair, whatever happens to them."""

from __future__ import annotations

import heapq
import itertools
import logging
import random
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gmail_client.errors import ConfigurationError, DailyLimitError
from gmail_client.http.waiting import Stopped
from gmail_client.project_quota import FREE_UNITS, ProjectQuota
from gmail_client.quota_shares import Ledger, ProjectLimits, day_of

NOON = 20_000 * 86_400 + 20 * 3600.0
MINUTE = 60_000
LIMITS = ProjectLimits(MINUTE, 1_000_000)


class Turns:
    """Threads in the world's time. One runs until it sleeps; then the one that wakes first goes on."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._sleeping: list[tuple[float, int, threading.Event]] = []
        self._numbers = itertools.count()
        self._threads: list[threading.Thread] = []
        self._errors: list[BaseException] = []

    def start(self, work: Callable[[], None]) -> None:
        def run() -> None:
            begin.wait()
            try:
                work()
            except BaseException as error:
                self._errors.append(error)
            self._go_on()

        begin = threading.Event()
        heapq.heappush(self._sleeping, (self._world.now, next(self._numbers), begin))
        self._threads.append(threading.Thread(target=run, daemon=True))
        self._threads[-1].start()

    def run(self) -> None:
        """Until all threads have ended."""
        self._go_on()
        threads, self._threads = self._threads, []
        for thread in threads:
            thread.join(100)
            assert not thread.is_alive()
        assert self._errors == []

    def sleep(self, seconds: float) -> None:
        wakes = self._world.now + max(seconds, 0.0)
        if not self._sleeping or wakes < self._sleeping[0][0]:
            self._world.now = wakes
            return
        awake = threading.Event()
        heapq.heappush(self._sleeping, (wakes, next(self._numbers), awake))
        self._go_on()
        awake.wait()

    def _go_on(self) -> None:
        if self._sleeping:
            self._world.now, _, awake = heapq.heappop(self._sleeping)
            awake.set()


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

    def __post_init__(self) -> None:
        self.turns = Turns(self)

    def used(self, began: float, ended: float, per_minute: int = MINUTE) -> float:
        """The share of the limit that was spent between two times."""
        units = sum(units for at, units in self.spent if began <= at < ended)
        return units / (per_minute * (ended - began) / 60)

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


@dataclass
class Process:
    """A process with its own clock. While it waits, other processes continue."""

    world: World
    skew: float = 0.0
    limits: ProjectLimits = LIMITS
    conflicts: float = 0.0

    def __post_init__(self) -> None:
        self.quota = ProjectQuota(self.limits.per_minute, clock=self)
        store = Store(self.world, self.conflicts)
        self.quota.share(store, self.limits, monotonic=lambda: self.world.now)

    def time(self) -> float:
        return self.world.now + self.skew

    def sleep(self, seconds: float) -> None:
        self.world.turns.sleep(seconds)

    def spend(self, units: int, *, loads: bool = False) -> None:
        with self.quota.reserve(units, loads=loads):
            self.world.spent.append((self.world.now, units))


@dataclass
class Job:
    """Work of one process: so many calls of so many units, from a time on; then it ends, in one of three ways.

    Attributes:
        start: Seconds after the beginning.
        calls: Number of calls.
        units: Units of each.
        loads: It is a first load.
        end: `release` (an orderly end), `kill`, or `idle` (it lives on and spends nothing).
        skew: How wrong its clock is.
        every: Seconds between two calls; 0 for as fast as possible.
        spent: Units that it spent.
        waits: The seconds that each call waited, by the seconds at which it was due.
    """

    start: float
    calls: int
    units: int
    loads: bool
    end: str = "release"
    skew: float = 0.0
    every: float = 0.0
    spent: int = 0
    waits: dict[float, float] = field(default_factory=dict)

    def run(self, world: World, process: Process, until: float) -> None:
        began = world.now
        process.sleep(self.start)
        for call in range(self.calls):
            due = self.start + call * self.every if self.every else world.now - began
            process.sleep(began + due - world.now)
            if world.now >= began + until:
                return
            try:
                process.spend(self.units, loads=self.loads)
            except DailyLimitError:
                break
            self.spent += self.units
            self.waits[due] = world.now - began - due
            process.sleep(1e-3)
        if self.end == "release":
            process.quota.release()


def run_together(
    world: World, jobs: list[Job], limits: ProjectLimits, *, until: float, conflicts: float = 0.0
) -> list[int]:
    """Run jobs at the same time, each in a process; returns the units that each spent."""
    for job in jobs:
        job.spent, job.waits = 0, {}
        process = Process(world, job.skew, limits, conflicts)
        world.turns.start(partial(job.run, world, process, until))
    world.turns.run()
    return [job.spent for job in jobs]


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
    assert world.used(began + 600, began + 3600) > 0.94


def test_what_was_not_spent_is_given_back() -> None:
    world = World()
    process = Process(world)
    for _ in range(10):
        process.spend(100)
    process.quota.release()
    assert world.ledger.spent == 1_000 - FREE_UNITS


NO_DAY = ProjectLimits(MINUTE, None)


WHOLE = ProjectLimits(1_200_000, None)


def test_a_first_load_uses_95_percent_of_the_whole_limit_while_nothing_changes() -> None:
    world = World()
    run_together(world, [Job(0, 10**6, 2_000, loads=True)], WHOLE, until=600)
    assert world.used(NOON, NOON + 300, 1_200_000) > 0.93
    assert world.used(NOON + 60, NOON + 600, 1_200_000) > 0.949
    assert world.most_in_a_minute() <= 1_200_000


def test_several_first_loads_use_90_percent_of_the_whole_limit_while_nothing_changes() -> None:
    world = World()
    run_together(
        world, [Job(20.0 * number, 10**6, 400, loads=True) for number in range(3)], NO_DAY, until=900
    )
    assert world.used(NOON + 300, NOON + 900) > 0.93


class LoadWithChanges(Process):
    """A first load; while it waits, changes of other mailboxes arrive in the same process."""

    def __init__(self, world: World, limits: ProjectLimits, units: int, due: list[float]) -> None:
        super().__init__(world, limits=limits)
        self.units, self.due, self.waits = units, due, []
        self._busy = False

    def sleep(self, seconds: float) -> None:
        wakes = self.world.now + max(seconds, 0.0)
        while self.due and self.due[0] <= wakes and not self._busy:
            due = self.due.pop(0)
            self.world.now = max(self.world.now, due)
            self._busy = True
            self.spend(self.units)
            self._busy = False
            self.waits.append(self.world.now - due)
        self.world.now = max(self.world.now, wakes)


@pytest.mark.parametrize(
    ("units", "every", "used"),
    [(23, 2.0, 0.94), (100, 2.0, 0.94), (400, 1.0, 0.94), (400, 0.5, 0.95)],
)
def test_changes_of_the_same_process_go_first_and_first_loads_use_the_rest(
    units: int, every: float, used: float
) -> None:
    """Changes of 1, 5, 40 and 80 % of the limit. A batch of a first load takes 0.4 s at this limit."""
    world = World()
    due = [NOON + 300 + every * number for number in range(int(600 / every))]
    process = LoadWithChanges(world, NO_DAY, units, due)
    while world.now < NOON + 900:
        process.spend(400, loads=True)
    assert len(process.waits) >= 600 / every - 2
    assert max(process.waits) < 1
    assert world.used(NOON + 300, NOON + 900) > used
    assert world.most_in_a_minute() <= MINUTE


LOAD = Job(0, 10**6, 400, loads=True)


@pytest.mark.parametrize("processes", [1, 3])
def test_a_few_changes_in_other_processes_never_wait_for_first_loads(processes: int) -> None:
    world = World()
    few = [Job(300 + number, 200, 50, loads=False, every=2.0) for number in range(processes)]
    limits = ProjectLimits(600_000, None)
    run_together(world, [replace(LOAD, units=2_000), *few], limits, until=710)
    assert all(len(job.waits) == 200 and max(job.waits.values()) == 0 for job in few)
    assert world.used(NOON + 300, NOON + 700, 600_000) > 0.91


@pytest.mark.parametrize(("every", "used"), [(2.0, 0.88), (0.8, 0.8)])
def test_first_loads_give_up_what_changes_of_other_processes_need(every: float, used: float) -> None:
    """Changes of 20 and 50 % of the limit use the reserve at once, and more when first loads have given it up."""
    world = World()
    changes = Job(300, 10**6, 400, loads=False, every=every)
    run_together(world, [LOAD, changes], NO_DAY, until=1_700)
    assert max(changes.waits.values()) < 200
    assert max(wait for due, wait in changes.waits.items() if due > 1_000) < 0.1
    assert world.used(NOON + 1_200, NOON + 1_700) > used
    assert world.most_in_a_minute() <= MINUTE


def test_first_loads_take_back_what_changes_no_longer_need() -> None:
    world = World()
    changes = Job(300, 600, 400, loads=False, every=0.8)
    run_together(world, [LOAD, changes], NO_DAY, until=1_700)
    assert changes.spent == 240_000
    assert world.used(NOON + 1_400, NOON + 1_700) > 0.94


@pytest.mark.parametrize("per_minute", [600, 700, 2_000])
def test_a_process_uses_a_small_limit(per_minute: int) -> None:
    world = World()
    jobs = [Job(0, 10**6, 40, loads=True), Job(300, 2, 20, loads=False)]
    spent = run_together(world, jobs, ProjectLimits(per_minute, None), until=1_200)
    assert spent[1] == 40
    assert world.used(NOON, NOON + 1_200, per_minute) > 0.75


def test_changes_do_not_wait_behind_a_first_load_that_waits_for_a_share() -> None:
    world = World()
    other = Process(world, limits=NO_DAY)
    for _ in range(200):
        other.spend(400, loads=True)
    due = [world.now + 7.0]
    process = LoadWithChanges(world, NO_DAY, 200, due)
    process.spend(2_000, loads=True)
    assert max(process.waits) < 20


def test_first_loads_share_what_is_left_in_equal_parts() -> None:
    world = World()
    first = Job(0, 10_000, 1_000, loads=True)
    later = [Job(600, 10_000, 1_000, loads=True) for _ in range(2)]
    spent = run_together(world, [first, *later], NO_DAY, until=600)
    alone = spent[0]
    assert alone > 0.9 * MINUTE * 10
    world = World()
    spent = run_together(world, [first, *later], NO_DAY, until=2_400)
    assert min(spent[1:]) > 0.75 * max(spent[1:])
    assert spent[0] - alone < 1.6 * max(spent[1:])


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


def test_a_day_begins_at_midnight_in_california() -> None:
    midnight = 20_000 * 86_400 + 8 * 3600
    assert day_of(midnight) == day_of(midnight + 86_399) == day_of(midnight - 1) + 1


def test_a_killed_process_holds_its_share_for_minutes_only() -> None:
    world = World()
    greedy = Process(world, limits=ProjectLimits(MINUTE, None))
    for _ in range(300):
        greedy.spend(1_000, loads=True)
    other = Process(world, limits=ProjectLimits(MINUTE, None))
    began = world.now
    other.spend(2_000, loads=True)
    assert world.now - began < 300


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
            loads.spend(20, loads=True)
    assert sum(units for _, units in world.spent) >= 0.9 * 10_000 * 0.97
