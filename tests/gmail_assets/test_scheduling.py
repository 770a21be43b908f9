"""A tick of the scheduler against a model of mailboxes, tables and runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pytest

from gmail_assets.scheduling import PlannedRun, PollResult, Scheduler, TableState, Tick
from gmail_assets.sensor_cursor import CursorEntry, Requested, RunOutcome
from gmail_client.errors import CredentialsError

BOTH = ("messages", "threads")


@dataclass
class World:
    """Mailboxes by name with their heads and their tables' cursors; None for tables without rows."""

    heads: dict[str, int]
    cursors: dict[str, int | None]
    sick: set[str] = field(default_factory=set)
    silent: set[str] = field(default_factory=set)
    forgotten: set[str] = field(default_factory=set)
    outcomes: dict[float, RunOutcome] = field(default_factory=dict)
    polled: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, count: int, *, loaded: bool = True) -> World:
        names = [f"m{number:03}@gmail.test" for number in range(count)]
        return cls(dict.fromkeys(names, 100), dict.fromkeys(names, 100 if loaded else None))

    def poll(self, mailboxes: Sequence[str]) -> Iterator[tuple[str, PollResult]]:
        for mailbox in mailboxes:
            if mailbox in self.silent:
                continue
            self.polled.append(mailbox)
            error = CredentialsError("revoked", fix="log in")
            yield (
                mailbox,
                PollResult(error=error) if mailbox in self.sick else PollResult(mailbox, self.heads[mailbox]),
            )

    def is_forgotten(self, mailbox: str) -> bool:
        return mailbox in self.forgotten

    def state(self, address: str) -> TableState:
        cursor = self.cursors[address]
        return TableState() if cursor is None else TableState(cursor, BOTH)

    def outcome(self, mailbox: str, requested: Requested) -> RunOutcome:
        return self.outcomes.get(requested.at, "none")

    def finish(self, run: PlannedRun) -> None:
        self.outcomes[run.at] = "succeeded"
        for mailbox in run.mailboxes:
            self.cursors[mailbox] = self.heads[mailbox]


@dataclass
class Clockwork:
    """A scheduler with its cursor, ticking every 30 seconds."""

    world: World
    scheduler: Scheduler = field(default_factory=Scheduler)
    entries: dict[str, CursorEntry] = field(default_factory=dict)
    now: float = 1_000_000.0

    def tick(self, in_progress: Sequence[str] = (), loads: int = 0, wait: float = 30.0) -> Tick:
        self.now += wait
        self.world.polled.clear()
        tick = self.scheduler.tick(
            self.entries, list(self.world.heads), set(in_progress), self.world, now=self.now, loads=loads
        )
        self.entries = tick.entries
        return tick


def test_changed_mailboxes_that_are_no_neighbours_share_a_run():
    work = Clockwork(World.of(500))
    assert not work.tick().runs
    changed = list(work.world.heads)[::10]
    for mailbox in changed:
        work.world.heads[mailbox] += 1
    runs = work.tick(wait=300.0).runs
    assert len(runs) <= 3
    assert sorted(mailbox for run in runs for mailbox in run.mailboxes) == changed
    assert {(run.start, run.tables, run.first_load) for run in runs} == {(None, BOTH, False)}
    for run in runs:
        work.world.finish(run)
        assert all(work.entries[mailbox].requested.at == run.at for mailbox in run.mailboxes)  # type: ignore[union-attr]
    assert not work.tick().runs
    assert all(work.entries[mailbox].requested is None for mailbox in changed)


def test_more_than_the_runs_of_a_tick_take_wait_for_the_next_one_and_count_as_not_tried():
    work = Clockwork(World.of(50), Scheduler(mailboxes_per_run=10, runs_per_tick=2))
    work.tick()
    for mailbox in work.world.heads:
        work.world.heads[mailbox] += 1
    seen: set[str] = set()
    for count in (20, 20, 10):
        tick = work.tick(wait=300.0)
        taken = {mailbox for run in tick.runs for mailbox in run.mailboxes}
        assert len(taken) == count
        assert not taken & seen
        assert all(len(run.mailboxes) <= 10 for run in tick.runs)
        seen |= taken
        for run in tick.runs:
            work.world.finish(run)
    assert {entry.requested.attempt for entry in work.entries.values() if entry.requested} <= {1}


def test_first_loads_are_few_at_a_time_and_let_changes_pass():
    world = World.of(40, loaded=False)
    work = Clockwork(world, Scheduler(initial_load=True, mailboxes_per_run=10))
    first = work.tick().runs
    assert [run.first_load for run in first] == [True, True]
    for run in first:
        for mailbox in run.mailboxes:
            world.cursors[mailbox] = 100
    loading = [mailbox for mailbox in world.heads if world.cursors[mailbox] is None]
    changed = first[0].mailboxes[0]
    world.heads[changed] += 1
    runs = work.tick(loads=2, wait=300.0).runs
    assert [run.mailboxes for run in runs] == [(changed,)]
    runs = work.tick(in_progress=[changed], loads=0, wait=300.0).runs
    assert {mailbox for run in runs for mailbox in run.mailboxes} == set(loading)


def test_an_edited_entry_has_a_run_of_its_own_kind():
    work = Clockwork(World.of(3))
    work.tick()
    back, null, _ = work.world.heads
    work.entries[back] = CursorEntry(50, 100, None, 100)
    work.entries[null] = CursorEntry(None, 100, None, 100)
    runs = work.tick().runs
    assert {(run.mailboxes, run.start) for run in runs} == {((back,), 50), ((null,), "reconcile")}


def test_mailboxes_with_a_run_in_progress_are_not_polled_until_their_run_takes_too_long():
    work = Clockwork(World.of(2))
    work.tick()
    quick, slow = work.world.heads
    for mailbox in (quick, slow):
        work.world.heads[mailbox] += 1
    (run,) = work.tick(wait=300.0).runs
    assert not work.tick(in_progress=run.mailboxes).runs
    assert not work.world.polled
    # The run has synced one of them, and is still busy with the other.
    work.world.cursors[quick] = work.world.heads[quick]
    work.world.heads[quick] += 1
    runs = work.tick(in_progress=run.mailboxes, wait=301.0).runs
    assert [one.mailboxes for one in runs] == [(quick,)]


def test_sick_mailboxes_are_asked_less_often_and_hold_nobody_up():
    work = Clockwork(World.of(10))
    work.tick()
    sick = next(iter(work.world.heads))
    work.world.sick.add(sick)
    polls, reported = 0, []
    for _ in range(60):
        tick = work.tick()
        polls += work.world.polled.count(sick)
        reported += tick.newly_failing
        assert not tick.all_failing
        assert not tick.recovered
    assert polls <= 8
    assert reported == [sick]
    work.world.sick = set()
    assert [name for _ in range(3) for name in work.tick(wait=3600.0).recovered] == [sick]
    work.world.sick = set(work.world.heads)
    assert any(work.tick(wait=3600.0).all_failing for _ in range(3))


def test_silent_mailboxes_are_tried_again_and_the_notes_count_them():
    work = Clockwork(World.of(10))
    work.world.silent = set(list(work.world.heads)[:4])
    assert "4 of 10 mailboxes were not polled in this tick." in work.tick().notes
    work.world.silent.clear()
    work.tick()
    assert set(work.world.polled) >= set(list(work.world.heads)[:4])


@pytest.mark.parametrize("loaded", [True, False])
def test_forgotten_mailboxes_are_not_polled(loaded: bool):
    world = World.of(3, loaded=loaded)
    work = Clockwork(world, Scheduler(initial_load=True))
    gone = next(iter(world.heads))
    world.forgotten.add(gone)
    tick = work.tick()
    assert gone not in world.polled
    assert gone not in tick.entries
    assert any("erased with `gmail-assets forget`" in note for note in tick.notes)


def test_a_quiet_deployment_costs_a_poll_per_mailbox_in_five_minutes():
    work = Clockwork(World.of(100))
    for _ in range(120):
        work.tick()
    polls = 0
    for _ in range(120):
        work.tick()
        polls += len(work.world.polled)
    assert 100 * 12 <= polls <= 100 * 12 * 1.4
