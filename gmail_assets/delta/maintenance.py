"""Table maintenance: compaction of small files, and vacuum of files that no retained version needs.

It runs after a sync, in the same run (a compaction during a merge would conflict), on one mailbox's partition of a
table, and only when enough has accumulated. Within the retention, earlier versions stay readable.
"""

from __future__ import annotations

import math
import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Transaction
from deltalake.exceptions import CommitFailedError, DeltaError

from gmail_assets.delta.errors import one_line
from gmail_assets.delta.group_commit import commit_alone
from gmail_assets.delta.lake import (
    CHECKPOINT_EVERY,
    CHECKPOINT_INTERVAL,
    DELETED_AT,
    MAILBOX,
    TARGET_FILE_BYTES,
)
from gmail_assets.delta.lake_table import LakeTable
from gmail_assets.delta.parquet_files import WRITER_PROPERTIES
from gmail_client.sql import equals

__all__ = ["DEFAULT_UPKEEP", "Upkeep", "delete_expired", "keep_up", "vacuum"]

_SMALL_BYTES = TARGET_FILE_BYTES // 4
_WEEK = timedelta(weeks=1)
_REMOVED_FILES = "delta.deletedFileRetentionDuration"
"""Table property: how long a checkpoint names files that were removed from the table."""
_DEFAULT_REMOVED_FILES = "interval 1 week"
_RAISED = "gmail/upkeep/removed_files/raised"
"""Transaction: the epoch second at which that property was raised."""


@dataclass(frozen=True, slots=True)
class Upkeep:
    """When tables are compacted and vacuumed.

    Attributes:
        small_files: Compact a mailbox's partition once it has this many small files; 0 never compacts.
        retention: Age at which files of earlier versions are removed; None never removes any.
        vacuum_every: Time between two vacuums of a table, whichever runs do them; None never vacuums.
        keep_deleted: Age at which soft-deleted rows of all mailboxes are deleted, at the same times; None keeps them.
    """

    small_files: int = 16
    retention: timedelta | None = timedelta(days=7)
    vacuum_every: timedelta | None = timedelta(days=1)
    keep_deleted: timedelta | None = None


DEFAULT_UPKEEP = Upkeep()


def keep_up(table: LakeTable, address: str, upkeep: Upkeep) -> str | None:
    """Compact one mailbox's partition of a table and remove old files, if due.

    Args:
        table: The table.
        address: The mailbox.
        upkeep: When each is due.

    Returns:
        What was done, in words; None for nothing.
    """
    delta = table.delta
    done = []
    try:
        if CHECKPOINT_INTERVAL not in delta.metadata().configuration:  # created by an earlier release
            with table.shared.turn:
                delta.alter.set_table_properties({CHECKPOINT_INTERVAL: CHECKPOINT_EVERY})
        small = [file for file in table.files(address) if file.size < _SMALL_BYTES]
        if upkeep.small_files and len(small) >= upkeep.small_files:
            with table.shared.turn:
                delta.optimize.compact(
                    partition_filters=[(MAILBOX, "=", address)],
                    target_size=TARGET_FILE_BYTES,
                    max_concurrent_tasks=1,
                    writer_properties=WRITER_PROPERTIES,
                )
                delta.update_incremental()
            left = sum(1 for _ in table.files(address))
            done.append(f"compacted {len(small)} small files ({left} files now)")
        if _is_chosen(table, upkeep):
            # It may take long, so it does not hold up the commits of other mailboxes.
            own = DeltaTable(delta.table_uri, storage_options=table.storage_options)
            done += _vacuum_and_delete(own, upkeep)
    except CommitFailedError:
        # Another run compacted or wrote the same files; a later run compacts.
        return None
    except (DeltaError, OSError) as error:
        return f"could not be maintained: {one_line(error)}"
    return "; ".join(done) or None


def _is_chosen(table: LakeTable, upkeep: Upkeep) -> bool:
    """Whether this run vacuums the table now: hundreds of mailboxes share it, and one of their runs is enough.

    Raises:
        CommitFailedError: Another run was chosen at the same time.
    """
    every, delta = upkeep.vacuum_every, table.delta
    if every is None or (upkeep.retention is None and upkeep.keep_deleted is None):
        return False
    app_id = f"gmail/upkeep/{table.source}/vacuum"
    now = time.time()
    last = table.transactions([app_id.rpartition("/")[0]])(app_id)
    since = delta.metadata().created_time / 1000 if last is None else last
    if now - since < every.total_seconds() and since <= now:
        return False
    with table.shared.turn:
        commit_alone(table, CommitProperties(app_transactions=[Transaction(app_id, int(now))]))
        delta.update_incremental()
    return True


def _vacuum_and_delete(delta: DeltaTable, upkeep: Upkeep) -> list[str]:
    done = []
    if upkeep.keep_deleted is not None:
        days = upkeep.keep_deleted.days
        if deleted := delete_expired(delta, upkeep.keep_deleted):
            done.append(f"deleted {deleted} rows that were soft-deleted {days} days ago")
    if upkeep.retention is not None:
        removed = vacuum(delta, upkeep.retention)
        done.append(f"removed {removed} files that no version of the last {upkeep.retention.days} days needs")
    return done


def vacuum(delta: DeltaTable, retention: timedelta) -> int:
    """Remove the files that versions younger than `retention` do not need; returns how many.

    Files that the log does not name are removed too if they are older than the retention and than a week: a run may be
    writing a younger one. They were written for a commit that was refused or never made, or were removed from the table
    so long ago that a checkpoint left them out.

    Raises:
        DeltaError: The table can't be read or written.
        OSError: The table can't be read or written.
    """
    complete = _names_removed_files(delta, retention)
    removed: set[str] = set()
    if retention < _WEEK or not complete:
        removed |= _vacuum(delta, retention)
    if complete:
        removed |= _vacuum(delta, max(retention, _WEEK), full=True)
    return len(removed)


def _vacuum(delta: DeltaTable, retention: timedelta, *, full: bool = False) -> set[str]:
    """Remove files; returns their names, because deltalake has several forms of the path of a file."""
    hours = int(retention.total_seconds() // 3600)
    paths = delta.vacuum(retention_hours=hours, dry_run=False, enforce_retention_duration=False, full=full)
    return {path.rpartition("/")[2] for path in paths}


def _names_removed_files(delta: DeltaTable, retention: timedelta) -> bool:
    """Whether the log names all files that were removed from the table within `retention`.

    Checkpoints name them for a week by default. For a longer retention, the table's property is raised: it is certain
    once the property has been in force for the retention.
    """
    named = _duration(delta.metadata().configuration.get(_REMOVED_FILES, _DEFAULT_REMOVED_FILES))
    if named is None:
        return False
    raised = delta.transaction_version(_RAISED)
    now = int(time.time())
    if named < retention or (raised is None and retention > _WEEK):
        delta.alter.set_table_properties(
            {_REMOVED_FILES: f"interval {math.ceil(max(named, retention) / timedelta(days=1))} days"},
            commit_properties=CommitProperties(app_transactions=[Transaction(_RAISED, now)]),
        )
        return False
    return raised is None or raised <= now - retention.total_seconds()


def _duration(interval: str) -> timedelta | None:
    """The length of an interval as table properties have it (`interval 1 week`); None if it has another form."""
    found = re.fullmatch(r"(?:interval )?(\d+) (week|day|hour|minute|second)s?", interval.strip().lower())
    return None if found is None else timedelta(**{f"{found[2]}s": int(found[1])})


def delete_expired(delta: DeltaTable, keep: timedelta, address: str | None = None) -> int:
    """Delete rows that were soft-deleted longer ago than `keep`, of one mailbox or of all; returns how many."""
    if DELETED_AT not in pa.schema(delta.schema().to_arrow()).names:
        return 0
    limit = (datetime.now(UTC) - keep).isoformat()
    expired = f"{DELETED_AT} < arrow_cast('{limit}', 'Timestamp(Microsecond, Some(\"UTC\"))')"
    where = expired if address is None else f"{equals(MAILBOX, address)} AND {expired}"
    done = delta.delete(where, writer_properties=WRITER_PROPERTIES)
    delta.update_incremental()
    return int(done.get("num_deleted_rows") or 0)
