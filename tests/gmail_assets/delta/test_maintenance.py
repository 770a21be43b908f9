"""Compaction and removal of old files at the end of a run."""

from __future__ import annotations

import json
import os
import shutil
import time
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable
from support.chaos import client_of
from support.lake import assert_lake_equals_mailbox

from gmail_assets.delta.lake import Lake, with_mailbox
from gmail_assets.delta.maintenance import Upkeep, keep_up, vacuum
from gmail_assets.delta.partition import MailboxPartition
from gmail_assets.syncing import sync
from gmail_client.emulator import Emulator
from gmail_client.schema import to_batch
from gmail_client.spec import SpecTable
from gmail_client.tables import CATALOGUE

BOTH = [SpecTable(source_table="messages"), SpecTable(source_table="threads")]


def grow(gmail: Emulator, lake: Lake, runs: int, upkeep: Upkeep) -> list[str | None]:
    client, mailbox, results = client_of(gmail), gmail.mailbox(), []
    for _ in range(runs):
        mailbox.receive(mailbox.random_mail())
        results.append(sync(client.mailbox(), lake, BOTH, upkeep=upkeep)["messages"].upkeep)
    return results


def test_compaction_does_not_disturb_readers_of_old_versions(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    with Emulator(messages=20, seed=1) as gmail:
        results = grow(gmail, lake, 6, Upkeep(small_files=4))
        assert any(text and "compacted 4 small files" in text for text in results)
        delta = DeltaTable(lake.location("messages"))
        assert len(delta.file_uris()) < 4
        assert DeltaTable(lake.location("messages"), version=2).to_pyarrow_table().num_rows > 0
        assert_lake_equals_mailbox(lake, gmail, BOTH)
        # The cursor survives: nothing is reconciled or fetched again.
        gmail.usage.reset()
        assert grow(gmail, lake, 1, Upkeep())[0] is None
        assert gmail.usage.fetched == 1


def test_old_files_are_removed_after_their_retention(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    with Emulator(messages=20, seed=1) as gmail:
        grow(gmail, lake, 5, Upkeep(small_files=2, retention=None))
        before = len(list((tmp_path / "messages").rglob("*.parquet")))
        results = grow(
            gmail, lake, 2, Upkeep(small_files=2, retention=timedelta(0), vacuum_every=timedelta(0))
        )
        assert any(text and "removed" in text for text in results)
        assert len(list((tmp_path / "messages").rglob("*.parquet"))) < before
        assert_lake_equals_mailbox(lake, gmail, BOTH)


def test_upkeep_can_be_switched_off(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    with Emulator(messages=20, seed=1) as gmail:
        assert grow(gmail, lake, 20, Upkeep(small_files=0, retention=None)) == [None] * 20
        assert len(DeltaTable(lake.location("messages")).file_uris()) == 20


def test_old_files_are_kept_if_vacuum_is_off(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    with Emulator(messages=5, seed=1) as gmail:
        never = Upkeep(small_files=0, retention=timedelta(0), vacuum_every=None)
        assert grow(gmail, lake, 2, never) == [None] * 2


@pytest.mark.parametrize(("given", "expected"), [(None, "10"), ("50", "50")])
def test_tables_of_earlier_releases_get_frequent_checkpoints(
    tmp_path: Path, given: str | None, expected: str
) -> None:
    lake = Lake(str(tmp_path))
    location = lake.location("messages")
    DeltaTable.create(
        location,
        schema=with_mailbox(CATALOGUE["messages"].schema),
        partition_by=["mailbox"],
        configuration=given and {"delta.checkpointInterval": given},
    )
    with Emulator(messages=3, seed=1) as gmail:
        grow(gmail, lake, 1, Upkeep())
    assert DeltaTable(location).metadata().configuration["delta.checkpointInterval"] == expected


def test_a_table_is_vacuumed_by_one_run_a_day_of_any_mailbox(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = Lake(str(tmp_path))
    addresses = [f"m{number}@b.test" for number in range(5)]
    tables = [lake.table("messages") for _ in addresses]
    upkeep = Upkeep(retention=timedelta(days=7))
    now = time.time()

    def vacuums() -> int:
        done = [keep_up(table, address, upkeep) for table, address in zip(tables, addresses, strict=True)]
        return sum(text is not None and "removed" in text for text in done)

    assert vacuums() == 0  # the table is new
    for day in (1, 2):
        monkeypatch.setattr(time, "time", lambda day=day: now + day * 86_401)
        for table in tables:
            table.delta.update_incremental()
        assert vacuums() == 1  # the others saw the same version, and lost
        assert vacuums() == 0
    monkeypatch.setattr(time, "time", lambda: now)  # a clock that was ahead does not stop the vacuums
    for table in tables:
        table.delta.update_incremental()
    assert vacuums() == 1


DAY = 86_400


def age(table: Path, days: float) -> None:
    """Let all files of a table, and all removals in its log, be older by some days."""
    for path in table.rglob("*.parquet"):
        moment = path.stat().st_mtime - days * DAY
        os.utime(path, (moment, moment))
    for path in (table / "_delta_log").glob("*.json"):
        actions = [json.loads(line) for line in path.read_text().splitlines()]
        for action in actions:
            if "remove" in action:
                action["remove"]["deletionTimestamp"] -= int(days * DAY * 1000)
        path.write_text("\n".join(map(json.dumps, actions)))


def labels_table(tmp_path: Path) -> tuple[Path, list[Path]]:
    """A table whose first file was replaced by a second one; both files."""
    part = MailboxPartition(Lake(str(tmp_path)).table("labels"), "a@b.test", "all", "full")
    files: list[Path] = []
    for name in ("a", "b"):
        part.replace(pa.Table.from_batches([to_batch("labels", [{"id": name, "name": name}])]))
        files += set((tmp_path / "labels").glob("mailbox*/*.parquet")) - set(files)
    return tmp_path / "labels", files


@pytest.mark.parametrize("days", [0, 1, 7])
def test_files_that_were_never_committed_are_removed_after_a_week(tmp_path: Path, days: int) -> None:
    table, (_, present) = labels_table(tmp_path)
    age(table, 8)
    refused, fresh = present.with_name("part-refused.parquet"), present.with_name("part-fresh.parquet")
    shutil.copy2(present, refused)
    shutil.copy(present, fresh)
    assert vacuum(DeltaTable(table), timedelta(days=days)) == 2
    assert set(table.glob("mailbox*/*.parquet")) == {present, fresh}
    assert DeltaTable(table).to_pyarrow_table()["id"].to_pylist() == ["b"]


def test_files_that_a_checkpoint_no_longer_names_are_removed(tmp_path: Path) -> None:
    table, (_, present) = labels_table(tmp_path)
    age(table, 8)
    DeltaTable(table).create_checkpoint()
    assert vacuum(DeltaTable(table), timedelta(days=7)) == 1
    assert list(table.glob("mailbox*/*.parquet")) == [present]


def test_old_files_that_a_version_within_the_retention_needs_are_kept(tmp_path: Path) -> None:
    table, files = labels_table(tmp_path)
    for path in files:
        os.utime(path, (0, 0))  # written long ago, and removed just now
    DeltaTable(table).create_checkpoint()
    assert vacuum(DeltaTable(table), timedelta(days=7)) == 0
    assert DeltaTable(table, version=1).to_pyarrow_table()["id"].to_pylist() == ["a"]


@pytest.mark.parametrize("configured", ["interval 1 week", "interval 2 hours"])
def test_a_longer_retention_is_kept_although_checkpoints_name_removed_files_for_a_shorter_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, configured: str
) -> None:
    table, (replaced, present) = labels_table(tmp_path)
    DeltaTable(table).alter.set_table_properties({"delta.deletedFileRetentionDuration": configured})
    for path in (replaced, present):
        os.utime(path, (0, 0))
    age(table, 20)
    DeltaTable(table).create_checkpoint()
    month = timedelta(days=30)
    assert vacuum(DeltaTable(table), month) == 0
    assert (
        DeltaTable(table).metadata().configuration["delta.deletedFileRetentionDuration"] == "interval 30 days"
    )
    version = DeltaTable(table).version()
    assert vacuum(DeltaTable(table), month) == 0
    assert DeltaTable(table).version() == version
    assert DeltaTable(table, version=1).to_pyarrow_table()["id"].to_pylist() == ["a"]
    later = time.time() + 30 * DAY
    monkeypatch.setattr(time, "time", lambda: later)
    assert vacuum(DeltaTable(table), month) == 1
    assert list(table.glob("mailbox*/*.parquet")) == [present]


def test_an_unknown_period_is_left_as_it_is(tmp_path: Path) -> None:
    table, (replaced, _) = labels_table(tmp_path)
    age(table, 20)
    DeltaTable(table).alter.set_table_properties({"delta.deletedFileRetentionDuration": "interval 20 days"})
    (newest,) = (table / "_delta_log").glob("*03.json")
    newest.write_text(newest.read_text().replace("interval 20 days", "interval 20 moons"))
    assert vacuum(DeltaTable(table), timedelta(days=7)) == 1
    assert not replaced.exists()
