"""The version of a table that a restore brought back."""

from __future__ import annotations

from datetime import UTC, datetime

from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from gmail_assets.delta.lake_table import LakeTable
from gmail_assets.delta.table_log import Commit

__all__ = ["brought_back"]


def brought_back(table: LakeTable, restore: Commit) -> DeltaTable | None:
    """The version that a restore (`LakeTable.restores`) brought back; None if its log entry was cleaned up."""
    source = restore.get("operationParameters") or {}
    try:
        if "version" in source:
            return table.at(int(source["version"]))
        return table.at(datetime.fromtimestamp(int(source["datetime"]) / 1000, UTC))
    except (DeltaError, OSError, KeyError, ValueError):
        return None
