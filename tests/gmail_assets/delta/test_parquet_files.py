"""Only slices are copied before they are written."""

from __future__ import annotations

import pyarrow as pa
import pytest

from gmail_assets.delta.parquet_files import fresh
from gmail_client.schema import SCHEMAS, to_batch

ROWS = [
    {
        "id": f"m{number}",
        "threadId": "t" * number,
        "labelIds": ["INBOX"] * number,
        "historyId": str(number),
        "payload": {"headers": [{"name": "Subject", "value": "x" * number}] * number, "body": {"size": 3}},
    }
    for number in range(1, 10)
]


def rows(count: int) -> pa.Table:
    return pa.Table.from_batches([to_batch("messages", ROWS[:count])])


@pytest.mark.parametrize("count", [0, 1, 9])
def test_whole_arrays_are_not_copied(count: int) -> None:
    table = rows(count)
    assert fresh(table) is table
    joined = pa.concat_tables([rows(count), rows(count)])
    assert fresh(joined) is joined


@pytest.mark.parametrize(("start", "length"), [(0, 8), (1, 8), (3, 2), (0, 1), (8, 1)])
@pytest.mark.parametrize("of_struct", [False, True])
def test_slices_are_copied(start: int, length: int, of_struct: bool) -> None:
    table = rows(9)
    if of_struct:
        struct = table.to_struct_array().combine_chunks().slice(start, length)
        sliced = pa.Table.from_arrays(struct.flatten(), schema=SCHEMAS["messages"])
    else:
        sliced = table.slice(start, length)
    copied = fresh(sliced)
    assert copied is not sliced
    assert copied.equals(sliced)
    assert copied.get_total_buffer_size() < table.get_total_buffer_size()
    assert all(chunk.offset == 0 for column in copied.columns for chunk in column.chunks)
