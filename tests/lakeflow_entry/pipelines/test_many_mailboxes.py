"""A pipeline over many mailboxes, with a service account's key as text and the mailboxes of the directory."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable
from support.lakeflow import UNMETERED, comparable

from gmail_client.emulator import Emulator
from gmail_client.errors import ConfigurationError, GmailError, OptionError
from gmail_client.schema import json_row
from gmail_client.spec import Spec
from gmail_client.tables import CATALOGUE
from lakeflow_entry.connection import Connection
from lakeflow_entry.mailbox_list import Mailboxes, mailbox_list
from lakeflow_entry.pipelines.delta_sink import DeltaSink
from lakeflow_entry.pipelines.ingest import _Table, ingest
from lakeflow_entry.report import REPORT, Report
from lakeflow_entry.spark_schema import with_mailbox
from lakeflow_entry.stream.many import ManyOffset
from lakeflow_entry.stream.offsets import Offset
from lakeflow_entry.virtual_tables import IDS, VIRTUAL_TABLES

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

ADA, CY = "ada@example.com", "cy@example.com"
TABLES = ("messages", "threads", "labels", "profile")


def options(gmail: Emulator, folder: Path) -> dict[str, str]:
    """The options of a connection with a service account."""
    key = gmail.service_account_file(folder / "key.json").read_text()
    return {
        "service_account_json": key,
        "user_id": gmail.addresses[0],
        "api_root": gmail.url,
        "oauth_root": gmail.url,
        "quota": UNMETERED,
    }


def stored(lake: Path, table: str) -> dict[Any, Any]:
    key = CATALOGUE[table].primary_key[0]
    rows = DeltaTable(str(lake / table)).to_pyarrow_table().to_pylist()
    assert len({(row["mailbox"], row[key]) for row in rows}) == len(rows)
    return {(row["mailbox"], row[key]): comparable(row) for row in rows}


def truth(gmail: Emulator, table: str) -> dict[Any, Any]:
    key = CATALOGUE[table].primary_key[0]
    return {
        (address, row[key]): comparable({"mailbox": address, **json_row(table, row)})
        for address in gmail.addresses
        for row in gmail.truth(table, address)
    }


@pytest.mark.slow
def test_a_pipeline_over_the_directory_follows_all_mailboxes(
    spark: SparkSession, connections_file: Path, tmp_path: Path
) -> None:
    with Emulator(mailboxes=3, messages=15, seed=8, mean_json_kb=2.0) as gmail:
        known = {"work": {**options(gmail, tmp_path), "directory_admin": gmail.addresses[0]}}
        connections_file.write_text(json.dumps(known))
        objects = [{"table": {"source_table": name}} for name in TABLES]
        spec = {"connection_name": "work", "mailboxes": "all", "objects": objects}
        lake = tmp_path / "lake"
        ingest(spark, spec, lake=str(lake))
        for table in TABLES:
            assert stored(lake, table) == truth(gmail, table), table
        away = gmail.addresses[2]
        gmail.change_user(away, suspended=True)
        for address in gmail.addresses[:2]:
            mailbox = gmail.mailbox(address)
            mailbox.delete_thread(mailbox.thread_ids()[1])
            mailbox.modify(mailbox.message_ids()[3], add=["STARRED"])
            mailbox.insert(mailbox.random_mail(), ("INBOX",))
        before = truth(gmail, "messages")
        ingest(spark, spec, lake=str(lake))
        assert stored(lake, "messages") == before
        gmail.change_user(away, suspended=False)
        gmail.expire_history(gmail.addresses[1])
        late = gmail.mailbox(gmail.addresses[1])
        late.delete(late.message_ids()[0])
        late.expire_history()
        gmail.mailbox(away).insert(gmail.mailbox(away).random_mail(), ("INBOX",))
        ingest(spark, spec, lake=str(lake))
        for table in ("messages", "threads"):
            assert stored(lake, table) == truth(gmail, table), table
        connections_file.write_text("{}")


def test_the_directory_names_the_mailboxes(tmp_path: Path) -> None:
    with Emulator(mailboxes=3, messages=1, seed=8) as gmail:
        connection = Connection.of(options(gmail, tmp_path))
        gmail.change_user(gmail.addresses[2], suspended=True)
        everybody = mailbox_list("all")
        assert set(everybody.names(connection)) == set(gmail.addresses[:2])
        running = Mailboxes(mailbox_list(f"{gmail.addresses[2]},all"), connection, connection.client())
        assert set(running.names()) == set(gmail.addresses)
        assert running.owner == gmail.addresses[0]
        nobody = Connection.of({**options(gmail, tmp_path), "user_id": "me"})
        with pytest.raises(ConfigurationError, match="mailboxes is set without directory_admin") as caught:
            everybody.names(nobody)
        assert "GMAIL_" not in str(caught.value)
        group = f"away@{gmail.addresses[0].partition('@')[2]}"
        gmail.set_group(group, gmail.addresses[2:])
        with pytest.raises(ConfigurationError, match="names no mailbox that can be read: 1 users"):
            mailbox_list(f"group:{group}").names(connection)


def test_a_spec_names_its_mailboxes() -> None:
    objects = [{"table": {"source_table": "labels"}}]
    for given in (["a@b.test", "all"], "a@b.test, all", '["a@b.test", "all"]'):
        assert Spec.parse({"mailboxes": given, "objects": objects}).mailboxes == ("a@b.test", "all")
    with pytest.raises(ConfigurationError, match="mailboxes is 5, not a list of addresses"):
        Spec.parse({"mailboxes": 5, "objects": objects})
    with pytest.raises(OptionError):
        mailbox_list("nobody")


def test_derived_tables_are_refused_with_many_mailboxes(tmp_path: Path) -> None:
    objects = [{"table": {"source_table": name}} for name in ("messages", "emails")]
    spec = {"connection_name": "c", "mailboxes": ["a@b.test"], "objects": objects}
    with pytest.raises(ConfigurationError, match="derived from the messages of one mailbox"):
        ingest(None, spec, lake=str(tmp_path))  # type: ignore[arg-type]


def pipeline_table(
    folder: Path,
    source: str,
    frames: list[pa.Table],
    monkeypatch: pytest.MonkeyPatch,
    scd: str = "SCD_TYPE_1",
) -> _Table:
    """A table of a pipeline over many mailboxes, whose reads return these rows."""
    entry = {"source_table": source, "table_configuration": {"scd_type": scd}}
    spec = Spec.parse({"mailboxes": [ADA, CY], "objects": [{"table": entry}]})
    table = _Table(None, spec, spec.tables[0], str(folder), folder / "_checkpoints", True)  # type: ignore[arg-type]
    reads = iter(frames)
    monkeypatch.setattr(table, "_read", lambda *given: SimpleNamespace(toArrow=lambda: next(reads)))
    return table


@pytest.mark.parametrize("scd", ["SCD_TYPE_1", "SCD_TYPE_2", "APPEND_ONLY"])
def test_a_snapshot_has_no_rows_of_a_mailbox_whose_read_was_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scd: str
) -> None:
    def frame(ids: dict[str, list[str]], failed: str | None) -> pa.Table:
        rows: list[dict[str, Any]] = []
        for mailbox, own in ids.items():
            error = GmailError("Gmail does not answer.") if mailbox == failed else None
            rows += [{"mailbox": mailbox, "id": one} for one in own]
            rows.append({REPORT: Report(mailbox, error=error).to_json()})
        schema = with_mailbox(CATALOGUE["labels"].schema).append(pa.field(REPORT, pa.string()))
        return pa.Table.from_pylist(rows, schema=schema)

    frames = [frame({ADA: ["1", "2"], CY: ["1", "2"]}, None), frame({ADA: ["1"], CY: ["3"]}, CY)]
    table = pipeline_table(tmp_path, "labels", frames, monkeypatch, scd)
    table.run()
    table.run()
    left = {(ADA, "2")} if scd == "APPEND_ONLY" else set()
    assert table.sink.present().keys() == {(ADA, "1"), (CY, "1"), (CY, "2")} | left


def test_a_mailbox_that_a_reconciliation_could_not_read_is_reconciled_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ids(*pairs: tuple[str | None, str | None]) -> pa.Table:
        return pa.Table.from_pylist(
            [{"mailbox": mailbox, "id": one} for mailbox, one in pairs],
            schema=with_mailbox(VIRTUAL_TABLES[IDS]),
        )

    whole = [(ADA, None), (ADA, "1"), (CY, None), (CY, "1")]
    table = pipeline_table(tmp_path, "messages", [ids(*whole[:2], (None, CY)), ids(*whole)], monkeypatch)
    table.folder.mkdir(parents=True)
    stored = [{"mailbox": mailbox, "id": one} for mailbox in (ADA, CY) for one in ("1", "2")]
    rows = [{**row, "historySequence": 5} for row in stored]
    table.sink.upsert(pa.Table.from_pylist(rows), "stream", 0)
    end = ManyOffset({ADA: Offset(9), CY: Offset(9)}).to_json()
    refused = ManyOffset({ADA: Offset(9), CY: Offset(9)}, refused=(CY,)).to_json()
    table._reconcile_if(True, {"upserts": end, "deletes": end})
    assert table.sink.present().keys() == {(ADA, "1"), (CY, "1"), (CY, "2")}
    table._reconcile_if(False, {"upserts": end, "deletes": refused})  # reads nothing
    table._reconcile_if(False, {"upserts": end, "deletes": end})
    assert table.sink.present().keys() == {(ADA, "1"), (CY, "1")}
    table._reconcile_if(False, {"upserts": end, "deletes": end})


def test_a_table_of_one_mailbox_is_not_continued_with_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = pipeline_table(tmp_path, "labels", [], monkeypatch)
    labels = CATALOGUE["labels"].schema
    alone = DeltaSink(table.sink.location, labels, ("id",))
    alone.replace(pa.Table.from_pylist([{"id": "1"}], schema=labels))
    with pytest.raises(ConfigurationError, match="is that of one mailbox, but the spec is for many"):
        table.run()
    assert alone.present().keys() == {("1",)}


@pytest.mark.parametrize("scd", ["SCD_TYPE_1", "SCD_TYPE_2"])
def test_a_snapshot_without_a_mailbox_keeps_its_rows(tmp_path: Path, scd: Any) -> None:
    schema = pa.schema([("mailbox", pa.string()), ("id", pa.string())])
    sink = DeltaSink(str(tmp_path / "t"), schema, ("mailbox", "id"), None, scd)

    def rows(*pairs: tuple[str, str]) -> pa.Table:
        return pa.Table.from_pylist(
            [dict(zip(schema.names, pair, strict=True)) for pair in pairs], schema=schema
        )

    sink.replace(rows(("a", "1"), ("b", "1")), mailboxes=["a", "b"])
    sink.replace(rows(("a", "2")), mailboxes=["a"])
    assert sink.present().keys() == {("a", "2"), ("b", "1")}
