"""What Dagster shows of a table: its location and columns, with types, descriptions, keys and nested fields."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import dagster as dg
import pyarrow as pa

from gmail_assets.delta.lake import Lake
from gmail_assets.run_metadata import location_metadata
from gmail_client.schema import PARTS_DEPTH, describe
from gmail_client.spec import SpecTable, SpecView
from gmail_client.tables import CATALOGUE, Table
from gmail_client.views import ALL_VIEWS, View

__all__ = ["MAILBOX_DESCRIPTION", "column_schema", "table_metadata"]

MAILBOX_DESCRIPTION = "Address of the mailbox; the partition column. Ids are unique within one mailbox only."

_RECURSIVE = "parts"
"""The field whose structs have the fields of the struct around it."""


def table_metadata(lake: Lake, entry: SpecTable | SpecView) -> dict[str, Any]:
    """Metadata of a materialization: location, name and columns of the table."""
    columns = CATALOGUE[entry.source_table] if isinstance(entry, SpecTable) else ALL_VIEWS[entry.source_table]
    return {**location_metadata(lake, entry), "dagster/column_schema": column_schema(columns)}


def column_schema(table: Table | View) -> dg.TableSchema:
    """The columns of `table` in the lake, `mailbox` first.

    A nested field follows the column that contains it: `payload.body.data`, `payload.headers[].name`.
    """
    key = {"mailbox", *table.primary_key}
    columns = [dg.TableColumn("mailbox", "string", MAILBOX_DESCRIPTION, constraints=_constraints(True))]
    for field in table.schema:
        columns += [
            dg.TableColumn(path, kind, description, constraints=_constraints(path in key))
            for path, kind, description in _fields(field)
        ]
    return dg.TableSchema(columns=columns)


def _fields(field: pa.Field, parent: str = "") -> Iterator[tuple[str, str, str]]:
    """Path, type and description of a field and of its nested fields."""
    path = f"{parent}{field.name}"
    is_list = pa.types.is_list(field.type)
    inner = field.type.value_type if is_list else field.type
    nested = pa.types.is_struct(inner)
    kind = "struct" if nested else str(inner)
    description = describe(field)
    if field.name == _RECURSIVE:
        description = (
            f"{description} Same fields as the struct that contains it, {PARTS_DEPTH} levels in all."
        )
    yield path, f"list<{kind}>" if is_list else kind, description
    if nested and field.name != _RECURSIVE:
        for child in inner.fields:
            yield from _fields(child, f"{path}[]." if is_list else f"{path}.")


def _constraints(in_key: bool) -> dg.TableColumnConstraints:
    return dg.TableColumnConstraints(nullable=not in_key, other=["primary key"] if in_key else [])
