"""Every query of docs/querying.md runs in each of its engines and gives the documented result."""

from __future__ import annotations

import csv
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, QueryBuilder
from support.queries import (
    PAGE,
    Question,
    engine_blocks,
    evaluate,
    make_lake,
    questions,
    rendered,
    setup_blocks,
)

from gmail_client.views import VIEWS

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

duckdb = pytest.importorskip("duckdb")
TEXT = PAGE.read_text("utf-8")
QUESTIONS = {question.heading: question for question in questions(TEXT)}
IN_SPARK = ("1", "2", "8")
ENGINES = ("datafusion", "daft", "chdb")
INTERPRETER = Path(__file__).resolve().parents[2] / ".engines" / "bin" / "python"


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """The names that the first blocks of the page define, in a folder with the `lake` that they read."""
    folder = tmp_path_factory.mktemp("querying")
    make_lake(folder / "lake")
    found: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for block in setup_blocks(TEXT):
            evaluate(block, found)
        yield found


def rows_of(frame: Any) -> str:
    if isinstance(frame, found_in_polars()):
        return rendered(frame.columns, frame.rows())
    return rendered(list(frame.columns), [tuple(row) for row in frame.itertuples(index=False)])


def found_in_polars() -> Any:
    import polars as pl

    return pl.DataFrame


def test_the_questions_are_numbered_and_have_an_answer_in_sql_and_polars() -> None:
    assert [heading.split(".")[0] for heading in QUESTIONS] == [str(n + 1) for n in range(len(QUESTIONS))]
    assert all(question.python and question.result.count("\n") > 1 for question in QUESTIONS.values())


@pytest.mark.usefixtures("names")
@pytest.mark.parametrize(
    ("number", "columns"),
    {"1": {1}, "3": {1}, "4": {1, 2}, "5": {2}, "9": None, "11": None, "12": None}.items(),
)
def test_a_second_mailbox_with_the_same_mails_does_not_mix_with_the_first(
    number: str, columns: set[int] | None
) -> None:
    (sql,) = (
        one.sql.rpartition("LIMIT")[0] for key, one in QUESTIONS.items() if key.startswith(f"{number}.")
    )
    one, two = duckdb.connect(), duckdb.connect()
    for name in VIEWS:
        table = DeltaTable(f"lake/{name}").to_pyarrow_table()
        other = table.set_column(
            table.schema.get_field_index("mailbox"), "mailbox", pa.array(["b@x.test"] * table.num_rows)
        )
        one.register(name, table)
        two.register(name, pa.concat_tables([table, other.cast(table.schema)]))
    for connection in (one, two):
        connection.sql("SET TimeZone = 'UTC'")
    alone, both = (sorted(connection.sql(sql).fetchall(), key=str) for connection in (one, two))
    if columns is None:  # one row per mail or thread
        assert both == sorted(alone * 2, key=str)
    else:  # counts and sums
        doubled = [
            tuple(2 * value if n in columns else value for n, value in enumerate(row)) for row in alone
        ]
        assert both == sorted(doubled, key=str)


@pytest.mark.parametrize("question", QUESTIONS.values(), ids=QUESTIONS)
def test_every_engine_gives_the_same_answer(question: Question, names: dict[str, Any]) -> None:
    found = duckdb.sql(question.sql)
    assert rendered(found.columns, found.fetchall()) == question.result, "run scripts/querying_doc.py"
    for block in question.python:
        assert rows_of(evaluate(block, names)) == question.result


@pytest.mark.usefixtures("names")
def test_the_summary_of_threads() -> None:
    section = TEXT.split("\n## A summary of each thread\n")[1]
    found = duckdb.sql(section.split("```sql\n")[1].split("```")[0])
    rows = {row[1]: row[2:] for row in found.fetchall()}
    emails = duckdb.sql("SELECT thread_id, received_at, from_email, is_unread FROM emails").fetchall()
    assert rows.keys() == {row[0] for row in emails}
    for thread_id, (first, last, mails, senders, unread) in rows.items():
        own = [row for row in emails if row[0] == thread_id]
        assert (first, last, mails) == (min(row[1] for row in own), max(row[1] for row in own), len(own))
        assert set(senders) == {row[2] for row in own} - {None}
        assert unread == sum(row[3] for row in own)


@pytest.mark.usefixtures("names")
def test_datafusion_reads_the_tables() -> None:
    for name in VIEWS:
        table = DeltaTable(f"lake/{name}")
        counted = QueryBuilder().register("t", table).execute("SELECT count(*) AS n FROM t")
        assert pa.table(counted)["n"].to_pylist() == [table.to_pyarrow_dataset().count_rows()]


_RUN = """
import ast, json, sys
from pathlib import Path
from deltalake import DeltaTable

tree = ast.parse(sys.stdin.read())
last = ast.Expression(tree.body.pop().value)
names = {}
exec(compile(tree, "<block>", "exec"), names)
found = eval(compile(last, "<block>", "eval"), names)
print("FOUND " + json.dumps(found.to_pydict() if hasattr(found, "to_pydict") else str(found)))
"""


@pytest.mark.slow
@pytest.mark.usefixtures("names")
@pytest.mark.parametrize("engine", ENGINES)
def test_other_engines_give_the_same(engine: str) -> None:
    if not INTERPRETER.exists():
        pytest.skip("the interpreter with the engines is missing: scripts/engines-env makes it")
    (block,) = (
        block for block in engine_blocks(TEXT) if f"import {engine}\n" in block or f"from {engine} " in block
    )
    done = subprocess.run(
        [INTERPRETER, "-I", "-c", _RUN],
        input=block,
        capture_output=True,
        text=True,
        timeout=300,
        env={name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.rpartition("FOUND ")[2])
    if isinstance(found, str):
        columns, *rows = csv.reader(found.splitlines())
        found = {name: [row[n] for row in rows] for n, name in enumerate(columns)}
    answer = rendered(list(found), [(name, int(count)) for name, count in zip(*found.values(), strict=True)])
    assert answer == next(question.result for key, question in QUESTIONS.items() if key.startswith("8."))


@pytest.mark.slow
@pytest.mark.spark
@pytest.mark.usefixtures("names")
def test_spark_sql_gives_the_same(spark: SparkSession) -> None:
    session = spark.newSession()
    session.conf.set("spark.sql.session.timeZone", "UTC")
    table = DeltaTable("lake/emails").to_pyarrow_table(
        columns=["received_at", "from_email", "from_domain", "is_sent", "is_draft"]
    )
    session.createDataFrame(table.to_pandas()).createOrReplaceTempView("emails")
    for heading, question in QUESTIONS.items():
        if heading.split(".")[0] in IN_SPARK:
            found = session.sql(question.sql)
            assert rendered(found.columns, [tuple(row) for row in found.collect()]) == question.result
