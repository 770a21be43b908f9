"""SQL text with values that people and Gmail choose."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable, QueryBuilder, write_deltalake
from hypothesis import given, settings
from hypothesis import strategies as st

from gmail_client.sql import equals, identifier, literal, one_of

HOSTILE = (
    "o'brien@example.com",
    "' OR '1'='1",
    "'; DROP TABLE t; --",
    "a' -- ",
    'a" OR "1"="1',
    "\\' OR 1=1",
    "a\\",
    "$$x$$",
    "$1",
    "?",
    ":name",
    "{address}",
    "%s",
    "a/*b*/c",
    "line\nfeed",
    "tab\there",
    "e'\\x27'",
    "\u2019 \uff07",
    "\u202e gnp",
    "\x1b[31m",
    "",
    " ",
    "NULL",
    "../../etc",
    "mailbox=a",
)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> DeltaTable:
    place = str(tmp_path_factory.mktemp("lake") / "t")
    rows = pa.table({"who is": [*HOSTILE, "nobody"], "n": range(len(HOSTILE) + 1)})
    write_deltalake(place, rows)
    return DeltaTable(place)


def found(table: DeltaTable, where: str) -> list[str]:
    rows = pa.table(QueryBuilder().register("t", table).execute(f"SELECT * FROM t WHERE {where}"))
    return list(rows["who is"].to_pylist())


@pytest.mark.parametrize("value", HOSTILE)
def test_a_hostile_value_finds_itself_alone(table: DeltaTable, value: str) -> None:
    assert found(table, equals("who is", value)) == [value]


def test_a_list_finds_its_own(table: DeltaTable) -> None:
    assert sorted(found(table, one_of("who is", HOSTILE[:9]))) == sorted(HOSTILE[:9])
    assert found(table, one_of("who is", ())) == []


@settings(max_examples=60, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12))
def test_any_text_comes_back_as_it_went_in(table: DeltaTable, text: str) -> None:
    rows = pa.table(QueryBuilder().register("t", table).execute(f"SELECT {literal(text)} AS x FROM t"))
    assert set(rows["x"].to_pylist()) == {text}


@pytest.mark.parametrize("name", ['a"b', "Select", "x y", "a;b"])
def test_any_name_of_a_column(tmp_path: Path, name: str) -> None:
    write_deltalake(str(tmp_path), pa.table({name: ["value"], "other": ["x"]}))
    found_rows = QueryBuilder().register("t", DeltaTable(str(tmp_path)))
    rows = pa.table(found_rows.execute(f"SELECT {identifier(name)} FROM t WHERE {equals(name, 'value')}"))
    assert rows.column_names == [name]


@pytest.mark.parametrize("value", HOSTILE)
def test_a_delete_takes_the_named_rows_only(tmp_path: Path, value: str) -> None:
    place = str(tmp_path / "t")
    write_deltalake(place, pa.table({"mailbox": [value, "other"]}))
    DeltaTable(place).delete(predicate=equals("mailbox", value))
    assert DeltaTable(place).to_pyarrow_table()["mailbox"].to_pylist() == ["other"]
