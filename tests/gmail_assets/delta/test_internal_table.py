"""Small tables of a lake: written although other runs commit meanwhile, and read as they are then."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake.exceptions import CommitFailedError

from gmail_assets.delta import internal_table
from gmail_assets.delta.internal_table import InternalTable
from gmail_assets.delta.lake import Lake

OLD = pa.schema([("key", pa.string()), ("value", pa.string())])
NEW = pa.schema([*OLD, ("added", pa.int64())])


def table(lake: Lake, schema: pa.Schema = OLD) -> InternalTable:
    return InternalTable(lake, "_gmail_test", schema, ("key",))


def test_a_write_that_another_run_precedes_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, refusals = internal_table.write_deltalake, [CommitFailedError("another run")] * 3

    def preceded(*arguments: Any, **options: Any) -> None:
        if refusals:
            raise refusals.pop()
        write(*arguments, **options)

    monkeypatch.setattr(internal_table, "write_deltalake", preceded)
    one = table(Lake(str(tmp_path)))
    one.replace([{"key": "a", "value": "1"}], "key = 'a'")
    assert not refusals
    assert one.rows() == [{"key": "a", "value": "1"}]


def test_a_session_sees_its_own_writes(tmp_path: Path) -> None:
    Lake(str(tmp_path)).make_folder()
    one = table(Lake(str(tmp_path)).session())
    assert one.rows() == []
    for value in ("1", "2"):
        one.replace([{"key": "a", "value": value}], "key = 'a'")
        assert one.rows(key=["a"]) == [{"key": "a", "value": value}]


def test_a_column_that_an_earlier_release_did_not_write_is_null(tmp_path: Path) -> None:
    table(Lake(str(tmp_path))).replace([{"key": "a", "value": "1"}], "key = 'a'")
    later = table(Lake(str(tmp_path)), NEW)
    assert later.rows() == [{"key": "a", "value": "1", "added": None}]
    later.replace([{"key": "b", "value": "2", "added": 3}], "key = 'b'")
    assert later.rows(key=["b", "c"]) == [{"key": "b", "value": "2", "added": 3}]
    assert later.rows(key=["a"]) == [{"key": "a", "value": "1", "added": None}]
    later.replace([], "key = 'a'")
    assert [row["key"] for row in later.rows()] == ["b"]
