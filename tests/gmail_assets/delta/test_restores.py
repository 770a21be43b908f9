"""Restores of a table: their commits, the versions they restored, and the few log files that are read."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from gmail_assets.delta.lake import Lake, LakeTable
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
    append(tmp_path, "b")
    table(tmp_path).delta.restore(first)
    table(tmp_path).delta.restore(moment)
    opened = table(tmp_path)
    by_moment, by_version = opened.restores(first)
    for restore in (by_version, by_moment):
        earlier = brought_back(opened, restore)
        assert earlier is not None
        assert earlier.to_pyarrow_table()["id"].to_pylist() == ["a"]


@pytest.mark.parametrize(
    "parameters", [{}, {"version": "nothing"}, {"version": "999"}, {"datetime": "soon"}, None]
)
def test_an_unavailable_version_is_none(tmp_path: Path, parameters: dict[str, str] | None) -> None:
    append(tmp_path, "a")
    assert brought_back(table(tmp_path), {"operationParameters": parameters}) is None
