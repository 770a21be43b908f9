"""Status of a mailbox: rows, cursors, lag behind the mailbox, result of the last run.

`mailbox_status` reads the lake, requests one profile from Gmail (one unit), and adds what Dagster recorded. It writes
nothing.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc

from gmail_assets.delta.lake import MAILBOX, Lake
from gmail_assets.delta.lake_table import LakeTable
from gmail_assets.delta.partition_status import PartitionStatus, partition_statuses
from gmail_assets.delta.quota_ledger import QUOTA, QuotaLedger
from gmail_assets.delta.registry import MailboxRegistry
from gmail_assets.delta.unfetched import UnfetchedMessages
from gmail_assets.operations.dagster_history import DagsterHistory, LastRun
from gmail_client.client import GmailClient
from gmail_client.errors import GmailError
from gmail_client.quota_shares import ProjectLimits, day_of
from gmail_client.spec import Spec
from gmail_client.tables import CATALOGUE
from gmail_client.views import CONTENT_VIEWS, CONTENTS, VIEWS

__all__ = ["MailboxStatus", "QuotaStatus", "TableStatus", "mailbox_status", "quota_status"]


@dataclass(slots=True)
class TableStatus:
    """Status of one mailbox's partition of a table.

    Attributes:
        rows: Number of rows, including soft-deleted ones.
        bytes: Size of their files in bytes.
        cursor: History id that it is synced through; None for snapshots and unfinished loads.
        behind: History ids between the cursor and the mailbox's current one; None if unknown.
        loading: A first load was started and is not finished.
        to_reconcile: The table was synced with other options, or was restored: the next sync reconciles it.
        unexplained: Rows too many (or, negative, too few) that a check found and that the next sync reconciles.
        changed: Time of the last write.
        materialized: Time of the last Dagster materialization.
    """

    rows: int = 0
    bytes: int = 0
    cursor: int | None = None
    behind: int | None = None
    loading: bool = False
    to_reconcile: bool = False
    unexplained: int = 0
    changed: datetime | None = None
    materialized: datetime | None = None


@dataclass(slots=True)
class MailboxStatus:
    """Status of one mailbox.

    Attributes:
        name: Configured name of the mailbox.
        address: Its real address, from Gmail, else from the lake; empty if neither knows it.
        stored_as: The address under which it is stored: the first one, if it was renamed.
        head: Current history id of the mailbox; None if Gmail was not asked or did not answer.
        tables: Status by table of the spec; None for a table without rows of this mailbox.
        unfetched: Number of messages that could not be fetched and are in the retry queue.
        last_run: The newest Dagster run, if there is an instance.
        error: Why Gmail did not answer.
    """

    name: str
    address: str = ""
    stored_as: str = ""
    head: int | None = None
    tables: dict[str, TableStatus | None] = field(default_factory=dict)
    unfetched: int = 0
    last_run: LastRun | None = None
    error: GmailError | None = None


@dataclass(frozen=True, slots=True)
class QuotaStatus:
    """Units of the project that the processes of this lake claimed today, and the limit; None for no limit."""

    spent: int
    limit: int | None


def quota_status(lake: Lake, limits: ProjectLimits) -> QuotaStatus:
    """Units claimed since midnight in California; processes that spend less than 100 are not counted.

    Raises:
        LakeError: The lake can't be read.
    """
    ledger = None if lake.opened(QUOTA) is None else QuotaLedger(lake).read()
    return QuotaStatus(0 if ledger is None else ledger.spent_on(day_of(time.time())), limits.per_day)


def mailbox_status(
    name: str,
    lake: Lake,
    spec: Spec,
    client: GmailClient | None,
    history: DagsterHistory | None = None,
) -> MailboxStatus:
    """Get the status of one mailbox.

    Args:
        name: Configured name of the mailbox.
        lake: The lake.
        spec: The tables.
        client: The Gmail client; None to read the lake only.
        history: What Dagster recorded of this mailbox and others, if there is an instance.

    Raises:
        LakeError: The lake can't be read.
    """
    names = [entry.source_table for entry in spec.entries]
    status = MailboxStatus(name, tables=dict.fromkeys(names))
    if client is not None:
        try:
            profile = client.mailbox(name).api.profile()
            status.address, status.head = str(profile["emailAddress"]), int(profile["historyId"])
        except GmailError as error:
            status.error = error
    known = MailboxRegistry(lake).names()
    stored_as = known.stored_as.get(status.address)
    if stored_as is None and ("@" in name or not status.address):  # `me` can be another account now
        stored_as = known.stored_as.get(name)
    if not status.address:
        status.address = "" if name == "me" else name
        if stored_as is not None:
            status.address = known.mailboxes[stored_as].current or stored_as
    status.stored_as = stored_as or status.address
    if status.stored_as:
        for source, partition in partition_statuses(lake, status.stored_as, spec.tables).items():
            status.tables[source] = _table_status(source, partition, status)
        for view in spec.views:
            if lake.opened(view.table_name) is not None:
                table = lake.view(VIEWS[view.source_table], name=view.table_name)
                status.tables[view.source_table] = _view_status(table, status.stored_as)
        contents = spec.contents
        if contents is not None and lake.opened(contents.table_name) is not None:
            table = lake.view(CONTENT_VIEWS[CONTENTS], name=contents.table_name)
            status.tables[CONTENTS] = _view_status(table, status.stored_as)
        unfetched = UnfetchedMessages(lake)
        failed: set[str] = set()
        for entry in spec.tables:
            if CATALOGUE[entry.source_table].cursor:
                failed.update(unfetched.of_table(status.stored_as, entry.source_table))
        status.unfetched = len(failed)
    if history is not None:
        for source, moment in history.materialized(name).items():
            found = status.tables[source] or TableStatus()
            found.materialized = moment
            status.tables[source] = found
        status.last_run = history.last_run(name)
    return status


def _table_status(table: str, partition: PartitionStatus, status: MailboxStatus) -> TableStatus:
    behind = None
    if partition.cursor is not None and status.head is not None:
        behind = max(status.head - partition.cursor, 0)
    without_cursor = bool(CATALOGUE[table].cursor) and partition.cursor is None
    return TableStatus(
        rows=partition.rows,
        bytes=partition.size,
        cursor=partition.cursor,
        behind=behind,
        loading=without_cursor and partition.load_start is not None,
        to_reconcile=without_cursor and partition.load_start is None,
        unexplained=partition.unexplained,
        changed=_changed(partition.partition.table, status.stored_as),
    )


def _view_status(table: LakeTable, address: str) -> TableStatus | None:
    changed = _changed(table, address)
    return TableStatus(table.count(address), table.size(address), changed=changed) if changed else None


def _changed(table: LakeTable, address: str) -> datetime | None:
    files = pa.table(table.delta.get_add_actions(flatten=True))
    if not files.num_rows:
        return None
    own = files.filter(pc.equal(files[f"partition.{MAILBOX}"], address))
    newest = pc.max(own["modification_time"]).as_py() if own.num_rows else None
    if newest is None:
        return None
    # Some versions of deltalake return milliseconds since the epoch, others a naive datetime in UTC.
    if isinstance(newest, int):
        return datetime.fromtimestamp(newest / 1000, UTC)
    moment: datetime = newest
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
