"""Open tables that threads share: opened once, own commits seen, others noticed, replaced tables recognized."""

from __future__ import annotations

import gc
import shutil
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import pyarrow as pa
import pytest
from deltalake import DeltaTable

from gmail_assets.delta import shared_tables, table_log
from gmail_assets.delta.errors import LakeError, WriterConflictError
from gmail_assets.delta.forgotten import FORGOTTEN
from gmail_assets.delta.lake import Lake
from gmail_assets.delta.partition import MailboxPartition
from gmail_assets.delta.registry import MAILBOXES, MailboxRegistry
from gmail_client.schema import to_batch

ADA = "ada@example.test"


def labels(*ids: str) -> pa.Table:
    return pa.Table.from_batches([to_batch("labels", [{"id": key, "name": key} for key in ids])])


def part(lake: Lake, address: str = ADA) -> MailboxPartition:
    return MailboxPartition(lake.table("labels"), address, "all", "full")


def elsewhere(lake: Lake) -> Lake:
    """The lake as another process sees it: it shares no open table."""
    folder = Path(lake.uri)
    return Lake(f"{folder.parent}/./{folder.name}")


@contextmanager
def another_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Within the block, this process knows of no log that it has read; use with `elsewhere`."""
    with monkeypatch.context() as patch:
        patch.setattr(table_log, "_LOGS", {})
        yield


def ids(lake: Lake, address: str = ADA) -> list[str]:
    table = DeltaTable(lake.location("labels")).to_pyarrow_table(filters=[("mailbox", "=", address)])
    return sorted(table["id"].to_pylist())


@contextmanager
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The locations that are opened within the block."""
    opened: list[str] = []

    def opening(uri: str, **named: Any) -> DeltaTable:
        opened.append(Path(uri).name)
        return DeltaTable(uri, **named)

    with monkeypatch.context() as patch:
        patch.setattr(shared_tables, "DeltaTable", opening)
        yield opened


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path / "lake"))


def test_a_table_is_opened_once(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    part(lake).append(labels("a"))
    with counted(monkeypatch) as opened:
        part(lake).append(labels("b"))
        part(elsewhere(lake)).append(labels("c"))
        assert part(lake).count() == 3
        MailboxRegistry(lake).check_name("me", ADA)
        MailboxRegistry(lake).check_name("me", ADA)
    assert opened.count("labels") == 1  # by the other process
    assert opened.count(MAILBOXES) <= 2
    assert opened.count(FORGOTTEN) == 2  # it does not exist, and may be created at any time


def test_what_depends_on_a_version_is_read_once_for_each(lake: Lake) -> None:
    part(lake).replace(labels("A"))
    table = lake.table("labels")
    read: list[int] = []

    def count(delta: DeltaTable) -> int:
        read.append(delta.version())
        return len(delta.file_uris())

    assert [table.shared.at_version("files", count) for _ in range(3)] == [1, 1, 1]
    assert table.shared.at_version("others", count) == 1
    part(lake, "bob@example.test").replace(labels("B"))
    assert table.shared.at_version("files", count) == 2
    assert len(read) == 3
    assert [file.mailbox for file in table.files(ADA)] == [ADA]


def test_a_commit_during_a_read_never_makes_it_too_old(lake: Lake) -> None:
    part(lake).replace(labels("A"))
    table = lake.table("labels")

    def count(delta: DeltaTable) -> int:
        if delta.version() < 3:
            part(lake, f"{delta.version()}@example.test").replace(labels("B"))
        return len(delta.file_uris())

    table.shared.at_version("files", count)
    assert table.shared.at_version("files", count) == len(table.delta.file_uris())


def test_within_a_session_only_own_commits_are_seen(lake: Lake) -> None:
    part(lake).append(labels("a"))
    session = lake.session()
    mine = part(session)
    part(elsewhere(lake), "bob@example.test").append(labels("b"))
    assert session.table("labels").count() == 1
    mine.append(labels("c"))
    assert part(session).count() == 2
    assert part(lake.session(), "bob@example.test").count() == 1


def test_in_a_session_a_mailbox_that_another_run_has_written_is_refused(lake: Lake) -> None:
    part(lake).append(labels("a"))
    session = lake.session()
    assert part(session).count() == 1
    part(elsewhere(lake)).append(labels("b"))
    with pytest.raises(WriterConflictError):
        part(session).append(labels("b"))
    assert ids(lake) == ["a", "b"]
    part(lake.session()).append(labels("c"))
    assert ids(lake) == ["a", "b", "c"]


def test_two_runs_of_one_process_do_not_write_the_same_mailbox(lake: Lake) -> None:
    one, two = part(lake), part(lake)
    one.append(labels("a"))
    with pytest.raises(WriterConflictError):
        two.append(labels("a"))
    assert ids(lake) == ["a"]


def test_a_restore_between_reading_and_writing_is_noticed_although_another_mailbox_was_written(
    lake: Lake,
) -> None:
    mine = part(lake)
    mine.append(labels("a"))
    version = mine.table.delta.version()
    part(lake, "bob@example.test").append(labels("b"))
    DeltaTable(lake.location("labels")).restore(version)
    part(lake, "eve@example.test").append(labels("c"))  # moves the shared table past the restore
    with pytest.raises(WriterConflictError):
        mine.append(labels("d"))
    assert ids(lake) == ["a"]


def test_threads_of_one_process_do_not_refuse_each_other_s_commits(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    part(lake)
    tried = []
    commit = DeltaTable.create_write_transaction

    def trying(self: DeltaTable, *args: Any, **named: Any) -> None:
        tried.append(self.version())
        commit(self, *args, **named)

    monkeypatch.setattr(DeltaTable, "create_write_transaction", trying)

    def work(address: str) -> None:
        writer = part(lake.session(), address)
        writer.append(labels("a", "b"))
        writer.edit(["a"], lambda rows: rows.slice(0, 0))

    addresses = [f"user{number}@example.test" for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, addresses))
    assert {address: ids(lake, address) for address in addresses} == {address: ["b"] for address in addresses}
    assert len(tried) == len(set(tried)) == DeltaTable(lake.location("labels")).version()


@pytest.mark.parametrize("within", ["the log", "small tables"])
def test_a_table_that_another_one_replaced_is_opened_again(lake: Lake, tmp_path: Path, within: str) -> None:
    part(lake).append(labels("a"))
    MailboxRegistry(lake).check_name("me", ADA)
    assert MailboxRegistry(lake).address_of("me") == ADA
    other = Lake(str(tmp_path / "other"))
    part(other, "bob@example.test").append(labels("b"))
    MailboxRegistry(other).check_name("me", "bob@example.test")
    shutil.rmtree(lake.uri)
    shutil.copytree(other.uri, lake.uri)
    if within == "the log":
        assert part(lake).count() == 0
        assert part(lake, "bob@example.test").count() == 1
    else:
        assert MailboxRegistry(lake).addresses() == {"me": "bob@example.test"} | {
            "bob@example.test": "bob@example.test"
        }


@pytest.mark.parametrize("later", [0, 3])
def test_an_older_copy_of_the_table_is_recognized(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, later: int
) -> None:
    part(lake).append(labels("a"))
    with another_process(monkeypatch):
        part(elsewhere(lake)).append(labels("b"))
        shutil.copytree(lake.uri, tmp_path / "copy")
        part(elsewhere(lake)).append(labels("c"))
    assert lake.opened("labels").delta.version() == 3  # type: ignore[union-attr]
    shutil.rmtree(lake.uri)
    shutil.copytree(tmp_path / "copy", lake.uri)
    with another_process(monkeypatch):
        for number in range(later):
            part(elsewhere(lake)).append(labels(f"d{number}"))
    expected = ["a", "b", *(f"d{number}" for number in range(later))]
    assert ids(lake) == expected
    assert part(lake).count() == len(expected)
    part(lake).append(labels("e"))
    assert ids(lake) == [*expected, "e"]


def test_a_table_in_use_is_not_opened_a_second_time_among_hundreds(lake: Lake, tmp_path: Path) -> None:
    mine = part(lake)
    for number in range(300):
        assert shared_tables.find_shared((str(tmp_path / f"none{number}"), ())) is None
    assert lake.opened("labels") is mine.table.shared
    del mine
    gc.collect()
    assert lake.table("labels").count() == 0


def test_a_table_that_was_removed_is_missing(lake: Lake) -> None:
    part(lake).append(labels("a"))
    shutil.rmtree(lake.uri)
    assert lake.opened("labels") is None
    part(lake).append(labels("b"))
    assert ids(lake) == ["b"]


def test_names_that_another_process_records_are_seen(lake: Lake) -> None:
    MailboxRegistry(lake).check_name("me", ADA)
    assert MailboxRegistry(lake).address_of("bob") is None
    MailboxRegistry(elsewhere(lake)).check_name("bob", "bob@example.test")
    assert MailboxRegistry(lake).address_of("bob") == "bob@example.test"


def test_a_table_whose_log_was_not_read_yet_is_shared_too(lake: Lake) -> None:
    first, second = lake.table("labels"), lake.table("labels")
    assert second.shared is first.shared
    part(lake).replace(labels("a"))
    assert first.count(ADA) == 1


def test_threads_that_open_a_table_at_the_same_time_share_it(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.table("labels")
    shared_tables.forget_tables()
    begin = threading.Barrier(8)

    def find() -> object:
        begin.wait(timeout=30)
        return lake.table("labels").shared

    class Slow(WeakValueDictionary[Any, Any]):
        def setdefault(self, key: Any, default: Any = None) -> Any:
            found = self.get(key)
            time.sleep(0.05)  # the other threads look for it meanwhile
            if found is None:
                self[key] = found = default
            return found

    monkeypatch.setattr(shared_tables, "_used", Slow())

    with ThreadPoolExecutor(8) as pool:
        found = {future.result() for future in [pool.submit(find) for _ in range(8)]}
    assert len(found) == 1


def test_a_table_that_could_not_be_read_for_a_moment_stays_shared(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(uri: str, **named: Any) -> DeltaTable:
        raise OSError("timed out")

    first = lake.table("labels")
    with monkeypatch.context() as patch:
        patch.setattr(shared_tables, "is_same_table", lambda *_: False)
        patch.setattr(shared_tables, "DeltaTable", unreachable)
        with pytest.raises(LakeError):
            lake.table("labels")
    assert lake.table("labels").shared is first.shared


def test_a_relative_lake_is_that_of_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        table = Lake("lake").table("labels")
        assert not table.count(ADA)
        part(Lake("lake")).replace(labels(name))
        assert (tmp_path / name / "lake" / "labels" / "_delta_log").is_dir()
