"""The Delta side of a pipeline, without Spark."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable

from lakeflow_entry.pipelines.delta_sink import DELETED_AT, END_AT, START_AT, DeltaSink

SCHEMA = pa.schema([("id", pa.string()), ("threadId", pa.string()), ("historySequence", pa.int64())])


def sink(tmp_path: Path, **options: Any) -> DeltaSink:
    return DeltaSink(
        str(tmp_path / "table"), SCHEMA, options.pop("keys", ("id",)), "historySequence", **options
    )


def rows(*items: tuple[str, str | None, int]) -> pa.Table:
    return pa.Table.from_pylist([dict(zip(SCHEMA.names, item, strict=True)) for item in items], schema=SCHEMA)


def stored(target: DeltaSink, *names: str) -> list[tuple[Any, ...]]:
    table = DeltaTable(target.location).to_pyarrow_table()
    return sorted(tuple(row[name] for name in names) for row in table.to_pylist())


def test_the_higher_sequence_wins_and_a_repeated_batch_is_written_once(tmp_path: Path) -> None:
    target = sink(tmp_path)
    assert target.upsert(rows(("a", "new", 5), ("b", "b", 1)), "s", 0) == 2
    assert target.upsert(rows(("a", "old", 4)), "s", 1) == 1
    assert target.upsert(rows(("c", "c", 9)), "s", 0) == 0
    assert target.delete(rows(("b", None, 0)), "d", 0) == 1
    assert stored(target, "id", "threadId") == [("a", "new"), ("b", "b")]
    assert target.delete(rows(("b", None, 2), ("zz", None, 2)), "d", 1) == 2
    assert stored(target, "id", "threadId") == [("a", "new")]
    assert target.count() == 1


@pytest.mark.parametrize("scd", ["SCD_TYPE_1", "SCD_TYPE_2", "APPEND_ONLY"])
def test_a_table_of_an_earlier_version_gets_new_columns(tmp_path: Path, scd: str) -> None:
    sink(tmp_path, scd=scd).upsert(rows(("a", "t", 1)), "s", 0)
    wider = SCHEMA.append(pa.field("extra", pa.string()))
    target = DeltaSink(str(tmp_path / "table"), wider, ("id",), "historySequence", scd=scd)  # type: ignore[arg-type]
    new = [{"id": "b", "threadId": "u", "historySequence": 2, "extra": "x"}]
    assert target.upsert(pa.Table.from_pylist(new, schema=wider), "s", 1) == 1
    assert stored(target, "id", "extra") == [("a", None), ("b", "x")]


def test_other_keys_keep_the_latest_row(tmp_path: Path) -> None:
    target = sink(tmp_path, keys=("threadId",))
    target.upsert(rows(("a", "t", 1), ("b", "t", 3), ("c", "t", 2)), "s", 0)
    assert stored(target, "id", "threadId") == [("b", "t")]


def test_every_version_is_kept_with_its_validity(tmp_path: Path) -> None:
    target = sink(tmp_path, scd="SCD_TYPE_2")
    target.upsert(rows(("a", "one", 5), ("b", "b", 6)), "s", 0)
    target.upsert(rows(("a", "two", 8)), "s", 1)
    target.upsert(rows(("a", "again", 8)), "s", 2)
    target.delete(rows(("b", None, 9)), "d", 0)
    assert stored(target, "id", "threadId", START_AT, END_AT) == [
        ("a", "one", 5, 8),
        ("a", "two", 8, None),
        ("b", "b", 6, 9),
    ]
    target.upsert(rows(("b", "back", 12)), "s", 3)
    assert target.present() == {("a",): 8, ("b",): 12}


def test_versions_of_a_snapshot(tmp_path: Path) -> None:
    schema = pa.schema([("id", pa.string()), ("color", pa.struct([("text", pa.string())]))])
    target = DeltaSink(str(tmp_path / "labels"), schema, ("id",), scd="SCD_TYPE_2")
    first, second = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)
    red, blue = {"text": "red"}, {"text": "blue"}
    target.replace(
        pa.Table.from_pylist([{"id": "a", "color": red}, {"id": "b", "color": red}], schema), first
    )
    target.replace(pa.Table.from_pylist([{"id": "a", "color": blue}, {"id": "c"}], schema), second)
    target.replace(pa.Table.from_pylist([{"id": "a", "color": blue}, {"id": "c"}], schema))
    assert stored(target, "id", START_AT, END_AT)[0] == ("a", first, second)
    assert len(stored(target, "id")) == 4
    assert target.present().keys() == {("a",), ("c",)}


def test_deleted_rows_can_be_kept_with_the_time(tmp_path: Path) -> None:
    target = sink(tmp_path, keep_deleted=True)
    target.upsert(rows(("a", "a", 1), ("b", "b", 1)), "s", 0)
    target.delete(rows(("a", None, 2)), "d", 0)
    assert target.present() == {("b",): 1}
    assert len(stored(target, "id", DELETED_AT)[0]) == 2
    target.upsert(rows(("a", "back", 3)), "s", 1)
    assert target.present() == {("a",): 3, ("b",): 1}


def test_append_only_keeps_every_row(tmp_path: Path) -> None:
    target = sink(tmp_path, scd="APPEND_ONLY")
    target.upsert(rows(("a", "a", 1)), "s", 0)
    target.upsert(rows(("a", "a", 2)), "s", 1)
    target.delete(rows(("a", None, 3)), "d", 0)
    assert stored(target, "id", "historySequence") == [("a", 1), ("a", 2)]


@pytest.mark.parametrize("scd", ["SCD_TYPE_1", "SCD_TYPE_2"])
def test_rows_are_deleted_by_key(tmp_path: Path, scd: Any) -> None:
    target = sink(tmp_path, scd=scd)
    target.upsert(rows(("a", "a", 1), ("b", "b", 1)), "s", 0)
    target.delete_keys([("a",)], 7)
    target.delete_keys([], 8)
    assert target.present() == {("b",): 1}


@pytest.mark.parametrize("changing", [True, False])
@pytest.mark.parametrize("scd", ["SCD_TYPE_1", "SCD_TYPE_2", "APPEND_ONLY"])
def test_a_table_that_kept_unknown_fields_is_continued_without_them(
    tmp_path: Path, scd: Any, changing: bool
) -> None:
    kept = SCHEMA.append(pa.field("unknownFields", pa.string()))
    for number, schema in enumerate((SCHEMA, kept, SCHEMA), 1):
        target = DeltaSink(str(tmp_path / "t"), schema, ("id",), "historySequence" if changing else None, scd)
        row = {"id": str(number), "historySequence": number, "unknownFields": "{}"}
        given = pa.Table.from_pylist([row], schema=schema)
        if changing:
            target.upsert(given, "s", number)
        else:
            target.replace(given)
    held = stored(target, "id", "unknownFields")
    assert held[-1] == ("3", None)
    assert ("2", "{}") in held or (scd == "SCD_TYPE_1" and not changing)
