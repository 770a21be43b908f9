"""Columns as Dagster shows them."""

from __future__ import annotations

import pyarrow as pa
import pytest

from gmail_assets.columns import column_schema, type_text
from gmail_client.tables import CATALOGUE


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (pa.string(), "string"),
        (pa.int64(), "int64"),
        (pa.list_(pa.string()), "list<string>"),
        (pa.struct([("a", pa.string()), ("b", pa.bool_())]), "struct<a: string, b: bool>"),
        (pa.list_(pa.struct([(f"field{n}", pa.string()) for n in range(9)])), "list<struct<9 fields>>"),
    ],
)
def test_types_are_short(kind, text):
    assert type_text(kind) == text


@pytest.mark.parametrize("name", CATALOGUE)
def test_the_primary_key_is_marked(name):
    table = CATALOGUE[name]
    schema = column_schema(table)
    marked = {column.name for column in schema.columns if "primary key" in column.constraints.other}
    assert marked == {"mailbox", *table.primary_key}
    assert {column.name for column in schema.columns if not column.constraints.nullable} == marked
    assert all(len(column.type) < 80 for column in schema.columns)
