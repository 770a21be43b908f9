"""SQL with values from users and Gmail, in the engines that execute it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from deltalake import DeltaTable, QueryBuilder, write_deltalake
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gmail_client.sql import equals, identifier, literal, one_of, spark_identifier, spark_literal

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

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
def test_a_hostile_value_matches_only_itself(table: DeltaTable, value: str) -> None:
    assert found(table, equals("who is", value)) == [value]


def test_a_list_matches_only_its_values(table: DeltaTable) -> None:
    assert sorted(found(table, one_of("who is", HOSTILE[:9]))) == sorted(HOSTILE[:9])
    assert found(table, one_of("who is", ())) == []


@settings(max_examples=60, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12))
def test_any_text_round_trips(table: DeltaTable, text: str) -> None:
    rows = pa.table(QueryBuilder().register("t", table).execute(f"SELECT {literal(text)} AS x FROM t"))
    assert set(rows["x"].to_pylist()) == {text}


@settings(max_examples=60, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=12))
@example('"; DROP TABLE t; --')
def test_any_name_comes_back_as_it_went_in(table: DeltaTable, name: str) -> None:
    rows = pa.table(QueryBuilder().register("t", table).execute(f"SELECT 1 AS {identifier(name)} FROM t"))
    assert rows.column_names == [name]


@pytest.mark.parametrize("name", ['a"b', "Select", "x y", "a;b"])
def test_any_column_name_is_quoted(tmp_path: Path, name: str) -> None:
    write_deltalake(str(tmp_path), pa.table({name: ["value"], "other": ["x"]}))
    found_rows = QueryBuilder().register("t", DeltaTable(str(tmp_path)))
    rows = pa.table(found_rows.execute(f"SELECT {identifier(name)} FROM t WHERE {equals(name, 'value')}"))
    assert rows.column_names == [name]


@pytest.mark.parametrize("value", HOSTILE)
def test_a_delete_removes_only_the_named_rows(tmp_path: Path, value: str) -> None:
    place = str(tmp_path / "t")
    write_deltalake(place, pa.table({"mailbox": [value, "other"]}))
    DeltaTable(place).delete(predicate=equals("mailbox", value))
    assert DeltaTable(place).to_pyarrow_table()["mailbox"].to_pylist() == ["other"]


_ESCAPE = re.compile(r"\\(u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|[0-3][0-7]{2}|.)", re.S)
_SPARK_ESCAPES = {"0": "\0", "b": "\b", "n": "\n", "r": "\r", "t": "\t", "Z": "\x1a", "%": "\\%", "_": "\\_"}


def read_by_spark(sql: str) -> str:
    """The value of a literal, according to Spark's documented rules for string literals."""
    assert re.fullmatch(r"'(\\.|[^\\'])*'", sql, re.S), "it ends before its last quote"

    def character(found: re.Match[str]) -> str:
        escape = found[1]
        if len(escape) == 3:
            return chr(int(escape, 8))
        if len(escape) > 1:
            return chr(int(escape[1:], 16))
        return _SPARK_ESCAPES.get(escape, escape)

    return _ESCAPE.sub(character, sql[1:-1])


SPARK_SPECIAL = (
    "\\u0024{env:HOME}",
    "${env:HOME}",
    "$${a}",
    "\\\\'",
    "\\%_\\0",
    "\\101",
    "`",
    "``; --",
    "a\\",
)
any_text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
spark_text = any_text | st.lists(st.sampled_from(["\\", "'", "$", "{", "}", "u0024", "n", "0", "101"])).map(
    "".join
)


@given(spark_text)
@example(SPARK_SPECIAL[0])
@example(SPARK_SPECIAL[3])
def test_spark_reads_any_text_as_it_is_by_its_documented_rules(text: str) -> None:
    assert read_by_spark(spark_literal(text)) == text
    assert "${" not in spark_literal(text)


def test_a_name_in_which_spark_would_replace_a_variable_is_refused() -> None:
    assert spark_identifier("main", "a`b") == "`main`.`a``b`"
    with pytest.raises(ValueError, match="variables"):
        spark_identifier("main", "${env:HOME}")


@pytest.mark.slow
@pytest.mark.spark
@pytest.mark.filterwarnings("default")
def test_spark_itself_reads_every_text_and_name_as_it_is(spark: SparkSession) -> None:
    texts = [*HOSTILE, *SPARK_SPECIAL]

    @settings(max_examples=300, database=None, deadline=None, derandomize=True)
    @given(spark_text)
    def draw(text: str) -> None:
        texts.append(text)

    draw()
    names = [name for name in dict.fromkeys(texts) if name and "${" not in name]
    session = spark.newSession()
    row = session.sql("SELECT " + ", ".join(f"{spark_literal(text)} AS c{n}" for n, text in enumerate(texts)))
    assert list(row.collect()[0]) == texts
    assert (
        session.sql("SELECT " + ", ".join(f"1 AS {spark_identifier(name)}" for name in names)).columns
        == names
    )
    unprotected = session.sql("SELECT '${env:HOME}' AS x").collect()[0].x
    assert unprotected != "${env:HOME}", "Spark no longer replaces variables: the escape is not needed"
