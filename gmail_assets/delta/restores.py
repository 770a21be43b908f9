"""Finds commits that restored an earlier version of a table, and the version that they restored."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import Any

from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from gmail_assets.delta.lake import LakeTable

__all__ = ["brought_back", "restores"]

Commit = dict[str, Any]
"""A commit's entry in the log, as `DeltaTable.history` returns it."""


def restores(table: LakeTable, after: int) -> list[Commit]:
    """The commits after a version that restored an earlier one, newest first."""
    return _LOGS.restores(table.delta, after)


def brought_back(table: LakeTable, restore: Commit) -> DeltaTable | None:
    """The version that a restore brought back; None if its log entry was cleaned up."""
    source = restore.get("operationParameters") or {}
    try:
        if "version" in source:
            return table.at(int(source["version"]))
        return table.at(datetime.fromtimestamp(int(source["datetime"]) / 1000, UTC))
    except (DeltaError, OSError, KeyError, ValueError):
        return None


class _Logs:
    """Commits of each table that restored an earlier version; each log entry is read once per process.

    A table that hundreds of mailboxes share has many commits since the last one of an idle mailbox, and a sensor looks
    at all mailboxes every half minute.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[tuple[str, str], tuple[int, int, list[Commit]]] = {}

    def restores(self, delta: DeltaTable, after: int) -> list[Commit]:
        """Restores after a version, newest first."""
        version = delta.version()
        table = (delta.table_uri, str(delta.metadata().id))
        with self._lock:
            low, high, found = self._known.get(table, (version, version, []))
            if version < high:
                # The table's files were replaced by a copy, or this is an older snapshot.
                low, high, found = version, version, []
            if after < low:
                # Read twice as far as before: mailboxes come in any order, and each would need a little more.
                low, high = min(after, version - 2 * (version - low)), 0
                found = []
            if version > high:
                log = delta.history(max(version - max(low, high), 1))
                new = [entry for entry in log if entry.get("operation") == "RESTORE"]
                found = [*(entry for entry in new if entry["version"] > high), *found]
                high = version
            self._known[table] = (low, high, found)
        return [entry for entry in found if after < entry["version"] <= version]


_LOGS = _Logs()
