"""Declares a pipeline spec to Spark's declarative pipelines: `declare`.

It uses AUTO CDC for messages and threads, with a second flow for deletes, and AUTO CDC from snapshots for the other
tables. The platform runs the flows, keeps their checkpoints and retries.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from gmail_client.errors import ConfigurationError
from gmail_client.spec import Spec, SpecTable
from gmail_client.sql import spark_identifier
from gmail_client.tables import CATALOGUE
from lakeflow_entry.datasource import FORMAT
from lakeflow_entry.table_options import option_strings

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

__all__ = ["declare", "refuse_contents"]


def declare(spark: SparkSession, spec: Spec, pipelines: Any = None) -> None:
    """Declare the tables of a spec.

    Args:
        spark: The pipeline's session, `lakeflow_connect` registered.
        spec: The spec; its connection is a Unity Catalog connection.
        pipelines: The module of declarations; default: `pyspark.pipelines`.

    Raises:
        ConfigurationError: No connection, a derived table, or a runtime without a feature that a table needs.
    """
    if pipelines is None:
        from pyspark import pipelines as found

        pipelines = found
    if spec.connection_name is None:
        raise ConfigurationError(
            "The spec has no connection_name.",
            fix="Set connection_name to the name of the Unity Catalog connection.",
        )
    refuse_contents(spec)
    if spec.views:
        raise ConfigurationError(
            f"The spec's table {spec.views[0].source_table!r} is derived from messages: not supported in a pipeline.",
            fix="Remove it from the spec, and create the SQL views of docs/databricks.md over messages.",
        )
    names = [entry.table_name.lower() for entry in spec.tables]
    for entry in spec.tables:
        declaration = _Declaration(spark, pipelines, spec, entry)
        if names.count(entry.table_name.lower()) > 1:  # in several schemas
            declaration.label = _label(entry.destination_catalog, entry.destination_schema, entry.table_name)
        declaration.make()


def refuse_contents(spec: Spec) -> None:
    """Refuse a spec that lists the contents of attachments, which no Spark pipeline fetches.

    Raises:
        ConfigurationError: It lists them.
    """
    if spec.contents is not None:
        raise ConfigurationError(
            f"The spec lists {spec.contents.source_table!r}, which only Dagster and `gmail-assets sync` write.",
            fix="Remove it from this pipeline's spec, and sync it with Dagster or the command.",
        )


def _label(*names: str | None) -> str:
    """A part of the names of views and flows, which Spark does not accept with hyphens."""
    return "_".join(name.replace("-", "__") for name in names if name)


class _Declaration:
    def __init__(self, spark: SparkSession, pipelines: Any, spec: Spec, entry: SpecTable) -> None:
        self.spark = spark
        self.pipelines = pipelines
        self.entry = entry
        self.table = CATALOGUE[entry.source_table]
        self.options = {
            "databricks.connection": str(spec.connection_name),
            "tableName": self.table.name,
            **option_strings(entry.options),
        }
        if spec.mailboxes:
            self.options["mailboxes"] = ",".join(spec.mailboxes)
        self.label = _label(entry.table_name)
        self.keys = list(entry.primary_keys or self.table.primary_key)
        if spec.mailboxes and "mailbox" not in self.keys:
            self.keys.insert(0, "mailbox")
        self.scd = "2" if entry.scd_type == "SCD_TYPE_2" else "1"
        plain = re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", entry.table_name)
        self.target = entry.table_name if plain else spark_identifier(entry.table_name)
        if entry.destination_schema:
            parts = (entry.destination_catalog, entry.destination_schema, entry.table_name)
            self.target = spark_identifier(*filter(None, parts))
        elif entry.destination_catalog:
            raise ConfigurationError(
                f"The spec's table {self.table.name!r} has destination_catalog without destination_schema.",
                fix="Set both, or neither.",
            )

    def make(self) -> None:
        if self.entry.deletes == "keep":
            raise ConfigurationError(
                f"The spec's table {self.table.name!r} has deletes: keep, which AUTO CDC does not support.",
                fix="Use scd_type: SCD_TYPE_2, which keeps deleted rows with the time of their deletion.",
            )
        clustered = {"cluster_by": list(self.entry.cluster_by)} if self.entry.cluster_by else {}
        self.pipelines.create_streaming_table(name=self.target, **clustered)
        if self.entry.scd_type == "APPEND_ONLY":
            self._append()
        elif self.table.cursor:
            self._changes("upsert")
            self._changes("delete")
        else:
            self._snapshot()

    def _view(self, kind: str, *, stream: bool, **options: str) -> str:
        name = f"source_{self.label}_{kind}"
        given = {**self.options, **options}

        def source() -> DataFrame:
            reader: Any = self.spark.readStream if stream else self.spark.read
            frame: DataFrame = reader.format(FORMAT).options(**given).load()
            return frame

        self.pipelines.temporary_view(name=name)(source)
        return name

    def _append(self) -> None:
        source = self._view("append", stream=self.table.cursor is not None)
        decorate = self.pipelines.append_flow(target=self.target, name=f"{source}_flow")

        def rows() -> DataFrame:
            return self.spark.readStream.table(source) if self.table.cursor else self.spark.read.table(source)

        decorate(rows)

    def _changes(self, kind: str) -> None:
        if not hasattr(self.pipelines, "create_auto_cdc_from_snapshot_flow"):
            raise ConfigurationError(
                f"The declarative pipelines of this Spark support one CDC flow per table; {self.table.name!r} needs "
                "two, for changed rows and for deleted ones.",
                fix="Run it on Databricks, or outside a pipeline with lakeflow_entry.ingest, or use APPEND_ONLY.",
            )
        from pyspark.sql.functions import col, expr

        deletes = kind == "delete"
        source = self._view(kind, stream=True, **({"isDeleteFlow": "true"} if deletes else {}))
        self.pipelines.create_auto_cdc_flow(
            target=self.target,
            source=source,
            keys=self.keys,
            sequence_by=col(self.entry.sequence_by or str(self.table.cursor)),
            stored_as_scd_type=self.scd,
            name=f"{source}_flow",
            **({"apply_as_deletes": expr("true")} if deletes else {}),
        )

    def _snapshot(self) -> None:
        flow = getattr(self.pipelines, "create_auto_cdc_from_snapshot_flow", None)
        if flow is None:
            raise ConfigurationError(
                f"The declarative pipelines of this Spark do not support snapshots, which {self.table.name!r} needs.",
                fix="Run it on Databricks, or outside a pipeline with lakeflow_entry.ingest.",
            )
        flow(
            target=self.target,
            source=self._view("snapshot", stream=False),
            keys=self.keys,
            stored_as_scd_type=self.scd,
        )
