"""`MailboxRegistry`: two small Delta tables beside the ten, for mailbox names and failed messages.

The tables are `_gmail_mailboxes` (which address a configured name stood for, so that another
account's token never continues this account's tables) and `_gmail_unfetched` (messages that Gmail would not give,
to be tried again by every run and to be seen by people).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
from deltalake import QueryBuilder, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError

from gmail_assets.delta.errors import unwritable
from gmail_assets.delta.lake import Lake
from gmail_assets.delta.sql import equals
from gmail_client.errors import ConfigurationError

__all__ = ["MailboxRegistry", "Unfetched"]

_MAILBOXES = pa.schema([("name", pa.string()), ("mailbox", pa.string())])
_UNFETCHED = pa.schema(
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

_ATTEMPTS = 100
"""Commits that others may make ahead of ours, one by one."""


@dataclass(frozen=True, slots=True)
class Unfetched:
    """A message that could not be fetched: its thread, the reason, the number of attempts, and the first time."""

    thread_id: str
    error: str
    attempts: int = 1
    first_failed: datetime | None = None


class MailboxRegistry:
    """Mailbox names and failed messages of the lake."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake

    def check_name(self, name: str, address: str) -> None:
        """Record that `name` stands for `address`.

        Raises:
            ConfigurationError: The name is recorded for another address.
        """
        if self.refuse_other(name, address):
            return
        row = pa.Table.from_pylist([{"name": name, "mailbox": address}], schema=_MAILBOXES)
        self._write("_gmail_mailboxes", row, equals("name", name))

    def refuse_other(self, name: str, address: str) -> bool:
        """Refuse `name` if it is recorded for another address; returns whether it is recorded for this one.

        Raises:
            ConfigurationError: The name is recorded for another address.
        """
        known = self.address_of(name)
        if known is not None and known != address:
            raise ConfigurationError(
                f"The mailbox {name!r} is {address} now, but in this lake it was {known}.",
                fix=f"Use the credentials of {known}, name the mailbox {address} in GMAIL_MAILBOXES, "
                "or point GMAIL_LAKE to another place.",
            )
        return known is not None

    def address_of(self, name: str) -> str | None:
        """The recorded address of `name`; None if there is none."""
        rows = self._rows("_gmail_mailboxes", _MAILBOXES, equals("name", name))
        return str(rows[0]["mailbox"]) if rows else None

    def unfetched(self, address: str, table: str) -> dict[str, Unfetched]:
        """Messages of this mailbox and table that are still missing, by id."""
        where = f"{equals('mailbox', address)} AND {equals('table', table)}"
        return {
            row["id"]: Unfetched(row["threadId"], row["error"], row["attempts"], row["firstFailed"])
            for row in self._rows("_gmail_unfetched", _UNFETCHED, where)
        }

    def set_unfetched(self, address: str, table: str, failed: Mapping[str, Unfetched]) -> None:
        """Replace the list of missing messages; writes only if it changed."""
        if not failed and not self.unfetched(address, table):
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
        where = f"{equals('mailbox', address)} AND {equals('table', table)}"
        self._write("_gmail_unfetched", pa.Table.from_pylist(rows, schema=_UNFETCHED), where)

    def _rows(self, name: str, schema: pa.Schema, where: str) -> list[dict[str, Any]]:
        delta = self._lake.find(name)
        if delta is None:
            return []
        found = QueryBuilder().register("t", delta).execute(f"SELECT * FROM t WHERE {where}")  # noqa: S608 - quoted
        rows: list[dict[str, Any]] = pa.table(found).select(schema.names).cast(schema).to_pylist()
        return rows

    def _write(self, name: str, rows: pa.Table, where: str) -> None:
        location = self._lake.location(name)
        for attempt in range(_ATTEMPTS):
            try:
                if self._lake.find(name) is None:
                    self._lake.make_folder()
                    write_deltalake(location, rows, mode="append", storage_options=self._lake.options)
                else:
                    write_deltalake(
                        location, rows, mode="overwrite", predicate=where, storage_options=self._lake.options
                    )
                return
            except CommitFailedError as error:
                # A run of another mailbox wrote at the same time; its rows are independent, so try again.
                if attempt == _ATTEMPTS - 1:
                    raise unwritable(location, error) from error
            except (DeltaError, OSError) as error:
                raise unwritable(location, error) from error
