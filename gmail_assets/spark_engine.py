"""The Spark engine: the bodies of a first load are fetched and written by Spark's workers.

For those who outgrow one machine. `SparkEngine.preload` reads messages and threads through the data source
`lakeflow_connect`, one partition for each mailbox, and each worker appends what it reads to its mailbox's part of the
Delta tables, under the anchor of an unfinished load. The usual sync then goes on from there as from any load that was
stopped: it fetches what is still missing, replays the history and sets the cursor, so that the rows are the same
whichever engine brought them. Nothing of Spark is imported before it is used.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from gmail_assets.lake import MAILBOX, Lake
from gmail_assets.part import Part
from gmail_client.client import Mailbox
from gmail_client.errors import ConfigurationError
from gmail_client.options import SpecTable
from gmail_client.schema import SCHEMAS
from gmail_client.settings import Settings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

__all__ = ["SparkEngine"]

_CHUNK_ROWS = 1_000

_EXPORTED = (
    "client_id",
    "client_secret",
    "refresh_token",
    "access_token",
    "service_account_file",
    "quota",
    "api_root",
)


class _EngineSettings(BaseSettings):
    model_config = SettingsConfigDict(
        env_prefix="GMAIL_", env_file=".env", env_file_encoding="utf-8", env_ignore_empty=True, extra="ignore"
    )

    engine: str = Field(default="plain", description="`plain`, or `spark`.")
    spark_master: str = Field(default="local[*]", description="Where Spark runs.")
    spark_connection: str | None = Field(
        default=None, description="The connection that Spark's workers look up by name."
    )


@dataclass(frozen=True)
class SparkEngine:
    """Loads through Spark.

    Attributes:
        spark_config: Settings of the session, as dagster-pyspark's `LazyPySparkResource` takes them. An active session
            is used as it is.
        connection: Name of the connection that Spark's workers look up; their environment where not given.
    """

    spark_config: Mapping[str, Any]
    connection: str | None = None

    @classmethod
    def chosen(cls) -> SparkEngine | None:
        """The engine, if GMAIL_ENGINE asks for it.

        Raises:
            ConfigurationError: GMAIL_ENGINE is neither `plain` nor `spark`.
        """
        settings = _EngineSettings()
        if settings.engine not in ("plain", "spark"):
            raise ConfigurationError(
                f"GMAIL_ENGINE is {settings.engine!r}, neither plain nor spark.",
                fix="Set one of them, or unset it.",
            )
        if settings.engine == "plain":
            return None
        return cls(
            {"spark.master": settings.spark_master, "spark.ui.enabled": "false"}, settings.spark_connection
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
            from lakeflow_entry.session import require_java, worker_python
        except ModuleNotFoundError as error:
            raise ConfigurationError(
                f"GMAIL_ENGINE=spark needs {error.name}, which is not installed.",
                fix="Install the extra `spark`: pip install 'gmail-assets[spark]'.",
            ) from None
        require_java()
        worker_python()
        if self.connection is None:
            _export(Settings())
        spark: SparkSession = LazyPySparkResource(spark_config=dict(self.spark_config)).spark_session
        register_lakeflow_source(spark)
        return spark

    def preload(
        self, lake: Lake, tables: Sequence[SpecTable], mailboxes: Sequence[Mailbox]
    ) -> dict[str, int]:
        """Fetch what mailboxes hold into tables that have nothing of them yet.

        Args:
            lake: The lake; Spark's workers must reach it by the same address.
            tables: `messages` and `threads`, or one of them.
            mailboxes: Each is one Spark partition.

        Returns:
            Rows written, by table. A table that holds something of every mailbox is left alone.

        Raises:
            ConfigurationError: See `session`.
            GmailError: Gmail refused on a worker (as Spark's own error); what was written stands.
        """
        written: dict[str, int] = {}
        for group in _shared(tables):
            new = [
                mailbox for mailbox in mailboxes if all(_empty(lake, spec, mailbox.address) for spec in group)
            ]
            if not new:
                continue
            # The anchors come before the reading: what changes meanwhile is replayed.
            anchors = {mailbox.address: int(mailbox.api.profile()["historyId"]) for mailbox in new}
            counts = self._read(group, [mailbox.user_id for mailbox in new], _writer(lake, group, anchors))
            for spec in group:
                written[spec.source_table] = counts.get(spec.source_table, 0)
        return written

    def _read(
        self,
        group: Sequence[SpecTable],
        names: Sequence[str],
        write: Callable[[Iterator[Any]], Iterator[Any]],
    ) -> dict[str, int]:
        from lakeflow_entry.ingest import option_strings

        options = {**option_strings(group[0].options), "mailboxes": ",".join(names)}
        if self.connection is not None:
            options["connection"] = self.connection
        reader = self.session.read.format("lakeflow_connect").options(
            tableName=group[0].source_table, **options
        )
        counts: dict[str, int] = {}
        for row in reader.load().mapInArrow(write, "source string, written long").collect():
            counts[row["source"]] = counts.get(row["source"], 0) + row["written"]
        return counts


def _export(settings: Settings) -> None:
    """Let Spark's workers, which inherit the environment, see what `.env` and the login file say."""
    for name in (*_EXPORTED, "oauth_root"):
        value = getattr(settings, name)
        text = value.get_secret_value() if hasattr(value, "get_secret_value") else value
        if text:
            os.environ.setdefault(f"GMAIL_{name.upper()}", str(text))


def _shared(tables: Sequence[SpecTable]) -> Iterator[Sequence[SpecTable]]:
    """Tables that one read can fill: the rows of unfiltered threads hold all that messages needs."""
    by_name = {spec.source_table: spec for spec in tables}
    if len(by_name) == 2:
        threads, messages = by_name["threads"], by_name["messages"]
        if threads.options == messages.options and not threads.options.filtered:
            yield [threads, messages]
            return
    for spec in tables:
        yield [spec]


def _part(lake: Lake, spec: SpecTable, address: str) -> Part:
    table = lake.table(spec.source_table, name=spec.table_name, keep_deleted=spec.deletes == "keep")
    return Part(table, address, spec.options.fingerprint, spec.options.format)


def _empty(lake: Lake, spec: SpecTable, address: str) -> bool:
    part = _part(lake, spec, address)
    return part.cursor is None and part.count() == 0


def _writer(
    lake: Lake, group: Sequence[SpecTable], anchors: Mapping[str, int]
) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """What a worker does with its partition: append it, and tell how many rows it wrote."""

    def write(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        counts = {spec.source_table: 0 for spec in group}
        for address, rows in _chunks(batches):
            for spec in group:
                part = _part(lake, spec, address)
                # A task that is tried again must not add what its first try has written.
                present = part.members()["id"]
                new = _rows_of(spec.source_table, rows)
                new = new.filter(pc.invert(pc.is_in(new["id"], present.combine_chunks())))
                if new.num_rows:
                    part.append(new, anchor=anchors[address])
                    counts[spec.source_table] += new.num_rows
        yield pa.RecordBatch.from_pydict({"source": list(counts), "written": list(counts.values())})

    return write


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
    """Rows of the table in its own schema; messages out of the rows of threads where those were read."""
    schema = SCHEMAS[source]
    if source == "messages" and "messages" in rows.column_names:
        messages = pa.concat_arrays([chunk.flatten() for chunk in rows["messages"].chunks])
        columns = {
            name: pc.struct_field(messages, name) for name in schema.names if name != "historySequence"
        }
        columns["historySequence"] = pc.cast(columns["historyId"], pa.int64())
        rows = pa.table(columns)
    return rows.select(schema.names).cast(schema)
