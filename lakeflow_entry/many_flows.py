"""`ManyFlows`: the tables of many mailboxes, for the class that Lakeflow's framework calls.

Rows have `mailbox` as their first column. Each flow has one offset with a part for each mailbox
(`lakeflow_entry.stream.many`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from gmail_client.api import GmailApi
from gmail_client.client import GmailClient, Mailbox
from gmail_client.errors import GmailError
from gmail_client.options import TableOptions
from gmail_client.reads import read_pages
from gmail_client.schema import json_row
from lakeflow_entry.connection import Connection
from lakeflow_entry.mailbox_list import Mailboxes, MailboxList
from lakeflow_entry.plain_errors import plain_pages
from lakeflow_entry.stream.batch import DEFAULT_LIMIT, Batch, read_batch
from lakeflow_entry.stream.changes import ChangeReader
from lakeflow_entry.stream.deleted_rows import DeletedRow, delete_rows
from lakeflow_entry.stream.deletes import DeleteReader
from lakeflow_entry.stream.history import HistoryRange, head_of
from lakeflow_entry.stream.many import ManyOffset, ManyReader, of_mailbox
from lakeflow_entry.stream.offsets import Offset

__all__ = ["FlowKind", "ManyFlows"]

Row = dict[str, Any]
FlowKind = Literal["changes", "deletes"]


class ManyFlows:
    """The flows of one instance of the connector.

    Args:
        connection: The connection.
        listed: The mailboxes.
    """

    def __init__(self, connection: Connection, listed: MailboxList) -> None:
        self._connection = connection
        self._client: GmailClient | None = connection.client()
        self._mailboxes = Mailboxes(listed, connection, self._client)
        self._histories: dict[str, HistoryRange] = {}
        self._flows: dict[tuple[FlowKind, str, TableOptions], _ManyFlow] = {}

    def rows(self, table: str, options: TableOptions) -> Iterator[Row]:
        """All rows of a table.

        Raises:
            GmailError: A mailbox can't be read.
        """
        for name in self._mailboxes.names():
            try:
                mailbox = self._opened(name)
                for page in read_pages(mailbox.api, table, options, messages=1):
                    for row in page:
                        yield {"mailbox": mailbox.address, **json_row(table, row)}
            except GmailError as error:
                raise of_mailbox(name, error) from None

    def heads(self) -> dict[str, Any]:
        """The offset from which a stream continues after `rows` was called next."""
        names = self._mailboxes.names()
        return ManyOffset({name: Offset(head_of(self._opened(name).api)) for name in names}).to_json()

    def read(
        self,
        kind: FlowKind,
        table: str,
        start_offset: Mapping[str, Any] | None,
        options: TableOptions,
        *,
        repeated: bool,
    ) -> tuple[Iterator[Row], dict[str, Any]]:
        """One batch of a flow, and the offset after it.

        Raises:
            ConfigurationError: The offset is not one of this connector.
            GmailError: No mailbox can be read; or, for a repeated batch, one can't.
        """
        single = bool(start_offset) and "mailboxes" not in (start_offset or {})
        start = ManyOffset.parse(start_offset, self._mailboxes.owner if single else None)
        flow = self._flow(kind, table, options, new=not start_offset)
        end, contents = flow.reader.plan(
            start, self._mailboxes.names(), confirmed=flow.delivered == start, repeated=repeated
        )
        if end == start:
            flow.reader.fix_heads()
            return iter(()), dict(start_offset or {})

        def rows() -> Iterator[Row]:
            for name, found in contents.items():
                try:
                    mailbox = self._opened(name)
                    for row in _rows_of(mailbox.api, table, options, found):
                        yield {"mailbox": mailbox.address, **row}
                except GmailError as error:
                    raise of_mailbox(name, error) from None
            flow.delivered = end

        return plain_pages(rows()), end.to_json()

    def _flow(self, kind: FlowKind, table: str, options: TableOptions, *, new: bool) -> _ManyFlow:
        key = (kind, table, options)
        if new or key not in self._flows:

            def opened(name: str) -> ChangeReader | DeleteReader:
                api = self._opened(name).api
                history = self._history(name, api)
                if kind == "deletes":
                    return DeleteReader(api, table, options, history)
                return ChangeReader(api, table, options, history)

            limit = options.max_records_per_batch or DEFAULT_LIMIT
            reader = ManyReader(opened, limit, lambda name: self._opened(name).address)
            self._flows[key] = _ManyFlow(reader)
        return self._flows[key]

    def _history(self, name: str, api: GmailApi) -> HistoryRange:
        return self._histories.setdefault(name, HistoryRange(api, one_of_many=True))

    def _opened(self, name: str) -> Mailbox:
        return self._connection.mailbox(name, self._client)


def _rows_of(
    api: GmailApi, table: str, options: TableOptions, found: Batch | list[DeletedRow]
) -> Iterator[Row]:
    if not isinstance(found, Batch):
        yield from delete_rows(table, found)
        return
    for page in read_batch(api, table, options, found):
        for row in page:
            yield json_row(table, row)


class _ManyFlow:
    """One flow; `delivered` is the end of the last batch of which every row was consumed."""

    def __init__(self, reader: ManyReader) -> None:
        self.reader = reader
        self.reader.fix_heads()
        self.delivered: ManyOffset | None = None
