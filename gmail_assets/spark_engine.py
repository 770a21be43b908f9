"""The Spark engine: Spark's workers read first loads and snapshots.

It is for deployments that need more than one machine. Everything is read through the data source `lakeflow_connect`,
with one partition for each mailbox. `SparkEngine.preload` reads messages and threads: each worker appends its rows to
its mailbox's partition of the Delta tables, as an unfinished load with a start history id. The sync then resumes it:
it fetches missing messages, replays the history and sets the cursor, so the rows are the same with either engine.
`SparkEngine.read` returns the rows of a snapshot table to `gmail_assets.syncing.snapshot`, which commits them.

Units, warnings and errors of the workers come back in the reports of `lakeflow_entry.report`. Spark is imported when it
is first used.
"""

from __future__ import annotations

import os
import re
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from gmail_assets.delta.forgotten import refuse_forgotten
from gmail_assets.delta.lake import MAILBOX, Lake
from gmail_assets.delta.partition import MailboxPartition
from gmail_assets.delta.partition_status import OpenTables
from gmail_assets.syncing.identity import stored_address
from gmail_assets.syncing.results import SyncResult
from gmail_assets.syncing.stopping import deferred_signals
from gmail_client.client import Mailbox
from gmail_client.errors import ConfigurationError, GmailError
from gmail_client.http.error_mapping import redact
from gmail_client.printable import short_repr
from gmail_client.schema import SCHEMAS
from gmail_client.spec import SpecTable
from gmail_client.unknown_fields import COLUMN, split_all

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from lakeflow_entry.report import Report

__all__ = ["EngineSettings", "Preloaded", "SparkEngine", "SparkError"]

_CHUNK_ROWS = 1_000


class EngineSettings(BaseSettings):
    """Settings of the engine, from the environment.

    Attributes:
        engine: `plain`, or `spark`.
        spark_master: Spark's master URL.
        spark_connection: The connection that Spark's workers look up by name.
    """

    model_config = SettingsConfigDict(
        env_prefix="GMAIL_", env_file=".env", env_file_encoding="utf-8", env_ignore_empty=True, extra="ignore"
    )

    engine: str = Field(default="plain", description="`plain`, or `spark`.")
    spark_master: str = Field(default="local[*]", description="Where Spark runs.")
    spark_connection: str | None = Field(
        default=None, description="The connection that Spark's workers look up by name."
    )


class SparkError(GmailError):
    """Spark itself failed: it did not start, or a worker was lost."""


@dataclass(slots=True)
class Preloaded:
    """Result of a preload, which a sync follows.

    Attributes:
        written: Rows by table, without tables that already had rows of every mailbox.
        units: Quota units that the workers spent.
        calls: API calls that they made.
        bytes: Bytes of JSON that they received.
        mailboxes: The same for each mailbox, by its real address.
        errors: Why mailboxes could not be loaded, if that did not end the preload.
    """

    written: dict[str, int] = field(default_factory=dict)
    units: int = 0
    calls: int = 0
    bytes: int = 0
    mailboxes: dict[str, Preloaded] = field(default_factory=dict)
    errors: list[GmailError] = field(default_factory=list)

    def of(self, address: str) -> Preloaded:
        """The part of one mailbox."""
        return self.mailboxes.setdefault(address, Preloaded())

    def add_to(self, result: SyncResult) -> None:
        """Add units, calls and bytes to the result of the sync."""
        result.rows_written += self.written.get(result.table, 0)
        result.units += self.units
        result.calls += self.calls
        result.bytes += self.bytes


@dataclass(frozen=True)
class SparkEngine:
    """Loads through Spark.

    Attributes:
        spark_config: Settings of the session, as dagster-pyspark's `LazyPySparkResource` takes them. An active session
            is used as it is.
        connection: Name of the connection that Spark's workers look up; default: their environment.
    """

    spark_config: Mapping[str, Any]
    connection: str | None = None

    @classmethod
    def chosen(cls) -> SparkEngine | None:
        """The engine, if GMAIL_ENGINE asks for it.

        Raises:
            ConfigurationError: GMAIL_ENGINE is neither `plain` nor `spark`, or `.env` names a Spark master elsewhere.
        """
        settings = EngineSettings()
        if settings.engine not in ("plain", "spark"):
            raise ConfigurationError(
                f"GMAIL_ENGINE is {settings.engine!r}, neither plain nor spark.",
                fix="Set one of them, or unset it.",
            )
        if settings.engine == "plain":
            return None
        _refuse_master_of_dotenv(settings.spark_master)
        return cls(
            {
                "spark.master": settings.spark_master,
                "spark.ui.enabled": "false",
                "spark.ui.showConsoleProgress": "false",
                # On a busy machine, a Python worker can need more than the default of 15 s to start.
                "spark.python.authenticate.socketTimeout": "120s",
            },
            settings.spark_connection,
        )

    @cached_property
    def session(self) -> SparkSession:
        """The Spark session, started when it is first needed, with `lakeflow_connect` registered.

        Raises:
            ConfigurationError: PySpark, dagster-pyspark or Java is missing.
        """
        try:
            from dagster_pyspark import LazyPySparkResource

            from lakeflow_entry.datasource import register_lakeflow_source
            from lakeflow_entry.pipelines.session import require_java, worker_python
        except ModuleNotFoundError as error:
            raise ConfigurationError(
                f"GMAIL_ENGINE=spark needs {error.name}, which is not installed.",
                fix="Install the extra `spark`: pip install 'gmail-assets[spark]'.",
            ) from None
        require_java()
        worker_python()
        interrupted = threading.Event()
        # An interrupted PySpark would leave its JVM running, so a first signal takes effect after the start.
        with _spark_failures("starting"), deferred_signals(interrupted.set, interrupted.is_set):
            spark: SparkSession = LazyPySparkResource(spark_config=dict(self.spark_config)).spark_session
            register_lakeflow_source(spark)
        return spark

    def read(self, mailbox: Mailbox, spec: SpecTable, result: SyncResult) -> pa.Table:
        """The rows of one of the eight snapshot tables, read by a worker.

        Args:
            mailbox: One Spark partition.
            spec: Name and options of the table.
            result: Receives the reader's warnings and the worker's usage.

        Raises:
            ForbiddenError: This account may not read the table.
            GmailError: The read can't be completed.
            ConfigurationError: See `session`; or the workers' credentials are another account's.
            SparkError: Spark failed.
        """
        from lakeflow_entry.report import REPORT

        frame = self._frame(spec, [mailbox.user_id])
        with _spark_failures(f"reading {spec.source_table} of {mailbox.user_id}"):
            rows = frame.toArrow()
        reported = pc.is_valid(rows[REPORT])
        for report in _reports(rows.filter(reported)[REPORT].to_pylist()):
            result.warnings += report.warnings
            result.units += report.units
            result.calls += report.calls
            result.bytes += report.bytes
            if report.error is not None:
                raise report.error
            _same_account(report.mailbox, [mailbox.address])
        schema = SCHEMAS[spec.source_table]
        return rows.filter(pc.invert(reported)).select(schema.names).cast(schema)

    def preload(
        self,
        lake: Lake,
        tables: Sequence[SpecTable],
        mailboxes: Sequence[Mailbox],
        *,
        keep_going: bool = False,
    ) -> Preloaded:
        """Load mailboxes into tables that have no rows of them yet, in one Spark job per read.

        Args:
            lake: The lake; Spark's workers must reach it by the same address.
            tables: `messages` and `threads`, or one of them.
            mailboxes: Each is one Spark partition.
            keep_going: An error of one mailbox does not concern the others: it is in the result.

        Returns:
            Rows and usage. A sync has to follow; it reports the warnings.

        Raises:
            ConfigurationError: See `session`; or the workers' credentials are another account's.
            GmailError: A request failed, or the lake can't be written. Written rows stay.
            SparkError: Spark failed. Written rows stay.
        """
        done = Preloaded()
        for group in _shared(tables):
            statuses = OpenTables(lake, group)
            new = []
            for mailbox in mailboxes:
                try:
                    if _is_new(statuses, stored_address(mailbox, lake)):
                        new.append(mailbox)
                except GmailError as error:
                    if not keep_going:
                        raise
                    done.errors.append(error)
            if not new:
                continue
            for spec in group:  # workers that create a table at the same time would refuse each other
                _part(lake, spec, new[0].address)
            # The start history ids are recorded before the read, so that changes during the read are replayed.
            anchors: dict[str, int] = {}
            for mailbox in new:
                try:
                    anchors[mailbox.address] = int(mailbox.api.profile()["historyId"])
                except GmailError as error:
                    if not keep_going:
                        raise
                    done.errors.append(error)
            new = [mailbox for mailbox in new if mailbox.address in anchors]
            if not new:
                continue
            done.written.update({spec.source_table: 0 for spec in group})
            frame = self._frame(group[0], [mailbox.user_id for mailbox in new])
            names = " and ".join(spec.source_table for spec in group)
            with _spark_failures(f"loading {names} of {_named(new)}"):
                found = frame.mapInArrow(_writer(lake, group, anchors), _WRITTEN).collect()
            for row in found:
                if row["source"] is not None:
                    done.written[row["source"]] += row["written"]
                    written = done.of(row["mailbox"]).written
                    written[row["source"]] = written.get(row["source"], 0) + row["written"]
            for report in _reports(row["report"] for row in found if row["report"] is not None):
                for part in (done, done.of(report.mailbox)) if report.mailbox else (done,):
                    part.units += report.units
                    part.calls += report.calls
                    part.bytes += report.bytes
                if report.error is not None:
                    if not keep_going:
                        raise report.error
                    done.errors.append(report.error)
        return done

    def _frame(self, spec: SpecTable, names: Sequence[str]) -> DataFrame:
        """One table of these mailboxes, one partition and one report each."""
        from lakeflow_entry.table_options import option_strings

        options = {**option_strings(spec.options), "keepUnknownFields": "true"}
        options |= {"mailboxes": ",".join(names), "report": "true"}
        if self.connection is not None:
            options["connection"] = self.connection
        session = self.session
        with _spark_failures(f"planning to read {spec.source_table}"):
            reader = session.read.format("lakeflow_connect")
            return reader.options(tableName=spec.source_table, **options).load()


_LOCAL_MASTER = re.compile(r"local(\[[\d*, ]*\])?")


def _refuse_master_of_dotenv(master: str) -> None:
    """A master gets the mail and runs code on its driver, so the `.env` of an untrusted folder must not set it."""
    if not _LOCAL_MASTER.fullmatch(master) and os.environ.get("GMAIL_SPARK_MASTER") != master:
        raise ConfigurationError(
            f"GMAIL_SPARK_MASTER is {short_repr(master)} in .env, where only `local` and `local[N]` are allowed.",
            fix="If the cluster is yours, set GMAIL_SPARK_MASTER in the environment.",
        )


@contextmanager
def _spark_failures(doing: str) -> Iterator[None]:
    """Raise a `SparkError` with one line about the cause; Spark's own log has the stack traces."""
    from py4j.protocol import Py4JError  # type: ignore[import-untyped]
    from pyspark.errors import PySparkException

    try:
        yield
    except (PySparkException, Py4JError, OSError) as error:
        raise SparkError(
            f"Spark failed while {doing}: {_cause(error)}",
            fix="See Spark's own log. Workers need this package and the Python of the driver (PYSPARK_PYTHON); "
            "GMAIL_ENGINE=plain does not need Spark.",
        ) from None


_RAISED = re.compile(r"^(?:: |Caused by: )?([\w.$]*(?:Error|Exception)\b.*)", re.MULTILINE)


def _cause(error: Exception) -> str:
    """The line of a stack trace that names the exception; Python's if there is one."""
    text = str(error)
    raised = _RAISED.findall(text.partition("Traceback (most recent call last)")[2] or text)
    return redact((raised or text.strip().splitlines() or [type(error).__name__])[0])


def _reports(texts: Iterable[str]) -> Iterator[Report]:
    from lakeflow_entry.report import Report

    return map(Report.from_json, texts)


def _same_account(found: str | None, expected: Collection[str]) -> None:
    if found not in expected:
        raise ConfigurationError(
            f"Spark's workers read the mailbox {found}, not {' or '.join(expected)}.",
            fix="Give the workers' connection (GMAIL_SPARK_CONNECTION) credentials of the same account.",
        )


def _shared(tables: Sequence[SpecTable]) -> Iterator[Sequence[SpecTable]]:
    """Tables that one read can fill: rows of unfiltered threads contain everything that `messages` needs."""
    by_name = {spec.source_table: spec for spec in tables}
    if len(by_name) == 2:
        threads, messages = by_name["threads"], by_name["messages"]
        if threads.options == messages.options and not threads.options.filtered:
            yield [threads, messages]
            return
    for spec in tables:
        yield [spec]


def _part(lake: Lake, spec: SpecTable, address: str) -> MailboxPartition:
    table = lake.table(spec.source_table, name=spec.table_name, keep_deleted=spec.deletes == "keep")
    return MailboxPartition(table, address, spec.options.fingerprint, spec.options.content_format)


def _is_new(tables: OpenTables, address: str) -> bool:
    """Whether no table has rows or a cursor of the mailbox."""
    statuses = tables.statuses_of(address).values()
    return all(status.cursor is None and not status.rows for status in statuses)


def _named(mailboxes: Sequence[Mailbox]) -> str:
    names = [mailbox.user_id for mailbox in mailboxes]
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


_WRITTEN = "mailbox string, source string, written long, report string"
"""A worker's result: rows written by table, and the reports of the read and the write."""


def _writer(
    lake: Lake, group: Sequence[SpecTable], anchors: Mapping[str, int]
) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """The worker's function: append a partition, and return how many rows it wrote."""

    def write(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        from lakeflow_entry.report import Report

        counts: Counter[tuple[str, str]] = Counter()
        reports: list[str] = []
        try:
            for address, rows in _chunks(_without_reports(batches, reports)):
                _same_account(address, anchors)
                for spec in group:
                    part = _part(lake, spec, address)
                    refuse_forgotten(lake, address)
                    # A retried task must not append rows that its first attempt wrote.
                    present = part.members()["id"]
                    new = _rows_of(spec.source_table, rows)
                    new = new.filter(pc.invert(pc.is_in(new["id"], present.combine_chunks())))
                    if new.num_rows:
                        part.append(new, part.state.loading(anchors[address]))
                        counts[address, spec.source_table] += new.num_rows
        except GmailError as error:
            reports.append(Report(error=error).to_json())
        reported: list[dict[str, Any]] = [
            {"mailbox": address, "source": name, "written": count}
            for (address, name), count in counts.items()
        ]
        reported += [{"report": report} for report in reports]
        yield pa.RecordBatch.from_pylist(
            reported,
            pa.schema(
                [
                    ("mailbox", pa.string()),
                    ("source", pa.string()),
                    ("written", pa.int64()),
                    ("report", pa.string()),
                ]
            ),
        )

    return write


def _without_reports(batches: Iterable[pa.RecordBatch], reports: list[str]) -> Iterator[pa.RecordBatch]:
    """The batches without the column of reports, whose values are added to `reports`."""
    from lakeflow_entry.report import REPORT

    for batch in batches:
        reported = pc.is_valid(batch[REPORT])
        reports += batch.filter(reported)[REPORT].to_pylist()
        yield batch.filter(pc.invert(reported)).drop_columns([REPORT])


def _chunks(batches: Iterator[pa.RecordBatch]) -> Iterator[tuple[str, pa.Table]]:
    waiting: list[pa.RecordBatch] = []
    for batch in batches:
        if batch.num_rows:
            waiting.append(batch)
        if sum(one.num_rows for one in waiting) >= _CHUNK_ROWS:
            yield _taken(waiting)
            waiting = []
    if waiting:
        yield _taken(waiting)


def _taken(batches: list[pa.RecordBatch]) -> tuple[str, pa.Table]:
    rows = pa.Table.from_batches(batches)
    return rows[MAILBOX][0].as_py(), rows.drop_columns([MAILBOX])


def _rows_of(source: str, rows: pa.Table) -> pa.Table:
    """Rows of the table in its schema; rows of messages are taken from threads if those were read."""
    schema = SCHEMAS[source]
    if source == "messages" and "messages" in rows.column_names:
        messages = pa.concat_arrays([chunk.flatten() for chunk in rows["messages"].chunks])
        own = [field.name for field in messages.type]
        columns = {name: pc.struct_field(messages, name) for name in own}
        columns["historySequence"] = pc.cast(columns["historyId"], pa.int64())
        unknown = split_all(rows[COLUMN].to_pylist())
        columns[COLUMN] = pa.array([unknown.get(one) for one in columns["id"].to_pylist()], pa.string())
        rows = pa.table(columns)
    return rows.select(schema.names).cast(schema)
