"""How fresh tables of thousands of mailboxes are, and at what cost in units: the sensor's scheduler on a model.

    python -m benchmarks.freshness [--mailboxes 3000] [--hours 24] [--quiet-minutes 5] [--per-day 10]

The scheduler is the real one (`gmail_assets.scheduling`). Mailboxes, Gmail, tables and runs are a model in memory, with
simulated time: each mailbox has its own rate of mail (log-normal), more in office hours, and in conversations; most
messages are read later, which also changes the history id. A run takes 10 seconds to start and syncs 32 mailboxes at
once, in 3 seconds each. Prices are Gmail's: 1 unit for a poll, 3 for a mailbox of a run (profile and history), 4 more
for the checks in the first of each hour, 20 for a message; `tests/gmail_assets/test_mailbox_runs.py` counts them.
"""

from __future__ import annotations

import argparse
import bisect
import heapq
import math
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from gmail_assets.mailbox_work import in_same_hour
from gmail_assets.poll_schedule import QUIET_MINUTES
from gmail_assets.scheduling import PlannedRun, PollResult, Scheduler, TableState
from gmail_assets.sensor_cursor import CursorEntry, Requested, RunOutcome

PER_DAY = 10.0
MIDNIGHT = 20_000 * 86_400.0
_TICK = 30.0
_RUN_START, _JOBS, _SYNC_SECONDS = 10.0, 32, 3.0
_POLL_UNITS, _SYNC_UNITS, _CHECK_UNITS, _MESSAGE_UNITS = 1, 3, 4, 20
_TABLES = ("messages", "threads")


@dataclass(frozen=True, slots=True)
class Freshness:
    """Result of a simulation.

    Attributes:
        arrivals: Messages that arrived.
        within_5_minutes: Share of them that were in the tables 5 minutes later.
        median: Seconds until a message is in the tables, for half of them.
        p95: The same for 95 %.
        polls: Units of polls.
        syncs: Units of runs, without messages.
        checks: The part of them that is for checks.
        messages: Units of messages.
        runs: Runs requested.
        most_polls: Most polls of one tick.
        cpu_per_tick: CPU seconds of the scheduler per tick.
    """

    arrivals: int
    within_5_minutes: float
    median: float
    p95: float
    polls: int
    syncs: int
    checks: int
    messages: int
    runs: int
    most_polls: int
    cpu_per_tick: float

    @property
    def finding(self) -> int:
        """Units spent to find changes: everything but the messages themselves."""
        return self.polls + self.syncs


@dataclass
class Model:
    """Mailboxes whose history ids grow with time, tables that follow, and runs that take time.

    Attributes:
        changes: Times of all changes by mailbox, in order; a history id is a number of changes.
        arrivals: Times of the messages among them.
    """

    changes: dict[str, list[float]]
    arrivals: dict[str, list[float]]
    now: float = MIDNIGHT
    cursors: dict[str, int] = field(default_factory=dict)
    synced: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    in_progress: dict[str, float] = field(default_factory=dict)
    done: list[tuple[float, float, str]] = field(default_factory=list)
    polls: int = 0
    syncs: int = 0
    checks: int = 0

    def poll(self, mailboxes: Sequence[str]) -> Iterator[tuple[str, PollResult]]:
        self.polls += len(mailboxes)
        for mailbox in mailboxes:
            yield mailbox, PollResult(mailbox, self.head(mailbox, self.now))

    def head(self, mailbox: str, at: float) -> int:
        return 1 + bisect.bisect_right(self.changes[mailbox], at)

    def is_forgotten(self, mailbox: str) -> bool:
        return False

    def state(self, address: str) -> TableState:
        return TableState(self.cursors.get(address, 1), _TABLES)

    def outcome(self, mailbox: str, requested: Requested) -> RunOutcome:
        return "succeeded"

    def start(self, run: PlannedRun) -> None:
        """Each mailbox is read and written at its own time; all are in progress until the end of the run."""
        ends = [
            self.now + _RUN_START + _SYNC_SECONDS * (1 + number // _JOBS)
            for number in range(len(run.mailboxes))
        ]
        for mailbox, end in zip(run.mailboxes, ends, strict=True):
            self.in_progress[mailbox] = ends[-1]
            heapq.heappush(self.done, (end, end - _SYNC_SECONDS, mailbox))

    def advance(self, until: float) -> None:
        while self.done and self.done[0][0] <= until:
            end, read_at, mailbox = heapq.heappop(self.done)
            self.syncs += 1
            before = self.synced.get(mailbox)
            self.checks += before is None or not in_same_hour(mailbox, before[-1][0], read_at)
            self.cursors[mailbox] = self.head(mailbox, read_at)
            self.synced.setdefault(mailbox, []).append((read_at, end))
        self.now = until
        self.in_progress = {mailbox: end for mailbox, end in self.in_progress.items() if end > until}


def people(count: int, hours: float, seed: int, mean_per_day: float) -> Model:
    """Mailboxes with different rates of mail."""
    rng = random.Random(seed)
    changes, arrivals = {}, {}
    for number in range(count):
        name = f"m{number:05}@example.test"
        per_day = mean_per_day * rng.lognormvariate(-0.5, 1.0)
        received = list(_received(rng, per_day, hours))
        read = [at + rng.expovariate(1 / 1800) for at in received if rng.random() < 0.7]
        arrivals[name] = sorted(received)
        changes[name] = sorted(received + read)
    return Model(changes, arrivals)


def _received(rng: random.Random, per_day: float, hours: float) -> Iterator[float]:
    """Conversations of three messages on average, 8 minutes apart, most of them in office hours."""
    at = MIDNIGHT
    rate = per_day / 3 / 86_400
    while True:
        at += rng.expovariate(rate * 2.2)
        if at > MIDNIGHT + hours * 3600:
            return
        if rng.random() > _activity((at - MIDNIGHT) / 3600 % 24):
            continue
        message = at
        while True:
            if message < MIDNIGHT + hours * 3600:
                yield message
            if rng.random() < 1 / 3:
                break
            message += rng.expovariate(1 / 480)


def _activity(hour: float) -> float:
    """Between 0.1 at night and 1 in the afternoon; 0.45 on average."""
    return 0.1 + 0.9 * max(0.0, math.sin(math.pi * (hour - 6) / 14)) ** 0.7 if 6 <= hour <= 20 else 0.1


def simulate(
    mailboxes: int,
    hours: float,
    *,
    quiet_minutes: float = QUIET_MINUTES,
    per_day: float = PER_DAY,
    seed: int = 1,
) -> Freshness:
    """Tick every 30 seconds, after half an hour in which the scheduler gets to know the mailboxes."""
    model = people(mailboxes, hours, seed, per_day)
    scheduler = Scheduler(quiet_minutes=quiet_minutes)
    entries: dict[str, CursorEntry] = {}
    names = list(model.changes)
    runs = most = ticks = 0
    began = time.process_time()
    while model.now < MIDNIGHT + hours * 3600 + 900:
        before = model.polls
        tick = scheduler.tick(entries, names, model.in_progress, model, now=model.now)
        entries = tick.entries
        for run in tick.runs:
            model.start(run)
        runs += len(tick.runs)
        ticks += 1
        if ticks > 1:
            most = max(most, model.polls - before)
        model.advance(model.now + _TICK)
    delays = sorted(_delays(model))
    total = len(delays)
    return Freshness(
        total,
        bisect.bisect_right(delays, 300.0) / total,
        delays[total // 2],
        delays[int(total * 0.95)],
        model.polls * _POLL_UNITS,
        model.syncs * _SYNC_UNITS + model.checks * _CHECK_UNITS,
        model.checks * _CHECK_UNITS,
        total * _MESSAGE_UNITS,
        runs,
        most,
        (time.process_time() - began) / ticks,
    )


def _delays(model: Model) -> Iterator[float]:
    for mailbox, times in model.arrivals.items():
        synced = model.synced.get(mailbox, [])
        for at in times:
            place = bisect.bisect_left(synced, (at, 0.0))
            yield synced[place][1] - at if place < len(synced) else float("inf")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mailboxes", type=int, default=3_000)
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--quiet-minutes", type=float, default=QUIET_MINUTES)
    parser.add_argument(
        "--per-day", type=float, default=PER_DAY, help="messages per mailbox and day, on average"
    )
    given = parser.parse_args()
    found = simulate(given.mailboxes, given.hours, quiet_minutes=given.quiet_minutes, per_day=given.per_day)
    scale = 24 / given.hours
    print(f"{given.mailboxes:,} mailboxes, {found.arrivals:,} messages in {given.hours:g} h")
    print(
        f"in the tables: half within {found.median:.0f} s, 95 % within {found.p95:.0f} s, "
        f"{found.within_5_minutes:.1%} within 5 minutes"
    )
    for what, units in [
        ("polls", found.polls),
        ("syncs", found.syncs),
        ("polls and syncs", found.finding),
        ("messages", found.messages),
    ]:
        print(f"{what}: {units * scale:,.0f} units a day, {units * scale / 800_000:.2f} % of 80,000,000")
    print(
        f"{found.runs:,} runs; at most {found.most_polls:,} polls a tick; {found.cpu_per_tick:.3f} CPU s a tick"
    )


if __name__ == "__main__":
    main()
