"""Commits of several mailboxes together: one commit, each with its own fence; rivals, kills, compactions."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable

from gmail_assets.delta import partition, writer
from gmail_assets.delta.errors import LakeError, WriterConflictError
from gmail_assets.delta.lake import Lake
from gmail_assets.delta.partition import MailboxPartition
from gmail_client.schema import to_batch

USERS = [f"user{number}@example.test" for number in range(5)]


class Killed(BaseException):
    """The process ends here."""


def labels(*ids: str) -> pa.Table:
    return pa.Table.from_batches([to_batch("labels", [{"id": key, "name": key} for key in ids])])


def part(folder: Path, address: str) -> MailboxPartition:
    return MailboxPartition(Lake(str(folder)).table("labels"), address, "all", "full")


def rival(folder: Path, address: str) -> MailboxPartition:
    """As in another process: it shares no open table."""
    return part(folder / ".." / folder.name, address)


def stored(folder: Path) -> dict[str, list[str]]:
    rows = DeltaTable(folder / "labels").to_pyarrow_table().to_pylist()
    found: dict[str, list[str]] = {}
    for row in rows:
        found.setdefault(row["mailbox"], []).append(row["id"])
    return {address: sorted(ids) for address, ids in found.items()}


def version(folder: Path) -> int:
    return DeltaTable(folder / "labels").version()


def together(
    parts: list[MailboxPartition],
    write: Callable[[MailboxPartition], object],
    before: Callable[[], object] = lambda: None,
) -> list[BaseException | None]:
    """Let all parts write, each in a thread, and begin to commit, in this order, only once all of them wait."""
    errors: list[BaseException | None] = [None] * len(parts)

    def work(index: int) -> None:
        try:
            write(parts[index])
        except BaseException as error:
            errors[index] = error

    shared = parts[0].table.shared
    threads = [threading.Thread(target=work, args=(index,)) for index in range(len(parts))]
    with shared.turn:
        for number, thread in enumerate(threads, 1):
            thread.start()
            while len(shared.waiting) < number:
                time.sleep(0.001)
        before()
    for thread in threads:
        thread.join()
    return errors


def test_changes_that_wait_are_one_commit(tmp_path: Path) -> None:
    parts = [part(tmp_path, address) for address in USERS]
    assert together(parts, lambda one: one.append(labels("a", "b"), one.state.synced(7))) == [None] * 5
    assert version(tmp_path) == 1
    assert together(parts, lambda one: one.edit(["a"], lambda rows: rows.slice(0, 0))) == [None] * 5
    assert together(parts[:3], lambda one: one.replace(labels("c"))) == [None] * 3
    assert version(tmp_path) == 3
    assert stored(tmp_path) == {address: ["c"] if index < 3 else ["b"] for index, address in enumerate(USERS)}
    for one in parts:  # they know of their own commits
        one.append(labels("d"))
    assert {part(tmp_path, address).state.cursor for address in USERS} == {7}


def test_only_the_mailbox_that_a_rival_wrote_is_refused(tmp_path: Path) -> None:
    parts = [part(tmp_path, address) for address in USERS]
    errors = together(
        parts,
        lambda one: one.append(labels("a")),
        before=lambda: rival(tmp_path, USERS[2]).append(labels("a")),
    )
    assert [type(error) for error in errors if error] == [WriterConflictError]
    assert errors[2] is not None
    assert stored(tmp_path) == {address: ["a"] for address in USERS}


@pytest.mark.parametrize("kind", ["partition", "writer"])
def test_a_rival_that_another_mailbox_s_commit_brought_into_view_is_not_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Between a commit and the next look at the log, another thread may move the table past a rival's commit."""
    module = {"partition": partition, "writer": writer}[kind]
    commit, first = module.commit_fenced, [True]

    def open_mailbox(lake: Lake, address: str) -> MailboxPartition | writer.PartitionWriter:
        if kind == "partition":
            return MailboxPartition(lake.table("labels"), address, "all", "full")
        return writer.PartitionWriter(lake.table("labels"), address, ["id"])

    def slow(*args: Any) -> int:
        before = commit(*args)
        if first and first.pop():
            open_mailbox(Lake(f"{tmp_path}/../{tmp_path.name}"), USERS[0]).append(labels("b"))
            open_mailbox(Lake(str(tmp_path)), USERS[1]).append(labels("c"))
        return int(before)

    monkeypatch.setattr(module, "commit_fenced", slow)
    mine = open_mailbox(Lake(str(tmp_path)), USERS[0])
    mine.append(labels("a"))
    with pytest.raises(WriterConflictError):
        mine.append(labels("b"))
    assert stored(tmp_path) == {USERS[0]: ["a", "b"], USERS[1]: ["c"]}


def test_of_two_runs_of_one_mailbox_one_is_refused(tmp_path: Path) -> None:
    part(tmp_path, USERS[0]).append(labels("z"))
    parts = [part(tmp_path, address) for address in [*USERS, USERS[0], USERS[0]]]
    errors = together(parts, lambda one: one.append(labels("a")))
    assert [type(error) for error in errors if error] == [WriterConflictError] * 2
    assert stored(tmp_path) == {address: ["a"] for address in USERS[1:]} | {USERS[0]: ["a", "z"]}


def test_files_that_another_process_compacts_meanwhile_are_not_doubled(tmp_path: Path) -> None:
    parts = [part(tmp_path, address) for address in USERS]
    for one in parts:
        one.append(labels("a"))
        one.append(labels("b"))
    errors = together(
        parts,
        lambda one: one.edit(["a"], lambda rows: rows.slice(0, 0)),
        before=lambda: DeltaTable(tmp_path / "labels").optimize.compact(),
    )
    assert errors == [None] * 5
    assert stored(tmp_path) == {address: ["b"] for address in USERS}


def test_a_file_that_can_t_be_read_fails_its_mailbox_only(tmp_path: Path) -> None:
    parts = [part(tmp_path, address) for address in USERS]
    for one in parts:
        one.append(labels("a"))
        one.append(labels("b"))

    def compact_and_damage() -> None:
        """All changes have to be prepared again, during the common commit; that of one mailbox fails."""
        before = set(tmp_path.glob("labels/mailbox=user3*/*.parquet"))
        DeltaTable(tmp_path / "labels").optimize.compact()
        (damaged,) = set(tmp_path.glob("labels/mailbox=user3*/*.parquet")) - before
        damaged.write_bytes(b"PAR1 damaged")

    errors = together(
        parts, lambda one: one.edit(["a"], lambda rows: rows.slice(0, 0)), before=compact_and_damage
    )
    assert [type(error) for error in errors] == [type(None)] * 3 + [LakeError, type(None)]
    assert "can't be written" in str(errors[3])
    others = [address for address in USERS if address != USERS[3]]
    found = {address: part(tmp_path, address).rows(["a", "b"])["id"].to_pylist() for address in others}
    assert found == {address: ["b"] for address in others}


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_kill_during_the_common_commit_loses_and_doubles_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    parts = [part(tmp_path, address) for address in USERS]
    commit, lives = DeltaTable.create_write_transaction, [1]

    def dying(self: DeltaTable, *args: Any, **named: Any) -> None:
        dies = bool(lives and lives.pop())
        if dies and moment == "before":
            raise Killed
        commit(self, *args, **named)
        if dies:
            raise Killed

    monkeypatch.setattr(DeltaTable, "create_write_transaction", dying)
    errors = together(parts, lambda one: one.append(labels("a")))
    kinds = Counter(type(error) for error in errors)
    if moment == "before":
        assert kinds == {Killed: 1, type(None): 4}
    else:  # the others can't know that their rows were committed
        assert kinds == {Killed: 1, WriterConflictError: 4}
    for address, error in zip(USERS, errors, strict=True):
        if error is not None:  # the next run
            again = part(tmp_path, address)
            if not again.count():
                again.append(labels("a"))
    assert stored(tmp_path) == {address: ["a"] for address in USERS}


def test_many_threads_that_commit_at_any_moment_are_all_committed_once(tmp_path: Path) -> None:
    Lake(str(tmp_path)).table("labels")
    addresses = [f"user{number}@example.test" for number in range(12)]

    def work(address: str) -> None:
        one = part(tmp_path, address)
        for number in range(6):
            one.append(labels(f"a{number}"))

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(work, addresses))
    assert stored(tmp_path) == {address: [f"a{number}" for number in range(6)] for address in addresses}
    assert version(tmp_path) <= 72
