"""`lakeflow_connect` in a real Spark session."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.lakeflow import comparable, options_of

from gmail_client.emulator import Emulator
from gmail_client.schema import json_row
from gmail_client.tables import CATALOGUE
from gmail_client.views import VIEWS, labels_of, to_table, view_rows

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

pytestmark = [pytest.mark.spark, pytest.mark.filterwarnings("default")]

Connect = Callable[..., str]


@pytest.fixture(scope="module")
def gmail() -> Iterator[Emulator]:
    with Emulator(mailboxes=2, messages=60, seed=6) as emulator:
        yield emulator


def batch(spark: SparkSession, table: str, **options: str) -> DataFrame:
    return spark.read.format("lakeflow_connect").options(tableName=table, **options).load()


@pytest.mark.parametrize(
    "table",
    [pytest.param(name, marks=pytest.mark.smoke) if name == "messages" else name for name in CATALOGUE],
)
def test_a_batch_read_equals_the_mailbox(
    spark: SparkSession, gmail: Emulator, connect: Connect, table: str
) -> None:
    rows = batch(spark, table, connection=connect(gmail)).toArrow().to_pylist()
    key = CATALOGUE[table].primary_key[0]
    truth = [] if table == "delegates" else gmail.truth(table)
    expected = {row[key]: comparable(json_row(table, row)) for row in truth}
    assert {row[key]: comparable(row) for row in rows} == expected
    assert expected or table == "delegates"


@pytest.mark.parametrize("name", VIEWS)
def test_a_derived_table_is_computed_during_the_read(
    spark: SparkSession, gmail: Emulator, connect: Connect, name: str
) -> None:
    labels = labels_of(gmail.truth("labels"))
    truth = [row for message in gmail.truth("messages") for row in view_rows(name, message, labels)]
    frame = batch(spark, name, connection=connect(gmail))
    rows = frame.toArrow()
    assert rows.schema.names == VIEWS[name].schema.names
    assert rows.schema.types == VIEWS[name].schema.types
    key = itemgetter(*VIEWS[name].primary_key)
    assert sorted(rows.to_pylist(), key=key) == sorted(to_table(name, truth).to_pylist(), key=key)
    assert truth
    inbox = batch(spark, name, connection=connect(gmail), labelIds="INBOX").select("message_id").distinct()
    wanted = {row["message_id"] for row in truth if row["message_id"] in inbox_ids(gmail)}
    assert {row["message_id"] for row in inbox.collect()} == wanted


def inbox_ids(gmail: Emulator) -> set[str]:
    return {row["id"] for row in gmail.truth("messages", label_ids=["INBOX"])}


def test_several_mailboxes_are_partitions_with_a_column(
    spark: SparkSession, gmail: Emulator, connect: Connect, tmp_path: Path
) -> None:
    name = connect(gmail)
    known = options_of(gmail)
    for secret in ("client_id", "client_secret", "refresh_token"):
        known.pop(secret)
    known["service_account_file"] = str(gmail.service_account_file(tmp_path / "key.json"))
    import os

    file = Path(os.environ["GMAIL_CONNECTIONS_FILE"])
    file.write_text(json.dumps({name: known}))
    frame = batch(spark, "messages", connection=name, mailboxes=",".join(gmail.addresses))
    assert frame.columns[0] == "mailbox"
    assert frame.rdd.getNumPartitions() == 2
    rows = frame.select("mailbox", "id").collect()
    expected = {
        (address, row["id"]) for address in gmail.addresses for row in gmail.truth("messages", address)
    }
    assert {(row["mailbox"], row["id"]) for row in rows} == expected


def test_the_virtual_tables_can_be_read(spark: SparkSession) -> None:
    names = ["labels", "messages"]
    rows = batch(
        spark,
        "_community_table_metadata",
        tableNameList=json.dumps(names),
        tableConfigs=json.dumps({"messages": {"labelIds": "INBOX"}}),
    ).collect()
    assert [row.asDict() for row in rows] == [
        {"tableName": "labels", "primary_keys": ["id"], "cursor_field": None, "ingestion_type": "snapshot"},
        {
            "tableName": "messages",
            "primary_keys": ["id"],
            "cursor_field": "historySequence",
            "ingestion_type": "cdc_with_deletes",
        },
    ]
    assert {row["tableName"] for row in batch(spark, "_community_tables").collect()} == set(CATALOGUE)
    assert batch(spark, "_community_namespaces").collect() == []


@pytest.mark.parametrize(
    ("options", "fragment"),
    [
        ({"tableName": "mesages"}, "Table not supported: 'mesages'"),
        ({"tableName": "_community_table"}, "Virtual table not known"),
        ({"tableName": "labels", "connection": "nowhere"}, "Connection not found: 'nowhere'"),
        ({"tableName": "messages", "maxresult": "5"}, "Did you mean 'maxResults'"),
        ({"tableName": "messages", "format": "fancy"}, "Option 'format'"),
        ({"tableName": "messages", "client_id": "a", "refresh_token": "b"}, "client_secret"),
        ({}, "Option 'tableName' is missing"),
        ({"tableName": "_community_tables", "namespace": "[]"}, "have no namespaces"),
        ({"tableName": "labels", "namespace": '["work"]'}, "have no namespaces"),
    ],
)
def test_bad_input_is_an_error_of_one_sentence(
    spark: SparkSession, connect: Connect, gmail: Emulator, options: dict[str, str], fragment: str
) -> None:
    from pyspark.errors import PySparkException

    known = {"connection": connect(gmail, "known"), **options}
    with pytest.raises((PySparkException, Exception)) as caught:
        spark.read.format("lakeflow_connect").options(**known).load().toArrow()
    assert fragment in str(caught.value)


class TableSync:
    """The rows after all micro-batches of a stream."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, Any]] = {}
        self.sizes: list[int] = []
        self.deleted: list[str] = []

    def upsert(self, frame: DataFrame, batch_id: int) -> None:
        rows = frame.toArrow().to_pylist()
        self.sizes.append(len(rows))
        self.rows.update({row["id"]: row for row in rows})

    def delete(self, frame: DataFrame, batch_id: int) -> None:
        for row in frame.toArrow().to_pylist():
            self.deleted.append(row["id"])
            self.rows.pop(row["id"], None)


def run_stream(spark: SparkSession, checkpoint: Path, write: Any, **options: str) -> None:
    frame = spark.readStream.format("lakeflow_connect").options(**options).load()
    query = (
        frame.writeStream.foreachBatch(write)
        .option("checkpointLocation", str(checkpoint))
        .trigger(availableNow=True)
        .start()
    )
    assert query.awaitTermination(120)


@pytest.mark.parametrize("table", ["messages", pytest.param("threads", marks=pytest.mark.slow)])
def test_a_stream_loads_in_bounded_batches_and_follows_changes(
    spark: SparkSession, gmail: Emulator, connect: Connect, table: str, tmp_path: Path
) -> None:
    target = TableSync()
    options = {"connection": connect(gmail), "tableName": table, "max_records_per_batch": "20"}

    def run() -> None:
        run_stream(spark, tmp_path / "upserts", target.upsert, **options)
        run_stream(spark, tmp_path / "deletes", target.delete, isDeleteFlow="true", **options)

    run()
    assert max(target.sizes) <= 20
    assert target.rows.keys() == {row["id"] for row in gmail.truth(table)}
    mailbox = gmail.mailbox()
    victim = gmail.truth("threads")[3]
    mailbox.delete_thread(victim["id"])
    starred = gmail.truth("messages")[0]["id"]
    mailbox.modify(starred, add=["STARRED"], remove=["UNREAD"])
    mailbox.insert(mailbox.random_mail(), ("INBOX",))
    run()
    truth = {row["id"]: comparable(json_row(table, row)) for row in gmail.truth(table)}
    assert {key: comparable(row) for key, row in target.rows.items()} == truth
    gone = [victim["id"]] if table == "threads" else [message["id"] for message in victim["messages"]]
    assert set(gone) <= set(target.deleted)


@pytest.mark.slow
def test_a_lost_batch_with_an_expired_history_is_read_again(
    spark: SparkSession, connect: Connect, tmp_path: Path
) -> None:
    """The driver is killed with a batch in Spark's log; at the restart the history reaches its end, not its start."""
    with Emulator(messages=30, seed=4, mean_json_kb=2.0) as gmail:
        target = TableSync()
        options = {"connection": connect(gmail), "tableName": "messages", "format": "minimal"}
        deletes = {**options, "isDeleteFlow": "true"}

        def run() -> None:
            run_stream(spark, tmp_path / "upserts", target.upsert, **options)
            run_stream(spark, tmp_path / "deletes", target.delete, **deletes)

        run()
        mailbox = gmail.mailbox()
        ids = mailbox.message_ids()
        mailbox.batch_delete(ids[:4])
        mailbox.batch_modify(ids[4:9], add=["STARRED"])
        mailbox.insert(mailbox.random_mail(), ("INBOX",))

        def die(frame: DataFrame, batch_id: int) -> None:
            raise RuntimeError("the driver dies")

        for checkpoint, given in (("upserts", options), ("deletes", deletes)):
            with pytest.raises(Exception, match="the driver dies"):
                run_stream(spark, tmp_path / checkpoint, die, **given)
        gmail.expire_history(upto=mailbox.head)
        run()
        truth = {
            row["id"]: comparable(json_row("messages", row))
            for row in gmail.truth("messages", format="minimal")
        }
        assert {key: comparable(row) for key, row in target.rows.items()} == truth


def test_a_snapshot_table_cannot_be_streamed_directly(
    spark: SparkSession, connect: Connect, gmail: Emulator, tmp_path: Path
) -> None:
    with pytest.raises(Exception, match="can't be streamed"):
        run_stream(spark, tmp_path, lambda frame, number: None, connection=connect(gmail), tableName="labels")


def test_data_source_and_readers_pickle(gmail: Emulator) -> None:
    import pickle

    from pyspark import cloudpickle

    from lakeflow_entry.datasource import GmailDataSource

    source = GmailDataSource({"tablename": "messages", **options_of(gmail)})
    reader = source.reader(source.schema())
    copy = pickle.loads(cloudpickle.dumps(reader))
    batches = [batch for part in copy.partitions() for batch in copy.read(part)]
    assert sum(batch.num_rows for batch in batches) == len(gmail.truth("messages"))
    stream = pickle.loads(cloudpickle.dumps(source.streamReader(source.schema())))
    end = stream.latestOffset(stream.initialOffset(), stream.getDefaultReadLimit())
    parts = pickle.loads(cloudpickle.dumps(stream.partitions({}, end)))
    rows = sum(batch.num_rows for part in parts for batch in stream.read(part))
    assert rows == len(gmail.truth("messages"))
    assert stream.partitions(end, end) == []


def test_the_simple_reader_gives_the_same(gmail: Emulator) -> None:
    from lakeflow_entry.datasource import GmailDataSource

    options = {"tablename": "messages", "max_records_per_batch": "15", **options_of(gmail)}
    source = GmailDataSource(options)
    reader = source.simpleStreamReader(source.schema())
    start: dict[str, Any] = reader.initialOffset()
    ids: set[str] = set()
    while True:
        batches, end = reader.read(start)
        found = [row for one in batches for row in one.column("id").to_pylist()]
        if end == start:
            assert not found
            break
        again = {row for one in reader.readBetweenOffsets(start, end) for row in one.column("id").to_pylist()}
        assert again == set(found)
        ids.update(found)
        start = end
    assert ids == {row["id"] for row in gmail.truth("messages")}


def test_the_first_rows_are_yielded_after_a_page_of_calls() -> None:
    from lakeflow_entry.datasource import GmailDataSource

    with Emulator(messages=800, seed=4, mean_json_kb=2.0) as gmail:
        source = GmailDataSource({"tablename": "messages", "maxresults": "100", **options_of(gmail)})
        reader = source.reader(source.schema())
        batches = reader.read(reader.partitions()[0])
        assert next(batches).num_rows > 0
        assert gmail.usage.total_calls <= 1 + 100 + 3
        batches.close()


@pytest.mark.slow
def test_a_stream_on_a_busy_mailbox_ends(spark: SparkSession, connect: Connect, tmp_path: Path) -> None:
    import threading

    with Emulator(messages=20, seed=4, mean_json_kb=2.0) as gmail:
        mailbox = gmail.mailbox()
        stop = threading.Event()

        def write() -> None:
            while not stop.wait(0.05):
                mailbox.insert(mailbox.random_mail(), ("INBOX",))

        writer = threading.Thread(target=write)
        writer.start()
        try:
            for _ in range(2):
                target = TableSync()
                options = {"connection": connect(gmail), "tableName": "messages", "format": "minimal"}
                run_stream(spark, tmp_path / "upserts", target.upsert, max_records_per_batch="40", **options)
                assert max(target.sizes) <= 40
        finally:
            stop.set()
            writer.join()
