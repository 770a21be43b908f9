"""Two processes, many runs, other engines, copies of the lake: a commit is accepted if and only if its run is current.

A run is current if it has seen the last write of its mailbox and every restore of the table. Otherwise it is refused,
and nothing of its commit is stored; the others of a common commit are not affected.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import pyarrow as pa
import pytest
from deltalake import DeltaTable, Field
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)
from support.examples import examples

from gmail_assets.delta import table_log
from gmail_assets.delta.erase import erase_rows
from gmail_assets.delta.errors import LakeError, WriterConflictError
from gmail_assets.delta.lake import Lake
from gmail_assets.delta.partition import MailboxPartition
from gmail_client.schema import to_batch

USERS = [f"user{number}@example.test" for number in range(3)]
CHANGES = st.sampled_from(["append", "edit", "clear", "state"])


@dataclass
class Process:
    """A process: its open tables, whose key is the spelling of the path, and the logs that it has read."""

    lake: Lake
    logs: dict[Any, Any] = field(default_factory=dict)
    session: Lake | None = None

    @contextmanager
    def running(self) -> Iterator[None]:
        with mock.patch.object(table_log, "_LOGS", self.logs):
            yield


@dataclass(frozen=True)
class State:
    """What is stored, and what happened to the table so far."""

    rows: Mapping[str, frozenset[str]]
    cursors: Mapping[str, int | None]
    writes: Mapping[str, int]
    restores: int = 0


@dataclass(eq=False)
class Run:
    """A run over one mailbox.

    Attributes:
        known: The mailbox's writes and the table's restores when it was opened, or as of its last commit.
        opened_at: The table's version at that time.
    """

    process: Process
    address: str
    part: MailboxPartition
    known: tuple[int, int]
    opened_at: int
    error: BaseException | None = None


def labels(*ids: str) -> pa.Table:
    return pa.Table.from_batches([to_batch("labels", [{"id": key, "name": key} for key in ids])])


class SharedLake(RuleBasedStateMachine):
    """One table, three mailboxes, two processes."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.uri = self.folder / "lake"
        self.state = State(dict.fromkeys(USERS, frozenset()), dict.fromkeys(USERS), dict.fromkeys(USERS, 0))
        self.states: dict[int, State] = {}
        """The state as of each version of the table."""
        self.oldest = 0
        """The first version that can be read."""
        self.copies: list[tuple[Path, dict[int, State], int]] = []
        self.runs: list[Run] = []
        self.number = 0
        self.processes = [Process(Lake(str(self.uri))), Process(Lake(f"{self.folder}/./lake"))]

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    @property
    def table(self) -> DeltaTable:
        return DeltaTable(self.uri / "labels")

    def next(self) -> int:
        self.number += 1
        return self.number

    def note(self, state: State) -> None:
        """The table has this state now: compare it."""
        self.state = state
        table = self.table
        stored: dict[str, list[str]] = {address: [] for address in USERS}
        for row in table.to_pyarrow_table(columns=["mailbox", "id"]).to_pylist():
            stored[row["mailbox"]].append(row["id"])
        assert {address: sorted(ids) for address, ids in stored.items()} == {
            address: sorted(ids) for address, ids in state.rows.items()
        }
        self.states[table.version()] = state

    def written(self, address: str, rows: frozenset[str], cursor: int | None) -> State:
        before = self.state
        return State(
            {**before.rows, address: rows},
            {**before.cursors, address: cursor},
            {**before.writes, address: before.writes[address] + 1},
            before.restores,
        )

    @initialize()
    def create(self) -> None:
        with self.processes[0].running():
            self.processes[0].lake.table("labels")
        self.note(self.state)

    # Runs of this product

    def opened(self, process: Process, address: str, lake: Lake) -> Run:
        with process.running():
            part = MailboxPartition(lake.table("labels"), address, "all", "full")
        version = part.table.delta.version()
        state = self.states[version]
        return Run(process, address, part, (state.writes[address], state.restores), version)

    @rule(index=st.integers(0, 1), address=st.sampled_from(USERS), in_session=st.booleans())
    def open_run(self, index: int, address: str, in_session: bool) -> None:
        process = self.processes[index]
        if in_session:
            process.session = process.session or process.lake.session()
        run = self.opened(process, address, (in_session and process.session) or process.lake)
        if not in_session:
            assert run.part.state.cursor == self.state.cursors[address]
        self.runs.append(run)

    @rule(index=st.integers(0, 1))
    def look(self, index: int) -> None:
        """A process sees the newest version, and does not read the log."""
        process = self.processes[index]
        with process.running():
            shared = process.lake.opened("labels")
        assert shared is not None
        assert shared.delta.version() == self.table.version()

    @rule()
    def end_sessions(self) -> None:
        for process in self.processes:
            process.session = None

    @precondition(lambda self: self.runs)
    @rule(data=st.data(), change=CHANGES, alone=st.booleans())
    def commit(self, data: st.DataObject, change: str, alone: bool) -> None:
        first = data.draw(st.sampled_from(self.runs))
        chosen = [run for run in self.runs if run is first or (not alone and run.process is first.process)]
        meanwhile = data.draw(st.sampled_from([self.nothing, self.rival_commits, self.compact, self.restore]))
        self.together(chosen, change, lambda: meanwhile(data=data))

    @rule(index=st.integers(0, 1), address=st.sampled_from(USERS), change=CHANGES)
    def run_at_once(self, index: int, address: str, change: str) -> None:
        process = self.processes[index]
        self.runs.append(run := self.opened(process, address, process.lake))
        self.together([run], change, lambda: None)
        assert run.error is None

    def together(self, chosen: Sequence[Run], change: str, meanwhile: Callable[[], object]) -> None:
        """Let runs of one process commit together, and something else happen before."""
        shared = chosen[0].part.table.shared
        threads, writes = [], {}
        for run in chosen:
            write, rows, cursor = self.planned(run, change)
            writes[run] = rows, cursor
            threads.append(threading.Thread(target=self.attempt, args=(run, write)))
        with chosen[0].process.running():
            with shared.turn:
                for thread in threads:
                    thread.start()
                while any(thread.is_alive() for thread in threads) and len(shared.waiting) < sum(
                    thread.is_alive() for thread in threads
                ):
                    time.sleep(0.001)
                meanwhile()
            for thread in threads:
                thread.join()
        state, before = self.state, self.state
        for run in chosen:
            if run.error is None:
                writes_before = before.writes[run.address]
                is_current = run.known == (writes_before, before.restores)
                assert is_current or (run.known[0] == writes_before == 0), f"{run.address} was overwritten"
                assert state.writes[run.address] == writes_before, f"two runs wrote {run.address}"
                self.state = state
                state = self.written(run.address, *writes[run])
        for run in chosen:
            if run.error is not None:
                if run.opened_at < self.oldest:  # the commits that it has not seen are gone
                    assert isinstance(run.error, LakeError), run.error
                else:
                    assert isinstance(run.error, WriterConflictError), run.error
                    current = run.known == (before.writes[run.address], before.restores)
                    assert not current or state.writes[run.address] > before.writes[run.address], run.error
                self.runs.remove(run)
            else:
                run.known = state.writes[run.address], state.restores
                run.opened_at = self.table.version()
        self.note(state)

    @staticmethod
    def attempt(run: Run, write: Callable[[], object]) -> None:
        try:
            write()
        except BaseException as error:
            run.error = error

    def planned(self, run: Run, change: str) -> tuple[Callable[[], object], frozenset[str], int]:
        """A write, and the rows and the cursor afterwards if it is accepted."""
        number = self.next()
        part, rows, new = run.part, self.state.rows[run.address], f"row{number}"
        after = part.state.synced(number)
        if change == "append":
            return lambda: part.append(labels(new), after), rows | {new}, number
        if change == "edit":
            old = min(rows, default="none")
            edited = rows - {old} | {new}
            return (
                lambda: part.edit([old], lambda found: found.slice(0, 0), labels(new), after),
                edited,
                number,
            )
        if change == "clear":
            return lambda: part.clear(after), frozenset(), number
        return lambda: part.commit(after), rows, number

    @rule(index=st.integers(0, 1), address=st.sampled_from(USERS))
    def erase(self, index: int, address: str) -> None:
        process = self.processes[index]
        with process.running():
            erase_rows(process.lake, "labels", address)
        self.note(self.written(address, frozenset(), None))

    # Others

    def nothing(self, data: st.DataObject) -> None:
        """Nothing happens meanwhile."""

    def rival_commits(self, data: st.DataObject) -> None:
        rival = Process(Lake(f"{self.folder}/././lake{'/' * (self.next() % 7)}"))
        address = data.draw(st.sampled_from(USERS))
        run = self.opened(rival, address, rival.lake)
        with rival.running():
            new = f"row{self.next()}"
            run.part.append(labels(new), run.part.state.synced(self.number))
        self.note(self.written(address, self.state.rows[address] | {new}, self.number))

    @rule(data=st.none())
    def compact(self, data: object) -> None:
        self.table.optimize.compact()
        self.note(self.state)

    @rule(data=st.data())
    def restore(self, data: st.DataObject) -> None:
        version = data.draw(st.sampled_from(range(self.oldest, self.table.version() + 1)))
        if version == self.table.version() or version not in self.states:
            return
        self.table.restore(version)
        before = self.state
        self.note(State(self.states[version].rows, dict.fromkeys(USERS), before.writes, before.restores + 1))

    @rule()
    def add_column(self) -> None:
        if self.number < 40:
            self.table.alter.add_columns([Field(f"extra{self.next()}", "string")])
            self.note(self.state)

    @rule()
    def write_checkpoint(self) -> None:
        self.table.create_checkpoint()

    @precondition(lambda self: not self.state.restores)
    @rule()
    def clean_up_log(self) -> None:
        """A restore that no run has seen yet can't be found out afterwards."""
        period = "delta.logRetentionDuration"
        self.table.alter.set_table_properties({period: "interval 0 days"})
        self.note(self.state)
        self.table.create_checkpoint()
        self.table.cleanup_metadata()
        self.table.alter.set_table_properties({period: "interval 30 days"})
        self.note(self.state)
        self.oldest = self.table.version()

    @rule()
    def copy(self) -> None:
        folder = self.folder / f"copy{self.next()}"
        shutil.copytree(self.uri, folder)
        self.copies.append((folder, dict(self.states), self.oldest))

    @precondition(lambda self: self.copies)
    @rule(data=st.data())
    def replace_by_copy(self, data: st.DataObject) -> None:
        """Once no run writes it. The processes go on."""
        folder, states, self.oldest = data.draw(st.sampled_from(self.copies))
        self.runs.clear()
        self.end_sessions()
        shutil.rmtree(self.uri)
        shutil.copytree(folder, self.uri)
        self.states = dict(states)
        self.note(self.states[max(self.states)])


def run_lives(count: int, steps: int) -> None:
    run_state_machine_as_test(SharedLake, settings=settings(examples(count), stateful_step_count=steps))


def test_commits_of_two_processes() -> None:
    run_lives(5, 12)


@pytest.mark.slow
def test_commits_of_two_processes_in_longer_lives() -> None:
    run_lives(60, 40)
