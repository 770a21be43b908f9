"""Create a table, or add columns to it, while other processes do the same: `create_table`, `add_columns`.

deltalake repeats a commit that another one preceded, even the one that creates a table. That would replace the id of
the table that the other process has just created, and with it the names of all transactions. So a creation is not
repeated: the second process opens the table of the first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable
from deltalake import Schema as DeltaSchema
from deltalake.exceptions import CommitFailedError

__all__ = ["add_columns", "create_table"]

_ATTEMPTS = 20


def create_table(
    location: str, schema: pa.Schema, storage_options: Mapping[str, str] | None, **options: Any
) -> DeltaTable:
    """Create a table, or open the one that is there by then.

    Args:
        location: Its URI.
        schema: Its columns.
        storage_options: Those of the lake.
        **options: Further arguments of `DeltaTable.create`.

    Raises:
        DeltaError: It can't be created.
    """
    named = dict(storage_options) if storage_options else None
    try:
        return DeltaTable.create(
            location,
            schema=schema,
            mode="ignore",
            storage_options=named,
            commit_properties=CommitProperties(max_commit_retries=0),
            **options,
        )
    except CommitFailedError:
        return DeltaTable(location, storage_options=named)


def add_columns(table: DeltaTable, schema: pa.Schema) -> None:
    """Add the columns of `schema` that a table does not have yet.

    Raises:
        DeltaError: They can't be added.
    """
    for attempt in range(_ATTEMPTS):
        present = {field.name for field in table.schema().fields}
        missing = [field for field in DeltaSchema.from_arrow(schema).fields if field.name not in present]
        if not missing:
            return
        try:
            table.alter.add_columns(missing)
            return
        except CommitFailedError:
            if attempt == _ATTEMPTS - 1:
                raise
            table.update_incremental()
