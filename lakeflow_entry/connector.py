"""`GmailLakeflowConnect`: the class that the framework of Databricks' Lakeflow community connectors calls.

    connector = GmailLakeflowConnect({"client_id": ..., "client_secret": ..., "refresh_token": ...})
    records, offset = connector.read_table("messages", {}, {"labelIds": "INBOX"})

It needs nothing of the framework: the framework asks for these methods, whatever class has them. Nothing is asked of
Gmail before a read; records come as they are fetched. docs/databricks.md says how it is deployed.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from pyspark.sql.types import StructType

from gmail_client.client import Mailbox
from gmail_client.errors import ConfigurationError
from gmail_client.options import TableOptions
from gmail_client.reads import read_pages
from gmail_client.schema import json_row
from gmail_client.tables import CATALOGUE, table
from lakeflow_entry.connection import Connection
from lakeflow_entry.spark_schema import struct_type
from lakeflow_entry.stream.changes import ChangeReader, head_of, read_batch
from lakeflow_entry.stream.deletes import DeleteReader
from lakeflow_entry.stream.offsets import NEW, Offset
from lakeflow_entry.table_options import table_options

__all__ = ["GmailLakeflowConnect"]

Row = dict[str, Any]
Options = Mapping[str, str]


class GmailLakeflowConnect:
    """Gmail's ten tables, as the framework reads them.

    Args:
        options: `client_id`, `client_secret` and `refresh_token`, or `access_token` alone; `user_id` (`me`). Names in
            any case. Options that mean nothing here are left alone.

    Raises:
        ConfigurationError: Credentials that lack a part (also a ValueError).
    """

    def __init__(self, options: Options) -> None:
        self.options = dict(options.items())
        self._connection = Connection.of(self.options)
        self._start()

    def _start(self) -> None:
        self._live: Mailbox | None = None
        self._flows: dict[tuple[str, str, TableOptions], _Flow] = {}
        self._instance = uuid.uuid4().hex

    def list_tables(self) -> list[str]:
        """The ten names."""
        return list(CATALOGUE)

    def get_table_schema(self, table_name: str, table_options: Options) -> StructType:
        """A table's columns; needs no network.

        Raises:
            UnknownTableError: Not one of the ten; the message names them.
            OptionError: An option that can't be right.
        """
        self._parsed(table_name, table_options)
        return struct_type(CATALOGUE[table_name].schema)

    def read_table_metadata(self, table_name: str, table_options: Options) -> dict[str, Any]:
        """`primary_keys`, `cursor_field` (for messages and threads) and `ingestion_type`; needs no network.

        Raises:
            UnknownTableError: Not one of the ten.
            OptionError: An option that can't be right.
        """
        self._parsed(table_name, table_options)
        entry = table(table_name)
        metadata: dict[str, Any] = {"primary_keys": list(entry.primary_key)}
        if entry.cursor:
            metadata["cursor_field"] = entry.cursor
        return {**metadata, "ingestion_type": entry.ingestion_type}

    def read_table(
        self, table_name: str, start_offset: Mapping[str, Any] | None, table_options: Options
    ) -> tuple[Iterator[Row], dict[str, Any]]:
        """One batch of a table.

        Args:
            table_name: One of the ten.
            start_offset: None reads all of it; `{}` begins a stream; else the offset that the last call gave.
            table_options: `q`, `labelIds`, `maxResults`, `includeSpamTrash`, `format`, `max_records_per_batch`,
                `skip_refused`.

        Returns:
            Records, fetched as they are consumed, and the offset after them. The same offset as was given means that
            there is nothing more: the mailbox's head is frozen when a stream is first asked, and again once it has
            been told that there is nothing more.

        Raises:
            ConfigurationError: An unknown table, option or offset.
            GmailError: The read can't be planned. The iterator raises too, when a record can't be had.
        """
        options = self._parsed(table_name, table_options)
        api = self._mailbox.api
        if not CATALOGUE[table_name].cursor:
            return self._snapshot(table_name, start_offset, options)
        if start_offset is None:
            # The head comes before the listing, so that a stream can go on from here.
            end = Offset(head_of(api)).to_json()
            return self._rows(table_name, options), end
        start = Offset.parse(start_offset)
        flow = self._flow("upserts", table_name, options, start)
        end_offset, batch = flow.feed.plan(start, flow.head(self._mailbox))
        if flow.ended(start, end_offset):
            return iter(()), dict(start_offset)
        pages = read_batch(api, table_name, options, batch)
        return (json_row(table_name, row) for page in pages for row in page), end_offset.to_json()

    def read_table_deletes(
        self, table_name: str, start_offset: Mapping[str, Any] | None, table_options: Options
    ) -> tuple[Iterator[Row], dict[str, Any]]:
        """One batch of rows to be deleted: primary key, cursor and, for messages, threadId; all else null.

        A thread is named only when its last message has gone. The flow has offsets of its own, beginning at `{}`.

        Raises:
            ConfigurationError: An unknown table, option or offset.
            GmailError: The history can't be read.
        """
        options = self._parsed(table_name, table_options)
        if not CATALOGUE[table_name].cursor:
            raise ConfigurationError(
                f"Table {table_name!r} has no deletes: it is read whole each time.",
                fix="Read it with read_table.",
            )
        start = Offset.parse(start_offset)
        flow = self._flow("deletes", table_name, options, start)
        end = flow.departures.plan(start, flow.head(self._mailbox))
        if flow.ended(start, end):
            return iter(()), dict(start_offset or {})
        return iter(flow.departures.between(start, end)), end.to_json()

    @property
    def _mailbox(self) -> Mailbox:
        if self._live is None:
            self._live = self._connection.mailbox()
        return self._live

    def _parsed(self, table_name: str, options: Options | None) -> TableOptions:
        return table_options(table_name, options, self.options)

    def _flow(self, kind: str, table_name: str, options: TableOptions, start: Offset) -> _Flow:
        key = (kind, table_name, options)
        if key not in self._flows or start == NEW:
            self._flows[key] = _Flow(self._mailbox, table_name, options)
        return self._flows[key]

    def _rows(self, table_name: str, options: TableOptions) -> Iterator[Row]:
        for page in read_pages(self._mailbox.api, table_name, options, messages=1):
            for row in page:
                yield json_row(table_name, row)

    def _snapshot(
        self, table_name: str, start_offset: Mapping[str, Any] | None, options: TableOptions
    ) -> tuple[Iterator[Row], dict[str, Any]]:
        """All rows, once for each instance: a stream over a snapshot gets it whole with each run, and ends."""
        end = {"snapshot": self._instance}
        if start_offset == end:
            return iter(()), end
        return self._rows(table_name, options), end

    def __getstate__(self) -> dict[str, Any]:
        fresh = ("_live", "_flows", "_instance")
        return {name: value for name, value in self.__dict__.items() if name not in fresh}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._start()

    def __repr__(self) -> str:
        return f"GmailLakeflowConnect({self._connection!r})"


class _Flow:
    """One stream of this instance, and the head at which it ends."""

    def __init__(self, mailbox: Mailbox, table_name: str, options: TableOptions) -> None:
        self.feed = ChangeReader(mailbox.api, table_name, options)
        self.departures = DeleteReader(mailbox.api, table_name, options)
        self._head: int | None = None

    def head(self, mailbox: Mailbox) -> int:
        if self._head is None:
            self._head = head_of(mailbox.api)
        return self._head

    def ended(self, start: Offset, end: Offset) -> bool:
        """Whether there is nothing more; the next call then looks at the mailbox afresh."""
        if start != end:
            return False
        self._head = None
        return True
