"""Processes that share a project's quota, in a simulated time: `World`, and `run_together` for their jobs."""

from __future__ import annotations

import heapq
import itertools
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from gmail_client.errors import ConfigurationError, DailyLimitError
from gmail_client.project_quota import ProjectQuota
from gmail_client.quota_shares import Ledger, ProjectLimits

__all__ = ["LIMITS", "MINUTE", "NOON", "Job", "Process", "Store", "World", "run_together"]

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
