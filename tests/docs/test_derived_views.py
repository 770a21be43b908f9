"""The SQL views of pipeline-spec/derived_views.sql give the rows of the derived tables, on local Spark."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from support.lakeflow import comparable

from gmail_client.emulator import Emulator
from gmail_client.schema import to_batch
from gmail_client.views import VIEWS, labels_of, to_table, view_rows
from gmail_client.views.parts import children_of

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "pipeline-spec"
SCRIPT = FOLDER / "derived_views.sql"
MANY = FOLDER / "derived_views_many_mailboxes.sql"
LEVELS = 4
"""Levels of parts that the views read."""

Row = dict[str, Any]


def holds_a_message(part: Row) -> bool:
    """Whether the part contains an attached message, whose bodies and attachments the view does not distinguish."""
    return any(
        str(child.get("mimeType")).startswith("message/") or holds_a_message(dict(child))
        for child in children_of(part)
    )


@pytest.mark.slow
@pytest.mark.spark
@pytest.mark.filterwarnings("default")
def test_the_views_give_what_the_derived_tables_hold(spark: SparkSession) -> None:
    with Emulator(messages=300, seed=4, mean_json_kb=4.0) as gmail:
        messages, labels = gmail.truth("messages"), gmail.truth("labels")
    names = labels_of(labels)
    tables = {
        name: pa.Table.from_batches([to_batch(name, rows)])
        for name, rows in (("messages", messages), ("labels", labels))
    }
    session = session_with(spark, tables, SCRIPT)
    emails = {row["message_id"]: row for row in session.table("emails").toArrow().to_pylist()}
    held = session.table("message_labels").toArrow().to_pylist()
    expected = {row["message_id"]: row for row in computed("emails", messages, names)}
    assert emails.keys() == expected.keys()
    compared = texts = 0
    for message in messages:
        row, wanted = emails[message["id"]], expected[message["id"]]
        assert set(row) == set(VIEWS["emails"].schema.names)
        loose = (
            {"body_text", "body_html", "attachment_count"} if holds_a_message(message["payload"]) else set()
        )
        if row["body_text"] is None:
            loose.add("body_text")  # the table converts HTML, the view does not
        for column in set(row) - loose:
            assert row[column] == wanted[column], (message["id"], column)
        compared += not loose
        texts += row["body_text"] is not None
    assert min(compared, texts) > 200
    key = lambda row: (row["message_id"], row["label_id"])  # noqa: E731
    assert sorted(held, key=key) == sorted(computed("message_labels", messages, names), key=key)
    files = session.table("attachments").toArrow().to_pylist()
    part = lambda row: (row["message_id"], row["part_id"])  # noqa: E731
    attached = computed("attachments", messages, names)
    reached = [row for row in attached if row["part_id"].count(".") < LEVELS]
    assert sorted(files, key=part) == sorted(reached, key=part)
    assert 50 < len(files) < len(attached)


def session_with(spark: SparkSession, tables: dict[str, pa.Table], script: Path) -> SparkSession:
    """A session with these tables, and the views of a script over them."""
    session = spark.newSession()
    session.conf.set("spark.sql.session.timeZone", "UTC")
    for name, table in tables.items():
        session.createDataFrame(table).createOrReplaceTempView(name)
    for statement in script.read_text("utf-8").replace("REPLACE VIEW", "REPLACE TEMPORARY VIEW").split(";\n"):
        if statement.strip():
            session.sql(statement)
    return session


@pytest.mark.slow
@pytest.mark.spark
@pytest.mark.filterwarnings("default")
def test_messages_are_a_view_over_threads(spark: SparkSession) -> None:
    with Emulator(messages=60, seed=4, mean_json_kb=2.0) as gmail:
        threads, messages = gmail.truth("threads"), gmail.truth("messages")
    rows = pa.Table.from_batches([to_batch("threads", threads)])
    session = session_with(spark, {"threads": rows}, FOLDER / "messages_of_threads.sql")
    found = {row["id"]: row for row in session.table("messages").toArrow().to_pylist()}
    expected = {row["id"]: row for row in to_batch("messages", messages).to_pylist()}
    assert found.keys() == expected.keys()
    for key, row in found.items():
        assert comparable(row) == comparable(expected[key])  # an attachmentId differs between reads
        assert row["historySequence"] == int(row["historyId"])
    missing = expected[messages[0]["id"]].keys() - found[messages[0]["id"]].keys()
    assert missing == {"unknownFields"}


def test_the_script_for_many_mailboxes_is_up_to_date() -> None:
    written = runpy.run_path(str(ROOT / "scripts" / "derived_views.py"))["many_mailboxes"]
    assert MANY.read_text("utf-8") == written(SCRIPT.read_text("utf-8")), (
        "run `python scripts/derived_views.py`"
    )


@pytest.mark.slow
@pytest.mark.spark
@pytest.mark.filterwarnings("default")
def test_the_views_over_many_mailboxes_have_the_rows_of_each(spark: SparkSession) -> None:
    with Emulator(mailboxes=2, messages=40, seed=4, mean_json_kb=2.0) as gmail:
        truths = {
            address: {name: gmail.truth(name, address) for name in ("messages", "labels")}
            for address in gmail.addresses
        }
    truths = {address.replace("@", "@other."): truth for address, truth in truths.items()} | truths
    tables = {}
    for name in ("messages", "labels"):
        parts = []
        for address, truth in truths.items():
            rows = pa.Table.from_batches([to_batch(name, truth[name])])
            parts.append(rows.add_column(0, "mailbox", pa.array([address] * rows.num_rows)))
        tables[name] = pa.concat_tables(parts)
    session = session_with(spark, tables, MANY)
    for name in VIEWS:
        found = session.table(name)
        assert found.columns[0] == "mailbox"
        keys = ["mailbox", *VIEWS[name].primary_key]
        named = ["label_name", "label_type"] if name == "message_labels" else []
        rows = sorted(tuple(row) for row in found.select(*keys, *named).collect())
        expected = sorted(
            (address, *(row[column] for column in (*VIEWS[name].primary_key, *named)))
            for address, truth in truths.items()
            for row in computed(name, truth["messages"], labels_of(truth["labels"]))
        )
        assert rows == expected


def computed(name: str, messages: list[Row], names: Any) -> list[Row]:
    return to_table(
        name, [row for message in messages for row in view_rows(name, message, names)]
    ).to_pylist()
