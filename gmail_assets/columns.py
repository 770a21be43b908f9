"""The column schema of a table for Dagster: names, types, descriptions, keys."""

from __future__ import annotations

import dagster as dg
import pyarrow as pa

from gmail_client.schema import describe
from gmail_client.tables import Table
from gmail_client.views import View

__all__ = ["MAILBOX_DESCRIPTION", "column_schema", "type_text"]

MAILBOX_DESCRIPTION = "Address of the mailbox; the partition column. Ids are unique within one mailbox only."

_LONGEST_TYPE = 60


def type_text(kind: pa.DataType) -> str:
    """A short name of a type. A struct lists its fields, or only their number if the list would be long."""
    if pa.types.is_list(kind):
        return f"list<{type_text(kind.value_type)}>"
    if pa.types.is_struct(kind):
        fields = list(kind.fields)
        full = ", ".join(f"{field.name}: {type_text(field.type)}" for field in fields)
        return f"struct<{full}>" if len(full) <= _LONGEST_TYPE else f"struct<{len(fields)} fields>"
    return str(kind)


def column_schema(table: Table | View) -> dg.TableSchema:
    """The columns of `table` in the lake; `mailbox` is the first."""
    key = {"mailbox", *table.primary_key}
    columns = [dg.TableColumn("mailbox", "string", MAILBOX_DESCRIPTION, constraints=_constraints(True))]
    columns += [
        dg.TableColumn(
            field.name,
            type_text(field.type),
            describe(field),
            constraints=_constraints(field.name in key),
        )
        for field in table.schema
    ]
    return dg.TableSchema(columns=columns)


def _constraints(in_key: bool) -> dg.TableColumnConstraints:
    return dg.TableColumnConstraints(nullable=not in_key, other=["primary key"] if in_key else [])
