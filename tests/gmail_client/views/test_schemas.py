"""The schemas of the derived tables: descriptions, keys, and no forbidden imports."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pyarrow as pa
import pytest

from gmail_client.schema import describe
from gmail_client.views import LABEL_COLUMNS, VIEWS, View


def fields(schema: pa.Schema) -> Iterator[pa.Field]:
    for field in schema:
        yield field
        inner = field.type.value_type if pa.types.is_list(field.type) else field.type
        if pa.types.is_struct(inner):
            yield from inner.fields


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_every_column_has_a_description_and_an_sql_name(view: View) -> None:
    assert set(view.primary_key) <= set(view.schema.names)
    for field in fields(view.schema):
        assert describe(field).endswith(".") or describe(field).endswith("UTC.")
        assert field.name == field.name.lower()
        assert field.name.isidentifier()
        assert field.name not in {"from", "to", "date", "timestamp", "group", "order"}


def test_label_columns_are_columns() -> None:
    assert set(LABEL_COLUMNS) < set(VIEWS["emails"].schema.names)


def test_the_package_needs_neither_delta_nor_dagster_nor_spark() -> None:
    code = (
        "import sys, gmail_client.views;"
        "print({'deltalake', 'dagster', 'pyspark', 'requests'} & {name.split('.')[0] for name in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
