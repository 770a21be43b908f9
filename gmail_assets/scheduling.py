"""What a tick of the change sensor does: which mailboxes it polls, and which runs it requests; without Dagster.

`Scheduler.tick` reads all of its input from a `SchedulerBackend`: the sensor's backend connects it to Gmail, the lake
and the Dagster instance, a simulation's to a model of thousands of mailboxes. `gmail_assets.poll_schedule` decides when
a mailbox is polled, and `gmail_assets.sensor_cursor` whether it needs a run. This module combines these decisions into
a few runs, each over many mailboxes. First loads get separate runs, a few at a time: changes do not wait for them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from gmail_assets.poll_schedule import QUIET_MINUTES, PollSchedule
from gmail_assets.sensor_cursor import (
    CursorEntry,
    Decision,
    Observation,
    Requested,
    RunOutcome,
    Start,
    decide,
    has_work,
)
from gmail_client.errors import GmailError
from gmail_client.printable import printable_line

__all__ = ["PlannedRun", "PollResult", "Scheduler", "SchedulerBackend", "TableState", "Tick"]


_RUN_PATIENCE_SECONDS = 300.0
"""A run over many mailboxes that takes longer no longer holds up those that it has already synced."""


@dataclass(frozen=True, slots=True)
class PollResult:
    """The answer of one mailbox: its real address and history id, or why they can't be read."""

    address: str = ""
    head: int = 0
    error: GmailError | None = None


@dataclass(frozen=True, slots=True)
class TableState:
    """The tables of one mailbox.

    Attributes:
        cursor: The lowest history id that a table in use is synced through; None if one of them has no cursor.
        used: Names of the tables in use; empty if no load was started.
        incomplete: A check found rows missing or too many.
    """

    cursor: int | None = None
    used: tuple[str, ...] = ()
    incomplete: bool = False


class SchedulerBackend(Protocol):
    """Where a tick reads the mailboxes, their tables and the outcomes of earlier runs."""

    def poll(self, mailboxes: Sequence[str]) -> Iterable[tuple[str, PollResult]]:
        """Poll mailboxes in this order. Those that did not answer in time are left out."""

    def is_forgotten(self, mailbox: str) -> bool:
        """Whether the mailbox was erased and must not be loaded."""

    def state(self, address: str) -> TableState:
        """State of a mailbox's tables."""

    def outcome(self, mailbox: str, requested: Requested) -> RunOutcome:
        """Outcome of a requested run that is no longer in progress."""


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """A run to request.

    Attributes:
        mailboxes: Its partitions.
        at: Time of the request, in epoch seconds: identifies it among all requests.
        start: `reconcile`, or an earlier history id to replay from; None to continue from the tables' cursors.
        tables: Names of the tables to sync; empty for all.
        first_load: It loads mailboxes for the first time, which may take hours.
    """

    mailboxes: tuple[str, ...]
    at: float
    start: Start = None
    tables: tuple[str, ...] = ()
    first_load: bool = False


@dataclass(slots=True)
class Tick:
    """Result of a tick.

    Attributes:
        entries: The sensor's cursor afterwards.
        runs: Runs to request.
        notes: What was decided, for people.
        failed: Mailboxes that could not be read, with the error.
        all_failing: No mailbox could be read at its last poll.
        newly_failing: Mailboxes whose polls fail repeatedly since this tick, with the error.
        recovered: Mailboxes that answer again after that.
    """

    entries: dict[str, CursorEntry]
    runs: list[PlannedRun] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    all_failing: bool = False
    newly_failing: dict[str, GmailError] = field(default_factory=dict)
    recovered: list[str] = field(default_factory=list)


class Scheduler:
    """The ticks of one sensor.

    Args:
        initial_load: Also request the first load of a mailbox.
        quiet_minutes: Maximum minutes between two polls of a mailbox.
        polls_per_tick: Maximum number of polls per tick; the others follow at the next one.
        runs_per_tick: Maximum number of runs per tick.
        mailboxes_per_run: Maximum number of mailboxes per run.
        loads_in_progress: Maximum number of first-load runs in progress.
    """

    def __init__(
        self,
        *,
        initial_load: bool = False,
        quiet_minutes: float = QUIET_MINUTES,
        polls_per_tick: int = 2_000,
        runs_per_tick: int = 3,
        mailboxes_per_run: int = 100,
        loads_in_progress: int = 2,
    ) -> None:
        self._initial_load = initial_load
        self._polls = PollSchedule(quiet_minutes)
        self._polls_per_tick = polls_per_tick
        self._runs_per_tick = runs_per_tick
        self._mailboxes_per_run = mailboxes_per_run
        self._loads_in_progress = loads_in_progress

    def tick(
        self,
        entries: Mapping[str, CursorEntry],
        mailboxes: Sequence[str],
        in_progress: Collection[str],
        backend: SchedulerBackend,
        *,
        now: float,
        loads: int = 0,
    ) -> Tick:
        """Poll the mailboxes that are due, and decide which runs to request.

        Args:
            entries: The sensor's cursor.
            mailboxes: All mailboxes.
            in_progress: Mailboxes with a queued or running run.
            backend: Reads the mailboxes and their tables.
            now: Epoch seconds.
            loads: Number of first-load runs in progress.
        """
        configured = set(mailboxes)
        tick = Tick({mailbox: entry for mailbox, entry in entries.items() if mailbox in configured})
        forgotten = [mailbox for mailbox in mailboxes if backend.is_forgotten(mailbox)]
        for mailbox in forgotten:
            _leave_out(tick, mailbox)
        present = [mailbox for mailbox in mailboxes if mailbox not in set(forgotten)]
        busy = [mailbox for mailbox in present if mailbox in in_progress]
        tick.notes += [printable_line(f"{mailbox}: a run is queued or in progress.") for mailbox in busy]
        due = self._due(tick.entries, present, in_progress, now)
        decided: dict[str, tuple[Decision, TableState]] = {}
        polled = 0
        for mailbox, poll in backend.poll(due[: self._polls_per_tick]):
            polled += 1
            was_reported = self._polls.is_reported(mailbox)
            if poll.error is not None:
                self._polls.record_failure(mailbox, now)
                if self._polls.is_reported(mailbox) and not was_reported:
                    tick.newly_failing[mailbox] = poll.error
                tick.failed.append(printable_line(f"{mailbox}: {' '.join(str(poll.error).splitlines())}"))
            elif backend.is_forgotten(poll.address):
                _leave_out(tick, mailbox)
            else:
                self._polls.record(mailbox, poll.head, now)
                if was_reported:
                    tick.recovered.append(mailbox)
                state = backend.state(poll.address)
                entry = tick.entries.get(mailbox)
                outcome = backend.outcome(mailbox, entry.requested) if entry and entry.requested else "none"
                unfinished = mailbox in in_progress and not _is_done(entry, state, now)
                observation = _observation(poll.head, state, unfinished, outcome)
                decision = decide(entry, observation, now=now, initial_load=self._initial_load)
                decided[mailbox] = decision, state
        self._add_decisions(tick, decided, now, loads)
        if later := len(present) - polled:
            tick.notes.append(f"{later} of {len(mailboxes)} mailboxes were not polled in this tick.")
        tick.all_failing = bool(present) and all(map(self._polls.failing, present))
        return tick

    def _due(
        self,
        entries: Mapping[str, CursorEntry],
        mailboxes: Sequence[str],
        in_progress: Collection[str],
        now: float,
    ) -> list[str]:
        """Mailboxes to poll: first those with pending work, then those that are due."""
        free = [
            mailbox
            for mailbox in mailboxes
            if mailbox not in in_progress or _is_overdue(entries.get(mailbox), now)
        ]
        urgent = [
            mailbox
            for mailbox in free
            if (entry := entries.get(mailbox)) is not None
            and not self._polls.failing(mailbox)
            and has_work(entry, now)
        ]
        return list(dict.fromkeys([*urgent, *self._polls.due(free, now)]))

    def _add_decisions(
        self, tick: Tick, decided: Mapping[str, tuple[Decision, TableState]], now: float, loads: int
    ) -> None:
        groups: dict[tuple[bool, str, tuple[str, ...]], list[str]] = defaultdict(list)
        for mailbox, (decision, state) in decided.items():
            tick.notes.append(printable_line(f"{mailbox}: {decision.reason}."))
            if decision.request is None:
                tick.entries[mailbox] = decision.entry
                continue
            first_load = state.cursor is None and decision.request.start is None
            groups[first_load, str(decision.request.start or ""), state.used].append(mailbox)
        for (first_load, _, tables), members in sorted(groups.items()):
            for begin in range(0, len(members), self._mailboxes_per_run):
                chosen = members[begin : begin + self._mailboxes_per_run]
                if len(tick.runs) >= self._runs_per_tick or (first_load and loads >= self._loads_in_progress):
                    self._postpone(tick, chosen, decided)
                    continue
                loads += first_load
                # Requests of one tick differ in time, so that each names one run.
                at = round(now + len(tick.runs) / 1000, 3)
                request = decided[chosen[0]][0].request
                start = request.start if request is not None else None
                tick.runs.append(PlannedRun(tuple(chosen), at, start, tables, first_load))
                for mailbox in chosen:
                    entry = decided[mailbox][0].entry
                    requested = entry.requested and replace(entry.requested, at=at)
                    tick.entries[mailbox] = replace(entry, requested=requested)

    def _postpone(
        self, tick: Tick, mailboxes: Sequence[str], decided: Mapping[str, tuple[Decision, TableState]]
    ) -> None:
        """Keep the entries of mailboxes whose run has to wait, so that they are decided again at the next tick."""
        for mailbox in mailboxes:
            before = tick.entries.get(mailbox)
            entry = decided[mailbox][0].entry
            tick.entries[mailbox] = replace(entry, requested=before.requested if before else None)
        tick.notes.append(f"{len(mailboxes)} mailboxes wait for runs in progress or for the next tick.")


def _observation(head: int, state: TableState, unfinished: bool, outcome: RunOutcome) -> Observation:
    return Observation(
        observed=head,
        tables=state.cursor,
        begun=bool(state.used),
        unfinished=unfinished,
        last_run=outcome,
        incomplete=state.incomplete,
    )


def _is_overdue(entry: CursorEntry | None, now: float) -> bool:
    """Whether the requested run has taken so long that the mailbox should not wait for the other ones in the run."""
    requested = entry.requested if entry is not None else None
    return requested is not None and now - requested.at > _RUN_PATIENCE_SECONDS


def _is_done(entry: CursorEntry | None, state: TableState, now: float) -> bool:
    """Whether a run in progress has already synced this mailbox, and continues with others."""
    if entry is None or entry.requested is None or not _is_overdue(entry, now):
        return False
    return state.cursor is not None and state.cursor >= entry.requested.to


def _leave_out(tick: Tick, mailbox: str) -> None:
    tick.entries.pop(mailbox, None)
    tick.notes.append(printable_line(f"{mailbox}: erased with `gmail-assets forget`, not loaded again."))
