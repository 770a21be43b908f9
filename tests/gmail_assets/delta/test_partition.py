"""One mailbox's partition of a table: commits, cursor, fence, groups, soft-deleted rows."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from gmail_assets.delta.errors import LakeError, SchemaMismatchError, WriterConflictError
from gmail_assets.delta.lake import Lake
from gmail_assets.delta.partition import MailboxPartition
from gmail_assets.delta.partition_status import partition_statuses
from gmail_client.schema import to_batch
from gmail_client.spec import SpecTable

ADA = "ada@example.test"


def messages(*ids: str, labels: tuple[str, ...] = ("INBOX",), body: str = "x") -> pa.Table:
    rows = [
        {
            "id": message_id,
            "threadId": f"t{message_id}",
            "labelIds": list(labels),
            "historyId": "5",
            "payload": {"partId": "", "parts": [{"body": {"size": 1, "data": body}}]},
        }
        for message_id in ids
    ]
    return pa.Table.from_batches([to_batch("messages", rows)])


def part(tmp_path: Path, address: str = ADA, fingerprint: str = "all", **table: Any) -> MailboxPartition:
    return MailboxPartition(Lake(str(tmp_path)).table("messages", **table), address, fingerprint, "full")


def append(writer: MailboxPartition, rows: pa.Table, cursor: int) -> None:
    writer.append(rows, writer.state.synced(cursor))


def commit(writer: MailboxPartition, cursor: int) -> None:
    writer.commit(writer.state.synced(cursor))


def update(*ids: str, labels: tuple[str, ...] = ("STARRED",)) -> pa.Table:
    schema = pa.schema([("id", pa.string()), ("labelIds", pa.list_(pa.field("element", pa.string())))])
    return pa.Table.from_pylist([{"id": i, "labelIds": list(labels)} for i in ids], schema=schema)


def ids(tmp_path: Path) -> list[str]:
    return sorted(part(tmp_path).members()["id"].to_pylist())


def test_a_run_notes_which_rows_it_writes(tmp_path: Path) -> None:
    first = part(tmp_path)
    assert (first.changes.since, first.changes.keys) == (None, set())
    first.append(messages("1", "2", "3", "4"))
    assert first.changes.keys == {"1", "2", "3", "4"}
    run = part(tmp_path)
    assert run.changes.since == run.changes.through == first.changes.through
    commit(run, 5)
    assert run.changes.keys == set()
    run.merge(update("1"), ["2"], messages("5"))
    assert run.changes.keys == {"1", "2", "5"}
    run.edit(["3"], lambda rows: rows.slice(0, 0))
    assert run.changes.keys == {"1", "2", "3", "5"}
    assert (run.changes.since, run.changes.through) == (first.changes.through, part(tmp_path).changes.since)
    for write in (lambda one: one.replace(messages("6")), lambda one: one.clear(one.state)):
        run = part(tmp_path)
        write(run)
        assert run.changes.keys is None
    run = part(tmp_path)
    run.table.delta.restore(run.table.delta.version() - 1)
    assert part(tmp_path).restored
    assert part(tmp_path).changes.keys is None


def test_equal_rows_of_a_snapshot_are_not_written_again(tmp_path: Path) -> None:
    files = lambda: {file.path for file in Lake(str(tmp_path)).table("messages").files()}  # noqa: E731
    assert part(tmp_path).replace(messages("1", "2"))
    first, version = files(), part(tmp_path).table.delta.version()
    assert not part(tmp_path).replace(messages("1", "2"))
    assert files() == first
    assert part(tmp_path).state.synced_at
    for rows in (messages("1", "2", body="y"), messages("1"), messages("1").slice(0, 0), messages("1", "2")):
        assert part(tmp_path).replace(rows)
        assert not part(tmp_path).replace(rows)
    part(tmp_path).table.delta.restore(version)
    assert part(tmp_path).replace(messages("1"))
    part(tmp_path).table.delta.delete("id = '1'")
    assert part(tmp_path).replace(messages("1"))
    assert ids(tmp_path) == ["1"]


def test_reads_without_a_difference_are_recorded_once_in_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SimpleNamespace(time=lambda: now)
    monkeypatch.setattr("gmail_assets.delta.partition.time", clock)

    def read(rows: pa.Table, *, names: int = 0, fingerprint: str = "all") -> int | None:
        part(tmp_path, fingerprint=fingerprint).replace(rows, names=names, record_every=100)
        return part(tmp_path, fingerprint=fingerprint).state.synced_at

    now = 1000
    assert read(messages("1")) == 1000
    version = part(tmp_path).table.delta.version()
    now = 1099
    assert read(messages("1")) == 1000
    assert part(tmp_path).table.delta.version() == version
    now = 1100
    assert read(messages("1")) == 1100
    now = 1101
    assert read(messages("1", body="y")) == 1101
    now = 1102
    assert read(messages("1", body="y"), names=7) == 1102
    now = 1103
    assert read(messages("1", body="y"), names=7, fingerprint="other") == 1103
    now = 900  # the time above is that of a clock that was wrong
    assert read(messages("1", body="y"), names=7, fingerprint="other") == 900
    part(tmp_path).table.delta.restore(version)
    now = 901
    assert read(messages("1"), fingerprint="other") == 901


def test_rows_cursor_and_load_start_survive_reopening(tmp_path: Path) -> None:
    first = part(tmp_path)
    assert (first.state.cursor, first.state.load_start) == (None, None)
    first.append(messages("a", "b"), first.state.loading(7))
    again = part(tmp_path)
    assert (again.state.cursor, again.state.load_start, again.count()) == (None, 7, 2)
    append(again, messages("c"), 9)
    last = part(tmp_path)
    assert (last.state.cursor, last.state.load_start, ids(tmp_path)) == (9, None, ["a", "b", "c"])


def test_a_cursor_moves_without_data(tmp_path: Path) -> None:
    first = part(tmp_path)
    append(first, messages("a"), 3)
    first.merge(update("not there"), state=first.state.synced(4))
    commit(first, 5)
    assert part(tmp_path).state.cursor == 5


def test_a_merge_updates_and_deletes_only_its_rows(tmp_path: Path) -> None:
    writer = part(tmp_path)
    writer.append(messages("a", "b", "c", body="kept"))
    writer.merge(update("a"), ["b"], state=writer.state.synced(8))
    rows = {row["id"]: row for row in part(tmp_path).rows(["a", "b", "c"]).to_pylist()}
    assert rows.keys() == {"a", "c"}
    assert rows["a"]["labelIds"] == ["STARRED"]
    assert rows["a"]["payload"]["parts"][0]["body"]["data"] == "kept"
    assert rows["c"]["labelIds"] == ["INBOX"]
    assert rows["a"]["mailbox"] == ADA


def test_only_this_mailbox_is_touched(tmp_path: Path) -> None:
    ada, bob = part(tmp_path), part(tmp_path, "bob@example.test")
    append(ada, messages("a", "b"), 1)
    append(bob, messages("a", "b"), 2)
    ada.merge(update("a"), ["b"], state=ada.state.synced(3))
    bob.clear(bob.state.loading(4))
    assert part(tmp_path).members()["id"].to_pylist() == ["a"]
    assert (part(tmp_path).state.cursor, part(tmp_path, "bob@example.test").state.cursor) == (3, None)
    assert part(tmp_path, "bob@example.test").state.load_start == 4
    assert part(tmp_path, "bob@example.test").count() == 0


@pytest.mark.parametrize("write", ["append", "merge", "commit", "replace", "clear"])
def test_a_second_writer_is_refused_and_writes_nothing(tmp_path: Path, write: str) -> None:
    append(part(tmp_path), messages("a"), 1)
    first, second = part(tmp_path), part(tmp_path)
    append(first, messages("b"), 2)
    version = DeltaTable(tmp_path / "messages").version()
    with pytest.raises(WriterConflictError, match="Another run"):
        {
            "append": lambda: append(second, messages("c"), 3),
            "merge": lambda: second.merge(update("a"), state=second.state.synced(3)),
            "commit": lambda: commit(second, 3),
            "replace": lambda: second.replace(messages("c")),
            "clear": lambda: second.clear(second.state.loading(3)),
        }[write]()
    assert DeltaTable(tmp_path / "messages").version() == version
    assert (ids(tmp_path), part(tmp_path).state.cursor) == (["a", "b"], 2)


def test_another_mailbox_may_write_in_between(tmp_path: Path) -> None:
    ada, bob = part(tmp_path), part(tmp_path, "bob@example.test")
    append(ada, messages("a"), 1)
    append(bob, messages("b"), 1)
    append(ada, messages("c"), 2)
    bob.merge(update("b"), state=bob.state.synced(2))
    assert ids(tmp_path) == ["a", "c"]


@pytest.mark.parametrize("rewrite", ["replace", "clear", "merge"])
def test_another_mailbox_may_remove_files_in_between(tmp_path: Path, rewrite: str) -> None:
    bob = "bob@example.test"
    for address in (ADA, bob):
        append(part(tmp_path, address), messages("1", "2"), 5)
    for write in ("append", "merge", "replace"):
        mine, other = part(tmp_path), part(tmp_path, bob)
        if rewrite == "replace":
            other.replace(messages("1", "2"))
        elif rewrite == "clear":
            other.clear(other.state)
        else:
            other.merge(update("1"), removed=["2"], inserts=messages(f"3{write}"))
        if write == "append":
            append(mine, messages("3"), 6)
        elif write == "merge":
            mine.merge(update("1"), state=mine.state.synced(7))
        else:
            mine.replace(messages("1", "3"))
    assert ids(tmp_path) == ["1", "3"]
    assert part(tmp_path).state.cursor == 7


def test_a_table_that_was_restored_in_between_is_not_written(tmp_path: Path) -> None:
    append(part(tmp_path), messages("1"), 5)
    append(part(tmp_path, "bob@example.test"), messages("1"), 5)
    mine = part(tmp_path)
    mine.table.at(mine.table.delta.version()).restore(mine.table.delta.version() - 1)
    with pytest.raises(WriterConflictError):
        append(mine, messages("2"), 9)
    assert part(tmp_path).restored


def test_a_commit_that_matches_nothing_does_not_conflict_with_another_mailbox(tmp_path: Path) -> None:
    ada, eve = part(tmp_path), part(tmp_path, "eve@example.test")
    append(part(tmp_path, "bob@example.test"), messages("a"), 1)
    ada.clear(ada.state.loading(5))
    eve.merge(update("not there"), state=eve.state.synced(4))
    assert (part(tmp_path).state.load_start, part(tmp_path, "eve@example.test").state.cursor) == (5, 4)


def test_changed_options_have_no_cursor_and_do_not_reuse_an_old_one(tmp_path: Path) -> None:
    append(part(tmp_path, fingerprint="all"), messages("a"), 5)
    other = part(tmp_path, fingerprint="other")
    assert other.state.cursor is None
    other.append(messages("b"))  # killed before its cursor
    back = part(tmp_path, fingerprint="all")
    assert back.state.cursor is None
    back.append(messages("c"))  # killed again
    assert part(tmp_path, fingerprint="all").state.cursor is None


def test_a_restored_table_has_no_cursor_until_it_is_reconciled(tmp_path: Path) -> None:
    writer = part(tmp_path)
    append(writer, messages("a"), 1)
    append(writer, messages("b"), 2)
    DeltaTable(tmp_path / "messages").restore(1)
    restored = part(tmp_path)
    assert restored.restored
    assert restored.state.cursor is None
    restored.append(messages("b"))  # killed before its cursor
    assert part(tmp_path).state.cursor is None
    commit(part(tmp_path), 7)
    assert part(tmp_path).state.cursor == 7


def test_a_table_restored_to_before_its_rows_counts_as_in_use(tmp_path: Path) -> None:
    append(part(tmp_path), messages("a"), 1)
    DeltaTable(tmp_path / "messages").restore(0)
    status = partition_statuses(Lake(str(tmp_path)), ADA, [SpecTable(source_table="messages")])
    assert (status["messages"].rows, status["messages"].cursor) == (0, None)


def test_a_restore_is_detected_for_every_mailbox_with_about_one_log_read(tmp_path: Path) -> None:
    mailboxes = [f"{number}@example.test" for number in range(20)]
    for address in [ADA, *mailboxes]:
        append(part(tmp_path, address), messages("a"), 1)
    read: list[int] = []
    history = DeltaTable.history

    def counting(self: DeltaTable, limit: int | None = None) -> list[dict[str, Any]]:
        entries = history(self, limit)
        read.append(len(entries))
        return entries

    with mock.patch.object(DeltaTable, "history", counting):
        assert not any(part(tmp_path, address).restored for address in reversed(mailboxes))
        assert sum(read) < 100
        DeltaTable(tmp_path / "messages").restore(10)
        commit(part(tmp_path), 2)
        late = [part(tmp_path, address).restored for address in mailboxes]
        assert all(late)
        assert not part(tmp_path).restored
        assert sum(read) < 110


def test_soft_deleted_rows_have_a_time_and_can_return(tmp_path: Path) -> None:
    writer = part(tmp_path, keep_deleted=True)
    writer.append(messages("a", "b"))
    writer.merge(update(), ["a"], state=writer.state.synced(2))
    marked = {row["id"]: row for row in writer.rows(["a", "b"]).to_pylist()}
    assert marked["a"]["_deletedAt"] is not None
    assert marked["b"]["_deletedAt"] is None
    members = writer.members()
    assert dict(zip(members["id"].to_pylist(), members["soft_deleted"].to_pylist(), strict=True)) == {
        "a": True,
        "b": False,
    }
    writer.merge(update("a"), [], state=writer.state.synced(3))
    assert writer.rows(["a"]).to_pylist()[0]["_deletedAt"] is None


def test_the_time_of_a_deletion_is_the_first_one(tmp_path: Path) -> None:
    def times() -> dict[str, Any]:
        rows = part(tmp_path, keep_deleted=True).rows(["a", "b", "c"]).to_pylist()
        return {row["id"]: row["_deletedAt"] for row in rows}

    writer = part(tmp_path, keep_deleted=True)
    writer.append(messages("a", "b", "c"))
    writer.merge(update(), ["a"], state=writer.state.synced(2))
    first = times()
    assert (first["a"] is not None, first["b"], first["c"]) == (True, None, None)
    writer.merge(update(), ["a", "b"], state=writer.state.synced(3))
    second = times()
    assert second["a"] == first["a"] < second["b"]
    assert second["c"] is None
    writer.clear(writer.state.loading(4))
    third = times()
    assert (third["a"], third["b"]) == (second["a"], second["b"])
    assert third["c"] > third["b"]


def test_keeping_deleted_rows_can_be_switched_on_later(tmp_path: Path) -> None:
    append(part(tmp_path), messages("a"), 1)
    writer = part(tmp_path, keep_deleted=True)
    assert writer.state.cursor == 1
    assert writer.members()["soft_deleted"].to_pylist() == [False]
    writer.append(messages("b"))
    writer.merge(update(), ["a"], state=writer.state.synced(2))
    assert sorted(part(tmp_path, keep_deleted=True).members()["soft_deleted"].to_pylist()) == [False, True]


def test_a_change_of_many_files_is_one_commit_with_the_cursor(tmp_path: Path) -> None:
    writer = part(tmp_path)
    for first in "abcd":
        writer.append(messages(f"{first}1", f"{first}2"))
    before = DeltaTable(tmp_path / "messages").version()
    writer.merge(update("a1", "b1", "b2", "d2"), ["c1"], messages("e1"), state=writer.state.synced(9))
    assert DeltaTable(tmp_path / "messages").version() == before + 1
    assert ids(tmp_path) == ["a1", "a2", "b1", "b2", "c2", "d1", "d2", "e1"]
    assert part(tmp_path).state.cursor == 9


def test_members_of_given_keys_read_only_those_keys(tmp_path: Path) -> None:
    writer = part(tmp_path)
    writer.append(messages("a", "b"))
    writer.append(messages("c", "d"))
    assert sorted(writer.members({"b", "c", "zz"})["id"].to_pylist()) == ["b", "c"]
    assert writer.members(set()).num_rows == 0


def test_addresses_with_odd_characters_are_quoted(tmp_path: Path) -> None:
    odd = part(tmp_path, "o'neil+x y@example.test")
    append(odd, messages("a"), 1)
    odd.merge(update("a"), state=odd.state.synced(2))
    assert part(tmp_path, "o'neil+x y@example.test").rows(["a"]).num_rows == 1


def test_another_table_of_that_name_is_refused(tmp_path: Path) -> None:
    write_deltalake(tmp_path / "messages", pa.table({"id": [1, 2]}))
    with pytest.raises(SchemaMismatchError, match="column 'id'"):
        part(tmp_path)
    write_deltalake(tmp_path / "labels", pa.table({"name": ["x"]}))
    with pytest.raises(SchemaMismatchError, match="not partitioned"):
        Lake(str(tmp_path)).table("labels")


def test_an_unwritable_location_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(LakeError, match="Fix: Check GMAIL_LAKE"):
        Lake(str(tmp_path / "file")).table("messages")


def test_sliced_nested_rows_with_nothing_but_nulls_are_written(tmp_path: Path) -> None:
    """deltalake 1.6 aborts the process on such a slice."""
    rows = messages(*(f"{index:03}" for index in range(20)))
    empty = pa.Table.from_batches(
        [to_batch("messages", [{"id": f"n{i}", "payload": {"body": {}}} for i in range(9)])]
    )
    part(tmp_path).append(pa.concat_tables([rows, empty]).slice(5))
    part(tmp_path).append(empty.slice(3).set_column(0, "id", pa.array([f"m{i}" for i in range(6)])))
    assert len(ids(tmp_path)) == 30


@pytest.mark.parametrize(
    ("name", "broken", "complaint"),
    [
        ("shutil.disk_usage", lambda _: SimpleNamespace(free=5 * 2**20), "only 5 MB free"),
        ("os.access", lambda *_: False, "may only be read"),
    ],
)
def test_a_full_or_read_only_disk_is_detected_before_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, broken: Any, complaint: str
) -> None:
    table = Lake(str(tmp_path)).table("messages")
    part = MailboxPartition(table, ADA, "all", "full")
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.setattr(f"gmail_assets.delta.lake_table.{name}", broken)
    with pytest.raises(LakeError, match=complaint) as error:
        part.commit(part.state.synced(5))
    assert error.value.fix
    assert sorted(tmp_path.rglob("*")) == before
