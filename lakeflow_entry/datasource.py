"""The PySpark data source `lakeflow_connect`: Gmail's ten tables in batch reads and streams.

    register_lakeflow_source(spark)
    spark.read.format("lakeflow_connect").option("connection", "gmail_connector").option("tableName", "labels").load()
    spark.readStream.format("lakeflow_connect")....option("tableName", "messages").load()

All ten tables and the derived ones can be read in batch, messages and threads also as streams (`isDeleteFlow` streams
the deletes). Rows are passed to Spark as Arrow batches. `mailboxes` (addresses, separated by commas) reads several
mailboxes in a batch, one partition each, with `mailbox` as the first column; `report` adds a row per partition with
the outcome of its read (`lakeflow_entry.report`). The virtual tables of Lakeflow's framework can be read too.

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

from gmail_client.changes import ListedThread
from gmail_client.client import Mailbox
from gmail_client.errors import ConfigurationError, GmailError, OptionError, UnknownTableError
from gmail_client.options import TableOptions
from gmail_client.reads import read_pages, read_view
from gmail_client.schema import to_batch, without_unknown_fields
from gmail_client.snapshots import read_snapshot
from gmail_client.tables import CATALOGUE, CHANGE_TABLES, table
from gmail_client.views import VIEWS, require_html_reader, to_record_batch
from lakeflow_entry.connection import Connection
from lakeflow_entry.report import REPORT, Report
from lakeflow_entry.spark_schema import struct_type
from lakeflow_entry.stream.batch import DEFAULT_LIMIT, Batch, read_batch
from lakeflow_entry.stream.changes import ChangeReader
from lakeflow_entry.stream.deletes import DeletedRow, DeleteReader, delete_rows
from lakeflow_entry.stream.offsets import Offset
from lakeflow_entry.table_options import RECONCILED, find, refuse_namespace, table_options
from lakeflow_entry.virtual_tables import VIRTUAL_TABLES, read_virtual

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

_MAILBOX = pa.field(
    "mailbox", pa.string(), metadata={"comment": "Address of the mailbox the row belongs to."}
)


class GmailDataSource(DataSource):
    """Gmail as the Spark format `lakeflow_connect`."""

    @classmethod
    def name(cls) -> str:
        """The format's name; Unity Catalog puts a connection's options into this one only."""
        return FORMAT

    def schema(self) -> StructType:
        """The table's columns; needs no network."""
        request = _Request(self.options)
        if request.connection.shows_secrets and "DATABRICKS_RUNTIME_VERSION" not in os.environ:
            _log.warning(
                "Credentials came as Spark options, which Spark Connect shows in its UI and event log. "
                "Give the name of a connection instead (option `connection`)."
            )
        return struct_type(request.schema)

    def reader(self, schema: StructType) -> DataSourceReader:
        """A batch read."""
        return _BatchReader(_Request(self.options))

    def streamReader(self, schema: StructType) -> DataSourceStreamReader:  # noqa: N802 - Spark's name
        """A stream with a limit on rows per micro-batch (Spark 4.2)."""
        if not _LIMITS_READS:
            raise PySparkNotImplementedError(
                errorClass="NOT_IMPLEMENTED", messageParameters={"feature": "streamReader"}
            )
        return _StreamReader(_Request(self.options).streaming())

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
        named = (find(given, "mailboxes") or "").split(",")
        self.mailboxes = tuple(dict.fromkeys(part.strip() for part in named if part.strip()))

    @property
    def schema(self) -> pa.Schema:
        """The columns that the read yields."""
        if self.virtual:
            return VIRTUAL_TABLES[self.table]
        schema = VIEWS[self.table].schema if self.derived else table(self.table).schema
        if self.options.keep_unknown_fields is False and not self.derived:
            schema = without_unknown_fields(schema)
        before = [_MAILBOX] if self.mailboxes else []
        after = [pa.field(REPORT, pa.string())] if self.reports else []
        return pa.schema([*before, *schema, *after]) if before or after else schema

    def streaming(self) -> _Request:
        """This request, if its table can be streamed."""
        if self.table not in CHANGE_TABLES:
            raise ConfigurationError(
                f"Table {self.table!r} can't be streamed: each read returns the whole table.",
                fix="Read it with spark.read; messages and threads can be streamed.",
            )
        if self.mailboxes:
            raise ConfigurationError(
                "Option 'mailboxes' can't be used in a stream: one stream follows one mailbox.",
                fix="Start a stream for each mailbox, each with its connection or user_id, or read a batch.",
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

    def partitions(self) -> Sequence[InputPartition]:
        return [InputPartition(name) for name in self._request.mailboxes or (None,)]

    def read(self, partition: InputPartition) -> Iterator[pa.RecordBatch]:
        request = self._request
        if request.virtual:
            yield read_virtual(request.table, request.given, request.connection)
            return
        if request.reports:
            yield from self._reported(partition)
            return
        mailbox = request.mailbox(partition.value)
        address = mailbox.address if partition.value is not None else None
        read = read_view if request.derived else read_pages
        pages = read(mailbox.api, request.table, request.options, messages=_PAGE, first=_FIRST_PAGE)
        for page in pages:
            yield request.arrow(page, address)

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
        self._forget()

    def _forget(self) -> None:
        self._head: int | None = None
        self._reader: ChangeReader | DeleteReader | None = None
        self._planned: tuple[Offset, Offset, dict[str, Any]] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"_request": self._request}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget()

    def initialOffset(self) -> dict[str, Any]:  # noqa: N802 - Spark's name
        return {}

    def _plan(self, start: Offset) -> Offset:
        """The end of the next batch. Spark asks for it only after the batch before it was delivered."""
        confirmed = self._planned is not None and self._planned[1] == start
        reader = self._live()
        if isinstance(reader, DeleteReader):
            end, deleted = reader.plan(start, self._head, confirmed=confirmed)
            self._planned = (start, end, {"deleted": deleted})
        else:
            end, batch = reader.plan(start, self._head, confirmed=confirmed)
            self._planned = (start, end, _packed(batch))
        return end

    def _contents(self, start: Offset, end: Offset) -> dict[str, Any]:
        """The content of a batch, planned by this process or by an earlier one."""
        if self._planned is not None and self._planned[:2] == (start, end):
            return self._planned[2]
        self._planned = None
        reader = self._live()
        if isinstance(reader, DeleteReader):
            return {"deleted": reader.between(start, end)}
        return _packed(reader.between(start, end))

    def _live(self) -> ChangeReader | DeleteReader:
        if self._reader is None:
            request = self._request
            api = request.mailbox().api
            if request.deletes:
                self._reader = DeleteReader(
                    api, request.table, request.options, reconciled=request.reconciled
                )
            else:
                self._reader = ChangeReader(api, request.table, request.options)
        return self._reader

    def _read(self, contents: Mapping[str, Any]) -> Iterator[pa.RecordBatch]:
        request = self._request
        if request.deletes:
            rows = delete_rows(request.table, (DeletedRow(*one) for one in contents["deleted"]))
            if rows:
                yield pa.RecordBatch.from_pylist(rows, schema=request.schema)
            return
        api = request.mailbox().api
        for page in read_batch(api, request.table, request.options, _unpacked(contents), messages=_PAGE):
            yield request.arrow(page)


if _LIMITS_READS:

    class _StreamReader(_Stream, DataSourceStreamReader, SupportsTriggerAvailableNow):
        """A stream with a limit on rows per micro-batch, which ends at the mailbox's head at its start."""

        def prepareForTriggerAvailableNow(self) -> None:  # noqa: N802 - Spark's name
            self._head = self._live().history.fix_head()

        def getDefaultReadLimit(self) -> ReadLimit:  # noqa: N802 - Spark's name
            return ReadMaxRows(self._request.options.max_records_per_batch or DEFAULT_LIMIT)

        def latestOffset(self, start: dict[str, Any], limit: ReadLimit) -> dict[str, Any]:  # noqa: N802
            begin = Offset.parse(start)
            end = self._plan(begin)
            return start if end == begin else end.to_json()

        def partitions(self, start: dict[str, Any], end: dict[str, Any]) -> Sequence[InputPartition]:
            if start == end:
                return []
            return [InputPartition(self._contents(Offset.parse(start), Offset.parse(end)))]

        def read(self, partition: InputPartition) -> Iterator[pa.RecordBatch]:
            return self._read(partition.value)


class _SimpleStreamReader(_Stream, SimpleDataSourceStreamReader):
    """The stream for Spark before 4.2; it holds a micro-batch in memory."""

    def read(self, start: dict[str, Any]) -> tuple[Iterator[pa.RecordBatch], dict[str, Any]]:
        begin = Offset.parse(start)
        end = self._plan(begin)
        if end == begin:
            return iter(()), start
        return self._between(begin, end), end.to_json()

    def readBetweenOffsets(  # noqa: N802 - Spark's name
        self, start: dict[str, Any], end: dict[str, Any]
    ) -> Iterator[pa.RecordBatch]:
        return self._between(Offset.parse(start), Offset.parse(end))

    def _between(self, start: Offset, end: Offset) -> Iterator[pa.RecordBatch]:
        return _Rows(self._read(self._contents(start, end)))


class _Rows(Iterator[pa.RecordBatch]):
    """An iterator that Spark may copy: it copies what it prefetched, which a generator does not allow."""

    def __init__(self, batches: Iterator[pa.RecordBatch]) -> None:
        self._batches = batches

    def __next__(self) -> pa.RecordBatch:
        return next(self._batches)

    def __copy__(self) -> _Rows:
        return self


def _packed(batch: Batch) -> dict[str, Any]:
    return {
        "threads": dict(batch.threads),
        "sequence": dict(batch.sequence),
        "heads": {thread: (head.history_id, head.snippet) for thread, head in batch.heads.items()},
        "changed": batch.changed,
        "floor": batch.floor,
    }


def _unpacked(value: Mapping[str, Any]) -> Batch:
    heads = {thread: ListedThread(*head) for thread, head in value["heads"].items()}
    return Batch(value["threads"], value["sequence"], heads, value["changed"], value["floor"])
