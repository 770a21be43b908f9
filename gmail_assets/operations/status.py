"""Where the tables of a mailbox stand: rows, cursor, how far behind Gmail's head, and how the last run ended.

`overview` reads the lake, asks Gmail for one profile (one unit), and looks into the Dagster instance that
DAGSTER_HOME names, where there is one. Nothing is written.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from gmail_assets.delta.lake import MAILBOX, Lake
from gmail_assets.delta.partition_status import PartitionStatus, partition_statuses
from gmail_assets.delta.registry import MailboxRegistry
from gmail_client.client import GmailClient
from gmail_client.errors import GmailError
from gmail_client.spec import Spec
from gmail_client.tables import CATALOGUE

if TYPE_CHECKING:
    import dagster as dg

__all__ = ["LastRun", "MailboxStatus", "TableStatus", "overview"]

_KEY_PREFIX = ["gmail"]


@dataclass(frozen=True, slots=True)
class LastRun:
    """The newest run of a mailbox that Dagster knows: its id, how it stands, when it ended."""

    run_id: str
    status: str
    ended: datetime | None


@dataclass(slots=True)
class TableStatus:
    """One mailbox's part of one table.

    Attributes:
        rows: Rows, ones kept after deletion included.
        bytes: Bytes of their files.
        cursor: History id up to which they are true; None for snapshots and unfinished loads.
        behind: History ids between the cursor and Gmail's head; None where that can't be told.
        loading: A load was begun and is not finished.
        changed: When rows were last written.
        materialized: When Dagster last materialized it.
    """

    rows: int = 0
    bytes: int = 0
    cursor: int | None = None
    behind: int | None = None
    loading: bool = False
    changed: datetime | None = None
    materialized: datetime | None = None


@dataclass(slots=True)
class MailboxStatus:
    """One mailbox.

    Attributes:
        name: As it is configured.
        address: Its real address; the lake's word for it where Gmail can't be asked; empty when neither knows.
        head: Gmail's history head.
        tables: Each table of the spec; None for one that holds nothing of it.
        unfetched: Messages that Gmail would not give and that runs try again.
        last_run: The newest run, where there is a Dagster instance.
        error: Why Gmail could not be asked.
    """

    name: str
    address: str = ""
    head: int | None = None
    tables: dict[str, TableStatus | None] = field(default_factory=dict)
    unfetched: int = 0
    last_run: LastRun | None = None
    error: GmailError | None = None


def overview(name: str, lake: Lake, spec: Spec, client: GmailClient | None) -> MailboxStatus:
    """The status of one mailbox.

    Args:
        name: As it is configured.
        lake: Where its tables are.
        spec: Which tables.
        client: Access to Gmail; None to ask the lake alone.

    Raises:
        LakeError: The lake can't be read.
    """
    status = MailboxStatus(name, tables=dict.fromkeys(entry.source_table for entry in spec.tables))
    registry = MailboxRegistry(lake)
    if client is not None:
        try:
            profile = client.mailbox(name).api.profile()
            status.address, status.head = str(profile["emailAddress"]), int(profile["historyId"])
        except GmailError as error:
            status.error = error
    status.address = status.address or registry.address_of(name) or ("" if name == "me" else name)
    if status.address:
        for table, partition in partition_statuses(lake, status.address, spec.tables).items():
            status.tables[table] = _table_status(table, partition, status)
        failed: set[str] = set()
        for entry in spec.tables:
            if CATALOGUE[entry.source_table].cursor:
                failed.update(registry.unfetched(status.address, entry.source_table))
        status.unfetched = len(failed)
    with _instance() as instance:
        if instance is not None:
            _ask_dagster(instance, status, spec)
    return status


def _table_status(table: str, partition: PartitionStatus, status: MailboxStatus) -> TableStatus:
    behind = None
    if partition.cursor is not None and status.head is not None:
        behind = max(status.head - partition.cursor, 0)
    return TableStatus(
        partition.rows,
        partition.size,
        partition.cursor,
        behind,
        bool(CATALOGUE[table].cursor) and partition.cursor is None,
        _changed(partition, status.address),
    )


def _changed(partition: PartitionStatus, address: str) -> datetime | None:
    files = pa.table(partition.part.table.delta.get_add_actions(flatten=True))
    if not files.num_rows:
        return None
    own = files.filter(pc.equal(files[f"partition.{MAILBOX}"], address))
    newest = pc.max(own["modification_time"]).as_py() if own.num_rows else None
    if newest is None:
        return None
    # Milliseconds since the epoch in some versions of deltalake, a moment in UTC without its zone in others.
    if isinstance(newest, int):
        return datetime.fromtimestamp(newest / 1000, UTC)
    moment: datetime = newest
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


@contextmanager
def _instance() -> Iterator[dg.DagsterInstance | None]:
    if not os.environ.get("DAGSTER_HOME"):
        yield None
        return
    import dagster as dg

    with dg.DagsterInstance.get() as instance:
        yield instance


def _ask_dagster(instance: dg.DagsterInstance, status: MailboxStatus, spec: Spec) -> None:
    import dagster as dg

    from gmail_assets.assets import asset_keys

    records = instance.get_run_records(dg.RunsFilter(tags={"dagster/partition": status.name}), limit=1)
    for record in records:
        ended = datetime.fromtimestamp(record.end_time, UTC) if record.end_time else None
        status.last_run = LastRun(record.dagster_run.run_id, record.dagster_run.status.value.lower(), ended)
    keys: Mapping[str, dg.AssetKey] = asset_keys(spec, _KEY_PREFIX)
    for table, key in keys.items():
        newest = instance.fetch_materializations(
            dg.AssetRecordsFilter(key, asset_partitions=[status.name]), limit=1
        )
        for event in newest.records:
            found = status.tables[table] or TableStatus()
            found.materialized = datetime.fromtimestamp(event.timestamp, UTC)
            status.tables[table] = found
