"""Transactions and restores from one pass over the log: equal to deltalake's, and each commit read once."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
from deltalake import CommitProperties, DeltaTable, Transaction
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gmail_assets.delta import table_log
from gmail_assets.delta.lake import Lake
from gmail_assets.delta.lake_table import LakeTable
from gmail_assets.delta.partition import MailboxPartition
from gmail_client.schema import to_batch

NAMES = ["gmail/aa/messages/writer", "gmail/aa/messages/cursor", "gmail/b@x/y/messages/writer"]


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files of the log that are read from now on."""
    paths: list[str] = []
    read = table_log._TableLog._read

    def counted(log: table_log._TableLog, path: str) -> bytes | None:
        paths.append(path.rpartition("/")[2])
        return read(log, path)

    monkeypatch.setattr(table_log._TableLog, "_read", counted)
    monkeypatch.setattr(table_log, "_LOGS", {})
    return paths


def opened(tmp_path: Path) -> LakeTable:
    return Lake(str(tmp_path)).table("messages")


def commit(table: LakeTable, versions: dict[str, int]) -> None:
    table.delta.create_write_transaction(
        [],
        "append",
        table.delta.schema(),
        partition_by=["mailbox"],
        commit_properties=CommitProperties(
            app_transactions=[Transaction(app_id, version) for app_id, version in versions.items()]
        ),
    )
    table.delta.update_incremental()


def look_up(table: LakeTable) -> Callable[[str], int | None]:
    return table.transactions(name.rpartition("/")[0] for name in NAMES)


def fresh_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_log, "_LOGS", {})


Commits = st.lists(st.dictionaries(st.sampled_from(NAMES), st.integers(0, 2**60), min_size=1), max_size=14)


@settings(max_examples=5, deadline=None)
@example([{NAMES[0]: number} for number in range(25)], [True] * 25)
@given(Commits, st.lists(st.booleans(), min_size=25, max_size=25))
def test_it_equals_deltalake_at_every_version(
    tmp_path_factory: pytest.TempPathFactory, commits: list[dict[str, int]], look_ups: list[bool]
) -> None:
    table = opened(tmp_path_factory.mktemp("lake"))
    snapshots = []
    for versions, look_up_now in zip(commits, look_ups, strict=False):
        commit(table, versions)
        if look_up_now:
            found = look_up(table)
            snapshots.append((table.at(table.delta.version()), found))
    snapshots.append((table.delta, look_up(table)))
    for delta, found in snapshots:
        assert [found(name) for name in NAMES] == [delta.transaction_version(name) for name in NAMES]


def test_an_older_snapshot_has_its_own_state(tmp_path: Path) -> None:
    table = opened(tmp_path)
    commit(table, {NAMES[0]: 1})
    older = DeltaTable(table.delta.table_uri)
    for number in range(2, 9):
        commit(table, {NAMES[0]: number})
        assert look_up(table)(NAMES[0]) == number
        assert table_log.transactions_at(older, (), ["gmail/aa/messages"])(NAMES[0]) == 1


def test_each_commit_is_read_once(tmp_path: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    table = opened(tmp_path)
    for number in range(1, 26):
        commit(table, {NAMES[number % 3]: number})
        look_up(table)
    commits = [name for name in reads if name != "_last_checkpoint"]
    assert sorted(commits) == sorted(set(commits))
    assert len(commits) == 26
    reads.clear()
    table = opened(tmp_path)
    assert len(reads) == 1  # to see whether it is the same table
    for _ in range(100):
        look_up(table)
    assert len(reads) == 1
    assert table.refreshed()
    assert len(reads) == 2
    fresh_process(monkeypatch)
    look_up(opened(tmp_path))
    assert len(reads) <= 1 + 10  # the last checkpoint and the commits after it


def test_a_copy_in_the_tables_place_is_read_again(tmp_path: Path) -> None:
    lake, backup = tmp_path / "lake", tmp_path / "backup"
    table = opened(lake)
    commit(table, {NAMES[0]: 1})
    shutil.copytree(lake, backup)
    commit(table, {NAMES[0]: 2})
    assert look_up(table)(NAMES[0]) == 2
    shutil.rmtree(lake)
    shutil.copytree(backup, lake)
    assert not table.refreshed()
    table = opened(lake)
    assert look_up(table)(NAMES[0]) == 1
    commit(table, {NAMES[0]: 3})
    assert look_up(table)(NAMES[0]) == 3


def test_a_log_of_another_form_is_left_to_deltalake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = opened(tmp_path)
    for number in range(1, 13):
        commit(table, {NAMES[0]: number})
    last = tmp_path / "messages" / "_delta_log" / "_last_checkpoint"
    last.write_text(json.dumps({**json.loads(last.read_text()), "v2Checkpoint": {"path": "x"}}))
    fresh_process(monkeypatch)
    assert look_up(opened(tmp_path))(NAMES[0]) == 12
    assert opened(tmp_path).restores(0) == []


def append(tmp_path: Path, address: str, *ids: str) -> int:
    """Add rows of a mailbox; returns the version afterwards."""
    table = opened(tmp_path)
    rows = [{"id": one, "threadId": one, "historyId": "5"} for one in ids]
    MailboxPartition(table, address, "all", "full").append(
        pa.Table.from_batches([to_batch("messages", rows)])
    )
    return table.delta.version()


def test_a_quiet_mailbox_does_not_have_the_commits_of_others_searched_for_restores(
    tmp_path: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    quiet = append(tmp_path, "quiet@b.test", "a")
    for number in range(35):
        append(tmp_path, "busy@b.test", f"m{number}")
    fresh_process(monkeypatch)
    reads.clear()
    assert opened(tmp_path).restores(quiet) == []
    assert len(reads) <= 1 + 10 + 10  # after the last checkpoint, and back to the last record


def test_restores_before_a_record_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quiet = append(tmp_path, "quiet@b.test", "a")
    append(tmp_path, "busy@b.test", "b")
    opened(tmp_path).delta.restore(quiet)
    restored = opened(tmp_path).delta.version()
    for number in range(35):
        append(tmp_path, "busy@b.test", f"m{number}")
        if number % 7 == 0:
            fresh_process(monkeypatch)
    fresh_process(monkeypatch)
    assert [entry["version"] for entry in opened(tmp_path).restores(quiet)] == [restored]
    assert opened(tmp_path).restores(restored) == []
    assert MailboxPartition(opened(tmp_path), "quiet@b.test", "all", "full").restored


def test_a_cleaned_up_log_ends_the_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = opened(tmp_path)
    for number in range(1, 23):
        commit(table, {NAMES[0]: number})
    for number in range(15):
        (tmp_path / "messages" / "_delta_log" / f"{number:020}.json").unlink()
    fresh_process(monkeypatch)
    assert opened(tmp_path).restores(0) == []


def test_tables_get_checkpoints_often(tmp_path: Path) -> None:
    table = opened(tmp_path)
    for number in range(1, 12):
        commit(table, {NAMES[0]: number})
    assert list((tmp_path / "messages" / "_delta_log").glob("*.checkpoint.parquet"))
    assert DeltaTable(table.delta.table_uri).metadata().configuration["delta.checkpointInterval"] == "10"


@pytest.mark.parametrize("size", [1, 99, 100, 101, 5_000])
def test_a_commit_of_unknown_size_is_read_whole_and_never_all_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    asked: list[int | None] = []

    class Unsized:
        """The files of the log; Arrow allocates as many bytes as a read asks for."""

        @contextmanager
        def open_input_file(self, path: str) -> Iterator[Any]:
            with log_files.open_input_file(path) as file:
                yield SimpleNamespace(read=lambda most=None: asked.append(most) or file.read(most))

    opened(tmp_path)
    monkeypatch.setattr(table_log, "_FIRST_BYTES", 100)
    log = table_log._TableLog(str(tmp_path / "messages"), ())
    log._open_window(0)
    log_files = log._files
    monkeypatch.setattr(log, "_files", Unsized())
    path = f"_delta_log/{0:020}.json"
    (tmp_path / "messages" / path).write_bytes(b"x" * size)
    assert log._read(path) == b"x" * size
    assert asked == [100]
