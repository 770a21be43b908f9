"""The metadata of materializations as plain values, without Dagster (docs/dagster.md lists the fields)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, TypeGuard

from gmail_assets.delta.lake import Lake
from gmail_assets.delta.lake_table import LakeTable
from gmail_assets.syncing.results import SyncResult
from gmail_client.printable import printable
from gmail_client.spec import SpecTable, SpecView
from gmail_client.views import ALL_VIEWS, CONTENTS

__all__ = ["location_metadata", "open_entry", "result_metadata", "size_metadata", "whole_table_metadata"]


def location_metadata(lake: Lake, entry: SpecTable | SpecView) -> dict[str, Any]:
    """Location and name of a table."""
    links = {"links_table": entry.links_name} if _is_contents(entry) else {}
    return {"dagster/uri": lake.location(entry.table_name), "dagster/table_name": entry.table_name, **links}


def _is_contents(entry: SpecTable | SpecView) -> TypeGuard[SpecView]:
    return entry.source_table == CONTENTS


def open_entry(lake: Lake, entry: SpecTable | SpecView) -> LakeTable:
    """Open the table of an entry of the spec."""
    if isinstance(entry, SpecView):
        return lake.view(ALL_VIEWS[entry.source_table], name=entry.table_name)
    return lake.table(entry.source_table, name=entry.table_name, keep_deleted=entry.deletes == "keep")


def size_metadata(table: LakeTable, address: str) -> dict[str, Any]:
    """Size of the table and of the mailbox's partition. Reads the log, which lists the files of every mailbox."""
    return {"dagster/row_count": table.count(), "bytes_in_lake": table.size(address)}


def whole_table_metadata(table: LakeTable) -> dict[str, int]:
    """Rows of all mailboxes. Reads the log."""
    return {"dagster/row_count": table.count()}


def result_metadata(result: SyncResult) -> dict[str, Any]:
    """The results of a run for one mailbox."""
    metadata: dict[str, Any] = {
        "dagster/partition_row_count": result.rows_total,
        "mailbox": result.address,
        "sync_mode": result.mode,
        "rows_written": result.rows_written,
        "rows_updated": result.rows_updated,
        "rows_deleted": result.rows_deleted,
        "quota_units": result.units,
        "api_calls": result.calls,
        "bytes_received": result.bytes,
        "duration_seconds": round(result.seconds, 3),
        "complete": result.complete,
        "synced_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    if result.history_id is not None:
        metadata["synced_through"] = str(result.history_id)
    if result.upkeep:
        metadata["maintenance"] = result.upkeep
    if result.unfetched:
        metadata["unfetched_messages"] = result.unfetched
    if result.warnings:
        # Text, which Dagster does not render: a warning can quote the content of a message.
        metadata["warnings"] = printable("\n".join(result.warnings))
    return metadata
