"""`ingest`: run a pipeline spec, on any Spark.

    register_lakeflow_source(spark)
    ingest(spark, {"connection_name": "gmail_connector", "objects": [{"table": {"source_table": "labels"}}]})

On Databricks it declares the pipeline (`lakeflow_entry.pipelines.declarative`), which the platform then runs.
Elsewhere it runs the pipeline once, in this process: messages and threads as streams of upserts and deletes, the other
tables as snapshots, into Delta tables under `lake`; derived tables are computed from these. Each flow has a checkpoint,
and each commit contains the id of its micro-batch, so that a killed run is resumed and nothing is written twice.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import shutil
import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from gmail_client.deletion import check_mass_deletion
from gmail_client.errors import ConfigurationError
from gmail_client.private_files import make_private_folder, refuse_planted
from gmail_client.schema import without_unknown_fields
from gmail_client.spec import Spec, SpecTable, SpecView
from gmail_client.tables import CATALOGUE
from lakeflow_entry.datasource import FORMAT
from lakeflow_entry.pipelines.declarative import declare, refuse_contents
from lakeflow_entry.pipelines.failures import readable_failures
from lakeflow_entry.report import REPORT, Report
from lakeflow_entry.spark_schema import with_mailbox
from lakeflow_entry.stream.offsets import Offset
from lakeflow_entry.table_options import RECONCILED, option_strings

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.streaming.query import StreamingQuery

    from lakeflow_entry.pipelines.delta_sink import DeltaSink

__all__ = ["IngestedTable", "ingest"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class IngestedTable:
    """Result of one table.

    Attributes:
        location: Its folder or URI.
        upserted: Rows inserted or updated in this run; all rows of a snapshot.
        deleted: Rows that the delete flow returned in this run.
        rows: Current rows.
    """

    location: str
    upserted: int
    deleted: int
    rows: int


def ingest(
    spark: SparkSession,
    pipeline_spec: Mapping[str, Any] | str | Path,
    *,
    lake: str | None = None,
    checkpoints: str | Path | None = None,
    allow_mass_delete: bool = False,
) -> dict[str, IngestedTable]:
    """Update the tables of a pipeline spec.

    Args:
        spark: A session in which `lakeflow_connect` is registered.
        pipeline_spec: The spec as a mapping, or the path of its YAML or JSON file.
        lake: Folder or URI of the Delta tables; default: GMAIL_LAKE, else `lake`. Not used on Databricks.
        checkpoints: Folder of the streams' checkpoints; default: `_checkpoints` in the lake, if it is a folder.
        allow_mass_delete: Allow a reconciliation after an expired history to delete a large part of a table.

    Returns:
        The result by source table, by destination for a table that is listed twice; empty on Databricks, where the
        platform runs the pipeline.

    Raises:
        ConfigurationError: An invalid spec, or a default lake that belongs to another user.
        MassDeletionError: See `allow_mass_delete`.
        GmailError: A table can't be read. Tables before it in the spec are updated.
        PipelineError: Spark failed.
    """
    spec = Spec.load(pipeline_spec)
    if "DATABRICKS_RUNTIME_VERSION" in os.environ:
        declare(spark, spec)
        return {}
    refuse_contents(spec)
    if importlib.util.find_spec("deltalake") is None:
        raise ConfigurationError(
            "The local pipeline writes Delta tables with the package deltalake, which is not installed.",
            fix="Install it: `pip install 'gmail-assets[spark]'`.",
        )
    root = lake or os.environ.get("GMAIL_LAKE")
    if not root:
        root = "lake"
        refuse_planted(root)
    if checkpoints is None:
        if "://" in root:
            raise ConfigurationError(
                f"The lake {root!r} is not a local folder, so the streams need a folder for their checkpoints.",
                fix="Pass a permanent folder: ingest(..., checkpoints=...).",
            )
        checkpoints = Path(root) / "_checkpoints"
    from lakeflow_entry.pipelines.derived import DerivedTable, refuse_versions_only

    names = [entry.source_table for entry in spec.tables]
    tables = {
        entry.source_table if names.count(entry.source_table) == 1 else _place(entry): _Table(
            spark, spec, entry, root, Path(checkpoints), allow_mass_delete
        )
        for entry in spec.tables
    }
    if spec.views:
        if spec.mailboxes:
            raise ConfigurationError(
                f"The spec has mailboxes, and the table {spec.views[0].source_table!r}, which is derived from the "
                "messages of one mailbox.",
                fix="Remove it, and create the SQL views of docs/databricks.md over messages.",
            )
        refuse_versions_only(spec)
    done = {}
    for name, one in tables.items():
        with readable_failures(f"updating {name}"):
            done[name] = one.run()
    for view in spec.views:
        derived = DerivedTable(_location(root, view), view.source_table, tables["messages"].sink)
        messages = spec.table("messages")
        if messages is not None and messages.options.content_format != "full":
            derived.content = messages.options.content_format
        if "labels" in tables:
            derived.labels = tables["labels"].sink
        if view.source_table == "attachments":
            emails = next(entry for entry in spec.views if entry.source_table == "emails")
            derived.emails = _location(root, emails)
        upserted, deleted = derived.update()
        done[view.source_table] = IngestedTable(derived.location, upserted, deleted, derived.count())
    return done


def _place(entry: SpecTable | SpecView) -> str:
    """Where a table goes, below the lake."""
    parts = (entry.destination_catalog, entry.destination_schema, entry.table_name)
    return "/".join(part for part in parts if part)


def _location(root: str, entry: SpecTable | SpecView) -> str:
    return f"{root.rstrip('/')}/{_place(entry)}"


class _Table:
    """One table of one run."""

    def __init__(
        self,
        spark: SparkSession,
        spec: Spec,
        entry: SpecTable,
        root: str,
        checkpoints: Path,
        allow_mass_delete: bool,
    ) -> None:
        from lakeflow_entry.pipelines.delta_sink import DeltaSink

        table = CATALOGUE[entry.source_table]
        self.mailbox = ("mailbox",) if spec.mailboxes else ()
        schema = with_mailbox(table.schema) if spec.mailboxes else table.schema
        if entry.options.keep_unknown_fields is False:
            schema = without_unknown_fields(schema)
        self.spark = spark
        self.name = table.name
        self.changing = table.cursor is not None
        self.sink: DeltaSink = DeltaSink(
            _location(root, entry),
            schema,
            (*self.mailbox, *(entry.primary_keys or table.primary_key)),
            entry.sequence_by or table.cursor,
            entry.scd_type,
            entry.deletes == "keep" and self.changing and entry.scd_type == "SCD_TYPE_1",
        )
        self.folder = (checkpoints / _place(entry)).absolute()
        self.given = option_strings(entry.options)
        self.connection = {"connection": spec.connection_name} if spec.connection_name else {}
        if spec.mailboxes:
            self.connection["mailboxes"] = ",".join(spec.mailboxes)
        self.allow_mass_delete = allow_mass_delete
        self.upserted = 0
        self.deleted = 0

    def run(self) -> IngestedTable:
        self._refuse_other_mailboxes()
        if self.changing:
            self._streams()
        elif self.mailbox:
            self.upserted = self._snapshots()
        else:
            self.upserted = self.sink.replace(self._read(self.name, self.given).toArrow())
        return IngestedTable(self.sink.location, self.upserted, self.deleted, self.sink.count())

    def _refuse_other_mailboxes(self) -> None:
        """Refuse a table of one mailbox for many, and the reverse: their keys differ.

        Raises:
            ConfigurationError: The table exists, and is of the other kind.
        """
        columns = self.sink.columns()
        if columns and ("mailbox" in columns) != bool(self.mailbox):
            found, wanted = ("many mailboxes", "one") if "mailbox" in columns else ("one mailbox", "many")
            raise ConfigurationError(
                f"The table {self.sink.location} is that of {found}, but the spec is for {wanted}.",
                fix="Set another destination_table, or delete the table, so that it is loaded again.",
            )

    def _snapshots(self) -> int:
        """Replace the rows of each mailbox; those of a mailbox that can't be read are kept.

        Raises:
            GmailError: No mailbox can be read.
        """
        rows = self._read(self.name, {**self.given, "report": "true"}).toArrow()
        reported = pc.is_valid(rows[REPORT])
        reports = [Report.from_json(text) for text in rows.filter(reported)[REPORT].to_pylist()]
        read = [report.mailbox for report in reports if report.error is None and report.mailbox]
        for report in reports:
            for text in report.warnings:
                _log.warning("%s of %s: %s", self.name, report.mailbox, text)
            if report.error is not None:
                if not read:
                    raise report.error
                _log.warning(
                    "%s: a mailbox can't be read; its rows stay as they are: %s", self.name, report.error
                )
        # A mailbox whose read ended with an error may have some rows before it.
        whole = pc.is_in(rows["mailbox"], pa.array(read, pa.string()))
        rows = rows.filter(pc.and_(pc.invert(reported), whole)).drop_columns([REPORT])
        return self.sink.replace(rows, mailboxes=read)

    def _streams(self) -> None:
        if not self.sink.exists() and self.folder.exists():
            _log.warning(
                "%s: the table %s does not exist any more, so it is loaded again.",
                self.name,
                self.sink.location,
            )
            shutil.rmtree(self.folder)
        unfinished = self.folder / "unfinished"
        due = unfinished.exists() or not (self.folder / "deletes").exists()
        identity = self._identity()
        unfinished.touch()
        ends = {"upserts": self._stream("upserts", identity)}
        if self.sink.scd != "APPEND_ONLY":
            ends["deletes"] = self._stream("deletes", identity)
            self._reconcile_if(due, ends)
        unfinished.unlink()

    def _reconcile_if(self, due: bool, ends: Mapping[str, Any]) -> None:
        """Reconcile the table with Gmail's listing if a flow can't know all deletes.

        This is the case if the delete flow is new, if an earlier run did not reach its end, or if the history had
        expired, so that a flow read everything again. A mailbox that can't be read is reconciled in a later run.
        """
        file = self.folder / "reconciled"
        before = json.loads(file.read_text()) if file.exists() else {}
        reloads = {flow: before.get(flow) if end is None else _reloads(end) for flow, end in ends.items()}
        refused = {name for end in ends.values() if end for name in end.get("refused", ())}
        reloaded = any(
            _without(reload, refused) != _without(before.get(flow), refused)
            for flow, reload in reloads.items()
        )
        if due or reloaded or not file.exists():
            unread = self._reconcile(reloaded)
            file.write_text(json.dumps({flow: _without(reload, unread) for flow, reload in reloads.items()}))

    def _identity(self) -> str:
        """A name for the streams that is stored with their checkpoints, so that a new checkpoint has a new name."""
        file = self.folder / "identity"
        if not file.exists():
            make_private_folder(self.folder)
            file.write_text(uuid.uuid4().hex)
        return file.read_text()

    def _read(self, table: str, options: Mapping[str, str]) -> DataFrame:
        reader = self.spark.read.format(FORMAT).options(**self.connection, tableName=table, **options)
        return reader.load()

    def _stream(self, flow: str, identity: str) -> dict[str, Any] | None:
        """Run one flow until there are no more rows.

        Returns:
            Its last offset; None if there was nothing to read.
        """
        deletes = flow == "deletes"
        options = {**self.connection, "tableName": self.name, **self.given}
        if deletes:
            options |= {"isDeleteFlow": "true", RECONCILED: "true"}
        stream = f"gmail/{self.name}/{flow}/{identity}"

        def write(frame: DataFrame, batch_id: int) -> None:
            rows: pa.Table = frame.toArrow()
            if deletes:
                self.deleted += self.sink.delete(rows, stream, batch_id)
            else:
                self.upserted += self.sink.upsert(rows, stream, batch_id)

        self.sink.open()
        query: StreamingQuery = (
            self.spark.readStream.format(FORMAT)
            .options(**options)
            .load()
            .writeStream.foreachBatch(write)
            .option("checkpointLocation", str(self.folder / flow))
            .trigger(availableNow=True)
            .start()
        )
        try:
            query.awaitTermination()
        finally:
            query.stop()
        progress = query.lastProgress
        if progress is None:
            return None
        end: dict[str, Any] = json.loads(progress.json)["sources"][0]["endOffset"]
        for name in end.get("refused", ()):
            _log.warning("%s: the mailbox %s can't be read; its rows stay as they are.", self.name, name)
        return end

    def _reconcile(self, reloaded: bool) -> set[str]:
        """Delete the rows that Gmail no longer lists; returns the mailboxes that can't be read."""
        if self.sink.keys != (*self.mailbox, "id"):
            if reloaded:
                _log.warning(
                    "%s: its keys are not Gmail's, so rows that were deleted before the history expired are kept.",
                    self.name,
                )
            return set()
        options = {
            "tableNameList": json.dumps([self.name]),
            "tableConfigs": json.dumps({self.name: self.given}),
        }
        found = self._read("_gmail_ids", options).toArrow()
        listed = set(zip(*(found[name].to_pylist() for name in self.sink.keys), strict=True))
        unread = {key[-1] for key in listed if self.mailbox and key[0] is None}
        for name in sorted(unread):
            _log.warning("%s: the ids of %s can't be read, so none of its rows is deleted.", self.name, name)
        read = {key[:-1] for key in listed}
        present = self.sink.present()
        gone = {key for key in present.keys() - listed if not self.mailbox or key[:-1] in read}
        for mailbox in {key[:-1] for key in gone} if not self.allow_mass_delete else ():
            check_mass_deletion(
                self.name,
                mailbox[0] if mailbox else "the mailbox",
                deletions=sum(key[:-1] == mailbox for key in gone),
                rows=sum(key[:-1] == mailbox for key in present),
                confirm="ingest(..., allow_mass_delete=True)",
            )
        self.sink.delete_keys(gone, max((sequence or 0 for sequence in present.values()), default=0))
        self.deleted += len(gone)
        return unread


def _reloads(end: Mapping[str, Any]) -> Any:
    """When a flow last read everything again, for each mailbox if it has many."""
    if "mailboxes" in end:
        return {name: Offset.parse(one).reloaded for name, one in end["mailboxes"].items()}
    return Offset.parse(end).reloaded


def _without(reloads: Any, names: Collection[str]) -> Any:
    """What `_reloads` returned, without these mailboxes."""
    if not isinstance(reloads, dict):
        return reloads
    return {name: reloaded for name, reloaded in reloads.items() if name not in names}
