"""The PySpark data source `lakeflow_connect`: Gmail's ten tables in batch reads and streams.

    register_lakeflow_source(spark)
    spark.read.format("lakeflow_connect").option("connection", "gmail_connector").option("tableName", "labels").load()
    spark.readStream.format("lakeflow_connect")....option("tableName", "messages").load()

All ten tables and the derived ones can be read in batch, messages and threads also as streams (`isDeleteFlow` streams
the deletes). Rows are passed to Spark as Arrow batches. With `mailboxes` (`lakeflow_entry.mailbox_list`), a read or a
stream has several mailboxes, one partition each, and `mailbox` as the first column; `report` adds a row per partition
with the outcome of its read (`lakeflow_entry.report`). The virtual tables of Lakeflow's framework can be read too.

Data source, readers and partitions are pickled to other processes, so they hold only options and plain values; a client
is created in the process that needs it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyspark.errors import PySparkNotImplementedError
from pyspark.sql.datasource import (
    DataSource,
    DataSourceReader,
    DataSourceStreamReader,
    InputPartition,
    SimpleDataSourceStreamReader,
)
from pyspark.sql.types import StructType

from gmail_client.api import GmailApi
from gmail_client.client import Mailbox
from gmail_client.errors import ConfigurationError, GmailError, OptionError, UnknownTableError
from gmail_client.options import TableOptions
from gmail_client.reads import read_pages, read_view
from gmail_client.schema import to_batch, without_unknown_fields
from gmail_client.snapshots import read_snapshot
from gmail_client.tables import CATALOGUE, CHANGE_TABLES, table
from gmail_client.views import VIEWS, require_html_reader, to_record_batch
from lakeflow_entry.connection import Connection
from lakeflow_entry.mailbox_list import Mailboxes, mailbox_list
from lakeflow_entry.plain_errors import plain_errors, plain_pages
from lakeflow_entry.report import REPORT, Report
from lakeflow_entry.spark_schema import struct_type, with_mailbox
from lakeflow_entry.stream.batch import DEFAULT_LIMIT, read_batch
from lakeflow_entry.stream.changes import ChangeReader
from lakeflow_entry.stream.deleted_rows import delete_rows
from lakeflow_entry.stream.deletes import DeleteReader
from lakeflow_entry.stream.history import HistoryRange
from lakeflow_entry.stream.many import ManyReader, of_mailbox
from lakeflow_entry.stream.planner import ManyPlanner, OnePlanner, Part, Planner, batch_of, deleted_of
from lakeflow_entry.table_options import RECONCILED, find, refuse_namespace, table_options
from lakeflow_entry.virtual_tables import IDS, VIRTUAL_TABLES, read_virtual

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

try:
    from pyspark.sql.streaming.datasource import ReadLimit, ReadMaxRows, SupportsTriggerAvailableNow

    _LIMITS_READS = True
except ImportError:  # before Spark 4.2 a stream has no read limit
    _LIMITS_READS = False

__all__ = ["FORMAT", "GmailDataSource", "get_register_function", "register_lakeflow_source"]

FORMAT = "lakeflow_connect"

_log = logging.getLogger(__name__)

_PAGE = 500
"""Messages per Arrow batch."""
_FIRST_PAGE = 20
"""Messages in the first Arrow batch: small, so that an interactive query shows its first rows early."""
_DELETES = 10_000
"""Deleted rows per Arrow batch."""


class GmailDataSource(DataSource):
    """Gmail as the Spark format `lakeflow_connect`."""

    @classmethod
    def name(cls) -> str:
        """The format's name; Unity Catalog puts a connection's options into this one only."""
        return FORMAT

    @plain_errors
    def schema(self) -> StructType:
        """The table's columns; needs no network."""
        request = _Request(self.options)
        if request.connection.shows_secrets and "DATABRICKS_RUNTIME_VERSION" not in os.environ:
            _log.warning(
                "Credentials came as Spark options, which Spark Connect shows in its UI and event log. "
                "Give the name of a connection instead (option `connection`)."
            )
        return struct_type(request.schema)

    @plain_errors
    def reader(self, schema: StructType) -> DataSourceReader:
        """A batch read."""
        return _BatchReader(_Request(self.options))

    @plain_errors
    def streamReader(self, schema: StructType) -> DataSourceStreamReader:  # noqa: N802 - Spark's name
        """A stream with a limit on rows per micro-batch (Spark 4.2)."""
        if not _LIMITS_READS:
            raise PySparkNotImplementedError(
                errorClass="NOT_IMPLEMENTED", messageParameters={"feature": "streamReader"}
            )
        return _StreamReader(_Request(self.options).streaming())

    @plain_errors
    def simpleStreamReader(self, schema: StructType) -> SimpleDataSourceStreamReader:  # noqa: N802 - Spark's name
        """A stream on older versions of Spark."""
        return _SimpleStreamReader(_Request(self.options).streaming())


def register_lakeflow_source(spark: SparkSession) -> None:
    """Register `lakeflow_connect` in a Spark session."""
    spark.dataSource.register(GmailDataSource)


def get_register_function(source_name: str) -> Callable[[SparkSession], None]:
    """The function that registers a source.

    Args:
        source_name: `gmail`.

    Raises:
        ConfigurationError: Another name.
    """
    if source_name != "gmail":
        raise ConfigurationError(f"Source not found: {source_name!r}.", fix='Use source_name = "gmail".')
    return register_lakeflow_source


class _Request:
    """The parameters of a read: table, options, connection."""

    def __init__(self, options: Mapping[str, str]) -> None:
        given = dict(options.items())
        name = find(given, "tableName")
        if name is None:
            raise OptionError("Option 'tableName' is missing.", fix=f"Use one of: {', '.join(CATALOGUE)}.")
        self.table = name
        self.given = given
        self.connection = Connection.of(given)
        self.virtual = name in VIRTUAL_TABLES
        self.derived = name in VIEWS
        if name.startswith("_") and not self.virtual:
            raise UnknownTableError(
                f"Virtual table not known: {name!r}.", fix=f"Use one of: {', '.join(VIRTUAL_TABLES)}."
            )
        if self.virtual:
            refuse_namespace(given, allow_root=False)
        if name == "emails":
            require_html_reader()
        self.options = (
            TableOptions()
            if self.virtual
            else table_options("messages" if self.derived else name, given, given)
        )
        self.deletes = (find(given, "isDeleteFlow") or "").lower() == "true"
        self.reconciled = (find(given, RECONCILED) or "").lower() == "true"
        self.reports = (find(given, "report") or "").lower() == "true"
        # Reads with a report are those of Dagster's Spark engine, whose mailboxes can be configured as `me`.
        self.mailboxes = mailbox_list(find(given, "mailboxes"), me=self.reports)

    @property
    def schema(self) -> pa.Schema:
        """The columns that the read yields."""
        if self.virtual:
            schema = VIRTUAL_TABLES[self.table]
            return with_mailbox(schema) if self.mailboxes and self.table == IDS else schema
        schema = VIEWS[self.table].schema if self.derived else table(self.table).schema
        if self.options.keep_unknown_fields is False and not self.derived:
            schema = without_unknown_fields(schema)
        if self.mailboxes:
            schema = with_mailbox(schema)
        return schema.append(pa.field(REPORT, pa.string())) if self.reports else schema

    def streaming(self) -> _Request:
        """This request, if its table can be streamed."""
        if self.table not in CHANGE_TABLES:
            raise ConfigurationError(
                f"Table {self.table!r} can't be streamed: each read returns the whole table.",
                fix="Read it with spark.read; messages and threads can be streamed.",
            )
        if self.reports:
            raise ConfigurationError(
                "Option 'report' can't be used in a stream: only batch reads have a report.",
                fix="Remove it; the warnings of a stream are in the log.",
            )
        return self

    def mailbox(self, user_id: str | None = None) -> Mailbox:
        """The mailbox, on a client of this process."""
        return self.connection.mailbox(user_id)

    def planner(self) -> Planner:
        """Plans the batches of a stream, on clients of this process."""
        if not self.mailboxes:
            return OnePlanner(lambda: self._stream_reader(self.mailbox().api))
        client = self.connection.client()
        running = Mailboxes(self.mailboxes, self.connection, client)

        def opened(name: str) -> Mailbox:
            return self.connection.mailbox(name, client)

        def reader_of(name: str) -> ChangeReader | DeleteReader:
            return self._stream_reader(opened(name).api, one_of_many=True)

        def address(name: str) -> str:
            return opened(name).address

        limit = self.options.max_records_per_batch or DEFAULT_LIMIT
        return ManyPlanner(
            ManyReader(reader_of, limit, address),
            names=running.names,
            owner=lambda: running.owner,
            address=address,
        )

    def _stream_reader(self, api: GmailApi, *, one_of_many: bool = False) -> ChangeReader | DeleteReader:
        history = HistoryRange(api, one_of_many=one_of_many)
        if self.deletes:
            return DeleteReader(api, self.table, self.options, history, reconciled=self.reconciled)
        return ChangeReader(api, self.table, self.options, history)

    def arrow(self, rows: Sequence[dict[str, Any]], address: str | None = None) -> pa.RecordBatch:
        """Rows as a record batch of this read's schema."""
        batch = (to_record_batch if self.derived else to_batch)(self.table, rows)
        columns = [batch[field.name] for field in self.schema if field.name in batch.schema.names]
        if address is not None:
            columns.insert(0, pa.array([address] * batch.num_rows, pa.string()))
        if self.reports:
            columns.append(pa.nulls(batch.num_rows, pa.string()))
        return pa.RecordBatch.from_arrays(columns, schema=self.schema)

    def report_row(self, report: Report) -> pa.RecordBatch:
        """The row that holds a report."""
        return pa.RecordBatch.from_pylist([{REPORT: report.to_json()}], schema=self.schema)


class _BatchReader(DataSourceReader):
    """All rows of a table, one partition for each mailbox."""

    def __init__(self, request: _Request) -> None:
        self._request = request

    @plain_errors
    def partitions(self) -> Sequence[InputPartition]:
        request = self._request
        if not request.mailboxes:
            return [InputPartition(None)]
        return [InputPartition(name) for name in request.mailboxes.names(request.connection)]

    def read(self, partition: InputPartition) -> Iterator[pa.RecordBatch]:
        return plain_pages(self._pages(partition))

    def _pages(self, partition: InputPartition) -> Iterator[pa.RecordBatch]:
        request = self._request
        if request.virtual:
            yield from self._virtual(partition)
            return
        if request.reports:
            yield from self._reported(partition)
            return
        try:
            mailbox = request.mailbox(partition.value)
            address = mailbox.address if partition.value is not None else None
            read = read_view if request.derived else read_pages
            pages = read(mailbox.api, request.table, request.options, messages=_PAGE, first=_FIRST_PAGE)
            for page in pages:
                yield request.arrow(page, address)
        except GmailError as error:
            raise of_mailbox(partition.value or "", error) from None

    def _virtual(self, partition: InputPartition) -> Iterator[pa.RecordBatch]:
        """The rows of a virtual table; of the ids of many mailboxes, each partition those of one."""
        request, name = self._request, partition.value
        if name is None:
            yield read_virtual(request.table, request.given, request.connection)
            return
        try:
            mailbox = request.mailbox(name)
            rows = read_virtual(request.table, request.given, request.connection, mailbox)
        except GmailError as error:
            _log.warning("The ids of %s can't be read, so none of its rows is deleted: %s", name, error)
            yield pa.RecordBatch.from_pylist([{"mailbox": None, "id": name}], schema=request.schema)
            return
        address = pa.array([mailbox.address] * rows.num_rows, pa.string())
        yield pa.RecordBatch.from_arrays([address, *rows.columns], schema=request.schema)

    def _reported(self, partition: InputPartition) -> Iterator[pa.RecordBatch]:
        """The rows, then a report row. Refused messages are only reported: the caller fetches them later."""
        request, report = self._request, Report()
        mailbox: Mailbox | None = None
        warn = report.warnings.append
        try:
            mailbox = request.mailbox(partition.value)
            report.mailbox = mailbox.address
            address = report.mailbox if partition.value is not None else None
            if request.table in CHANGE_TABLES or request.derived:
                options = request.options.model_copy(update={"skip_refused": True})
                read = read_view if request.derived else read_pages
                pages = read(mailbox.api, request.table, options, warn, messages=_PAGE)
            else:
                pages = read_snapshot(mailbox.api, request.table, request.options, warn)
            for page in pages:
                yield request.arrow(page, address)
        except GmailError as error:
            report.error = error
        if mailbox is not None:
            report.count(mailbox.api.usage.snapshot())
        yield request.report_row(report)


class _Stream:
    """Base of both stream readers: plans on the driver, reads on a worker."""

    def __init__(self, request: _Request) -> None:
        self._request = request
        self._planner: Planner | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"_request": self._request}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._planner = None

    def initialOffset(self) -> dict[str, Any]:  # noqa: N802 - Spark's name
        return {}

    @property
    def _live(self) -> Planner:
        if self._planner is None:
            self._planner = self._request.planner()
        return self._planner

    def _read(self, part: Part) -> Iterator[pa.RecordBatch]:
        request = self._request
        if request.deletes:
            deleted = deleted_of(part.contents)
            for begin in range(0, len(deleted), _DELETES):
                rows = delete_rows(request.table, deleted[begin : begin + _DELETES])
                named = [{"mailbox": part.address, **row} for row in rows]
                yield pa.RecordBatch.from_pylist(named, schema=request.schema)
            return
        try:
            api = request.mailbox(part.mailbox).api
            for page in read_batch(
                api, request.table, request.options, batch_of(part.contents), messages=_PAGE
            ):
                yield request.arrow(page, part.address)
        except GmailError as error:
            raise of_mailbox(part.mailbox or "", error) from None


if _LIMITS_READS:

    class _StreamReader(_Stream, DataSourceStreamReader, SupportsTriggerAvailableNow):
        """A stream with a limit on rows per micro-batch, which ends at the mailbox's head at its start."""

        @plain_errors
        def prepareForTriggerAvailableNow(self) -> None:  # noqa: N802 - Spark's name
            self._live.fix_heads()

        def getDefaultReadLimit(self) -> ReadLimit:  # noqa: N802 - Spark's name
            return ReadMaxRows(self._request.options.max_records_per_batch or DEFAULT_LIMIT)

        @plain_errors
        def latestOffset(self, start: dict[str, Any], limit: ReadLimit) -> dict[str, Any]:  # noqa: N802
            return self._live.plan(start)

        @plain_errors
        def partitions(self, start: dict[str, Any], end: dict[str, Any]) -> Sequence[InputPartition]:
            if start == end:
                return []
            return [InputPartition(part.to_plain()) for part in self._live.parts(start, end)]

        def read(self, partition: InputPartition) -> Iterator[pa.RecordBatch]:
            return plain_pages(self._read(Part(*partition.value)))


class _SimpleStreamReader(_Stream, SimpleDataSourceStreamReader):
    """The stream for Spark before 4.2; it holds a micro-batch in memory."""

    @plain_errors
    def read(self, start: dict[str, Any]) -> tuple[Iterator[pa.RecordBatch], dict[str, Any]]:
        end = self._live.plan(start)
        return (iter(()) if end == start else self._between(start, end)), end

    @plain_errors
    def readBetweenOffsets(  # noqa: N802 - Spark's name
        self, start: dict[str, Any], end: dict[str, Any]
    ) -> Iterator[pa.RecordBatch]:
        return self._between(start, end)

    def _between(self, start: dict[str, Any], end: dict[str, Any]) -> Iterator[pa.RecordBatch]:
        return _Rows(
            plain_pages(batch for part in self._live.parts(start, end) for batch in self._read(part))
        )


class _Rows(Iterator[pa.RecordBatch]):
    """An iterator that Spark may copy: it copies what it prefetched, which a generator does not allow."""

    def __init__(self, batches: Iterator[pa.RecordBatch]) -> None:
        self._batches = batches

    def __next__(self) -> pa.RecordBatch:
        return next(self._batches)

    def __copy__(self) -> _Rows:
        return self
