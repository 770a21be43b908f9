"""Erasing a mailbox refuses the runs that have it open, also if it has no rows."""

from __future__ import annotations

import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable

from gmail_assets.delta.erase import clean_log, erase_rows, remove_old_files
from gmail_assets.delta.errors import LakeError, WriterConflictError
from gmail_assets.delta.lake import Lake
from gmail_assets.delta.partition import MailboxPartition
from gmail_client.schema import to_batch

ADA, BOB = "ada@example.test", "bob@example.test"
ROWS = pa.Table.from_batches([to_batch("messages", [{"id": "a1", "threadId": "t"}])])


@pytest.mark.parametrize("others_write", [False, True])
def test_a_mailbox_without_rows_is_closed_to_runs_that_have_it_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, others_write: bool
) -> None:
    lake = Lake(str(tmp_path))

    def part(address: str) -> MailboxPartition:
        return MailboxPartition(lake.table("messages"), address, "all", "full")

    first = part(ADA)
    first.commit(first.state.loading(5))
    running = part(ADA)
    delete = DeltaTable.delete

    def deleting(table: DeltaTable, *args: Any, **named: Any) -> Any:
        done = delete(table, *args, **named)
        if others_write:
            part(BOB).append(ROWS)
        return done

    monkeypatch.setattr(DeltaTable, "delete", deleting)
    assert erase_rows(lake, "messages", ADA) == 0
    with pytest.raises(WriterConflictError):
        running.append(ROWS)
    assert part(ADA).state.load_start is None
    assert [row["mailbox"] for row in part(BOB).table.delta.partitions()] == [BOB] * others_write


def test_a_file_that_a_later_run_is_about_to_commit_is_kept(tmp_path: Path) -> None:
    """A large rewrite writes its first file long before it commits."""
    lake, erased_at = Lake(str(tmp_path)), datetime.now(UTC) - timedelta(minutes=30)
    MailboxPartition(lake.table("messages"), ADA, "all", "full").append(ROWS)
    (present,) = tmp_path.glob("messages/mailbox*/*.parquet")
    earlier, later = present.with_name("part-earlier.parquet"), present.with_name("part-later.parquet")
    for path, minutes in ((earlier, -20), (later, 5)):
        shutil.copy(present, path)
        moment = (erased_at + timedelta(minutes=minutes)).timestamp()
        os.utime(path, (moment, moment))
    assert remove_old_files(lake, "messages", ADA, erased_at=erased_at) == 1
    assert set(present.parent.iterdir()) == {present, later}
    assert remove_old_files(lake, "messages", ADA, erased_at=None) == 1


def test_the_log_is_not_cleaned_while_a_mailbox_has_not_seen_a_restore(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))

    def part(address: str) -> MailboxPartition:
        return MailboxPartition(lake.table("messages"), address, "all", "full")

    for number, address in enumerate((ADA, BOB), 5):
        part(address).append(ROWS, part(address).state.synced(number))
    erase_rows(lake, "messages", BOB)
    for address in (ADA, "eve@example.test"):
        part(address).append(ROWS.slice(0, 0), part(address).state.synced(8))
    assert clean_log(lake, "messages", None) > 0
    first = part(ADA).table.delta.version()
    part(ADA).commit(part(ADA).state.synced(9))
    DeltaTable(lake.location("messages")).restore(first)
    for address, left in ((ADA, 2), ("eve@example.test", 1)):
        with pytest.raises(LakeError, match=f"{left} mailboxes were not synced since then"):
            clean_log(lake, "messages", None)
        one = part(address)
        assert one.restored
        one.commit(one.state)
    assert clean_log(lake, "messages", None) > 0
    assert not part(ADA).restored
