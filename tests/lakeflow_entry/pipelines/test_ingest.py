"""The local pipeline: the documented spec into Delta tables, with restarts, kills and an expired history."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from deltalake import DeltaTable
from support.lakeflow import comparable

from gmail_client.deletion import MassDeletionError
from gmail_client.emulator import Emulator
from gmail_client.errors import ConfigurationError
from gmail_client.schema import json_row
from gmail_client.spec import Spec
from gmail_client.tables import CATALOGUE
from gmail_client.views import VIEWS, labels_of, to_table, view_rows
from lakeflow_entry.pipelines.declarative import declare
from lakeflow_entry.pipelines.ingest import _Table, ingest
from lakeflow_entry.table_options import option_strings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = [pytest.mark.spark, pytest.mark.filterwarnings("default")]

Connect = Callable[..., str]


@pytest.fixture
def gmail() -> Iterator[Emulator]:
    with Emulator(messages=40, seed=8, mean_json_kb=3.0) as emulator:
        yield emulator


def spec(name: str, *tables: str, **configuration: Any) -> dict[str, Any]:
    entry = {"table_configuration": configuration} if configuration else {}
    return {
        "connection_name": name,
        "objects": [{"table": {"source_table": table, **entry}} for table in tables],
    }


def stored(lake: Path, table: str) -> dict[str, Any]:
    rows = DeltaTable(str(lake / table)).to_pyarrow_table().to_pylist()
    key = CATALOGUE[table].primary_key[0] if table in CATALOGUE else "id"
    assert len({row[key] for row in rows}) == len(rows)
    return {row[key]: comparable(row) for row in rows}


def truth(gmail: Emulator, table: str, **filters: Any) -> dict[str, Any]:
    key = CATALOGUE[table].primary_key[0]
    return {row[key]: comparable(json_row(table, row)) for row in gmail.truth(table, **filters)}


def test_the_documented_spec_gives_the_tables_of_the_mailbox(
    spark: SparkSession, gmail: Emulator, connect: Connect, tmp_path: Path
) -> None:
    lake = tmp_path / "lake"
    whole = spec(connect(gmail), *CATALOGUE)
    done = ingest(spark, whole, lake=str(lake))
    assert done["messages"].upserted == done["messages"].rows == len(gmail.truth("messages"))
    mailbox = gmail.mailbox()
    mailbox.delete_thread(mailbox.thread_ids()[2])
    mailbox.trash(mailbox.message_ids()[0])
    mailbox.insert(mailbox.random_mail(), ("INBOX",))
    mailbox.modify(mailbox.message_ids()[9], add=["STARRED"])
    mailbox.create_label("After the first run")
    done = ingest(spark, whole, lake=str(lake))
    assert 0 < done["messages"].upserted <= 3
    for table in CATALOGUE:
        if table != "delegates":
            assert stored(lake, table) == truth(gmail, table), table
    again = ingest(spark, spec("gmail_connector", "messages"), lake=str(lake))
    assert (again["messages"].upserted, again["messages"].deleted) == (0, 0)


@pytest.mark.slow
def test_derived_tables_of_the_spec_are_updated(
    spark: SparkSession, gmail: Emulator, connect: Connect, tmp_path: Path
) -> None:
    whole = spec(connect(gmail), "messages", "labels", *VIEWS)
    ingest(spark, whole, lake=str(tmp_path))
    mailbox = gmail.mailbox()
    mailbox.trash(mailbox.message_ids()[0])
    mailbox.modify(mailbox.message_ids()[9], add=["STARRED"])
    done = ingest(spark, whole, lake=str(tmp_path))
    assert 0 < done["emails"].upserted <= 3
    assert done["emails"].rows == done["messages"].rows
    labels = labels_of(gmail.truth("labels"))
    for name, view in VIEWS.items():
        rows = [row for message in gmail.truth("messages") for row in view_rows(name, message, labels)]
        key = itemgetter(*view.primary_key)
        derived = DeltaTable(str(tmp_path / name)).to_pyarrow_table().to_pylist()
        assert sorted(derived, key=key) == sorted(to_table(name, rows).to_pylist(), key=key), name


def test_a_missing_deltalake_is_named_before_anything_is_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match="package deltalake, which is not installed"):
        ingest(None, spec("c", "labels"), lake=str(tmp_path))  # type: ignore[arg-type]


def test_derived_tables_are_not_declared(spark: SparkSession) -> None:
    whole = {**spec("c", "messages", "emails")}
    with pytest.raises(ConfigurationError, match="derived from messages"):
        declare(spark, Spec.parse(whole), pipelines=object())


@pytest.mark.slow
def test_changes_in_an_expired_history_are_found_by_reconciliation(
    spark: SparkSession, gmail: Emulator, connect: Connect, tmp_path: Path
) -> None:
    pipeline = spec(connect(gmail), "messages", max_records_per_batch="15")
    ingest(spark, pipeline, lake=str(tmp_path))
    mailbox = gmail.mailbox()
    victims = [row["id"] for row in gmail.truth("messages")][:8]
    mailbox.batch_delete(victims)
    mailbox.insert(mailbox.random_mail(), ("INBOX",))
    gmail.expire_history()
    assert ingest(spark, pipeline, lake=str(tmp_path))["messages"].deleted >= 8
    assert stored(tmp_path, "messages") == truth(gmail, "messages")


@pytest.mark.slow
def test_a_lost_checkpoint_or_table_costs_a_load_and_nothing_else(
    spark: SparkSession, gmail: Emulator, connect: Connect, tmp_path: Path
) -> None:
    import shutil

    pipeline = spec(connect(gmail), "threads")
    ingest(spark, pipeline, lake=str(tmp_path))
    gmail.mailbox().delete_thread(gmail.mailbox().thread_ids()[0])
    shutil.rmtree(tmp_path / "_checkpoints")
    ingest(spark, pipeline, lake=str(tmp_path))
    assert stored(tmp_path, "threads") == truth(gmail, "threads")
    shutil.rmtree(tmp_path / "threads")
    ingest(spark, pipeline, lake=str(tmp_path))
    assert stored(tmp_path, "threads") == truth(gmail, "threads")


@pytest.mark.slow
def test_a_delete_flow_that_starts_after_the_history_expired_leaves_no_rows(
    spark: SparkSession, gmail: Emulator, connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = spec(connect(gmail), "messages")
    stream = _Table._stream

    def die_before_deletes(table: _Table, flow: str, identity: str) -> Any:
        if flow == "deletes":
            raise KeyboardInterrupt
        return stream(table, flow, identity)

    monkeypatch.setattr(_Table, "_stream", die_before_deletes)
    with pytest.raises(KeyboardInterrupt):
        ingest(spark, pipeline, lake=str(tmp_path))
    monkeypatch.setattr(_Table, "_stream", stream)
    mailbox = gmail.mailbox()
    mailbox.batch_delete(mailbox.message_ids()[:3])
    gmail.expire_history(upto=mailbox.head)
    ingest(spark, pipeline, lake=str(tmp_path))
    assert stored(tmp_path, "messages") == truth(gmail, "messages")


@pytest.mark.slow
def test_a_mass_deletion_is_not_applied_at_once(
    spark: SparkSession, connect: Connect, tmp_path: Path
) -> None:
    with Emulator(messages=160, seed=8, mean_json_kb=1.0) as gmail:
        pipeline = spec(connect(gmail), "messages", format="minimal")
        ingest(spark, pipeline, lake=str(tmp_path))
        stored = {row["id"] for row in gmail.truth("messages")}
        deleted = gmail.mailbox().message_ids()[:130]
        gmail.mailbox().batch_delete(deleted)
        gmail.expire_history()
        gone = f"would delete {len(stored.intersection(deleted))} of {len(stored)} rows"
        for _ in range(2):
            with pytest.raises(MassDeletionError, match=gone):
                ingest(spark, pipeline, lake=str(tmp_path))
        ingest(spark, pipeline, lake=str(tmp_path), allow_mass_delete=True)
        ids = {row["id"] for row in DeltaTable(str(tmp_path / "messages")).to_pyarrow_table().to_pylist()}
        assert ids == {row["id"] for row in gmail.truth("messages")}


def test_options_are_passed_as_spark_accepts_them() -> None:
    entry = Spec.parse(
        spec("c", "messages", labelIds=["INBOX", "STARRED"], includeSpamTrash=True, maxResults=5, q="a:b")
    ).tables[0]
    assert option_strings(entry.options) == {
        "labelIds": "INBOX,STARRED",
        "includeSpamTrash": "true",
        "maxResults": "5",
        "q": "a:b",
    }


def test_an_object_store_needs_a_checkpoint_location(spark: SparkSession) -> None:
    with pytest.raises(ConfigurationError, match="checkpoints"):
        ingest(spark, spec("c", "labels"), lake="s3://bucket/lake")


class Declared:
    """A fake of the platform's module for declarations that records its calls."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def __getattr__(self, name: str) -> Any:
        def call(**arguments: Any) -> Any:
            self.calls.append((name, arguments))
            return lambda function: function

        return call


def test_on_databricks_the_pipeline_is_declared(spark: SparkSession) -> None:
    declared = Declared()
    declare(spark, Spec.parse(spec("gmail_connector", "messages", "labels")), declared)
    flows = [(name, arguments) for name, arguments in declared.calls if "cdc" in name]
    assert [name for name, _ in flows] == [
        "create_auto_cdc_flow",
        "create_auto_cdc_flow",
        "create_auto_cdc_from_snapshot_flow",
    ]
    upserts, deletes, snapshot = (arguments for _, arguments in flows)
    assert upserts["keys"] == deletes["keys"] == ["id"]
    assert "apply_as_deletes" in deletes
    assert "apply_as_deletes" not in upserts
    assert snapshot["target"] == "labels"
    assert json.dumps([name for name, _ in declared.calls]).count("create_streaming_table") == 2


def test_one_table_is_written_to_several_destinations(spark: SparkSession) -> None:
    objects = [
        {
            "table": {
                "source_table": "messages",
                "destination_catalog": "main",
                "destination_schema": schema,
                "table_configuration": {"labelIds": label, "cluster_by": '["threadId"]'},
            }
        }
        for schema, label in (("one", "INBOX"), ("two", "SENT"))
    ]
    declared = Declared()
    declare(spark, Spec.parse({"connection_name": "c", "objects": objects}), declared)
    tables = [arguments for name, arguments in declared.calls if name == "create_streaming_table"]
    assert [(table["name"], table["cluster_by"]) for table in tables] == [
        ("`main`.`one`.`messages`", ["threadId"]),
        ("`main`.`two`.`messages`", ["threadId"]),
    ]
    flows = [arguments["name"] for name, arguments in declared.calls if name == "create_auto_cdc_flow"]
    assert len(set(flows)) == 4
    for entry in objects:
        del entry["table"]["destination_catalog"]
    declared = Declared()
    declare(spark, Spec.parse({"connection_name": "c", "objects": objects}), declared)
    tables = [arguments for name, arguments in declared.calls if name == "create_streaming_table"]
    assert [table["name"] for table in tables] == ["`one`.`messages`", "`two`.`messages`"]


def test_names_that_spark_has_to_quote_are_quoted(spark: SparkSession) -> None:
    objects = [
        {"table": {"source_table": "messages", "destination_table": name, "table_configuration": {}}}
        for name in ("inbox-mail", "inbox_mail", "2025_mail")
    ]
    declared = Declared()
    declare(spark, Spec.parse({"connection_name": "c", "objects": objects}), declared)
    tables = [arguments["name"] for name, arguments in declared.calls if name == "create_streaming_table"]
    assert tables == ["`inbox-mail`", "inbox_mail", "`2025_mail`"]
    flows = [arguments for name, arguments in declared.calls if name == "create_auto_cdc_flow"]
    assert len({flow["name"] for flow in flows}) == 6
    assert all(flow["source"].isidentifier() for flow in flows)


def test_a_catalog_needs_a_schema(spark: SparkSession) -> None:
    entry = {"source_table": "labels", "destination_catalog": "main"}
    with pytest.raises(ConfigurationError, match="destination_catalog without destination_schema"):
        declare(spark, Spec.parse({"connection_name": "c", "objects": [{"table": entry}]}), Declared())


def test_keys_and_clusters_are_forwarded_as_columns(spark: SparkSession) -> None:
    configuration = {"primary_keys": '["id", "threadId"]', "cluster_by": "threadId", "q": "is:unread"}
    declared = Declared()
    declare(spark, Spec.parse(spec("c", "messages", **configuration)), declared)
    (table,) = (arguments for name, arguments in declared.calls if name == "create_streaming_table")
    assert table["cluster_by"] == ["threadId"]
    assert {tuple(given["keys"]) for name, given in declared.calls if name == "create_auto_cdc_flow"} == {
        ("id", "threadId")
    }


@pytest.mark.slow
def test_one_source_is_read_into_several_tables(
    spark: SparkSession, gmail: Emulator, connect: Connect, tmp_path: Path
) -> None:
    objects = [
        {
            "table": {
                "source_table": "messages",
                "destination_table": name,
                "table_configuration": {"labelIds": label},
            }
        }
        for name, label in (("inbox", "INBOX"), ("sent", "SENT"))
    ]
    done = ingest(spark, {"connection_name": connect(gmail), "objects": objects}, lake=str(tmp_path))
    assert set(done) == {"inbox", "sent"}
    assert stored(tmp_path, "inbox") == truth(gmail, "messages", label_ids=["INBOX"])
    assert stored(tmp_path, "sent") == truth(gmail, "messages", label_ids=["SENT"])


def test_open_source_pipelines_accept_only_append_tables(spark: SparkSession) -> None:
    pipelines = pytest.importorskip("pyspark.pipelines")
    from pyspark.pipelines.graph_element_registry import graph_element_registration_context

    class Registry:
        def __getattr__(self, name: str) -> Any:
            return lambda *given: None

    with graph_element_registration_context(Registry()):  # type: ignore[arg-type]
        appended = spec("gmail_connector", "messages", scd_type="APPEND_ONLY")
        declare(spark, Spec.parse(appended), pipelines)
        with pytest.raises(ConfigurationError, match="one CDC flow per table"):
            declare(spark, Spec.parse(spec("gmail_connector", "threads")), pipelines)
        with pytest.raises(ConfigurationError, match="not support snapshots"):
            declare(spark, Spec.parse(spec("gmail_connector", "labels")), pipelines)
