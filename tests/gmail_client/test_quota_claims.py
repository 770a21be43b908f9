"""Units per minute over time: changes go first, first loads use the rest, a killed process loses its share."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.quota_processes import MINUTE, NOON, Job, Process, World, run_together

from gmail_client.project_quota import FREE_UNITS
from gmail_client.quota_shares import LEASE, ProjectLimits

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


def test_changes_that_come_in_bursts_get_a_share_for_their_bursts() -> None:
    """4,000 units per minute on average, but 2,000 at once."""
    world = World()
    bursts = Job(300, 10**6, 2_000, loads=False, every=30.0)
    run_together(world, [LOAD, bursts], NO_DAY, until=1_500)
    assert max(wait for due, wait in bursts.waits.items() if due > 700) < 1
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
    assert max(process.waits) < 3  # the first load tries again every 5 seconds


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


def test_a_killed_process_holds_its_share_for_minutes_only() -> None:
    world = World()
    greedy = Process(world, limits=ProjectLimits(MINUTE, None))
    for _ in range(300):
        greedy.spend(1_000, loads=True)
    other = Process(world, limits=ProjectLimits(MINUTE, None))
    began = world.now
    other.spend(2_000, loads=True)
    assert world.now - began < 300


def test_a_share_that_expired_during_a_wait_is_claimed_again() -> None:
    world = World()
    process = Process(world, limits=NO_DAY)
    process.spend(2 * FREE_UNITS)
    assert world.writes == 1
    process.quota.block_until(process.time() + LEASE + 1)
    process.spend(100)
    assert world.writes == 2


def test_a_share_for_changes_is_not_used_by_a_first_load() -> None:
    world = World()
    process = Process(world, limits=NO_DAY)
    process.spend(2 * FREE_UNITS)
    (claim,) = world.ledger.claims.values()
    assert claim.loads == 0
    process.spend(1, loads=True)
    (claim,) = world.ledger.claims.values()
    assert claim.loads > 0


def test_what_a_process_spent_before_it_returned_its_share_counts_for_a_minute() -> None:
    world = World()
    run_together(world, [Job(0, 300, 1_000, loads=True, end="release")], NO_DAY, until=1_000)
    assert all(claim.share == 0 for claim in world.ledger.claims.values())
    run_together(world, [Job(0, 10**6, 1_000, loads=True)], NO_DAY, until=300)
    assert world.most_in_a_minute() <= MINUTE
