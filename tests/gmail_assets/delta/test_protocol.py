"""Tables whose Delta features another engine changed: refused before anything is written."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable
from deltalake.table import TableFeatures

from gmail_assets.delta.errors import LakeError, WriterConflictError
from gmail_assets.delta.lake import Lake
from gmail_assets.delta.partition import MailboxPartition
from gmail_client.schema import to_batch


def partition(lake: Path) -> MailboxPartition:
    return MailboxPartition(Lake(str(lake)).table("messages"), "ada@example.test", "all", "full")


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    partition(tmp_path).append(pa.Table.from_batches([to_batch("messages", [{"id": "a1", "threadId": "t"}])]))
    return tmp_path


def add_feature(table: DeltaTable, name: str) -> None:
    table.alter.add_feature(getattr(TableFeatures, name), allow_protocol_versions_increase=True)


@pytest.mark.parametrize(
    ("feature", "named"), [("DeletionVectors", "deletionVectors"), ("ColumnMapping", "columnMapping")]
)
def test_features_that_change_the_meaning_of_files_are_named(lake: Path, feature: str, named: str) -> None:
    add_feature(DeltaTable(lake / "messages"), feature)
    with pytest.raises(LakeError, match=f"not supported here: {named}") as refused:
        Lake(str(lake)).find("messages")
    assert refused.value.fix is not None


def test_an_append_only_table_is_named(lake: Path) -> None:
    DeltaTable(lake / "messages").alter.set_table_properties({"delta.appendOnly": "true"})
    with pytest.raises(LakeError, match=r"delta\.appendOnly"):
        Lake(str(lake)).find("messages")


def test_a_constraint_is_named(lake: Path) -> None:
    DeltaTable(lake / "messages").alter.add_constraint({"short": "id < 'zz'"})
    with pytest.raises(LakeError, match=r"delta\.constraints\.short"):
        Lake(str(lake)).find("messages")


def test_a_feature_that_comes_during_a_run_is_noticed_before_its_commit(lake: Path) -> None:
    writer = partition(lake)
    add_feature(DeltaTable(lake / "messages"), "DeletionVectors")
    with pytest.raises(LakeError, match="deletionVectors"):
        writer.merge(pa.table({"id": ["a1"], "labelIds": pa.array([["NEW"]])}))
    assert DeltaTable(lake / "messages").version() == writer.table.delta.version()


def test_other_features_do_not_disturb(lake: Path) -> None:
    table = DeltaTable(lake / "messages")
    table.alter.set_table_properties({"delta.enableChangeDataFeed": "true"})
    writer = partition(lake)
    writer.merge(pa.table({"id": ["a1"], "labelIds": pa.array([["NEW"]])}))
    assert DeltaTable(lake / "messages").to_pyarrow_table()["labelIds"].to_pylist() == [["NEW"]]


def test_a_commit_that_is_refused_although_nobody_else_wrote_is_no_conflict(lake: Path) -> None:
    add_feature(DeltaTable(lake / "messages"), "RowTracking")
    writer = partition(lake)
    with pytest.raises(LakeError, match="RowTracking") as refused:
        writer.append(pa.Table.from_batches([to_batch("messages", [{"id": "b1", "threadId": "t"}])]))
    assert not isinstance(refused.value, WriterConflictError)
