"""Restores of a table: their commits, the versions they restored, and the few log files that are read."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable

from gmail_assets.delta.lake import Lake
from gmail_assets.delta.lake_table import LakeTable
from gmail_assets.delta.partition import MailboxPartition
from gmail_assets.delta.restores import brought_back
from gmail_client.schema import to_batch


def table(tmp_path: Path) -> LakeTable:
    return Lake(str(tmp_path)).table("messages")


def append(tmp_path: Path, *ids: str) -> int:
    """Append rows; returns the new version."""
    opened = table(tmp_path)
    rows = [{"id": one, "threadId": one, "historyId": "5"} for one in ids]
    MailboxPartition(opened, "a@b.test", "all", "full").append(
        pa.Table.from_batches([to_batch("messages", rows)])
    )
    return opened.delta.version()


def versions(tmp_path: Path, after: int) -> list[int]:
    return [int(entry["version"]) for entry in table(tmp_path).restores(after)]


def test_only_restores_after_a_version_count_newest_first(tmp_path: Path) -> None:
    first = append(tmp_path, "a")
    second = append(tmp_path, "b")
    assert versions(tmp_path, 0) == []
    for target in (first, second):
        table(tmp_path).delta.restore(target)
    append(tmp_path, "c")
    newest = table(tmp_path).delta.version()
    assert versions(tmp_path, second) == [newest - 1, newest - 2]
    assert versions(tmp_path, newest - 2) == [newest - 1]
    assert versions(tmp_path, newest - 1) == versions(tmp_path, newest) == []


def test_a_restore_names_the_version_it_restored(tmp_path: Path) -> None:
    first = append(tmp_path, "a")
    moment = datetime.now(UTC)
    time.sleep(0.1)  # the clock of the file system may be behind by some milliseconds
    append(tmp_path, "b")
    table(tmp_path).delta.restore(first)
    table(tmp_path).delta.restore(moment)
    opened = table(tmp_path)
    by_moment, by_version = opened.restores(first)
    for restore in (by_version, by_moment):
        earlier = brought_back(opened, restore)
        assert earlier is not None
        assert earlier.to_pyarrow_table()["id"].to_pylist() == ["a"]


def test_a_restore_between_reading_and_committing_is_noticed_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """deltalake refuses the commit, unless the restore only brings files back and another engine wrote no metadata."""
    first = append(tmp_path, "a")
    table(tmp_path).delta.delete()
    assert not MailboxPartition(table(tmp_path), "a@b.test", "all", "full").restored
    commit = DeltaTable.create_write_transaction

    def restored_before(self: DeltaTable, *args: Any, **named: Any) -> None:
        DeltaTable(self.table_uri).restore(first)
        (path,) = (tmp_path / "messages" / "_delta_log").glob(f"{self.version() + 1:020}.json")
        kept = [
            line for line in path.read_text().splitlines() if set(json.loads(line)) & {"add", "commitInfo"}
        ]
        path.write_text("\n".join(kept))
        commit(self, *args, **named)

    with monkeypatch.context() as patch:
        patch.setattr(DeltaTable, "create_write_transaction", restored_before)
        append(tmp_path, "c")
    assert MailboxPartition(table(tmp_path), "a@b.test", "all", "full").restored


@pytest.mark.parametrize(
    "parameters", [{}, {"version": "nothing"}, {"version": "999"}, {"datetime": "soon"}, None]
)
def test_an_unavailable_version_is_none(tmp_path: Path, parameters: dict[str, str] | None) -> None:
    append(tmp_path, "a")
    assert brought_back(table(tmp_path), {"operationParameters": parameters}) is None
