"""`TableInputs`: loads a table of the lake as the input of a downstream asset, for the mailboxes of its partitions.

    @dg.asset(
        partitions_def=mailboxes,
        ins={"emails": dg.AssetIn(["gmail", "emails"], input_manager_key="gmail_tables")},
    )
    def senders(emails: pl.LazyFrame) -> pl.DataFrame: ...

The annotation chooses the type: a Polars LazyFrame or DataFrame, a pandas DataFrame, a DuckDB relation, or a PyArrow
Table or RecordBatchReader. `metadata={"columns": [...]}` of the `AssetIn` selects columns; no others are read.
"""

# No `from __future__ import annotations` here: Dagster reads the annotations as objects.
import sys
from collections.abc import Callable, Sequence
from typing import Any

import dagster as dg
import pyarrow.dataset as ds
from deltalake.exceptions import DeltaError

from gmail_assets.delta.errors import unreadable
from gmail_assets.delta.lake import MAILBOX, Lake
from gmail_assets.delta.registry import MailboxRegistry
from gmail_assets.resources import LakeResource
from gmail_client.errors import ConfigurationError
from gmail_client.sql import literal

__all__ = ["TableInputs"]

_TYPES: dict[tuple[str, str], Callable[[ds.Dataset, list[str]], Any]] = {
    ("pyarrow", "Table"): lambda rows, columns: rows.to_table(columns=columns),
    ("pyarrow", "RecordBatchReader"): lambda rows, columns: rows.scanner(columns=columns).to_reader(),
    ("pandas", "DataFrame"): lambda rows, columns: rows.to_table(columns=columns).to_pandas(),
    ("polars", "LazyFrame"): lambda rows, columns: _polars().scan_pyarrow_dataset(rows).select(columns),
    ("polars", "DataFrame"): lambda rows, columns: _polars().from_arrow(rows.to_table(columns=columns)),
    ("duckdb", "DuckDBPyRelation"): lambda rows, columns: _duckdb(rows, columns),
}
"""How to convert a dataset and a list of columns, by package and class."""


class TableInputs(dg.IOManager):
    """Loads tables of the lake. It stores nothing: outputs of your assets need another IO manager.

    Args:
        lake: The lake. Nothing of it can be set in a run's config.
    """

    def __init__(self, lake: LakeResource) -> None:
        self._lake = lake

    def load_input(self, context: dg.InputContext) -> Any:
        """The rows of the input's partitions, or all rows if the input has no partitions.

        Raises:
            ConfigurationError: The input has no annotation, or another one than the types of this module; or there is
                no such column.
            LakeError: There is no such table, or it can't be read.
        """
        convert = _converter(context.dagster_type.typing_type, context.name)
        lake = self._lake.lake()
        mailboxes = None
        if context.has_asset_partitions:
            registry = MailboxRegistry(lake)
            mailboxes = [registry.address_of(key) or key for key in context.asset_partition_keys]
        rows = _dataset(lake, _table_name(context), mailboxes)
        columns = list((context.definition_metadata or {}).get("columns") or rows.schema.names)
        unknown = [name for name in columns if name not in rows.schema.names]
        if unknown:
            raise ConfigurationError(
                f"The input {context.name!r} selects the column {unknown[0]!r}, which the table does not have.",
                fix=f"Select from {', '.join(rows.schema.names)}.",
            )
        return convert(rows, columns)

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Refuse to store an output.

        Raises:
            ConfigurationError: Always.
        """
        raise ConfigurationError(
            "The resource of the Gmail tables can't store outputs.",
            fix="Use it as input_manager_key of an AssetIn, and another IO manager as io_manager_key.",
        )


def _converter(kind: Any, name: str) -> Callable[[ds.Dataset, list[str]], Any]:
    for (package, class_name), convert in _TYPES.items():
        # An annotation of the package's class means that the package is imported.
        if package in sys.modules and kind is getattr(sys.modules[package], class_name, None):
            return convert
    known = ", ".join(".".join(names) for names in _TYPES)
    raise ConfigurationError(
        f"The input {name!r} has an annotation of an unsupported type.",
        fix=f"Annotate it with one of {known}.",
    )


def _table_name(context: dg.InputContext) -> str:
    """The table of the upstream asset: from its metadata, which a translated key or `destination_table` needs."""
    upstream = context.upstream_output
    metadata = (upstream.definition_metadata if upstream is not None else None) or {}
    return str(metadata.get("dagster/table_name") or context.asset_key.path[-1])


def _dataset(lake: Lake, table_name: str, mailboxes: Sequence[str] | None) -> ds.Dataset:
    delta = lake.find(table_name)
    if delta is None:
        raise ConfigurationError(
            f"There is no table {table_name!r} in the lake.", fix="Materialize the upstream asset first."
        )
    chosen = None if mailboxes is None else f"{MAILBOX} IN ({', '.join(map(literal, mailboxes))})"
    try:
        # Files have the rows of one mailbox each, so pruning files selects exactly its rows.
        rows = delta.to_pyarrow_dataset(file_pruning_predicate=chosen)
    except (DeltaError, OSError) as error:
        raise unreadable(lake.location(table_name), error) from error
    return rows


def _polars() -> Any:
    import polars

    return polars


def _duckdb(rows: ds.Dataset, columns: list[str]) -> Any:
    import duckdb

    relation = duckdb.connect().from_arrow(rows)
    return relation.select(*(duckdb.ColumnExpression(name) for name in columns))
