"""Compaction and removal of old files at the end of a run."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path

import pytest
from deltalake import DeltaTable
from support.chaos import client_of
from support.lake import assert_lake_equals_mailbox

from gmail_assets.delta.lake import Lake, with_mailbox
from gmail_assets.delta.maintenance import Upkeep, keep_up
from gmail_assets.syncing import sync
from gmail_client.emulator import Emulator
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
