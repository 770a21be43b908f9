"""`GmailLakeflowConnect`: the class that the framework of Databricks' Lakeflow community connectors calls.

    connector = GmailLakeflowConnect({"client_id": ..., "client_secret": ..., "refresh_token": ...})
    records, offset = connector.read_table("messages", {}, {"labelIds": "INBOX"})

It does not import the framework, which calls these methods on any class that has them. Nothing is requested from Gmail
before a read, and records are yielded as they are fetched. docs/databricks.md describes the deployment.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from pyspark import TaskContext
from pyspark.sql.types import StructType

from gmail_client.api import GmailApi
from gmail_client.client import Mailbox
from gmail_client.errors import ConfigurationError, HistoryExpiredError
from gmail_client.options import TableOptions
from gmail_client.reads import read_pages
from gmail_client.schema import json_row, without_unknown_fields
from gmail_client.tables import CATALOGUE, table
from lakeflow_entry.connection import Connection
from lakeflow_entry.mailbox_list import mailbox_list
from lakeflow_entry.many_flows import ManyFlows
from lakeflow_entry.plain_errors import plain_errors, plain_pages
from lakeflow_entry.spark_schema import struct_type, with_mailbox
from lakeflow_entry.stream.batch import read_batch
from lakeflow_entry.stream.changes import ChangeReader
from lakeflow_entry.stream.deleted_rows import delete_rows
from lakeflow_entry.stream.deletes import DeleteReader
from lakeflow_entry.stream.history import HistoryRange, head_of
from lakeflow_entry.stream.offsets import NEW, Offset
from lakeflow_entry.table_options import find, table_options

__all__ = ["GmailLakeflowConnect"]

Row = dict[str, Any]
Options = Mapping[str, str]


class GmailLakeflowConnect:
    """Gmail's ten tables, as the framework reads them.

    Args:
        options: `client_id`, `client_secret` and `refresh_token`, or `access_token` alone; `user_id` (`me`). With
            `service_account_json`, `mailboxes` names several mailboxes. Names in any case. Unknown options are ignored.

    Raises:
        ConfigurationError: Incomplete credentials (also a ValueError).
    """

    @plain_errors
    def __init__(self, options: Options) -> None:
        self.options = dict(options.items())
        self._connection = Connection.of(self.options)
        self._mailboxes = mailbox_list(find(self.options, "mailboxes"))
        self._start()

    def _start(self) -> None:
        self._live: Mailbox | None = None
        self._live_many: ManyFlows | None = None
        self._shared_history: HistoryRange | None = None
        self._head: int | None = None
        self._flows: dict[tuple[str, str, TableOptions], _Flow] = {}
        self._instance = uuid.uuid4().hex

    def list_tables(self) -> list[str]:
        """The names of the ten tables."""
        return list(CATALOGUE)

    @plain_errors
    def get_table_schema(self, table_name: str, table_options: Options) -> StructType:
        """A table's columns; needs no network.

        Raises:
            UnknownTableError: Not one of the ten; the message names them.
            OptionError: An invalid option.
        """
        options = self._parsed(table_name, table_options)
        schema = CATALOGUE[table_name].schema
        if not options.keep_unknown_fields:
            schema = without_unknown_fields(schema)
        return struct_type(with_mailbox(schema) if self._mailboxes else schema)

    @plain_errors
    def read_table_metadata(self, table_name: str, table_options: Options) -> dict[str, Any]:
        """`primary_keys`, `cursor_field` (for messages and threads) and `ingestion_type`; needs no network.

        Raises:
            UnknownTableError: Not one of the ten.
            OptionError: An invalid option.
        """
        self._parsed(table_name, table_options)
        entry = table(table_name)
        key = ["mailbox", *entry.primary_key] if self._mailboxes else list(entry.primary_key)
        metadata: dict[str, Any] = {"primary_keys": key}
        if entry.cursor:
            metadata["cursor_field"] = entry.cursor
        return {**metadata, "ingestion_type": entry.ingestion_type}

    @plain_errors
    def read_table(
        self, table_name: str, start_offset: Mapping[str, Any] | None, table_options: Options
    ) -> tuple[Iterator[Row], dict[str, Any]]:
        """One batch of a table.

        Args:
            table_name: One of the ten.
            start_offset: None reads the whole table; `{}` begins a stream; else the offset that the last call returned.
            table_options: `q`, `labelIds`, `maxResults`, `includeSpamTrash`, `format`, `max_records_per_batch`,
                `skip_refused`.

        Returns:
            Records, fetched as they are consumed, and the offset after them. An offset equal to `start_offset` means
            that there are no more changes. The mailbox's head is fixed at a stream's first call, and again after a
            call that returned no more changes.

        Raises:
            ConfigurationError: An unknown table, option or offset.
            GmailError: The read can't be planned. The iterator raises it if a record can't be read.
        """
        options = self._parsed(table_name, table_options)
        if not CATALOGUE[table_name].cursor:
            return self._snapshot(table_name, start_offset, options)
        if self._mailboxes:
            if start_offset is None:
                heads = self._many.heads()
                return plain_pages(self._rows(table_name, options)), heads
            return self._many.read("changes", table_name, start_offset, options, repeated=_in_spark_task())
        api = self._mailbox.api
        if start_offset is None:
            # The head is read before the listing, so that a stream can continue from here.
            return plain_pages(self._rows(table_name, options)), Offset(head_of(api)).to_json()
        start = Offset.parse(start_offset)
        flow = self._flow("changes", table_name, options, start)
        reader = flow.change_reader(api, table_name, options, self._history)
        repeated = _in_spark_task()
        end, batch = reader.plan(
            start, self._head_for(flow), confirmed=flow.delivered == start, repeated=repeated
        )
        if end == start:
            return self._nothing(flow, start_offset)
        _refuse_lost_batch(table_name, start, end, repeated)
        pages = read_batch(api, table_name, options, batch)
        rows = (json_row(table_name, row) for page in pages for row in page)
        return flow.delivering(plain_pages(rows), end), end.to_json()

    @plain_errors
    def read_table_deletes(
        self, table_name: str, start_offset: Mapping[str, Any] | None, table_options: Options
    ) -> tuple[Iterator[Row], dict[str, Any]]:
        """One batch of deletes: primary key, cursor and, for messages, threadId; the other columns are null.

        A thread is deleted only with its last message. The flow has its own offsets, starting at `{}`.

        Raises:
            ConfigurationError: An unknown table, option or offset.
            GmailError: The history can't be read.
        """
        options = self._parsed(table_name, table_options)
        if not CATALOGUE[table_name].cursor:
            raise ConfigurationError(
                f"Table {table_name!r} has no deletes: each read returns the whole table.",
                fix="Read it with read_table.",
            )
        if self._mailboxes:
            return self._many.read("deletes", table_name, start_offset, options, repeated=_in_spark_task())
        start = Offset.parse(start_offset)
        flow = self._flow("deletes", table_name, options, start)
        reader = DeleteReader(self._mailbox.api, table_name, options, self._history)
        repeated = _in_spark_task()
        end, deleted = reader.plan(
            start, self._head_for(flow), confirmed=flow.delivered == start, repeated=repeated
        )
        if end == start:
            return self._nothing(flow, start_offset or {})
        _refuse_lost_batch(table_name, start, end, repeated)
        return flow.delivering(delete_rows(table_name, deleted), end), end.to_json()

    @property
    def _mailbox(self) -> Mailbox:
        if self._live is None:
            self._live = self._connection.mailbox()
        return self._live

    @property
    def _many(self) -> ManyFlows:
        if self._live_many is None:
            self._live_many = ManyFlows(self._connection, self._mailboxes)
        return self._live_many

    def _parsed(self, table_name: str, options: Options | None) -> TableOptions:
        return table_options(table_name, options, self.options)

    @property
    def _history(self) -> HistoryRange:
        if self._shared_history is None:
            self._shared_history = HistoryRange(self._mailbox.api)
        return self._shared_history

    def _flow(self, kind: str, table_name: str, options: TableOptions, start: Offset) -> _Flow:
        key = (kind, table_name, options)
        if key not in self._flows or start == NEW:
            self._flows[key] = _Flow()
        return self._flows[key]

    def _head_for(self, flow: _Flow) -> int:
        """The head at which all flows of this instance end; a newer one if this flow ended there already."""
        if self._head is None or flow.ended_at == self._head:
            self._head = self._history.fix_head()
        return self._head

    def _nothing(self, flow: _Flow, start: Mapping[str, Any]) -> tuple[Iterator[Row], dict[str, Any]]:
        flow.ended_at = self._head
        return iter(()), dict(start)

    def _rows(self, table_name: str, options: TableOptions) -> Iterator[Row]:
        if self._mailboxes:
            yield from self._many.rows(table_name, options)
            return
        for page in read_pages(self._mailbox.api, table_name, options, messages=1):
            for row in page:
                yield json_row(table_name, row)

    def _snapshot(
        self, table_name: str, start_offset: Mapping[str, Any] | None, options: TableOptions
    ) -> tuple[Iterator[Row], dict[str, Any]]:
        """All rows, once per instance: a stream over a snapshot reads the whole table in each run and ends."""
        end = {"snapshot": self._instance}
        if start_offset == end:
            return iter(()), end
        return plain_pages(self._rows(table_name, options)), end

    def __getstate__(self) -> dict[str, Any]:
        fresh = ("_live", "_live_many", "_shared_history", "_head", "_flows", "_instance")
        return {name: value for name, value in self.__dict__.items() if name not in fresh}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._start()

    def __repr__(self) -> str:
        return f"GmailLakeflowConnect({self._connection!r})"


class _Flow:
    """One stream of this instance.

    Attributes:
        delivered: End of the last batch of which every row was consumed.
        ended_at: The head at which there was nothing more.
    """

    def __init__(self) -> None:
        self.delivered: Offset | None = None
        self.ended_at: int | None = None
        self._reader: ChangeReader | None = None

    def change_reader(
        self, api: GmailApi, table_name: str, options: TableOptions, history: HistoryRange
    ) -> ChangeReader:
        """The flow's reader, which keeps the listing of a load from batch to batch."""
        if self._reader is None:
            self._reader = ChangeReader(api, table_name, options, history)
        return self._reader

    def delivering(self, rows: Iterator[Row], end: Offset) -> Iterator[Row]:
        """The rows; once all are consumed, the batch that ends at `end` is delivered."""
        yield from rows
        self.delivered = end


def _in_spark_task() -> bool:
    """Whether a Spark task is the caller. The framework plans batches on the driver and repeats a lost batch in a task.
    It then continues from the end in its log and ignores the end that the repeated call returns."""
    return TaskContext.get() is not None


def _refuse_lost_batch(table_name: str, start: Offset, end: Offset, repeated: bool) -> None:
    """Refuse to repeat a batch of version 1 whose history has expired: its end does not show that it may be missing.

    Raises:
        HistoryExpiredError: The batch is of version 1 and its history has expired.
    """
    if repeated and end.reload and start.version == 1:
        raise HistoryExpiredError(
            f"Gmail no longer keeps the history after {start.history_id}, so a batch of {table_name} that an earlier "
            "version of gmail-assets planned can't be repeated.",
            fix=f"Run a full refresh of {table_name}.",
        )
