"""Downstream assets that load a mailbox's rows of a table, in each of the types."""

from __future__ import annotations

from typing import Any

import dagster as dg
import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from gmail_assets.delta.lake import Lake
from gmail_assets.factory import gmail_definitions
from gmail_client.emulator import Emulator
from gmail_client.errors import ConfigurationError


@pytest.fixture
def definitions(environment: Emulator, lake_of_test: Lake) -> dg.Definitions:
    """Labels of two mailboxes in one lake, with another table name."""
    spec = {"objects": [{"table": {"source_table": "labels", "destination_table": "gmail_labels"}}]}
    found = gmail_definitions(spec=spec, mailboxes=environment.addresses)
    with dg.DagsterInstance.ephemeral() as instance, pytest.MonkeyPatch.context() as patch:
        for address in environment.addresses:
            for name, value in environment.environment(address).items():
                patch.setenv(name, value)
            job = found.resolve_job_def("gmail_snapshots")
            assert job.execute_in_process(partition_key=address, instance=instance).success
    return found


def loaded(
    definitions: dg.Definitions,
    kind: Any,
    partition: str | None,
    columns: list[str] | None = None,
    **more: Any,
) -> Any:
    """The input of a downstream asset that annotates it with this type."""
    received: list[Any] = []
    partitions = dg.StaticPartitionsDefinition([partition]) if partition else None

    def downstream(labels: kind) -> None:  # type: ignore[valid-type]
        received.append(labels)

    downstream.__annotations__["labels"] = kind
    downstream.__annotations__["return"] = None
    asset = dg.asset(
        partitions_def=partitions,
        ins={
            "labels": dg.AssetIn(
                ["gmail", "gmail_labels"],
                input_manager_key="gmail_tables",
                metadata={"columns": columns} if columns else {},
            )
        },
    )(downstream)
    job = dg.define_asset_job("downstream_job", selection=[asset.key])
    both = dg.Definitions.merge(definitions, dg.Definitions(assets=[asset], jobs=[job]))
    with dg.DagsterInstance.ephemeral() as instance:
        both.resolve_job_def("downstream_job").execute_in_process(partition_key=partition, instance=instance)
    (value,) = received
    return value


def rows_of(value: Any) -> list[tuple[Any, ...]]:
    if isinstance(value, pl.LazyFrame):
        value = value.collect()
    if isinstance(value, pl.DataFrame):
        return sorted(value.rows())
    if isinstance(value, pd.DataFrame):
        return sorted(value.itertuples(index=False, name=None))
    if isinstance(value, pa.RecordBatchReader):
        value = value.read_all()
    if isinstance(value, pa.Table):
        return sorted(tuple(row.values()) for row in value.to_pylist())
    assert isinstance(value, duckdb.DuckDBPyRelation)
    return sorted(value.fetchall())


@pytest.mark.parametrize(
    "kind",
    [pl.LazyFrame, pl.DataFrame, pd.DataFrame, pa.Table, pa.RecordBatchReader, duckdb.DuckDBPyRelation],
    ids=lambda kind: f"{kind.__module__.split('.')[0]}.{kind.__name__}",
)
def test_each_type_has_the_mailbox_s_rows_and_the_selected_columns(
    definitions: dg.Definitions, environment: Emulator, kind: Any
):
    address = environment.addresses[1]
    value = loaded(definitions, kind, address, ["name", "mailbox"])
    assert isinstance(value, kind)
    expected = sorted((label["name"], address) for label in environment.truth("labels", address))
    assert rows_of(value) == expected


def test_an_asset_without_partitions_gets_the_rows_of_all_mailboxes(
    definitions: dg.Definitions, environment: Emulator
):
    rows = loaded(definitions, pa.Table, None)
    assert set(rows["mailbox"].to_pylist()) == set(environment.addresses)
    assert rows.num_rows == sum(
        len(environment.truth("labels", address)) for address in environment.addresses
    )
    assert "messageListVisibility" in rows.column_names


@pytest.mark.parametrize(
    ("kind", "columns", "message"),
    [(dict, None, "unsupported type"), (pa.Table, ["colour"], "the column 'colour'")],
)
def test_unsupported_types_are_refused(
    definitions: dg.Definitions, environment: Emulator, kind: Any, columns: list[str] | None, message: str
):
    with pytest.raises(ConfigurationError, match=message) as caught:
        loaded(definitions, kind, environment.addresses[0], columns)
    assert caught.value.fix


def test_a_missing_table_and_outputs_are_refused(environment: Emulator):
    tables = gmail_definitions().resources["gmail_tables"]
    with pytest.raises(ConfigurationError, match="can't store outputs"):
        tables.handle_output(dg.build_output_context(), None)
    context = dg.build_input_context(
        name="labels",
        asset_key=["gmail", "labels"],
        dagster_type=dg.PythonObjectDagsterType(pa.Table),
        definition_metadata={},
    )
    with pytest.raises(ConfigurationError, match="no table 'labels'") as caught:
        tables.load_input(context)
    assert "Materialize" in str(caught.value.fix)
