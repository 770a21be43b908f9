"""The retry queue: messages that Gmail refused. Every run requests them again, and users can query them.

They are in the table `_gmail_unfetched`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import pyarrow as pa

from gmail_assets.delta.internal_table import InternalTable
from gmail_assets.delta.lake import Lake
from gmail_client.sql import equals

__all__ = ["UNFETCHED", "Unfetched", "UnfetchedMessages"]

UNFETCHED = "_gmail_unfetched"

_SCHEMA = pa.schema(
    [
        ("mailbox", pa.string()),
        ("table", pa.string()),
        ("id", pa.string()),
        ("threadId", pa.string()),
        ("error", pa.string()),
        ("attempts", pa.int64()),
        ("firstFailed", pa.timestamp("us", tz="UTC")),
    ]
)


@dataclass(frozen=True, slots=True)
class Unfetched:
    """A message that could not be fetched.

    Attributes:
        thread_id: Its thread.
        error: The reason of the last attempt.
        attempts: Number of attempts.
        first_failed: The first one; None until it is stored.
    """

    thread_id: str
    error: str
    attempts: int = 1
    first_failed: datetime | None = None


class UnfetchedMessages:
    """The messages of a lake that are still missing. Every method raises a `LakeError` if the lake can't be used."""

    def __init__(self, lake: Lake) -> None:
        self._table = InternalTable(lake, UNFETCHED, _SCHEMA, ("mailbox", "table"))

    def mailboxes(self) -> set[str]:
        """Addresses of the mailboxes that have missing messages."""
        return {row["mailbox"] for row in self._table.rows()}

    def of_table(self, address: str, table: str) -> dict[str, Unfetched]:
        """The missing messages of this mailbox and table, by id."""
        return self.of_mailbox(address).get(table, {})

    def of_mailbox(self, address: str) -> dict[str, dict[str, Unfetched]]:
        """The missing messages of this mailbox, by table and id."""
        found: dict[str, dict[str, Unfetched]] = {}
        for row in self._table.rows(mailbox=[address]):
            entry = Unfetched(row["threadId"], row["error"], row["attempts"], row["firstFailed"])
            found.setdefault(row["table"], {})[row["id"]] = entry
        return found

    def replace(self, address: str, table: str, failed: Mapping[str, Unfetched]) -> None:
        """Replace the missing messages of this mailbox and table; writes only if there are or were any."""
        if not failed and not self.of_table(address, table):
            return
        now = datetime.now(UTC)
        rows = [
            {
                "mailbox": address,
                "table": table,
                "id": message_id,
                "threadId": entry.thread_id,
                "error": entry.error,
                "attempts": entry.attempts,
                "firstFailed": entry.first_failed or now,
            }
            for message_id, entry in failed.items()
        ]
        self._table.replace(rows, f"{equals('mailbox', address)} AND {equals('table', table)}")
