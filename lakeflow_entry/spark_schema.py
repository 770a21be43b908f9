"""The tables' Arrow schemas as Spark types, field for field: `struct_type`.

The Arrow schemas of `gmail_client.schema` and `gmail_client.views` are the only definition; descriptions become column
comments.
"""

from __future__ import annotations

import pyarrow as pa
from pyspark.sql.types import (
    ArrayType,
    BooleanType,
    DataType,
    LongType,
    StringType,
    StructField,
    StructType,
    TimestampType,
)

from gmail_client.schema import describe

__all__ = ["struct_type", "with_mailbox"]

_MAILBOX = pa.field(
    "mailbox", pa.string(), metadata={"comment": "Address of the mailbox the row belongs to."}
)


def with_mailbox(schema: pa.Schema) -> pa.Schema:
    """The schema of a read of many mailboxes: `mailbox` first."""
    return pa.schema([_MAILBOX, *schema])


def struct_type(schema: pa.Schema) -> StructType:
    """A Spark schema with the names, types, order and comments of an Arrow schema; every field is nullable."""
    return StructType([_field(field) for field in schema])


def _field(field: pa.Field) -> StructField:
    comment = describe(field)
    return StructField(field.name, _type(field.type), True, {"comment": comment} if comment else None)


def _type(kind: pa.DataType) -> DataType:
    if pa.types.is_struct(kind):
        return StructType([_field(kind.field(index)) for index in range(kind.num_fields)])
    if pa.types.is_list(kind):
        return ArrayType(_type(kind.value_type), True)
    if pa.types.is_int64(kind):
        return LongType()
    if pa.types.is_boolean(kind):
        return BooleanType()
    if pa.types.is_string(kind):
        return StringType()
    if pa.types.is_timestamp(kind) and kind.tz == "UTC":
        return TimestampType()
    raise TypeError(f"no Spark type for {kind}")
