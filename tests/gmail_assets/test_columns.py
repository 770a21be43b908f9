"""Columns as Dagster shows them."""

from __future__ import annotations

import pytest

from gmail_assets.columns import column_schema
from gmail_client.tables import CATALOGUE
from gmail_client.views import VIEWS

TABLES = {**CATALOGUE, **VIEWS}


@pytest.mark.parametrize("name", TABLES)
def test_the_primary_key_is_marked(name: str) -> None:
    table = TABLES[name]
    schema = column_schema(table)
    marked = {column.name for column in schema.columns if "primary key" in column.constraints.other}
    assert marked == {"mailbox", *table.primary_key}
    assert {column.name for column in schema.columns if not column.constraints.nullable} == marked


@pytest.mark.parametrize("name", TABLES)
def test_every_column_has_a_short_type_and_a_description(name: str) -> None:
    for column in column_schema(TABLES[name]).columns:
        assert column.type in {
            *("string", "int64", "int32", "bool", "struct", "list<string>", "list<struct>"),
            *("timestamp[us, tz=UTC]", "double"),
        }
        assert column.description, column.name
    names = [column.name for column in column_schema(TABLES[name]).columns]
    assert len(names) == len(set(names))


def test_nested_fields_follow_their_column() -> None:
    columns = {column.name: column for column in column_schema(CATALOGUE["messages"]).columns}
    names = list(columns)
    assert names.index("payload") < names.index("payload.mimeType") < names.index("payload.headers[].name")
    assert columns["payload"].type == "struct"
    assert columns["payload.headers"].type == "list<struct>"
    assert columns["payload.body.data"].type == "string"
    assert columns["payload.parts"].type == "list<struct>"
    assert "5 levels" in columns["payload.parts"].description
    assert not any(name.startswith("payload.parts[]") for name in names)
    threads = [column.name for column in column_schema(CATALOGUE["threads"]).columns]
    assert "messages[].payload.headers[].value" in threads
